"""What is on its way to a sink: a lane for each stream, and what of all lanes the far end has not confirmed."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from ..journal.reader import Position
from .source import CursorLike

__all__ = ["Confirmed", "Lane", "Unconfirmed"]


class Lane:
    """One stream on its way to the sink: what was sent, and what is confirmed. Only the latter moves the cursor."""

    __slots__ = ("_saved_at", "begun", "confirmed", "cursor", "due", "end", "look_at", "sent", "stream")

    def __init__(self, stream: str, cursor: CursorLike) -> None:
        self.stream = stream
        self.cursor = cursor
        self.sent = self.confirmed = cursor.position
        self.end: Position | None = None
        """Where the stream ends, if nobody writes it any more."""
        self.begun = cursor.begun
        """Number of the last record of the batch that was begun, for a sink that must get it again as it was."""
        self.due: float | None = None
        """When a batch that is not full has waited long enough for more, if one waits."""
        self.look_at = float("-inf")
        """When to see how full it has become."""
        self._saved_at = time.monotonic()

    def is_due(self) -> bool:
        """Whether the cursor should be saved, though there is more to send."""
        return time.monotonic() - self._saved_at >= self.cursor.interval

    def save(self, *, finished: bool = False) -> None:
        """Make the cursor stand at what is confirmed.

        Raises:
            OSError: it stands where it stood.
        """
        self._saved_at = time.monotonic()
        if self.cursor.position != self.confirmed or finished:
            self.cursor.move(self.confirmed, finished=finished, begun=self.begun)

    def begin(self, last: int) -> None:
        """Make it durable that a batch up to this record is on its way.

        Raises:
            OSError: nobody will know after a kill.
        """
        if self.begun != last:
            self.begun = last
            self._saved_at = time.monotonic()
            self.cursor.move(self.confirmed, begun=last)


class _Batch(NamedTuple):
    lane: Lane
    after: Position
    records: int
    size: int
    oldest: str


class Confirmed(NamedTuple):
    """What the far end has, and did not have before."""

    records: int
    size: int
    """Bytes of lines; 0 if no record went out, because the sink's route lets none through."""


class Unconfirmed:
    """What was sent and is not known to have arrived, over all lanes: they share a connection, and break with it."""

    def __init__(self) -> None:
        self._batches: deque[_Batch] = deque()
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._batches)

    @property
    def oldest(self) -> str | None:
        """Time of the first record in it."""
        return self._batches[0].oldest if self._batches else None

    def add(self, lane: Lane, after: Position, records: int, size: int, oldest: str) -> None:
        """Note that a lane was sent up to a position: so many records, and bytes, that went out."""
        lane.sent = after
        if not size and self._batches and self._batches[-1].lane is lane:
            # Else records that the route keeps back would pile up here while those before them are unconfirmed.
            self._batches[-1] = self._batches[-1]._replace(after=after)
            return
        self._batches.append(_Batch(lane, after, records, size, oldest))
        self._size += size

    def confirm(self, window: int) -> Confirmed:
        """Take for delivered what lies at least `window` bytes behind the last byte sent; with 0, everything."""
        records = size = 0
        while self._batches:
            first = self._batches[0]
            if first.size and self._size - first.size < window:
                break
            self._batches.popleft()
            first.lane.confirmed = first.after
            self._size -= first.size
            records += first.records
            size += first.size
        return Confirmed(records, size)

    def go_back(self, lanes: Iterable[Lane]) -> None:
        """Have everything sent again that is not confirmed."""
        self._batches.clear()
        self._size = 0
        for lane in lanes:
            lane.sent = lane.confirmed
