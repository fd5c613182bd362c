"""Trails with one shipper, in a journal of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from otel_audit.durability import FailurePolicy
from otel_audit.journal.writer import JournalWriter
from otel_audit.shipping import Shipper
from otel_audit.shipping.source import JournalSource
from otel_audit.trail import AuditTrail
from tests.shipping.fakes import FakeSink, quick


@pytest.fixture
def trails() -> Iterator[list[tuple[AuditTrail, FakeSink]]]:
    made: list[tuple[AuditTrail, FakeSink]] = []
    yield made
    for trail, sink in made:
        sink.fail = lambda batch: None
        sink.settled = lambda: True  # type: ignore[method-assign]
        trail.close(5)


@pytest.fixture
def make_trail(tmp_path: Path, trails: list[tuple[AuditTrail, FakeSink]]) -> Callable[..., AuditTrail]:
    def make(sink: FakeSink, *, durability: str = "process", **options: object) -> AuditTrail:
        policy = FailurePolicy(options.pop("on_failure", "warn"))  # type: ignore[arg-type]
        ack_timeout = options.pop("ack_timeout", 5.0)
        fast_fail = options.pop("fast_fail", False)
        trail = AuditTrail(
            JournalWriter(tmp_path / "journal"),
            durability=durability,  # type: ignore[arg-type]
            policy=policy,
            ack_timeout=ack_timeout,  # type: ignore[arg-type]
            fast_fail=fast_fail,  # type: ignore[arg-type]
        )
        trail.accompany(
            Shipper(
                JournalSource(tmp_path / "journal"),
                lambda: sink,
                name=sink.name,
                own=lambda: trail.stream.id,
                backoff=quick(),
                report=lambda event, data: trail.record_control(event, data, action="DEGRADE"),
                **options,  # type: ignore[arg-type]
            )
        )
        trails.append((trail, sink))
        return trail

    return make
