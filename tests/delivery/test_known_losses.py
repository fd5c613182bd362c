"""Losses that were reproduced with what people use today, none of which may happen here.

Each test names the loss. What a sink alone has to do about one stands beside the sink's other tests.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

import otel_audit
from otel_audit.trail import AuditTrail
from tests.faults.proxy import FaultProxy
from tests.sinks.http_server import Reply, Server
from tests.sinks.receiver import Receiver

pytestmark = pytest.mark.filterwarnings("ignore:audit records go to .* in plain text:RuntimeWarning")

PROTOBUF = {"Content-Type": "application/x-protobuf"}


@pytest.fixture
def open_trail(tmp_path: Path) -> Iterator[Callable[[str], AuditTrail]]:
    opened: list[AuditTrail] = []

    def open_trail(sink: str) -> AuditTrail:
        opened.append(otel_audit.configure(journal=tmp_path / "journal", sinks=[sink], heartbeat=0))
        return opened[-1]

    yield open_trail
    for trail in opened:
        trail.close(0.1)


def bodies(server: Server) -> list[str]:
    requests = [ExportLogsServiceRequest.FromString(one.body) for one in server.received]
    scopes = [scope for request in requests for resource in request.resource_logs for scope in resource.scope_logs]
    return [record.body.string_value for scope in scopes for record in scope.log_records]


def eventually(condition: Callable[[], object], timeout: float = 20.0) -> bool:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def arrived(receiver: Receiver) -> set[bytes]:
    return {line for line in receiver.lines if b'"event_name":"next"' in line}


def test_a_write_after_the_peer_is_gone_is_not_taken_for_delivered(open_trail: Callable[[str], AuditTrail]) -> None:
    """bssh, python-logstash, SocketHandler: the first write after the peer has closed succeeds, and is lost."""
    with Receiver() as receiver:
        trail = open_trail(f"logstash+tcp://127.0.0.1:{receiver.port}?allow=loopback&settle_after=0.05")
        otel_audit.record("first")
        assert trail.flush()
        for number in range(5):
            receiver.close_clients()
            otel_audit.record("next", number=number)
            assert trail.flush()
            receiver.wait(lambda wanted=number + 1: len(arrived(receiver)) == wanted)


def test_a_batch_is_not_dropped_after_a_retry(open_trail: Callable[[str], AuditTrail]) -> None:
    """bssh gives up after one retry, the SDK after ten seconds; SocketHandler drops until its next try is due."""
    with Receiver() as receiver, FaultProxy(receiver.port) as proxy:
        proxy.refuse()
        trail = open_trail(f"logstash+tcp://127.0.0.1:{proxy.port}?allow=loopback&settle_after=0.05")
        for number in range(1000):
            otel_audit.record("during", number=number)
        assert eventually(lambda: trail.health().sinks["logstash"].failing_since)
        time.sleep(0.5)  # several tries
        proxy.accept()
        assert trail.flush(30)
        assert len({line for line in receiver.lines if b'"event_name":"during"' in line}) == 1000


@pytest.mark.parametrize("status", [400, 401, 429, 500, 503, 302])
def test_flush_does_not_say_that_everything_is_delivered_when_nothing_is(
    status: int, open_trail: Callable[[str], AuditTrail]
) -> None:
    """`force_flush()` returned True for each of these, with the batch discarded."""
    with Server(default=Reply(status=status)) as server:
        trail = open_trail(f"otlp+http://{server.host}")
        otel_audit.record("paid")
        assert not trail.flush(0.3)
        assert trail.health().sinks["otlp"].delivered == 0
        assert server.received
        server.default = Reply(headers=PROTOBUF)
        assert trail.flush(20)
        assert sum('"paid"' in body for body in set(bodies(server))) == 1


def test_flush_does_not_say_so_where_nobody_listens(open_trail: Callable[[str], AuditTrail]) -> None:
    with Receiver() as receiver:
        port = receiver.port
    trail = open_trail(f"otlp+http://127.0.0.1:{port}")
    otel_audit.record("paid")
    assert not trail.flush(0.3)


def test_a_success_that_rejects_records_is_no_success(open_trail: Callable[[str], AuditTrail], tmp_path: Path) -> None:
    """The exporter never reads `partial_success`: a 200 that rejected everything counted as delivered."""
    rejected = ExportLogsServiceResponse(
        partial_success=ExportLogsPartialSuccess(rejected_log_records=1, error_message="too old")
    ).SerializeToString()
    with Server(default=Reply(body=rejected, headers=PROTOBUF)) as server:
        trail = open_trail(f"otlp+http://{server.host}")
        otel_audit.record("paid")
        trail.flush()
        health = trail.health().sinks["otlp"]
    assert health.delivered == 0
    aside = (tmp_path / "journal" / "quarantine" / "otlp").read_text().splitlines()
    assert "audit.stream.open" in aside[0]
    assert "paid" in aside[1]  # behind it, perhaps, the record that says so: it is rejected as well


def test_no_value_takes_a_batch_down(open_trail: Callable[[str], AuditTrail]) -> None:
    """One of these in a batch of the SDK's, and none of its 512 records arrived; `force_flush()` returned True."""
    logger = logging.getLogger("shop.losses")
    logger.setLevel(logging.INFO)
    values: list[Any] = ["\ud800", 1 << 63, -(1 << 70), {1, 2}, object(), float("nan"), b"\xff", {"\ud800": 1}]
    with Server(default=Reply(headers=PROTOBUF)) as server:
        trail = open_trail(f"otlp+http://{server.host}")
        handler = otel_audit.AuditHandler()
        logger.addHandler(handler)
        try:
            for value in values:
                logger.info("good", extra={"value": "good"})
                logger.info("text of %s", value, extra={"value": value})
                otel_audit.record("event \ud800", value=value)
            before_time_began = logging.makeLogRecord({"name": "shop.losses", "msg": "early", "levelno": 20})
            before_time_began.created = -1e9
            handler.handle(before_time_began)
        finally:
            logger.removeHandler(handler)
        assert trail.flush(20)
        assert trail.health().lost == 0
        assert trail.health().sinks["otlp"].refused == 0
        assert len(bodies(server)) == 3 * len(values) + 2


def test_an_outage_drops_neither_the_oldest_nor_any_other_record(open_trail: Callable[[str], AuditTrail]) -> None:
    """The SDK's queue holds 2,048 records, and drops its oldest for each one more."""
    with Server(default=Reply(status=503)) as server:
        trail = open_trail(f"otlp+http://{server.host}")
        threads = [threading.Thread(target=lambda: [otel_audit.record("paid") for _ in range(2500)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        server.received.clear()
        server.default = Reply(headers=PROTOBUF)
        assert trail.flush(60)
        arrived = [body for body in dict.fromkeys(bodies(server)) if '"paid"' in body]
        assert len(arrived) == 10_000
