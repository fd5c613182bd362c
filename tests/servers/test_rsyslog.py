"""The one-way sinks against a real receiver, rsyslog with mutual TLS, and what can be read on the wire."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from otel_audit.sinks.base import Sink
from otel_audit.sinks.logstash import LogstashSink
from otel_audit.sinks.syslog import SyslogSink
from tests.certificates import Certificates, Pair, make_certificates
from tests.servers.require import missing
from tests.servers.rsyslog import Rsyslog, rsyslog
from tests.sinks.resend import Shipper, make_records

pytestmark = pytest.mark.server("rsyslog")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def server(tmp_path: Path, certificates: Certificates) -> Iterator[Rsyslog]:
    with rsyslog(tmp_path, certificates) as server:
        yield server


def url(scheme: str, port: int, certificates: Certificates, client: Pair | None) -> str:
    identity = f"&cert_file={client.cert}&key_file={client.key}" if client else ""
    return f"{scheme}://127.0.0.1:{port}?allow=loopback&ca_file={certificates.ca}{identity}&settle_after=0.2"


@contextmanager
def logstash_sink(server: Rsyslog, certificates: Certificates, client: Pair | None) -> Iterator[Sink]:
    with closing(LogstashSink.from_url(url("logstash+tls", server.lines_port, certificates, client))) as sink:
        yield sink


def wait_until(condition: Callable[[], bool], timeout: float = 20.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so within {timeout} s")
        time.sleep(0.01)


def test_lines_arrive_byte_for_byte(server: Rsyslog, certificates: Certificates) -> None:
    records = [*make_records(2000), *make_records(2, size=900_000)]
    with logstash_sink(server, certificates, certificates.client) as sink:
        Shipper(sink, records).run()

    wait_until(lambda: len(server.lines()) == len(records))
    assert server.lines() == [record.line for record in records]


def test_syslog_messages_arrive_with_their_parts(server: Rsyslog, certificates: Certificates) -> None:
    records = [*make_records(500), *make_records(1, size=900_000)]
    address = url("syslog+tls", server.syslog_port, certificates, certificates.client)
    with closing(SyslogSink.from_url(address)) as sink:
        Shipper(sink, records).run()

    wait_until(lambda: len(server.messages()) == len(records))
    for record, (priority, at, app, data, message) in zip(records, server.messages(), strict=True):
        assert (priority, at, app) == (b"109", b"2026-11-21T22:30:00.123456Z", b"otel-audit")
        assert data == b'[record@32473 stream="%b" seq="%d"]' % (record.stream.encode(), record.seq)
        assert message == record.line.removesuffix(b"\n")


@pytest.mark.parametrize("client", ["none", "rogue"])
def test_a_client_that_is_refused_never_counts_as_having_delivered(
    server: Rsyslog, certificates: Certificates, client: str
) -> None:
    pair = certificates.rogue_client if client == "rogue" else None
    with logstash_sink(server, certificates, pair) as sink:
        with pytest.raises(TimeoutError, match="0 of 10 confirmed"):
            Shipper(sink, make_records(10)).run(timeout=1.5)

        assert server.lines() == []


def test_no_line_is_lost_over_20_kills(server: Rsyslog, certificates: Certificates) -> None:
    records = make_records(20_000)
    known = {record.line for record in records}
    address = f"{url('logstash+tls', server.lines_port, certificates, certificates.client)}&max_bytes=65536"
    # With the default `settle_after`: a busy machine may not schedule the receiver for longer than a small one.
    sink = LogstashSink.from_url(address.replace("&settle_after=0.2", ""))
    with closing(sink), ThreadPoolExecutor(1) as executor:
        shipping = executor.submit(Shipper(sink, records).run)
        for _ in range(20):
            wanted = server.written() + 50_000
            wait_until(lambda wanted=wanted: server.written() >= wanted)  # type: ignore[misc]
            server.kill()
            server.start()
        shipping.result(60)

    wait_until(lambda: len(set(server.lines()) & known) == len(known))
    arrived = [line for line in server.lines() if line in known]  # a line that a kill cut is not one
    assert list(dict.fromkeys(arrived)) == [record.line for record in records]


@contextmanager
def capture(port: int, file: Path) -> Iterator[None]:
    """Capture what crosses the loopback interface to and from a port."""
    program = shutil.which("tshark")
    if program is None:
        missing("tshark", "apt-get install tshark")
    process = subprocess.Popen(
        [program, "-i", "lo", "-f", f"tcp port {port}", "-w", str(file)], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    said: list[str] = []
    try:
        for line in process.stderr:
            said.append(line)
            if "Capturing on" in line:
                break
        else:
            missing("tshark", f"it cannot capture here: {''.join(said).strip()}")
        drain = threading.Thread(target=process.stderr.read, daemon=True)
        drain.start()
        wait_until(lambda: sees(port, file, b"it captures"))  # it says "Capturing" a moment before it does
        yield
        wait_until(lambda: sees(port, file, b"it has written"))  # and writes a moment after it has seen
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        process.wait(20)


def sees(port: int, file: Path, mark: bytes) -> bool:
    """Send a mark in plain text to the port; tell whether it, and so all that was sent before it, is in the capture."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as plain:
        plain.sendall(mark + b"\n")
    return file.exists() and mark in file.read_bytes()


@pytest.mark.parametrize("with_tls", [True, False])
def test_nothing_readable_crosses_the_wire_with_tls(tmp_path: Path, certificates: Certificates, with_tls: bool) -> None:
    """Without TLS the same capture must find every record: a capture that sees nothing proves nothing."""
    records = make_records(50)
    with rsyslog(tmp_path, certificates, with_tls=with_tls) as server:
        if with_tls:
            address = url("logstash+tls", server.lines_port, certificates, certificates.client)
            sink = LogstashSink.from_url(address)
        else:
            with pytest.warns(RuntimeWarning, match="plain text"):
                sink = LogstashSink.from_url(f"logstash+tcp://127.0.0.1:{server.lines_port}?allow=loopback")
        with capture(server.lines_port, tmp_path / "capture.pcapng"), closing(sink):
            Shipper(sink, records).run()
            wait_until(lambda: {record.line for record in records} <= set(server.lines()))

    seen = (tmp_path / "capture.pcapng").read_bytes()
    assert len(seen) > sum(len(record.line) for record in records)
    assert seen.count(b"invoice.delete") == (0 if with_tls else len(records))
