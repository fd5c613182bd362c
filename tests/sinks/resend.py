"""The least that a shipper does: send in order; after a failure, go back as far as the window says."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from otel_audit.chain import new_stream_id
from otel_audit.sealing import Chain
from otel_audit.sinks.base import SealedLine, Sink, SinkUnavailable


def make_records(count: int, *, size: int = 200) -> list[SealedLine]:
    """Return a sealed stream of `count` records of about `size` bytes."""
    chain = Chain(new_stream_id())
    records = []
    for number in range(1, count + 1):
        head = json.dumps(
            {
                "@timestamp": "2026-11-21T22:30:00.123456789Z",
                "audit": {"action": "DELETE", "actor": {"id": "alice", "type": "user"}, "outcome": "success"},
                "data": {"filling": "ü" * max(0, (size - 350) // 2)},
                "event_name": "invoice.delete",
            },
            ensure_ascii=False,
            separators=(",", ":"),
        )
        records.append(SealedLine(chain.stream, number, chain.seal(head[:-1].encode())))
    return records


@dataclass
class Shipper:
    """Sends records in order until all are confirmed; nothing before `confirmed` is ever sent again."""

    sink: Sink
    records: Sequence[SealedLine]
    confirmed: int = 0
    sent: int = 0
    failures: int = 0

    def run(self, *, timeout: float = 60.0, pause: float = 0.01) -> None:
        deadline = time.monotonic() + timeout
        while self.confirmed < len(self.records):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.confirmed} of {len(self.records)} confirmed, {self.failures} failures")
            try:
                self._step()
            except SinkUnavailable:
                self.failures += 1
                self.sent = self._window_start()
                time.sleep(pause)

    def _step(self) -> None:
        batch = self._next_batch()
        if batch:
            self.sink.send(batch)
            self.sent += len(batch)
            self.confirmed = max(self.confirmed, self._window_start())
        elif self.sink.window == 0 or self.sink.settled():
            self.confirmed = self.sent
        else:
            time.sleep(0.01)

    def _next_batch(self) -> list[SealedLine]:
        batch: list[SealedLine] = []
        size = 0
        for record in self.records[self.sent : self.sent + self.sink.max_records]:
            size += len(record.line)
            if batch and size > self.sink.max_bytes:
                break
            batch.append(record)
        return batch

    def _window_start(self) -> int:
        """The oldest record that is among the last `window` bytes sent, and not confirmed before."""
        start, left = self.sent, self.sink.window
        while start > self.confirmed and left > 0:
            start -= 1
            left -= len(self.records[start].line)
        return start
