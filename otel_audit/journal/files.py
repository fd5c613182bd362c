"""How a journal lies on disk: names of segments, which stream is whose, and who is still writing.

<stream>.<number>.jsonl     segments of a stream, numbered from 000001; the next one continues the chain
ended/<stream>              empty: a later stream's first record declares how this stream ended
cursors/<sink>/<stream>     how far a sink has confirmed this stream
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

if sys.platform != "win32":
    import fcntl

__all__ = [
    "Segment",
    "is_live",
    "list_segments",
    "list_streams",
    "lock",
    "make_durable",
    "segment_name",
    "sync_directory",
]

_SEGMENT: Final = re.compile(r"([0-9a-f]{32})\.([0-9]{6,9})\.jsonl")


class Segment(NamedTuple):
    """One file of a stream."""

    stream: str
    number: int
    path: Path


def segment_name(stream: str, number: int) -> str:
    """Return the file name of a stream's segment."""
    return f"{stream}.{number:06d}.jsonl"


def list_segments(directory: Path) -> Iterator[Segment]:
    """Yield the segments in a journal, in no order. A directory that is not there has none."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return
    for name in names:
        if found := _SEGMENT.fullmatch(name):
            yield Segment(found[1], int(found[2]), directory / name)


def list_streams(directory: Path) -> dict[str, list[Segment]]:
    """Return the streams in a journal, oldest first, each with its segments in order."""
    streams: dict[str, list[Segment]] = {}
    for segment in sorted(list_segments(directory)):
        streams.setdefault(segment.stream, []).append(segment)
    return streams


if sys.platform == "win32":

    def lock(descriptor: int) -> bool:
        """Say that this system can read and verify journals, not write them."""
        raise OSError("journals are written on systems with flock(2); this one can only read and verify them")

    def is_live(segment: Segment) -> bool:
        """Tell that nobody on this system writes a segment."""
        return False

else:

    def lock(descriptor: int) -> bool:
        """Take the exclusive lock that a stream's writer holds on its segment; False if another process has it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def is_live(segment: Segment) -> bool:
        """Tell whether a process still writes a stream, given the stream's last segment.

        A writer makes a file, locks it, lets the one before it go, and only then writes into it. So the one before
        is looked at first, and the lock of a new stream's first file is left alone until something is in it: else
        this could take it from under its writer, or take a stream that moves on for one that has ended.
        """
        before, after = (
            segment.path.with_name(segment_name(segment.stream, segment.number + step)) for step in (-1, 1)
        )
        if _is_locked(before):
            return True
        with contextlib.suppress(FileNotFoundError):
            if segment.number == 1 and os.stat(segment.path).st_size == 0:
                return True
        return _is_locked(segment.path) or after.exists()

    def _is_locked(path: Path) -> bool:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(descriptor)


def sync_directory(directory: Path) -> None:
    """Make the directory's entries durable: after a file is made, renamed or removed (fsync(2), NOTES)."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


if sys.platform == "darwin":

    def make_durable(descriptor: int) -> None:
        """Have a file's data written through the drive's cache, which fsync(2) does not do on macOS."""
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)

elif sys.platform == "win32":

    def make_durable(descriptor: int) -> None:
        """Have a file's data written."""
        os.fsync(descriptor)

else:

    def make_durable(descriptor: int) -> None:
        """Have a file's data, and the size needed to read it, written (fdatasync(2))."""
        os.fdatasync(descriptor)
