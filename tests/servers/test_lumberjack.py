"""The Beats protocol against the server that Elastic itself wrote."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from otel_audit.sinks.base import Sink, SinkUnavailable
from otel_audit.sinks.logstash import LogstashSink
from tests.certificates import Certificates, Pair, make_certificates
from tests.servers.lumberjack import LumberjackServer, lumberjack_binary, lumberjack_server
from tests.sinks.resend import Shipper, make_records

__all__ = ["lumberjack_binary"]

pytestmark = pytest.mark.server("go-lumber")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@contextmanager
def sink_to(
    server: LumberjackServer, certificates: Certificates, *, client: Pair | None = None, options: str = ""
) -> Iterator[Sink]:
    client = client or certificates.client
    sink = LogstashSink.from_url(
        f"beats+tls://127.0.0.1:{server.port}?allow=loopback&ca_file={certificates.ca}"
        f"&cert_file={client.cert}&key_file={client.key}{options}"
    )
    try:
        yield sink
    finally:
        sink.close()


@pytest.mark.parametrize("compression", [0, 3])
def test_events_arrive_with_their_line_and_id(
    lumberjack_binary: Path, certificates: Certificates, compression: int
) -> None:
    records = make_records(3000)
    with (
        lumberjack_server(lumberjack_binary, certificates) as server,
        sink_to(server, certificates, options=f"&compression={compression}") as sink,
    ):
        Shipper(sink, records).run()
        server.kill()  # and so has read all that it printed

        assert [event["message"] + "\n" for event in server.events] == [r.line.decode() for r in records]
        assert [event["@metadata"]["_id"] for event in server.events] == [r.id for r in records]


def test_a_server_that_needs_longer_than_the_ack_timeout_keeps_the_sender_by_its_keepalives(
    lumberjack_binary: Path, certificates: Certificates
) -> None:
    with (
        lumberjack_server(lumberjack_binary, certificates, "-hold=1500ms", "-keepalive=100ms") as server,
        sink_to(server, certificates, options="&ack_timeout=0.5") as sink,
    ):
        start = time.monotonic()
        sink.send(make_records(10))

        assert time.monotonic() - start > 1.4
        server.kill()
        assert len(server.events) == 10


def test_a_server_that_is_silent_longer_than_the_ack_timeout_is_unavailable(
    lumberjack_binary: Path, certificates: Certificates
) -> None:
    with (
        lumberjack_server(lumberjack_binary, certificates, "-hold=5s", "-keepalive=5s") as server,
        sink_to(server, certificates, options="&ack_timeout=0.3") as sink,
        pytest.raises(SinkUnavailable, match="did not answer"),
    ):
        sink.send(make_records(10))


def test_a_rogue_client_delivers_nothing(lumberjack_binary: Path, certificates: Certificates) -> None:
    with (
        lumberjack_server(lumberjack_binary, certificates) as server,
        sink_to(server, certificates, client=certificates.rogue_client) as sink,
    ):
        with pytest.raises(SinkUnavailable):
            sink.send(make_records(10))
        assert server.events == []


def test_no_acknowledged_event_is_lost_over_20_kills(lumberjack_binary: Path, certificates: Certificates) -> None:
    records = make_records(10_000)
    with (
        lumberjack_server(lumberjack_binary, certificates) as server,
        sink_to(server, certificates, options="&max_records=100") as sink,
        ThreadPoolExecutor(1) as executor,
    ):
        shipper = Shipper(sink, records)
        for kill in range(1, 21):
            shipper.records = records[: kill * 500]
            seen = len(server.events)
            shipping = executor.submit(shipper.run)
            deadline = time.monotonic() + 20
            while len(server.events) < seen + 150 and time.monotonic() < deadline:
                time.sleep(0.001)
            server.kill()
            server.start()
            shipping.result(60)

        server.kill()  # and so has read all that it printed
        ids = [event["@metadata"]["_id"] for event in server.events]
        assert list(dict.fromkeys(ids)) == [record.id for record in records]
        assert shipper.failures >= 10
