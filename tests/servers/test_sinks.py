"""The sinks against real servers: a Collector, an Elasticsearch-compatible store, a Kafka broker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_audit.sinks.base import RecordsRefused, SealedLine, SinkUnavailable
from otel_audit.sinks.elasticsearch import ElasticsearchSink
from otel_audit.sinks.kafka import KafkaSink
from otel_audit.sinks.otlp import OTLPSink
from tests.servers.collector import Collector, free_port, wait_until
from tests.servers.elasticsearch import call, run_elasticsearch
from tests.servers.kafka import messages, run_kafka
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
def search(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with run_elasticsearch(tmp_path_factory.mktemp("search")) as address:
        yield address


def search_sink(address: str, index: str) -> ElasticsearchSink:
    return ElasticsearchSink.from_url(f"elasticsearch+http://{address}/{index}?allow=loopback")


def test_every_record_is_one_document_however_often_it_is_sent(search: str) -> None:
    sink = search_sink(search, "audit-plain")
    batch = sealed(500)
    sink.send(batch[:300])
    sink.send(batch)
    call(search, "POST", "/audit-plain/_refresh")
    found = call(search, "POST", "/audit-plain/_search", {"size": 1000, "sort": [{"event.sequence": "asc"}]})
    assert [hit["_source"]["event"]["original"] for hit in found["hits"]["hits"]] == texts(batch)


def test_a_changed_document_is_found_when_its_record_is_sent_again(search: str) -> None:
    sink = search_sink(search, "audit-forged")
    batch = sealed(3)
    sink.send(batch)
    forged = json.loads(batch[1].line)
    forged["audit"]["actor"]["id"] = "mallory"
    call(search, "PUT", f"/audit-forged/_doc/{batch[1].id}", {"event": {"original": json.dumps(forged)}})
    with pytest.raises(RecordsRefused, match=r"event\.original is not this record's line") as caught:
        sink.send(batch)
    assert caught.value.ids == {batch[1].id}


def test_a_document_that_does_not_fit_the_mapping_is_refused_and_the_others_are_stored(search: str) -> None:
    mapping = {"dynamic": True, "properties": {"event": {"properties": {"sequence": {"type": "boolean"}}}}}
    call(search, "PUT", "/audit-strict", {"mappings": mapping})
    with pytest.raises(RecordsRefused) as caught:
        search_sink(search, "audit-strict").send(batch := sealed(2))
    assert caught.value.ids == {one.id for one in batch}


def test_an_index_that_is_read_only_keeps_the_records(search: str) -> None:
    call(search, "PUT", "/audit-closed", {})
    call(search, "PUT", "/audit-closed/_settings", {"index": {"blocks": {"write": True}}})
    with pytest.raises(SinkUnavailable, match="cluster_block_exception"):
        search_sink(search, "audit-closed").send(sealed(1))


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
