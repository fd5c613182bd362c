"""Sealed lines through the real Collector, killed twice on the way: all arrive, and the far end verifies.

Each test runs a file of collector-config/ as it stands, given addresses, paths and certificates.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import final

import pytest
import yaml

from tests.certificates import Certificates, make_certificates
from tests.servers.collector import CONFIGS, Collector, wait_until
from tests.servers.kafka import messages, run_kafka
from tests.servers.loki import run_loki
from tests.servers.opensearch import OpenSearch, run_opensearch
from tests.servers.otlp import Receiver, Sender, bodies_of, post, request_of
from tests.servers.s3 import run_s3
from tests.servers.sealed import sealed_stream

pytestmark = [pytest.mark.server("otelcol"), pytest.mark.timeout(300)]

RECORDS = 10_000


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path) as running:
        yield running


@final
class Store:
    """The far end: a Collector with to-file.yaml, and what it wrote."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "store"
        self.collector = Collector("to-file.yaml", directory, {"AUDIT_DIR": str(self.directory)})

    def __enter__(self) -> Store:
        self.collector.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.collector.kill()

    @property
    def url(self) -> str:
        return f"http://{self.collector.address}"

    def lines(self) -> list[str]:
        """Every record in whole documents written so far, repetitions included."""
        wholes = (path.read_bytes().rpartition(b"\n")[0] for path in self.directory.iterdir())
        return [body for whole in wholes for body in bodies_of(whole.splitlines())]

    def has(self, lines: Sequence[str]) -> bool:
        return set(lines) <= set(self.lines())


def tls_settings(issued: Certificates) -> dict[str, str]:
    return {
        "AUDIT_CA": issued.ca,
        "AUDIT_SERVER_CERT": issued.server.cert,
        "AUDIT_SERVER_KEY": issued.server.key,
        "AUDIT_CERT": issued.client.cert,
        "AUDIT_KEY": issued.client.key,
    }


def client_context(issued: Certificates) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=issued.ca)
    context.load_cert_chain(issued.client.cert, issued.client.key)
    return context


def verify(*paths: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "otel_audit", "verify", "--unordered", *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def assert_verifies(*paths: Path) -> None:
    found = verify(*paths)
    assert found.returncode == 0, found.stdout + found.stderr


def kill_twice(collector: Collector, progress: Callable[[], int], total: int) -> None:
    """Kill and restart a Collector when a third and when two thirds of the lines are through."""
    for mark in (total // 3, 2 * total // 3):
        wait_until(f"{mark} lines are through", lambda mark=mark: progress() >= mark, 60)
        collector.kill()
        collector.start()


def test_every_answered_record_is_in_the_file_whenever_the_collector_dies(store: Store) -> None:
    lines = sealed_stream(RECORDS)
    sender = Sender(store.collector.address, lines)
    sender.start()

    for mark in (RECORDS // 3, 2 * RECORDS // 3):
        wait_until(f"{mark} lines are answered", lambda mark=mark: sender.answered >= mark)
        store.collector.kill()
        answered = sender.answered
        assert store.has(lines[:answered])
        store.collector.start()
    sender.finish()

    assert store.has(lines)
    assert_verifies(store.directory)


def test_a_changed_record_in_the_file_is_found(store: Store) -> None:
    lines = sealed_stream(100)
    assert post(store.collector.address, request_of(lines)) == 200
    assert_verifies(store.directory)
    (file,) = store.directory.iterdir()
    written = file.read_text()
    assert written.count("INV-42") == 1
    file.write_text(written.replace("INV-42", "INV-43"))

    assert verify(store.directory).returncode == 1


def test_a_changed_attribute_in_the_file_is_found(store: Store, certificates: Certificates, tmp_path: Path) -> None:
    lines = sealed_stream(10)
    journal = tmp_path / "journal"
    journal.mkdir()
    write(journal / "1.000001.jsonl", lines)
    environment = {**tls_settings(certificates), "AUDIT_JOURNAL": str(journal), "AUDIT_GATEWAY": store.url}
    with Collector("agent-journal.yaml", tmp_path, environment):
        wait_until("everything is in the store", lambda: store.has(lines))
    assert_verifies(store.directory)
    (file,) = store.directory.iterdir()
    actor = '{"key":"audit.actor.id","value":{"stringValue":"alice"}}'
    written = file.read_text()
    assert actor in written
    file.write_text(written.replace(actor, actor.replace("alice", "mallory"), 1))

    assert verify(store.directory).returncode == 1


def test_the_gateway_keeps_what_it_answered_while_the_store_is_away(
    store: Store, certificates: Certificates, tmp_path: Path
) -> None:
    lines = sealed_stream(RECORDS)
    store.collector.kill()
    environment = {**tls_settings(certificates), "AUDIT_NEXT": store.url}
    with Collector("gateway.yaml", tmp_path, environment) as gateway:
        sender = Sender(gateway.address, lines, tls=client_context(certificates))
        sender.start()
        kill_twice(gateway, lambda: sender.answered, RECORDS)
        sender.finish()
        assert store.lines() == []

        store.collector.start()
        wait_until("everything is in the store", lambda: store.has(lines), 60)
    assert_verifies(store.directory)


def test_the_gateway_lets_nobody_in_without_a_certificate_of_ours(
    store: Store, certificates: Certificates, tmp_path: Path
) -> None:
    nameless = ssl.create_default_context(cafile=certificates.ca)
    stranger = ssl.create_default_context(cafile=certificates.ca)
    stranger.load_cert_chain(certificates.rogue_client.cert, certificates.rogue_client.key)
    request = request_of(sealed_stream(3))
    environment = {**tls_settings(certificates), "AUDIT_NEXT": store.url}
    with Collector("gateway.yaml", tmp_path, environment) as gateway:
        for context in (nameless, stranger):
            with pytest.raises(OSError, match=r"(?i)alert|reset|eof|pipe"):
                post(gateway.address, request, tls=context)
        assert post(gateway.address, request, tls=client_context(certificates)) == 200


def test_two_tiers_carry_a_growing_journal_to_the_store(
    store: Store, certificates: Certificates, tmp_path: Path
) -> None:
    streams = [sealed_stream(RECORDS // 2), sealed_stream(RECORDS // 2)]
    journal = tmp_path / "journal"
    journal.mkdir()
    settings = tls_settings(certificates)
    with Collector("gateway.yaml", tmp_path, {**settings, "AUDIT_NEXT": store.url}) as gateway:
        way_on = {"AUDIT_JOURNAL": str(journal), "AUDIT_GATEWAY": f"https://localhost:{gateway.port}"}
        with Collector("agent-journal.yaml", tmp_path, {**settings, **way_on}) as agent:
            for number, lines in enumerate(streams, 1):
                write(journal / f"{number:032x}.000001.jsonl", lines[: len(lines) // 2])
                wait_until("some arrived", lambda number=number: len(store.lines()) > (2 * number - 2) * 2000)
                agent.kill()
                gateway.kill()
                write(journal / f"{number:032x}.000002.jsonl", lines[len(lines) // 2 :])
                gateway.start()
                agent.start()
            everything = streams[0] + streams[1]
            wait_until("everything is in the store", lambda: store.has(everything), 120)
    assert_verifies(store.directory)


def test_an_agent_killed_while_the_gateway_is_away_loses_nothing(certificates: Certificates, tmp_path: Path) -> None:
    lines = sealed_stream(1000)
    journal = tmp_path / "journal"
    journal.mkdir()
    write(journal / "1.000001.jsonl", lines)
    with Receiver() as gateway:
        gateway.status = 503
        environment = {
            **tls_settings(certificates),
            "AUDIT_JOURNAL": str(journal),
            "AUDIT_GATEWAY": gateway.address,
        }
        with Collector("agent-journal.yaml", tmp_path, environment) as agent:
            wait_until("the agent has tried", lambda: gateway.refused >= 2)
            agent.kill()
            gateway.status = 200
            agent.start()
            wait_until("everything arrived", lambda: set(gateway.bodies()) == set(lines))


def test_an_agent_does_not_send_half_a_line(store: Store, certificates: Certificates, tmp_path: Path) -> None:
    lines = sealed_stream(5)
    journal = tmp_path / "journal"
    journal.mkdir()
    segment = journal / "1.000001.jsonl"
    write(segment, lines[:4], end="\n" + lines[4][:50])
    environment = {**tls_settings(certificates), "AUDIT_JOURNAL": str(journal), "AUDIT_GATEWAY": store.url}
    with Collector("agent-journal.yaml", tmp_path, environment) as agent:
        wait_until("the whole lines are in the store", lambda: store.has(lines[:4]))
        agent.stop()
        assert store.lines() == lines[:4]
        write(segment, [lines[4][50:]])
        agent.start()
        wait_until("the line is in the store", lambda: store.has(lines))
    assert store.lines() == lines
    assert_verifies(store.directory)


def test_an_agent_projects_what_search_needs_and_leaves_the_line_alone(
    certificates: Certificates, tmp_path: Path
) -> None:
    lines = sealed_stream(3)
    journal = tmp_path / "journal"
    journal.mkdir()
    write(journal / "1.000001.jsonl", lines)
    with Receiver() as receiver:
        environment = {
            **tls_settings(certificates),
            "AUDIT_JOURNAL": str(journal),
            "AUDIT_GATEWAY": receiver.address,
        }
        with Collector("agent-journal.yaml", tmp_path, environment):
            wait_until("all arrived", lambda: len(receiver.bodies()) >= 3)
    record = list(receiver.records())[1]
    attributes = {entry.key: entry.value for entry in record.attributes}
    stream = attributes["audit.sequence.stream_id"].string_value

    assert record.body.string_value == lines[1]
    assert record.event_name == "invoice.delete"
    assert record.time_unix_nano == 1_795_300_200_001_000_001
    assert attributes["audit.record.id"].string_value == f"{stream}-2"
    assert attributes["audit.sequence.number"].int_value == 2
    assert attributes["audit.action"].string_value == "DELETE"
    assert attributes["audit.actor.id"].string_value == "alice"


def test_container_output_arrives_sealed_lines_apart_from_ordinary_ones(
    store: Store, certificates: Certificates, tmp_path: Path
) -> None:
    cri, docker, long = (
        sealed_stream(RECORDS // 2),
        sealed_stream(RECORDS // 2 - 10),
        sealed_stream(10, padding=40_000),
    )
    logs = tmp_path / "pods"
    logs.mkdir()
    with Receiver() as ordinary:
        environment = {
            **tls_settings(certificates),
            "AUDIT_CONTAINER_LOGS": str(logs / "*.log"),
            "AUDIT_GATEWAY": store.url,
            "LOGS_ENDPOINT": ordinary.address,
        }
        with Collector("agent-container.yaml", tmp_path, environment) as agent:
            everything = [*cri, *docker, *long]
            cri_wrapped = [part for line in cri for part in as_cri(line)]
            docker_wrapped = [as_docker(line) for line in docker]
            for third in range(3):
                write(logs / "cri.log", thirds(cri_wrapped)[third])
                write(logs / "docker.log", thirds(docker_wrapped)[third])
                if third == 0:
                    write(logs / "long.log", [part for line in long for part in as_cri(line)])
                    write(logs / "cri.log", as_cri("just a line"))
                wait_until("some arrived", lambda third=third: len(store.lines()) > third * RECORDS // 3)
                if third < 2:
                    agent.kill()
                    agent.start()
            wait_until("everything is in the store", lambda: store.has(everything), 120)
            wait_until("the ordinary line is where those go", lambda: "just a line" in ordinary.bodies())
    assert set(store.lines()) == set(everything)
    assert_verifies(store.directory)


def thirds(lines: Sequence[str]) -> list[Sequence[str]]:
    cut = len(lines) // 3
    return [lines[:cut], lines[cut : 2 * cut], lines[2 * cut :]]


def write(path: Path, lines: Sequence[str], end: str = "\n") -> None:
    with path.open("a") as file:
        file.write("\n".join(lines) + end)


def as_cri(line: str, limit: int = 16_384) -> list[str]:
    """Wrap a line as containerd and CRI-O do: parts of 16 KiB, all but the last marked P."""
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
    raw = line.encode()
    parts = [raw[start : start + limit] for start in range(0, len(raw), limit)]
    marks = ["P"] * (len(parts) - 1) + ["F"]
    return [f"{now} stdout {mark} {part.decode()}" for mark, part in zip(marks, parts, strict=True)]


def as_docker(line: str) -> str:
    """Wrap a line as Docker's json-file driver does."""
    return json.dumps({"log": line + "\n", "stream": "stdout", "time": "2026-11-21T22:30:00.000000000Z"})


def test_audit_records_go_their_own_way_whatever_happens_to_ordinary_logs(store: Store, tmp_path: Path) -> None:
    lines = sealed_stream(RECORDS)
    with Receiver() as ordinary:
        ordinary.status = 503
        environment = {"AUDIT_NEXT": store.url, "LOGS_ENDPOINT": ordinary.address}
        with Collector("routing.yaml", tmp_path, environment) as router:
            sender = Sender(router.address, lines)
            sender.start()
            assert post(router.address, request_of(["an ordinary line"], attributes=False)) == 200
            kill_twice(router, lambda: sender.answered, RECORDS)
            sender.finish()
            ordinary.status = 200
            assert post(router.address, request_of(["another ordinary line"], attributes=False)) == 200
            wait_until("everything is in the store", lambda: store.has(lines), 60)
            wait_until("the ordinary line is where those go", lambda: "another ordinary line" in ordinary.bodies())
    assert set(store.lines()) == set(lines)
    assert set(ordinary.bodies()).isdisjoint(lines)
    assert_verifies(store.directory)


def test_lines_over_tcp_arrive_and_what_a_crash_took_is_closed_by_sending_it_again(
    store: Store, certificates: Certificates, tmp_path: Path
) -> None:
    lines = sealed_stream(RECORDS)
    settings = tls_settings(certificates)
    context = client_context(certificates)
    with Collector("agent-tcp.yaml", tmp_path, {**settings, "AUDIT_GATEWAY": store.url}) as agent:
        for third in thirds(lines):
            with (
                contextlib.suppress(OSError),  # TCP may notice the crash, or not
                connected(agent.port, context) as connection,
            ):
                connection.sendall(framed(third[:1000]))
                agent.kill()
                connection.sendall(framed(third[1000:]))
            agent.start()
        assert set(store.lines()) < set(lines)  # the hole that agent-tcp.yaml speaks of

        with connected(agent.port, context) as connection:
            connection.sendall(framed(lines))
            wait_until("everything is in the store", lambda: store.has(lines), 60)
    assert_verifies(store.directory)


def test_tcp_lets_nobody_in_without_a_certificate_of_ours(
    store: Store, certificates: Certificates, tmp_path: Path
) -> None:
    stranger = ssl.create_default_context(cafile=certificates.ca)
    stranger.load_cert_chain(certificates.rogue_client.cert, certificates.rogue_client.key)
    nameless = ssl.create_default_context(cafile=certificates.ca)
    settings = {**tls_settings(certificates), "AUDIT_GATEWAY": store.url}
    with Collector("agent-tcp.yaml", tmp_path, settings) as agent:
        for context in (stranger, nameless):
            with pytest.raises(OSError, match=r"(?i)alert|reset|eof|pipe"):
                greet(agent.port, context)


@contextlib.contextmanager
def connected(port: int, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        yield connection


def framed(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def greet(port: int, context: ssl.SSLContext) -> None:
    with connected(port, context) as connection:
        connection.sendall(b"{}\n")
        connection.recv(1)  # TLS 1.3 refuses a client after the handshake


@pytest.mark.server("loki")
def test_loki_gives_every_line_back(tmp_path: Path) -> None:
    lines = sealed_stream(RECORDS)
    with (
        run_loki(tmp_path) as loki,
        Collector("to-loki.yaml", tmp_path, {"AUDIT_LOKI": f"{loki.url}/otlp"}) as collector,
    ):
        sender = Sender(collector.address, lines)
        sender.start()
        kill_twice(collector, lambda: sender.answered, RECORDS)
        sender.finish()
        selector = '{service_name="unknown_service"}'
        now = time.time_ns()
        wait_until("Loki has everything", lambda: set(loki.query(selector, now)) == set(lines), 60)
        found = loki.query(selector, now)
    dump = tmp_path / "loki.jsonl"
    dump.write_text("".join(f"{line}\n" for line in found))
    assert_verifies(dump)


@pytest.mark.server("kafka")
def test_kafka_gets_every_record(tmp_path: Path) -> None:
    lines = sealed_stream(RECORDS)
    with run_kafka(tmp_path, "audit") as broker:
        environment = {"AUDIT_KAFKA": broker}
        with Collector("to-kafka.yaml", tmp_path, environment) as collector:
            sender = Sender(collector.address, lines)
            sender.start()
            kill_twice(collector, lambda: sender.answered, RECORDS)
            sender.finish()
            wait_until(
                "everything is in the topic",
                lambda: set(bodies_of(messages(broker, "audit"))) == set(lines),
                60,
            )
            dump = tmp_path / "topic.jsonl"
            dump.write_bytes(b"\n".join(messages(broker, "audit")))
    assert_verifies(dump)


@pytest.mark.server("seaweedfs")
def test_s3_gets_every_record_into_objects_that_nobody_can_delete(tmp_path: Path) -> None:
    lines = sealed_stream(RECORDS)
    with run_s3(tmp_path) as s3:
        s3.make_worm_bucket("audit")
        environment = {
            "AUDIT_S3_ENDPOINT": s3.endpoint,
            "AUDIT_S3_PATH_STYLE": "true",
            "AUDIT_S3_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": s3.key,
            "AWS_SECRET_ACCESS_KEY": s3.secret,
        }
        with Collector("to-s3.yaml", tmp_path, environment) as collector:
            senders = [Sender(collector.address, lines[start::25]) for start in range(25)]
            for sender in senders:
                sender.start()
            kill_twice(collector, lambda: sum(sender.answered for sender in senders), RECORDS)
            for sender in senders:
                sender.finish()
        client = s3.client()
        objects = tmp_path / "objects"
        objects.mkdir()
        stored = client.list_object_versions(Bucket="audit")["Versions"]
        for number, version in enumerate(stored):
            held = client.get_object(Bucket="audit", Key=version["Key"], VersionId=version["VersionId"])
            (objects / f"{number}.json.gz").write_bytes(held["Body"].read())
            assert held["ObjectLockMode"] == "COMPLIANCE"
    assert set(bodies_of(gzip.decompress(path.read_bytes()) for path in objects.iterdir())) == set(lines)
    assert_verifies(*objects.iterdir())


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSearch]:
    with run_opensearch(tmp_path_factory.mktemp("search")) as running:
        yield running


@pytest.mark.server("opensearch")
@pytest.mark.parametrize("mode", ["otel", "ecs", "none"])
def test_elasticsearch_gets_one_document_a_record(mode: str, search: OpenSearch, tmp_path: Path) -> None:
    """With an older Collector: see `otelcol/elasticsearch.yaml`. So without the queue on disk, and without a kill."""
    if "OTELCOL_BIN" in os.environ:
        pytest.skip("its configuration is made for Collector 0.120")
    lines = sealed_stream(2000)
    index = f"logs-audit-{mode}"
    with as_elasticsearch(search) as front:
        config = tmp_path / "to-elasticsearch.yaml"
        config.write_text(for_an_older_collector("to-elasticsearch.yaml", mode))
        environment = {"AUDIT_ELASTICSEARCH": front, "AUDIT_INDEX": index, "ELASTIC_PASSWORD": "unused"}
        with Collector(str(config), tmp_path, environment, manifest="elasticsearch.yaml") as collector:
            for _ in range(2):  # what is sent again is no second document
                sender = Sender(collector.address, lines)
                sender.start()
                sender.finish()
            wait_until("every record is a document", lambda: search.count(index) == len(lines), 150)
        hits = search.hits(index)
    assert {hit["_id"] for hit in hits} == {f"{json.loads(line)['stream']}-{json.loads(line)['seq']}" for line in lines}
    dump = tmp_path / "hits.ndjson"
    dump.write_text("".join(f"{json.dumps(hit)}\n" for hit in hits))
    assert_verifies(dump)
    dump.write_text(dump.read_text().replace("INV-42", "INV-43"))
    assert verify(dump).returncode == 1


def for_an_older_collector(config: str, mode: str) -> str:
    """Return one of our configurations without what Collector 0.120 does not have."""
    settings = yaml.safe_load((CONFIGS / config).read_text())
    settings["extensions"] = {"health_check": settings["extensions"]["health_check"]}
    settings["service"]["extensions"] = ["health_check"]
    del settings["processors"]["memory_limiter"]
    settings["service"]["pipelines"]["logs/audit"]["processors"].remove("memory_limiter")
    exporter = settings["exporters"]["elasticsearch/audit"]
    exporter |= {"sending_queue": {"enabled": True, "num_consumers": 1}, "flush": {"interval": "1s"}}
    exporter["mapping"] = {"mode": mode}
    return str(yaml.safe_dump(settings)).replace("log.attributes[", "attributes[").replace(", log.body", ", body")


@contextlib.contextmanager
def as_elasticsearch(search: OpenSearch) -> Iterator[str]:
    """Answer like Elasticsearch in the two ways in which the exporter tells OpenSearch from it; yield the URL."""

    class Front(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            path = self.path.replace("require_data_stream=true", "").replace("?&", "?").rstrip("?&")
            upstream = http.client.HTTPConnection(search.address)
            upstream.request("POST", path, body, {**self.headers})
            answer = upstream.getresponse()
            said = answer.read()
            upstream.close()
            self.send_response(answer.status)
            self.send_header("X-Elastic-Product", "Elasticsearch")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Front) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
