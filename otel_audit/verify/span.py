"""One stream as it stands in one source: which records, in which order.

A span is checked without knowing what stands before it; `joining` puts the spans of a stream together. That is why
the segments of one stream can be checked in parallel.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from .bulk import Run
from .content import Entry
from .controls import Claim, Cut, Fork, read_control
from .findings import Finding, Findings
from .trace import Trace

__all__ = ["CLOCK_TOLERANCE", "Rules", "Shared", "Span", "seconds_between"]

CLOCK_TOLERANCE: Final = 5.0
"""Seconds by which a record's time may be behind that of one before it: threads are stamped before they queue."""

_MISSED_HEARTBEATS: Final = 2.5
_RECENT_RUNS: Final = 8
_RECENT_RUN: Final = 1024
_MOST_HOLES: Final = 256
_WIDEST_HOLE: Final = 4096
_MERGED: Final = frozenset({"DUPLICATE", "FORK", "ORDER", "AFTER_CLOSE", "FOREIGN_STREAM"})


@dataclasses.dataclass(frozen=True, slots=True)
class Rules:
    """What is asked of the streams, beyond what the format says."""

    parsed_copy: bool = False
    """Lines may have been parsed and written again."""
    mixed: bool = False
    """Lines that are no records may stand between records."""
    unordered: bool = False
    """The order of lines means nothing, and identical copies are no fault."""
    max_silence: float | None = None
    """Seconds."""
    signatures: bool = False
    """Whether every stream is checked against signatures; else only one that names its keys."""
    times: bool = False
    """Whether that check needs every record's time."""
    digests: bool = False
    """Whether the SHA-256 of every source is wanted."""
    each_record: bool = False
    """Whether records' own signatures are checked."""

    def longest_silence(self, interval: float) -> float | None:
        """Return how many seconds may pass without a record, given the interval of heartbeats (0 if none)."""
        limits = [self.max_silence or 0.0, interval * _MISSED_HEARTBEATS]
        return min((each for each in limits if each > 0), default=None)


class Shared:
    """What the spans of one source share."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.strays = 0
        """Lines that may be damaged records of any stream in the source."""


@dataclasses.dataclass(slots=True)
class _Hole:
    """Records missing between two others. Found later in the same source, they were only moved."""

    missing: set[int]
    after: str | None
    """The hash that the record behind the hole gives to the last one in it."""
    finding: Finding


class Span:
    """The records of one stream in one source, taken in the order in which they stand there."""

    def __init__(self, stream: str, file: str, number: int | None, rules: Rules, shared: Shared) -> None:
        self.stream = stream
        self.file = file
        self.number = number
        """Of the segment, if the source is one."""
        self.exported = False
        """Whether its records come from exports, which are copies."""
        self.records = 0
        self.first: Entry | None = None
        self.first_line = 0
        self.last_line = 0
        self.seq = 0
        self.hash = ""
        self.also = ""
        """The hash that the last record's bytes give, if it has a fault and states another one."""
        self.latest = ""
        """The latest time of a record; the last record's may be a moment earlier."""
        self.interval = 0.0
        """Seconds between heartbeats, once one was seen."""
        self.last_time = ""
        self.lost = 0
        self.repeated_by = 0
        """The last record that says why lines were written again."""
        self.closed_at: int | None = None
        self.unknown_format = False
        self.archives: tuple[str, ...] = ()
        """Where the stream's first record says that it is archived, and under which lock."""
        self.claims: list[Claim] = []
        self.cuts: list[Cut] = []
        self.forks: list[Fork] = []
        self.never_opened: frozenset[str] = frozenset()
        """Children that ended without opening their stream, by the closing record."""
        self.damaged_head = 0
        """Damaged lines before the first good record."""
        self.damaged_tail = 0
        """Damaged lines behind the last good record."""
        self.trace: Trace | None = None
        """For the integrity checks; None if the stream names no keys and nobody asked."""
        self._rules = rules
        self._shared = shared
        self._strays_seen = 0
        self._damaged = 0
        self._beat: tuple[str, float] | None = None
        self._recent: deque[tuple[int, list[str]]] = deque(maxlen=_RECENT_RUNS)
        self._holes: list[_Hole] = []

    def report(self, code: str, line: int | None, seq: int, count: int = 1, **more: str | None) -> Finding:
        """Add a finding; one that goes on where the last one ended is counted there."""
        last = self._shared.findings.last()
        if last is not None and code in _MERGED and last.continues_with(code, self.stream, seq):
            last.count += 1
            return last
        found = Finding(code, self.file, line, stream=self.stream, seq=seq, count=count, **more)  # type: ignore[arg-type]
        return self._shared.findings.add(found)

    def take(self, entry: Entry, line: int) -> None:
        """Follow the stream by one record that is sound by itself."""
        if self.first is None:
            self._begin(entry, line)
        elif entry.seq <= self.seq:
            self._take_late(entry, line)
            return
        else:
            self._check_place(entry, line)
        if self.closed_at is not None:
            self.report("AFTER_CLOSE", line, entry.seq, detail=f"record {self.closed_at} closed the stream")
        self._check_time(entry.time, entry.seq, line)
        self._move_to(entry, line)
        if entry.data is not None:
            read_control(self, entry, line)

    def take_damaged(self, entry: Entry | None, line: int) -> None:
        """Step over a line with a fault; if it stands where the next record belongs, it is that record."""
        if entry is None or self.first is None or entry.seq != self.seq + 1:
            self._damaged += 1
            return
        self._move_to(entry, line)
        self.also = entry.computed
        self.damaged_tail = 1

    def take_run(self, run: Run, lines: Sequence[int]) -> None:
        """Follow the stream by many records that are sound and in order; `lines` are their line numbers."""
        start = 0
        for control in (*run.controls, len(run.hashes)):
            if start < control:
                self._take_plain(run, lines, start, control)
            if control < len(run.hashes):
                self.take(run.entry(control), lines[control])
            start = control + 1

    def _take_plain(self, run: Run, lines: Sequence[int], start: int, end: int) -> None:
        if not self._would_follow(run.seq + start, run.hashes[start - 1] if start else run.prev):
            for place in range(start, end):
                self.take(run.entry(place), lines[place])
            return
        if self.first is None:
            self._begin(run.entry(start), lines[start])
        times = run.times[start:end]
        if times[0] < self.latest or times != sorted(times) or self._is_silence(self.latest, times[-1]):
            for place, time in enumerate(times, start):
                self._check_time(time, run.seq + place, lines[place])
        self.latest = max(self.latest, times[-1])
        self.records += end - start
        if self.trace is not None:
            self.trace.extend(run.seq + start, run.hashes[start:end], times)
        self.seq, self.hash, self.also = run.seq + end - 1, run.hashes[end - 1], ""
        self.last_line, self.last_time = lines[end - 1], times[-1]
        self._settle()
        self._recent.append((run.seq + start, run.hashes[start:end]))

    def _would_follow(self, seq: int, prev: str | None) -> bool:
        """Tell whether a record at this place gives no finding."""
        if self.first is None:
            return True
        return self.closed_at is None and seq == self.seq + 1 and prev in {self.hash, self.also}

    def finish(self) -> None:
        """The source has ended: note what may stand behind the last record, forget what only served the reading."""
        self.damaged_tail = max(self.damaged_tail, self._unexplained())
        self._recent.clear()
        self._holes.clear()

    def beat(self, entry: Entry, interval: float, monotonic: float, line: int) -> None:
        """Take in a heartbeat: how often to expect them, and a clock that nobody sets."""
        self.interval = interval
        if self._beat is not None:
            passed = seconds_between(self._beat[0], entry.time)
            drift = passed - (monotonic - self._beat[1])
            if abs(drift) > CLOCK_TOLERANCE and passed >= 0:
                self.report("CLOCK_STEP", line, entry.seq, detail=f"by {drift:+.1f} s since the heartbeat before")
        self._beat = (entry.time, monotonic)

    def _begin(self, entry: Entry, line: int) -> None:
        self.first, self.first_line = entry, line
        self.damaged_head = self._unexplained()
        self.latest = entry.time
        if self._rules.signatures or entry.seq > 1 or (entry.data is not None and "keys" in entry.data):
            self.trace = Trace(entry.seq, times=self._rules.times, each_record=self._rules.each_record)

    def _unexplained(self) -> int:
        return self._damaged + self._shared.strays - self._strays_seen

    def _settle(self) -> None:
        self._damaged, self._strays_seen, self.damaged_tail = 0, self._shared.strays, 0

    def _move_to(self, entry: Entry, line: int) -> None:
        self.records += 1
        if self.trace is not None:
            self.trace.add(entry)
        self.seq, self.hash, self.also = entry.seq, entry.hash, ""
        self.last_line, self.last_time = line, entry.time
        self._settle()
        self._remember(entry)

    def _remember(self, entry: Entry) -> None:
        if self._recent:
            start, hashes = self._recent[-1]
            if start + len(hashes) == entry.seq and len(hashes) < _RECENT_RUN:
                hashes.append(entry.hash)
                return
        self._recent.append((entry.seq, [entry.hash]))

    def _recall(self, seq: int) -> str | None:
        for start, hashes in reversed(self._recent):
            if start <= seq < start + len(hashes):
                return hashes[seq - start]
        return None

    def _check_place(self, entry: Entry, line: int) -> None:
        missing = entry.seq - self.seq - 1
        damaged = self._unexplained()
        if missing == 0:
            if entry.prev not in {self.hash, self.also} and not damaged:
                self.report("PREV_MISMATCH", line, entry.seq, expected=self.hash, actual=entry.prev)
        elif missing > damaged:
            first = self.seq + 1
            found = self.report("SEQ_GAP", line, first, missing, expected=str(first), actual=str(entry.seq))
            if missing <= _WIDEST_HOLE and len(self._holes) < _MOST_HOLES:
                self._holes.append(_Hole(set(range(first, entry.seq)), entry.prev, found))

    def _take_late(self, entry: Entry, line: int) -> None:
        hole = next((hole for hole in self._holes if entry.seq in hole.missing), None)
        known = self._recall(entry.seq)
        if hole is not None:
            self._fill(hole, entry, line)
        elif known == entry.hash:
            self.report("DUPLICATE", line, entry.seq)
        elif known is not None:
            self.report("FORK", line, entry.seq, expected=known, actual=entry.hash)
        else:
            self.report("ORDER", line, entry.seq, expected=str(self.seq + 1), actual=str(entry.seq))

    def _fill(self, hole: _Hole, entry: Entry, line: int) -> None:
        before = self._recall(entry.seq - 1)
        last = hole.finding.seq is not None and entry.seq == hole.finding.seq + hole.finding.count - 1
        if before is not None and entry.prev != before:
            self.report("PREV_MISMATCH", line, entry.seq, expected=before, actual=entry.prev)
        elif last and hole.after != entry.hash:
            self.report("FORK", line, entry.seq, expected=hole.after, actual=entry.hash)
        self.records += 1
        self._remember(entry)
        hole.missing.discard(entry.seq)
        if hole.missing:
            return
        self._holes.remove(hole)
        found = hole.finding
        found.code, found.line, found.offset = "ORDER", line, None
        found.expected, found.actual = (
            f"before record {(found.seq or 0) + found.count}",
            f"behind record {self.seq}",
        )

    def _check_time(self, time: str, seq: int, line: int) -> None:
        latest = self.latest
        if time >= latest:
            if latest and self._is_silence(latest, time):
                self.report("SILENCE", line, seq, detail=f"{seconds_between(latest, time):.0f} s without a record")
            self.latest = time
        elif seconds_between(time, latest) > CLOCK_TOLERANCE:
            self.report("CLOCK_BACK", line, seq, expected=f"not before {latest}", actual=time)
            self.latest = time

    def _is_silence(self, start: str, end: str) -> bool:
        limit = self._rules.longest_silence(self.interval)
        return limit is not None and bool(start) and seconds_between(start, end) > limit


def seconds_between(start: str, end: str) -> float:
    """Return the seconds from one record's time to another's."""
    whole = datetime.fromisoformat(end[:19]) - datetime.fromisoformat(start[:19])
    return whole.total_seconds() + (int(end[20:29]) - int(start[20:29])) / 1e9
