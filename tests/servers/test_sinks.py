"""The sinks against real servers: a Collector, a genuine OpenSearch, a Kafka broker."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import otel_audit
from otel_audit.chain import new_stream_id
from otel_audit.sinks.base import RecordsRefused, SealedLine, SinkUnavailable
from otel_audit.sinks.elasticsearch import ElasticsearchSink
from otel_audit.sinks.kafka import KafkaSink
from otel_audit.sinks.otlp import OTLPSink
from tests.servers.collector import Collector, free_port, wait_until
from tests.servers.kafka import messages, run_kafka
from tests.servers.opensearch import OpenSearch, run_opensearch
from tests.servers.otlp import bodies_of
from tests.sinks.lines import sealed

pytestmark = [
    pytest.mark.filterwarnings("ignore:audit records go to .* in plain text:RuntimeWarning"),
    pytest.mark.server("sinks"),
]

CONFIG = """
receivers:
  otlp: {protocols: {grpc: {endpoint: "GRPC"}, http: {endpoint: "HTTP", max_request_body_size: 300000}}}
exporters:
  file: {path: "OUT", flush_interval: 50ms}
extensions:
  health_check: {endpoint: "127.0.0.1:${env:AUDIT_HEALTH_PORT}"}
service:
  extensions: [health_check]
  telemetry: {metrics: {level: none}}
  pipelines: {logs: {receivers: [otlp], exporters: [file]}}
"""


def texts(batch: list[SealedLine]) -> list[str]:
    return [one.line.decode()[:-1] for one in batch]


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, Path]]:
    """Run a Collector that writes to a file; yield its gRPC and HTTP addresses and the file."""
    directory = tmp_path_factory.mktemp("collector")
    grpc, http = (f"127.0.0.1:{free_port()}" for _ in range(2))
    out, config = directory / "out.json", directory / "config.yaml"
    config.write_text(CONFIG.replace("GRPC", grpc).replace("HTTP", http).replace("OUT", str(out)))
    with Collector(str(config), directory, {}):
        yield grpc, http, out


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_collector_gets_every_line_as_it_is(collector: tuple[str, str, Path], protocol: str) -> None:
    grpc, http, out = collector
    sink = OTLPSink.from_url(f"otlp+{protocol}://{grpc if protocol == 'grpc' else http}?compression=gzip")
    batch = sealed(300)
    for start in range(0, 300, 100):
        sink.send(batch[start : start + 100])
    sink.close()

    def arrived() -> list[str]:
        whole = [row for row in out.read_bytes().splitlines(keepends=True) if row.endswith(b"\n")]
        return [body for body in bodies_of(whole) if batch[0].stream in body]

    wait_until("the Collector has written all", lambda: arrived() == texts(batch))


def test_a_collector_refuses_what_is_too_large_so_that_it_is_divided(
    collector: tuple[str, str, Path],
) -> None:
    sink = OTLPSink(endpoint=f"http://{collector[1]}")
    batch = sealed(500)
    with pytest.raises(RecordsRefused, match="too large"):
        sink.send(batch)
    sink.send(batch[:50])


def test_a_collector_that_is_not_there_is_waited_for() -> None:
    port = free_port()
    for scheme in ("http", "grpc"):
        sink = OTLPSink.from_url(f"otlp+{scheme}://127.0.0.1:{port}?timeout=2")
        with pytest.raises(SinkUnavailable):
            sink.send(sealed(1))
        sink.close()


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSearch]:
    with run_opensearch(tmp_path_factory.mktemp("search")) as running:
        running.call("PUT", "/_index_template/audit", index_template())
        yield running


def index_template() -> Any:
    """The one that the documentation recommends."""
    page = (Path(__file__).parents[2] / "docs" / "sinks" / "elasticsearch.md").read_text()
    return json.loads(page.partition("```json\n")[2].partition("```")[0])


def search_url(search: OpenSearch, index: str) -> str:
    return f"opensearch+http://{search.address}/{index}?allow=loopback"


def search_sink(search: OpenSearch, index: str) -> ElasticsearchSink:
    return ElasticsearchSink.from_url(search_url(search, index))


def originals(hits: list[dict[str, Any]]) -> list[str]:
    """The sealed lines of documents, by their numbers."""
    found = [hit["_source"]["event"] for hit in hits]
    return [event["original"] for event in sorted(found, key=lambda event: int(event["sequence"]))]


def verify(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "otel_audit", "verify", "--unordered", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def dump(hits: list[dict[str, Any]], path: Path) -> Path:
    path.write_text("".join(f"{json.dumps(hit)}\n" for hit in hits))
    return path


def test_every_record_is_one_document_however_often_it_is_sent(search: OpenSearch) -> None:
    sink = search_sink(search, "audit-plain")
    batch = sealed(500)
    sink.send(batch[:300])
    sink.send(batch)
    assert originals(search.hits("audit-plain")) == texts(batch)


def test_documents_can_be_searched_by_who_did_what(search: OpenSearch) -> None:
    sink = search_sink(search, "audit-fields")
    batch = sealed(20)
    sink.send(batch)
    search.call("POST", "/audit-fields/_refresh")
    wanted = json.loads(batch[7].line)
    query = {"bool": {"filter": [{"term": {"event.id": batch[7].id}}, {"range": {"@timestamp": {"lte": "now"}}}]}}
    found = search.call("POST", "/audit-fields/_search", {"query": query})
    assert [hit["_id"] for hit in found["hits"]["hits"]] == [batch[7].id], found
    assert found["hits"]["hits"][0]["_source"]["@timestamp"] == wanted["@timestamp"]


def test_a_changed_document_is_found_when_its_record_is_sent_again(search: OpenSearch) -> None:
    sink = search_sink(search, "audit-forged")
    batch = sealed(3)
    sink.send(batch)
    forged = json.loads(batch[1].line)
    forged["audit"]["actor"]["id"] = "mallory"
    search.call("PUT", f"/audit-forged/_doc/{batch[1].id}", {"event": {"original": json.dumps(forged)}})
    with pytest.raises(RecordsRefused, match=r"event\.original is not this record's line") as caught:
        sink.send(batch)
    assert caught.value.ids == {batch[1].id}


def test_a_document_that_does_not_fit_the_mapping_is_refused_and_the_others_are_stored(search: OpenSearch) -> None:
    mapping = {"properties": {"event": {"properties": {"sequence": {"type": "byte"}}}}}
    search.call("PUT", "/audit-strict", {"mappings": mapping})
    batch = sealed(140)
    with pytest.raises(RecordsRefused, match="mapper_parsing_exception") as caught:
        search_sink(search, "audit-strict").send(batch)
    assert caught.value.ids == {one.id for one in batch if one.seq > 127}
    assert originals(search.hits("audit-strict")) == texts(batch[:127])


def test_an_index_that_takes_no_new_field_keeps_the_records_until_somebody_raises_its_limit(
    search: OpenSearch,
) -> None:
    """That is the index's fault and would hit every record: no reason to put any of them aside."""
    search.call("PUT", "/audit-full", {"settings": {"index.mapping.total_fields.limit": 12}})
    sink, batch = search_sink(search, "audit-full"), sealed(2)
    with pytest.raises(SinkUnavailable, match="Limit of total fields"):
        sink.send(batch)
    search.call("PUT", "/audit-full/_settings", {"index.mapping.total_fields.limit": 1000})
    sink.send(batch)
    assert originals(search.hits("audit-full")) == texts(batch)


def test_a_text_that_is_longer_than_the_mapping_takes_is_refused_and_the_others_are_stored(search: OpenSearch) -> None:
    user = {"properties": {"name": {"type": "keyword", "ignore_above": 40_000}}}
    search.call("PUT", "/audit-long", {"mappings": {"properties": {"user": user}}})
    stream = new_stream_id()
    batch = [
        *sealed(2, stream=stream),
        *sealed(1, stream=stream, start=3, by={"id": "alice", "name": "x" * 35_000}),
        *sealed(2, stream=stream, start=4),
    ]
    with pytest.raises(RecordsRefused, match="immense term") as caught:
        search_sink(search, "audit-long").send(batch)
    assert caught.value.ids == {batch[2].id}
    assert originals(search.hits("audit-long")) == texts([*batch[:2], *batch[3:]])


def test_freely_shaped_data_makes_no_fields(search: OpenSearch) -> None:
    """An index takes 1,000 fields by default, and refuses every document that would bring one more."""
    sink = search_sink(search, "audit-wide")
    stream = new_stream_id()
    batch = [one for seq in range(1, 1201) for one in sealed(1, stream=stream, start=seq, **{f"field_{seq}": seq})]
    sink.send(batch)
    assert originals(search.hits("audit-wide")) == texts(batch)


def test_an_index_that_is_read_only_keeps_the_records(search: OpenSearch) -> None:
    search.call("PUT", "/audit-closed", {})
    search.call("PUT", "/audit-closed/_settings", {"index": {"blocks": {"write": True}}})
    with pytest.raises(SinkUnavailable, match="cluster_block_exception"):
        search_sink(search, "audit-closed").send(sealed(1))
    search.call("PUT", "/audit-closed/_settings", {"index": {"blocks": {"write": False}}})
    search_sink(search, "audit-closed").send(sealed(1))


def test_a_data_stream_takes_records_once_and_compares_them_too(search: OpenSearch) -> None:
    template = index_template() | {"index_patterns": ["stream-audit*"], "data_stream": {}, "priority": 200}
    search.call("PUT", "/_index_template/stream-audit", template)
    sink = search_sink(search, "stream-audit")
    batch = sealed(50)
    sink.send(batch[:30])
    sink.send(batch)
    assert originals(search.hits("stream-audit")) == texts(batch)


def test_nothing_is_missing_when_the_server_is_killed_and_what_was_dumped_verifies(
    search: OpenSearch, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    trail = otel_audit.configure(journal=journal, sinks=[search_url(search, "audit-killed")], heartbeat=0)
    try:
        for kill in range(3):
            for number in range(1000):
                otel_audit.record("invoice.delete", target=f"invoice/{number}")
            mark = kill * 1000 + 200
            wait_until("some are stored", lambda mark=mark: trail.health().sinks["elasticsearch"].delivered >= mark)
            search.kill()
            for number in range(200):
                otel_audit.record("invoice.delete", target=f"invoice/{number}")
            search.start()
        assert trail.flush(60)
    finally:
        assert trail.close(60)
    hits = search.hits("audit-killed")
    written = [line for path in sorted(journal.glob("*.jsonl")) for line in path.read_text().splitlines()]
    assert originals(hits) == written
    assert sum(hit["_source"]["event"]["action"] == "invoice.delete" for hit in hits) == 3 * 1200

    found = verify(dump(hits, tmp_path / "hits.ndjson"))
    assert found.returncode == 0, found.stdout
    assert set(re.findall(r"\b[A-Z]+_[A-Z]+\b", found.stdout)) <= {"DELIVERY_DEGRADED"}  # the kills, on record
    hits[41]["_source"]["user"]["id"] = "mallory"  # an administrator of the cluster can do that
    found = verify(dump(hits, tmp_path / "changed.ndjson"))
    assert found.returncode == 1, found.stdout


def test_a_broker_gets_every_line_in_order_under_its_stream(tmp_path: Path) -> None:
    with run_kafka(tmp_path, "audit") as address:
        sink = KafkaSink.from_url(f"kafka+tcp://{address}/audit?timeout=20")
        batch = sealed(2000)
        sink.send(batch[:1000])
        sink.send(batch[1000:])
        sink.close()
        sink.send(batch[-1:])  # again, by a new producer
        sink.close()
        assert [value.decode() for value in messages(address, "audit")] == texts([*batch, batch[-1]])
