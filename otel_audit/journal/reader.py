"""Reading a journal while it is written: whole lines from a position on, over a stream's segments.

What the shippers stand on. Lines are found by their newline and placed by their tail; nothing is parsed or checked
here (that is `verify`'s work).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from ..record import MAX_LINE
from .files import Segment, is_live, list_streams, segment_name

__all__ = ["JournalReader", "Position", "StoredLine", "Stretch", "read_seq"]

_CHUNK: Final = 1 << 20
_TAIL: Final = 256
_SEQ: Final = b',"seq":'
_STREAM: Final = b',"stream":"'


class Position(NamedTuple):
    """How far a reader got in a stream: behind the record `seq`, at `offset` bytes into segment `segment`."""

    segment: int = 1
    offset: int = 0
    seq: int = 0


class StoredLine(NamedTuple):
    """A sealed line, and the position behind it."""

    seq: int
    line: bytes
    after: Position


class Stretch(NamedTuple):
    """Whole lines of one stream, one behind the other, and the position behind them."""

    data: bytes
    seqs: Sequence[int]
    after: Position


def read_seq(line: bytes) -> int | None:
    """Return a sealed line's sequence number, read from its tail; None if these bytes have no such tail."""
    start = line.rfind(_SEQ, max(0, len(line) - _TAIL))
    end = line.find(_STREAM, start)
    digits = line[start + len(_SEQ) : end]
    return int(digits) if start >= 0 and end > 0 and digits.isdigit() else None


class JournalReader:
    """Reads the streams of one journal directory. Holds no file open between calls."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def streams(self) -> dict[str, list[Segment]]:
        """Return the streams, oldest first, each with the segments that are still there, in order."""
        return list_streams(self.directory)

    def is_live(self, stream: str) -> bool:
        """Tell whether a process is still writing this stream."""
        segments = self.streams().get(stream)
        return segments is not None and is_live(segments[-1])

    def read(self, stream: str, after: Position, *, max_records: int, max_bytes: int) -> list[StoredLine]:
        """Return the next whole lines of a stream, as many as fit, at least one if there is one.

        Lines that a segment repeats from the one before it (after a failed fsync) are passed over.
        """
        lines: list[StoredLine] = []
        size = 0
        for stored in self._lines(stream, after):
            if lines and size + len(stored.line) > max_bytes:
                break
            lines.append(stored)
            size += len(stored.line)
            if len(lines) == max_records:
                break
        return lines

    def read_stretch(self, stream: str, after: Position, *, max_records: int, max_bytes: int) -> Stretch | None:
        """Return the next lines as `read` does, in one piece; None if there are none.

        Lines that follow each other without a hole are not looked at one by one: this is the way of every record to
        every sink.
        """
        path = self.directory / segment_name(stream, after.segment)
        data = _read_lines(path, after.offset, max_records, max_bytes)
        if data:
            first = read_seq(data[: data.index(b"\n") + 1])
            last = read_seq(data[data.rfind(b"\n", 0, -1) + 1 :])
            if first == after.seq + 1 and last == after.seq + data.count(b"\n"):
                end = Position(after.segment, after.offset + len(data), last)
                return Stretch(data, range(first, last + 1), end)
        lines = self.read(stream, after, max_records=max_records, max_bytes=max_bytes)
        if not lines:
            return None
        return Stretch(b"".join([one.line for one in lines]), [one.seq for one in lines], lines[-1].after)

    def at_end(self, stream: str, position: Position) -> bool:
        """Tell whether no whole line stands behind this position."""
        return next(self._lines(stream, position), None) is None

    def _lines(self, stream: str, after: Position) -> Iterator[StoredLine]:
        number, offset, last = after
        while True:
            path = self.directory / segment_name(stream, number)
            following = None
            while True:
                for line, offset in _whole_lines(path, offset):  # noqa: B020 - goes on where it stopped
                    seq = read_seq(line)
                    if seq is not None and seq > last:
                        last = seq
                        yield StoredLine(seq, line, Position(number, offset, seq))
                if following is not None:
                    break
                # Once there is a next segment, this one does not grow; what it grew by in the meantime is read above.
                following = self._next_number(stream, number)
                if following is None:
                    return
            number, offset = following, 0

    def _next_number(self, stream: str, number: int) -> int | None:
        if (self.directory / segment_name(stream, number + 1)).exists():
            return number + 1
        if is_live(Segment(stream, number, self.directory / segment_name(stream, number))):
            return None
        later = [segment.number for segment in self.streams().get(stream, ()) if segment.number > number]
        return min(later, default=None)


def _read_lines(path: Path, offset: int, most: int, size: int) -> bytes:
    """Return whole lines, at most so many, of the bytes at this place in a file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        data = os.pread(descriptor, size, offset)
    finally:
        os.close(descriptor)
    end = data.rfind(b"\n") + 1
    if data.count(b"\n") > most:
        end = len(data) - len(data.split(b"\n", most)[most])
    return data[:end]


def _whole_lines(path: Path, offset: int) -> Iterator[tuple[bytes, int]]:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(offset)
        pending = b""
        while chunk := file.read(_CHUNK):
            *whole, pending = (pending + chunk).split(b"\n")
            for line in whole:
                offset += len(line) + 1
                yield line + b"\n", offset
            if len(pending) > MAX_LINE:
                return  # no line of ours is as long: the rest of this segment is not a journal
