"""Sending some records of a journal once more: at least once, in order, without touching any cursor."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Final

from ..errors import DeliveryTimeout
from ..journal.reader import JournalReader, Position
from ..sinks.base import RecordsRefused, SealedLine, Sink, SinkUnavailable
from .backoff import Backoff

__all__ = ["Reshipped", "reship"]

_READ_RECORDS: Final = 1024
_READ_BYTES: Final = 1 << 20
_SETTLE_INTERVAL: Final = 0.05


@dataclass(slots=True)
class Reshipped:
    """What came of it."""

    sent: int = 0
    refused: set[str] = field(default_factory=set)
    """Ids of records that the sink can never take."""
    gone: int = 0
    """Records that are no longer in the journal."""


def reship(directory: Path, ranges: Iterable[tuple[str, int, int]], sink: Sink, *, timeout: float) -> Reshipped:
    """Send the records of these ranges (stream, first, last; sorted) to a sink; return once it has them.

    Raises:
        DeliveryTimeout: the sink did not take them within `timeout` seconds; some may have arrived.
    """
    result = Reshipped()
    deadline = time.monotonic() + timeout
    reader = JournalReader(directory)
    for stream, wanted in groupby(ranges, lambda each: each[0]):
        batch: list[SealedLine] = []
        size = 0
        numbers = (seq for _, first, last in wanted for seq in range(first, last + 1))
        for one in _pick(reader, stream, numbers, result):
            if batch and (len(batch) == sink.max_records or size + len(one.line) > sink.max_bytes):
                _send(sink, batch, deadline, result)
                batch, size = [], 0
            batch.append(one)
            size += len(one.line)
        if batch:
            _send(sink, batch, deadline, result)
    return result


def _pick(reader: JournalReader, stream: str, numbers: Iterator[int], result: Reshipped) -> Iterator[SealedLine]:
    """Yield the records of a stream with these numbers, in one pass over it."""
    place = Position()
    wanted = next(numbers, None)
    while wanted is not None:
        lines = reader.read(stream, place, max_records=_READ_RECORDS, max_bytes=_READ_BYTES)
        if not lines:
            result.gone += 1 + sum(1 for _ in numbers)
            return
        place = lines[-1].after
        for stored in lines:
            while wanted is not None and wanted < stored.seq:
                result.gone += 1
                wanted = next(numbers, None)
            if wanted == stored.seq:
                yield SealedLine(stream, stored.seq, stored.line)
                wanted = next(numbers, None)


def _send(sink: Sink, batch: list[SealedLine], deadline: float, result: Reshipped) -> None:
    """Send one batch until the sink has it; what it refuses is noted and passed over."""
    backoff = Backoff()
    while True:
        try:
            result.sent += _deliver(sink, batch, result)
            _await_settlement(sink, deadline)
            return
        except SinkUnavailable as error:  # noqa: PERF203 - a sink may fail
            sink.close()
            pause = backoff.next(error.retry_after)
            if time.monotonic() + pause > deadline:
                raise DeliveryTimeout(f"sink {sink.name} did not take the records in time: {error}") from error
            time.sleep(pause)


def _deliver(sink: Sink, batch: list[SealedLine], result: Reshipped) -> int:
    try:
        sink.send(batch)
        return len(batch)
    except RecordsRefused as refusal:
        if refusal.ids is not None:
            result.refused.update(refusal.ids)
            return len(batch) - len(refusal.ids)
        if len(batch) == 1:
            result.refused.add(batch[0].id)
            return 0
        middle = len(batch) // 2
        return _deliver(sink, batch[:middle], result) + _deliver(sink, batch[middle:], result)


def _await_settlement(sink: Sink, deadline: float) -> None:
    while sink.window and not sink.settled():
        if time.monotonic() > deadline:
            raise SinkUnavailable("it did not confirm what was sent")
        time.sleep(_SETTLE_INTERVAL)
