"""How records are lost with what people use today: the same trials that `test_known_losses` puts to this package.

They run the standard library and the OpenTelemetry SDK themselves and, of programs that are not at hand, the few lines
matter. A trial that nothing fails would prove nothing. Where one of these begins to pass, its makers have mended it.
"""

from __future__ import annotations

import logging
import logging.handlers
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, InMemoryLogRecordExporter
from opentelemetry.sdk.version import __version__ as sdk_version

from tests.faults.proxy import FaultProxy
from tests.otel.logs import Collecting, emit, provider_of
from tests.sinks.http_server import Reply, Server
from tests.sinks.receiver import Receiver

NEWEST_SEEN = (1, 45)
sdk_as_seen = pytest.mark.skipif(
    tuple(map(int, sdk_version.split(".")[:2])) > NEWEST_SEEN, reason="look whether this SDK still loses it"
)
PROTOBUF = {"Content-Type": "application/x-protobuf"}


# Over TCP.


def wait_for_the_farewell(sock: socket.socket) -> None:
    """Return once the kernel knows that the peer has gone."""
    assert sock.recv(1, socket.MSG_PEEK) == b""


def write_until_it_fails(sock: socket.socket) -> None:
    for _ in range(1000):
        sock.sendall(b"third\n")
        time.sleep(0.01)


def test_a_bare_socket_takes_what_it_loses() -> None:
    with Receiver() as receiver, socket.create_connection(("127.0.0.1", receiver.port)) as sock:
        sock.sendall(b"first\n")
        receiver.wait(lambda: receiver.lines)
        receiver.close_clients()
        wait_for_the_farewell(sock)
        sock.sendall(b"second\n")  # no error
        with pytest.raises(OSError, match=r"(?i)pipe|reset"):
            write_until_it_fails(sock)
        assert receiver.lines == [b"first\n"]


class OneRetry:
    """bssh's Logstash exporter in short: a write that fails is tried once more, on a new connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sock: socket.socket | None = None

    def send(self, batch: bytes) -> None:
        try:
            self._write(batch)
        except OSError:
            self._sock = None
            self._write(batch)

    def _write(self, batch: bytes) -> None:
        if self._sock is None:
            self._sock = socket.create_connection(("127.0.0.1", self._port), 5)
        self._sock.sendall(batch)

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()


def test_with_one_retry_the_record_behind_a_restart_is_lost() -> None:
    with Receiver() as receiver, closing(OneRetry(receiver.port)) as old:
        old.send(b"first\n")
        receiver.wait(lambda: receiver.lines)
        receiver.close_clients()
        old.send(b"second\n")  # no error
        while receiver.sessions < 2:
            old.send(b"third\n")
            time.sleep(0.01)
        receiver.wait(lambda: b"third\n" in receiver.lines)
        assert b"second\n" not in receiver.lines


def test_with_one_retry_a_receiver_that_is_away_costs_the_batch() -> None:
    with Receiver() as receiver:
        port = receiver.port
    with closing(OneRetry(port)) as old, pytest.raises(OSError, match="refused"):
        old.send(b"".join(b"%d\n" % number for number in range(100)))
    # Its caller logs the error and clears the batch.


def test_the_standard_librarys_handler_drops_records_until_its_next_try_is_due() -> None:
    with Receiver() as receiver, FaultProxy(receiver.port) as proxy, closing(Lines("127.0.0.1", proxy.port)) as handler:
        proxy.refuse()
        handler.emit(logging.makeLogRecord({"msg": "while it is away"}))
        proxy.accept()
        handler.emit(logging.makeLogRecord({"msg": "it is back"}))
        assert handler.sock is None, "it does not even try yet"
        assert receiver.lines == []


class Lines(logging.handlers.SocketHandler):
    """SocketHandler with a line for a record."""

    def makePickle(self, record: logging.LogRecord) -> bytes:
        return f"{record.msg}\n".encode()


# Over OTLP, with the SDK.


@contextmanager
def sdk(server: Server, **options: Any) -> Iterator[LoggerProvider]:
    """A provider with the SDK's batch processor and OTLP exporter, as its documentation has it."""
    exporter = OTLPLogExporter(endpoint=f"http://{server.host}/v1/logs", timeout=0.3)
    provider = provider_of(BatchLogRecordProcessor(exporter, **options))
    logging.disable(logging.CRITICAL)  # the exporter's own complaints, which is all that it leaves
    try:
        yield provider
    finally:
        provider.shutdown()
        logging.disable(logging.NOTSET)


def bodies(server: Server) -> list[str]:
    requests = [ExportLogsServiceRequest.FromString(one.body) for one in server.received]
    scopes = [scope for request in requests for resource in request.resource_logs for scope in resource.scope_logs]
    return [record.body.string_value for scope in scopes for record in scope.log_records]


@sdk_as_seen
@pytest.mark.parametrize("status", [302, 400, 401, 429, 500, 503])
def test_the_sdk_says_flushed_of_what_it_has_thrown_away(status: int) -> None:
    with Server(default=Reply(status=status)) as server, sdk(server) as provider:
        emit(provider, "paid")
        assert provider.force_flush()
        server.received.clear()
        server.default = Reply(headers=PROTOBUF)
        emit(provider, "next")
        assert provider.force_flush()
        assert bodies(server) == ["next"]


@sdk_as_seen
def test_the_sdk_says_flushed_where_nobody_listens() -> None:
    with Server() as server:
        pass
    with sdk(server) as provider:
        emit(provider, "paid")
        assert provider.force_flush()


@sdk_as_seen
def test_the_sdk_takes_a_rejection_for_success() -> None:
    rejected = ExportLogsServiceResponse(
        partial_success=ExportLogsPartialSuccess(rejected_log_records=1, error_message="too old")
    ).SerializeToString()
    with Server(default=Reply(body=rejected, headers=PROTOBUF)) as server, sdk(server) as provider:
        emit(provider, "paid")
        assert provider.force_flush()
        emit(provider, "next")
        provider.force_flush()
        assert bodies(server) == ["paid", "next"]  # "paid" was rejected, and is not sent again


@sdk_as_seen
@pytest.mark.parametrize("bad", ["\ud800", 1 << 63, {1, 2}, object()], ids=["surrogate", "large", "set", "object"])
def test_one_value_takes_the_sdks_whole_batch_down(bad: Any) -> None:
    with Server(default=Reply(headers=PROTOBUF)) as server, sdk(server) as provider:
        for body in ("before", bad, "after"):
            emit(provider, body)
        provider.force_flush()
        assert bodies(server) == []


@sdk_as_seen
def test_a_time_before_1970_takes_the_sdks_whole_batch_down() -> None:
    with Server(default=Reply(headers=PROTOBUF)) as server, sdk(server) as provider:
        emit(provider, "before")
        emit(provider, "early", timestamp=-1)
        provider.force_flush()
        assert bodies(server) == []


@sdk_as_seen
def test_what_is_logged_after_the_sdks_shutdown_is_dropped_without_an_error() -> None:
    with Server(default=Reply(headers=PROTOBUF)) as server, sdk(server) as provider:
        provider.shutdown()
        emit(provider, "late")
        provider.force_flush()
        assert bodies(server) == []


@sdk_as_seen
def test_the_sdks_queue_drops_its_oldest_records() -> None:
    with Server(default=Reply(headers=PROTOBUF)) as server:
        with sdk(server, max_queue_size=100, max_export_batch_size=100, schedule_delay_millis=60_000) as provider:
            processor = provider._multi_log_record_processor._log_record_processors[0]
            with processor._batch_processor._export_lock:  # the exporter is busy
                for number in range(150):
                    emit(provider, str(number))
            provider.force_flush()
        assert "0" not in bodies(server)
        assert len(bodies(server)) < 150


@sdk_as_seen
@pytest.mark.filterwarnings("ignore:Log record attributes were dropped")
def test_the_sdks_limits_evict_attributes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_ATTRIBUTE_COUNT_LIMIT", "2")
    monkeypatch.setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "16")
    seen = Collecting()
    provider = provider_of(seen)
    emit(provider, attributes={"audit.actor.id": "alice", "audit.action": "DELETE", "hash": "0" * 64})
    kept = dict(seen.seen[0].log_record.attributes)
    assert "audit.actor.id" not in kept
    assert kept["hash"] == "0" * 16


@sdk_as_seen
def test_a_number_given_before_the_sdks_queue_is_not_the_order_in_it() -> None:
    """Numbering in one processor and queueing in the next are two steps; here another thread comes in between."""
    numbers = iter(range(2))
    first_is_numbered, second_is_queued = threading.Event(), threading.Event()

    def number(record: Any) -> Any:
        record.log_record.attributes["seq"] = (mine := next(numbers))
        if mine == 0:
            first_is_numbered.set()
            assert second_is_queued.wait(10)
        return record

    exporter = InMemoryLogRecordExporter()
    provider = provider_of(Collecting(number), BatchLogRecordProcessor(exporter))
    first = threading.Thread(target=emit, args=[provider, "first"])
    first.start()
    assert first_is_numbered.wait(10)
    emit(provider, "second")
    second_is_queued.set()
    first.join()
    provider.force_flush()
    assert [record.log_record.attributes["seq"] for record in exporter.get_finished_logs()] == [1, 0]
