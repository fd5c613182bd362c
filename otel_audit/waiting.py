"""Records on their way into a stream, and what is owed for those that could not be kept."""

from __future__ import annotations

import time

from .durability import Receipt

__all__ = ["Bound", "Gap", "Waiting"]


class Waiting:
    """A record on its way: its head, then its place or what went wrong."""

    place: Receipt | None = None
    line: bytes | None = None
    error: OSError | None = None
    is_over: bool = False
    """Whether it was written, or failed: it has its place before that."""

    def __init__(self, head: bytes) -> None:
        self.head = head


class Bound(Waiting):
    """A record that belongs into this stream, and is not taken along to the next."""


class Gap:
    """What could not be kept since the last record that could."""

    __slots__ = ("count", "first", "last", "reason")

    def __init__(self) -> None:
        self.count = 0
        self.first = self.last = 0
        self.reason = ""

    def note(self, error: OSError) -> None:
        """Count one more, lost to this error now."""
        self.last = time.time_ns()
        self.first = self.first or self.last
        self.count += 1
        self.reason = error.strerror or str(error)
