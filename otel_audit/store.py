"""What a stream asks of the place that its lines go to."""

from __future__ import annotations

import threading
from typing import Any, Protocol

__all__ = ["Store"]


class Store(Protocol):
    """Where a stream's lines go: a journal, or a local sink in its place."""

    written: int
    durable: int

    def begin(self, stream: str) -> list[Any]:
        """Make ready for a new stream; return the endings that its first record has to declare."""

    def declared(self, endings: list[Any]) -> None:
        """Note that they are declared."""

    def append(self, lines: bytes) -> None:
        """Write whole lines, all or none; OSError if none."""

    def sync(self, upto: int | None = None) -> None:
        """Make durable what was written; OSError if that failed."""

    def repair(self) -> None:
        """Write again, elsewhere, what a failed `sync` left in doubt."""

    def end(self) -> None:
        """Finish the stream."""

    def forget(self) -> None:
        """Let go of everything, in a forked child, without touching the parent's."""

    @property
    def lock(self) -> threading.Lock | threading.RLock:
        """Held during a sync."""
