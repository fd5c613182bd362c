"""A sink that logs into the trail that it delivers does not feed itself; all else that is logged is recorded."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from otel_audit import AuditHandler, audit, notices
from otel_audit.otel import AuditLogRecordProcessor
from otel_audit.sinks.base import SealedLine
from otel_audit.trail import AuditTrail
from tests.otel.logs import emit, provider_of
from tests.shipping.fakes import FakeSink
from tests.writer.trails import open_trail, records

MakeTrail = Callable[..., AuditTrail]


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger(f"self{uuid.uuid4().hex}")
    logger.setLevel("DEBUG")
    logger.propagate = False
    yield logger
    logger.handlers.clear()


class Talkative(FakeSink):
    """A sink that says something at every batch."""

    def __init__(self, talk: Callable[[], object]) -> None:
        super().__init__()
        self._talk = talk

    def send(self, batch: Sequence[SealedLine]) -> None:
        self._talk()
        super().send(batch)


def parsed(one: SealedLine) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(one.line)
    return found


def messages(sink: FakeSink) -> list[str]:
    return [line for one in sink.received if (line := parsed(one).get("message"))]


def ways(logger: logging.Logger) -> dict[str, Callable[[], object]]:
    async def say() -> None:
        logger.info("sent")

    def say_with_an_actor() -> None:
        with audit.bind(actor="sink"):
            logger.info("sent")

    def say_what_came_with_a_job() -> None:
        with audit.attach({}):
            logger.info("sent")

    def fail() -> None:
        try:
            raise OSError("broken")
        except OSError:
            logger.exception("sent")

    return {
        "plain": lambda: logger.info("sent"),
        "debug": lambda: logger.debug("sent"),
        "with the schema": lambda: logger.info("sent", extra={"audit": "batch.send"}),
        "with an actor": say_with_an_actor,
        "with what came with a job": say_what_came_with_a_job,
        "with a traceback": fail,
        "in a coroutine": lambda: asyncio.run(say()),
    }


@pytest.mark.parametrize("way", ways(logging.getLogger()))
def test_what_a_sink_logs_while_it_delivers_makes_no_record(
    make_trail: MakeTrail,
    logger: logging.Logger,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    monkeypatch.setattr(notices, "_said", {})
    sink = Talkative(ways(logger)[way])
    trail = make_trail(sink)
    logger.addHandler(AuditHandler(trail))
    for number in range(3):
        logger.info("event %s", number)
        assert trail.flush()
    assert messages(sink) == ["event 0", "event 1", "event 2"]
    left_out = trail.health().sinks["fake"].left_out
    assert left_out == len(sink.batches) >= 3
    said = [line for line in capfd.readouterr().err.splitlines() if "logs into the trail that it delivers" in line]
    assert len(said) == 1, "once, and not for each"


def test_what_others_log_meanwhile_is_recorded(make_trail: MakeTrail, logger: logging.Logger) -> None:
    def talk() -> None:
        thread = threading.Thread(target=lambda: logger.info("from another thread"))
        if len(sink.batches) < 1:
            thread.start()
            thread.join()

    sink = Talkative(talk)
    trail = make_trail(sink)
    logger.addHandler(AuditHandler(trail))
    logger.info("event")
    assert trail.flush()
    assert trail.flush()  # what was logged in the meantime
    assert messages(sink) == ["event", "from another thread"]
    assert trail.health().sinks["fake"].left_out == 0


def test_a_sink_may_log_into_another_trail(make_trail: MakeTrail, logger: logging.Logger, tmp_path: Path) -> None:
    with open_trail(tmp_path / "other") as other:
        sink = Talkative(lambda: logger.info("sent"))
        trail = make_trail(sink)
        logger.addHandler(AuditHandler(other))
        trail.record("thing.do")
        assert trail.flush()
    assert "sent" in [record.get("message") for record in records(tmp_path / "other")]


def test_a_record_that_a_sink_asks_for_itself_is_made(make_trail: MakeTrail) -> None:
    def talk() -> None:
        if len(sink.batches) < 1:
            trail.record("batch.send")

    sink = Talkative(talk)
    trail = make_trail(sink)
    trail.record("thing.do")
    assert trail.flush()
    sink.wait_for(lambda: "batch.send" in [parsed(one)["event_name"] for one in sink.received])


def test_what_a_sink_emits_through_opentelemetry_makes_no_record(make_trail: MakeTrail) -> None:
    sink = Talkative(lambda: emit(provider, "sent", scope="sink"))
    trail = make_trail(sink)
    provider = provider_of(AuditLogRecordProcessor(trail, select=lambda record: True))
    emit(provider, "event")
    assert trail.flush()
    assert messages(sink) == ["event"]
    assert trail.health().sinks["fake"].left_out >= 1


def test_without_it_the_sink_would_feed_itself(make_trail: MakeTrail, logger: logging.Logger) -> None:
    """What this file is about can happen: the same sink, and a shipper that was told nothing."""
    sink = Talkative(lambda: logger.info("sent"))
    trail = make_trail(sink)
    trail.companions[-1].serve(None)  # type: ignore[attr-defined]
    logger.addHandler(AuditHandler(trail))
    logger.info("event")
    sink.wait_for(lambda: messages(sink).count("sent") > 20)
