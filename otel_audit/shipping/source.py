"""What a shipper reads from: a journal on disk, or the memory that stands in for one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ..journal.cursor import Cursor, write_state
from ..journal.quarantine import quarantine
from ..journal.reader import JournalReader, Position, Stretch

__all__ = ["CursorLike", "JournalSource", "Source"]


class CursorLike(Protocol):
    """One sink's place in one stream."""

    position: Position
    finished: bool
    begun: int
    """Number of the last record of the batch that was begun behind the position; no more than its number if none."""
    interval: float
    """Seconds between two moves, while there is more to send, that are worth their cost."""

    def acquire(self) -> bool:
        """Take it; False if another process ships this stream to this sink."""

    def move(self, position: Position, *, finished: bool = False, begun: int = 0) -> None:
        """Note that everything up to here is confirmed, and that a batch up to record `begun` is on its way."""

    def close(self) -> None:
        """Let it go."""


class Source(Protocol):
    """Streams of sealed lines, readable from any position while they are written."""

    def streams(self) -> Mapping[str, Any]:
        """Return the streams there are, oldest first."""

    def is_live(self, stream: str) -> bool:
        """Tell whether a process is still writing it."""

    def read_stretch(self, stream: str, after: Position, *, max_records: int, max_bytes: int) -> Stretch | None:
        """Return the next whole lines, at least one if there is one."""

    def cursor(self, sink: str, stream: str) -> CursorLike:
        """Return a sink's place in a stream, not yet taken."""

    def quarantine(self, sink: str, line: bytes, reason: str) -> None:
        """Put aside a line that a sink refuses for what it is."""

    def note_state(self, sink: str, state: Mapping[str, Any]) -> None:
        """Leave word, for `otel-audit status`, of how a sink is doing."""


class JournalSource(JournalReader):
    """A journal directory as a source."""

    def cursor(self, sink: str, stream: str) -> CursorLike:
        """Return a sink's place in a stream, kept in the journal."""
        return Cursor(self.directory, sink, stream)

    def quarantine(self, sink: str, line: bytes, reason: str) -> None:
        """Append the line to `quarantine/<sink>.jsonl`, durably."""
        quarantine(self.directory, sink, line, reason)

    def note_state(self, sink: str, state: Mapping[str, Any]) -> None:
        """Write `cursors/<sink>/state`."""
        write_state(self.directory, sink, state)
