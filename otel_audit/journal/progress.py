"""How far each sink is: the end of each stream, and the distance of each cursor from it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, NamedTuple

from .cursor import list_cursors, read_position, read_state
from .files import is_live, list_streams
from .reader import JournalReader
from .recovery import read_last_record

__all__ = ["SinkProgress", "last_seqs", "sink_progress"]


class SinkProgress(NamedTuple):
    """How far one sink is with a journal."""

    sink: str
    confirmed: int
    """Records confirmed, in the streams that are still in the journal."""
    behind: int
    """Records not yet confirmed."""
    oldest: str | None
    """Time of the oldest of those."""
    state: dict[str, Any]
    """What the shipper last said: `error`, `failing_since`, `refused`, `at`; empty if it never failed."""


def last_seqs(directory: Path) -> dict[str, int]:
    """Return the last record's number of each stream in a journal."""
    ends: dict[str, int] = {}
    for stream, segments in list_streams(directory).items():
        for segment in reversed(segments):
            with contextlib.suppress(FileNotFoundError):  # retention took it while we looked
                if (last := read_last_record(segment.path)) is not None:
                    ends[stream] = last.seq
                    break
    return ends


def live_streams(directory: Path) -> set[str]:
    """Return the streams that a process is writing now."""
    return {stream for stream, segments in list_streams(directory).items() if is_live(segments[-1])}


def sink_progress(directory: Path) -> list[SinkProgress]:
    """Return how far each sink is that ever shipped from this journal."""
    ends = last_seqs(directory)
    reader = JournalReader(directory)
    found: list[SinkProgress] = []
    for sink in list_cursors(directory):
        confirmed = behind = 0
        oldest: list[str] = []
        for stream, seq in ends.items():
            position, _ = read_position(directory, sink, stream)
            confirmed += min(position.seq, seq)
            if seq > position.seq:
                behind += seq - position.seq
                waiting = reader.read(stream, position, max_records=1, max_bytes=1)
                oldest.extend(one.line[15:45].decode("ascii", "replace") for one in waiting)
        found.append(SinkProgress(sink, confirmed, behind, min(oldest, default=None), read_state(directory, sink)))
    return found
