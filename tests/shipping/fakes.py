"""A sink that fails when it is told to, and what goes with it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from otel_audit.shipping import Backoff
from otel_audit.sinks.base import SealedLine
from otel_audit.trail import AuditTrail

__all__ = ["FakeSink", "fill", "quick"]


class FakeSink:
    """A sink in memory that fails when it is told to."""

    name = "fake"
    max_records = 50
    max_bytes = 1 << 20

    def __init__(self, window: int = 0) -> None:
        self.window = window
        self.received: list[SealedLine] = []
        self.batches: list[int] = []
        self.fail: Callable[[Sequence[SealedLine]], None] = lambda batch: None
        self.arrived = threading.Condition()
        self.settles = True

    def send(self, batch: Sequence[SealedLine]) -> None:
        self.fail(batch)
        with self.arrived:
            self.received.extend(batch)
            self.batches.append(len(batch))
            self.arrived.notify_all()

    def settled(self) -> bool:
        return self.settles

    def close(self) -> None:
        pass

    def wait_for(self, condition: Callable[[], bool], timeout: float = 10.0) -> None:
        with self.arrived:
            assert self.arrived.wait_for(condition, timeout), f"only {len(self.received)} records arrived"

    def seqs(self) -> list[int]:
        return [one.seq for one in self.received]


def quick() -> Backoff:
    return Backoff(base=0.001, most=0.01)


def fill(trail: AuditTrail, count: int) -> None:
    for number in range(count):
        trail.record("thing.do", data={"number": number})
