"""What retention may remove from a journal: whole segments, from a stream's beginning, that every sink has.

For each of them the stream is cut at one place: behind the record `last_seq` with the hash `last_hash`, which the
first record that stays names as the one before it. That is what an `audit.prune` record says, and what a verifier
holds against the record that stays.
"""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from ..canonical import parse
from ..record import MAX_LINE, Control
from .cursor import list_cursors, read_position
from .files import Segment, is_live, list_streams
from .recovery import read_last_record

__all__ = ["Due", "Limits", "Removal", "find_due", "find_needed_cuts"]

_PRUNE_MARK: Final = f'"event_name":"{Control.PRUNE}"'.encode()


class Limits(NamedTuple):
    """What a journal may hold. None for no limit."""

    age: float | None = None
    """Seconds since a segment was last written."""
    size: int | None = None
    """Bytes of all segments together."""


class Removal(NamedTuple):
    """One segment that may go, and where its stream is cut then."""

    segment: Segment
    first_seq: int
    last_seq: int
    """0 if no record goes with it: it holds none, or the next segment repeats them all."""
    last_hash: str
    reason: str

    def as_json(self) -> dict[str, Any]:
        """Return the data of the `audit.prune` record."""
        return {
            "first_seq": self.first_seq,
            "last_hash": self.last_hash,
            "last_seq": self.last_seq,
            "reason": self.reason,
            "segments": [self.segment.path.name],
            "stream": self.segment.stream,
        }


class Due(NamedTuple):
    """What is to be removed, in order, and which sinks keep more from being removed."""

    removals: list[Removal]
    held: frozenset[str]


class _Place(NamedTuple):
    seq: int
    prev_hash: str
    data: Mapping[str, Any]


def find_due(directory: Path, limits: Limits, *, sinks: Iterable[str], own: str, most: int) -> Due:
    """Return the segments beyond the limits that every known sink has: at most `most`, the oldest first.

    Known are the given sinks and those with cursors in the journal; one without a cursor for a stream holds all of
    it. The last segment of a stream that is still written, and of the stream `own`, always stays.
    """
    streams = list_streams(directory)
    known = sorted({*sinks, *list_cursors(directory)})
    stats = {segment: status for each in streams.values() for segment in each if (status := _stat(segment))}
    total = sum(status.st_size for status in stats.values())
    oldest_kept = float("-inf") if limits.age is None else time.time() - limits.age
    heads = [(stats[each[0]].st_mtime, stream, 0) for stream, each in streams.items() if each[0] in stats]
    heapq.heapify(heads)
    removals: list[Removal] = []
    held: set[str] = set()
    while heads and len(removals) < most:
        written, stream, index = heapq.heappop(heads)
        reason = _reason(limits, too_old=written < oldest_kept, total=total)
        if reason is None:
            break
        segments = streams[stream]
        if index + 1 == len(segments) and (stream == own or is_live(segments[index])):
            continue
        removal = _cut(segments, index, reason)
        if removal is None:
            continue
        if behind := [sink for sink in known if not _has(directory, sink, removal)]:
            held.update(behind)
            continue
        removals.append(removal)
        total -= stats[segments[index]].st_size
        if index + 1 < len(segments) and segments[index + 1] in stats:
            heapq.heappush(heads, (stats[segments[index + 1]].st_mtime, stream, index + 1))
    return Due(removals, frozenset(held))


def find_needed_cuts(directory: Path, removals: Sequence[Removal]) -> list[dict[str, Any]]:
    """Return the data of earlier `audit.prune` records that go with these segments and are still needed.

    They are needed where a stream begins at the cut, or is gone and another stream's first record names it.
    """
    going = {removal.segment for removal in removals}
    found = {(cut["stream"], cut["last_seq"]): cut for removal in removals for cut in _read_cuts(removal.segment.path)}
    if not found:
        return []
    left = {
        stream: rest
        for stream, segments in list_streams(directory).items()
        if (rest := [segment for segment in segments if segment not in going])
    }
    named = set(_named_by(left.values()))
    return [cut for cut in found.values() if _is_needed(cut, left.get(cut["stream"]), named)]


def _is_needed(cut: Mapping[str, Any], segments: Sequence[Segment] | None, named: set[str]) -> bool:
    if segments is None:
        return cut["stream"] in named
    first = _first_record(segments[0].path)
    return first is not None and (first.seq - 1, first.prev_hash) == (cut["last_seq"], cut["last_hash"])


def _named_by(streams: Iterable[Sequence[Segment]]) -> Iterator[str]:
    """Yield the streams that the first records of these streams name: those before them, and their parents."""
    for segments in streams:
        opening = _first_record(segments[0].path)
        if opening is not None and opening.seq == 1:
            for link in [*opening.data.get("previous", ()), opening.data.get("parent", {})]:
                yield str(link.get("stream"))


def _reason(limits: Limits, *, too_old: bool, total: int) -> str | None:
    if too_old:
        return f"older than {limits.age:g} s"
    if limits.size is not None and total > limits.size:
        return f"the journal was larger than {limits.size} bytes"
    return None


def _stat(segment: Segment) -> os.stat_result | None:
    try:
        return os.stat(segment.path)
    except FileNotFoundError:  # another process prunes too
        return None


def _cut(segments: Sequence[Segment], index: int, reason: str) -> Removal | None:
    """Return where a stream is cut if this segment goes; None if that cannot be told."""
    segment = segments[index]
    try:
        first = _first_record(segment.path)
        following = next(filter(None, (_first_record(each.path) for each in segments[index + 1 :])), None)
        if first is None:
            # A segment that holds no record; what cannot be read is left for `verify` to judge.
            return Removal(segment, 0, 0, "", reason) if read_last_record(segment.path) is None else None
        if following is not None:
            last_seq = following.seq - 1
            return Removal(segment, first.seq, last_seq if last_seq >= first.seq else 0, following.prev_hash, reason)
        last = read_last_record(segment.path)
    except FileNotFoundError:
        return None
    return None if last is None else Removal(segment, first.seq, last.seq, last.hash, reason)


def _has(directory: Path, sink: str, removal: Removal) -> bool:
    position, finished = read_position(directory, sink, removal.segment.stream)
    return finished or position.seq >= removal.last_seq


def _first_record(path: Path) -> _Place | None:
    """Return the place of a segment's first record; None if its first line is none."""
    with path.open("rb") as file:
        line = file.readline(MAX_LINE)
    return _read(line) if line.endswith(b"\n") else None


def _read(line: bytes) -> _Place | None:
    try:
        record = parse(line)
    except ValueError:
        return None
    seq, prev_hash, data = record.get("seq"), record.get("prev_hash", ""), record.get("data", {})
    if not (isinstance(seq, int) and isinstance(prev_hash, str) and isinstance(data, dict)):
        return None
    return _Place(seq, prev_hash, data)


def _read_cuts(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the data of the `audit.prune` records in a segment."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        while line := file.readline(MAX_LINE):
            if _PRUNE_MARK in line and (data := _read_prune(line)) is not None:
                yield data


def _read_prune(line: bytes) -> dict[str, Any] | None:
    try:
        record = parse(line)
    except ValueError:
        return None
    data = record.get("data")
    if record.get("event_name") != Control.PRUNE or not isinstance(data, dict):
        return None
    return data if {"stream", "last_seq", "last_hash"} <= data.keys() else None
