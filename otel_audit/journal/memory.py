"""A journal in memory, for containers without a disk: bounded, gone with the process, said so by its name.

It holds a record until every sink has confirmed it. When it is full, `append` fails like a full disk does: the
failure policy decides, and an `audit.gap` record tells.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Mapping
from typing import Any

from .reader import Position, StoredLine, Stretch, read_seq

__all__ = ["MemoryJournal"]


class MemoryJournal:
    """Implements `store.Store` for the writer and `shipping.Source` for the shippers.

    Args:
        max_bytes: most bytes of lines kept.
        readers: how many sinks have to confirm a record before it is let go.
    """

    def __init__(self, max_bytes: int, *, readers: int) -> None:
        self.written = self.durable = 0
        self._max_bytes = max_bytes
        self._readers = readers
        self._reset()

    def _reset(self) -> None:
        self.lock = threading.Lock()
        self._guard = threading.Lock()
        self._streams: dict[str, list[StoredLine]] = {}
        self._cursors: dict[str, dict[str, _MemoryCursor]] = {}
        self._current = ""
        self._used = 0
        self._refused = 0

    def begin(self, stream: str) -> list[Any]:
        """Start a stream. Nothing before it is left to declare."""
        with self._guard:
            self._streams[stream] = []
            self._current = stream
        return []

    def declared(self, endings: list[Any]) -> None:
        """Nothing to note."""

    def append(self, lines: bytes) -> None:
        """Keep lines.

        Raises:
            OSError: it is full.
        """
        with self._guard:
            if self._used + len(lines) > self._max_bytes:
                raise OSError(errno.ENOBUFS, f"the memory journal is full ({self._max_bytes} bytes)")
            kept = self._streams[self._current]
            for line in lines.splitlines(keepends=True) if lines.count(b"\n") > 1 else (lines,):
                seq = read_seq(line) or 0
                kept.append(StoredLine(seq, line, Position(1, 0, seq)))
            self._used += len(lines)
            self.written += len(lines)

    def sync(self, upto: int | None = None) -> None:
        """Nothing: memory is as durable as it gets."""

    def repair(self) -> None:
        """Nothing to repair."""

    def end(self) -> None:
        """Finish the stream; what is not confirmed stays until it is."""
        with self._guard:
            self._current = ""

    def forget(self) -> None:
        """In a forked child: start empty; the parent ships what it has."""
        self.written = 0
        self._reset()

    def streams(self) -> Mapping[str, Any]:
        """Return the streams that are not yet confirmed whole, oldest first."""
        with self._guard:
            return dict.fromkeys(self._streams)

    def is_live(self, stream: str) -> bool:
        """Tell whether this is the stream being written."""
        return stream == self._current

    def read_stretch(self, stream: str, after: Position, *, max_records: int, max_bytes: int) -> Stretch | None:
        """Return the next lines, at least one if there is one."""
        with self._guard:
            kept = self._streams.get(stream, [])
            start = after.seq + 1 - kept[0].seq if kept else 0
            found: list[StoredLine] = []
            size = 0
            for one in kept[max(start, 0) : max(start, 0) + max_records]:
                size += len(one.line)
                if found and size > max_bytes:
                    break
                found.append(one)
        if not found:
            return None
        return Stretch(b"".join([one.line for one in found]), [one.seq for one in found], found[-1].after)

    def cursor(self, sink: str, stream: str) -> _MemoryCursor:
        """Return a sink's place in a stream."""
        with self._guard:
            return self._cursors.setdefault(stream, {}).setdefault(sink, _MemoryCursor(self, stream))

    def quarantine(self, sink: str, line: bytes, reason: str) -> None:
        """Count it: there is nowhere to put it aside; the trail records that it was refused, and why."""
        with self._guard:
            self._refused += 1

    def note_state(self, sink: str, state: Mapping[str, Any]) -> None:
        """Nothing: there is nowhere to leave word."""

    def _let_go(self, stream: str) -> None:
        with self._guard:
            cursors = self._cursors.get(stream, {})
            if len(cursors) < self._readers:
                return
            confirmed = min(cursor.position.seq for cursor in cursors.values())
            kept = self._streams.get(stream, [])
            count = confirmed + 1 - kept[0].seq if kept else 0
            if count > 0:
                self._used -= sum(len(one.line) for one in kept[:count])
                del kept[:count]
            if not kept and stream != self._current and all(cursor.finished for cursor in cursors.values()):
                self._streams.pop(stream, None)
                self._cursors.pop(stream, None)


class _MemoryCursor:
    """A sink's place in a stream, in memory. Implements `shipping.CursorLike`."""

    interval = 0.0  # each move makes room

    def __init__(self, journal: MemoryJournal, stream: str) -> None:
        self.position = Position()
        self.finished = False
        self.begun = 0
        self._journal = journal
        self._stream = stream

    def acquire(self) -> bool:
        return True

    def move(self, position: Position, *, finished: bool = False, begun: int = 0) -> None:
        self.position, self.finished, self.begun = position, finished, begun
        self._journal._let_go(self._stream)

    def close(self) -> None:
        pass
