"""Which records a report carries: what was found and its neighbours, each stream's first records, and its newest."""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Iterable, Sequence
from typing import Final

from otel_audit.integrity.merkle import Frontier
from otel_audit.verify.findings import Finding, Severity
from otel_audit.verify.report import Report, StreamSummary

__all__ = [
    "AROUND",
    "COLUMNS",
    "NO_NUMBER",
    "Chosen",
    "Row",
    "Shown",
    "Wanted",
    "rank",
    "share_out",
    "want",
]

MOST_RECORDS: Final = 10_000
MOST_BYTES: Final = 8 * 1024 * 1024
"""Of all records in a report, as they are written into it."""
_PROBLEM_SHARE: Final = 0.6
"""Of both, where there are problems."""
AROUND: Final = 2
"""Records before and behind what was found."""
_FIRST: Final = 2
"""Records at a stream's beginning that are always among those chosen."""
COLUMNS: Final = 120
"""Cells of the map from the first record to the last."""
NO_NUMBER: Final = 2**62
"""Beyond every record's number."""

_MOST_STREAMS: Final = 1_000
_FOLDED_AT_ONCE: Final = 32 * 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Shown:
    """A record that the report carries."""

    input: int
    """Place in `Report.inputs`."""
    line: int
    stream: str | None
    seq: int | None
    time: str
    sound: bool
    """Whether these bytes give the hash that they state."""
    hash: str
    """As the line states it."""
    prev: str | None
    """Likewise, of the record before."""
    json: str
    """The line, as a JSON string."""
    problem: bool
    """Whether it is here because of a finding, as one itself or as a neighbour."""


@dataclasses.dataclass(slots=True)
class Row:
    """One stream of the map, or all the others together."""

    cells: list[int] = dataclasses.field(default_factory=lambda: [0] * COLUMNS)
    """Records in each column."""
    checkpoints: set[int] = dataclasses.field(default_factory=set)
    """Columns in which one was recorded."""


@dataclasses.dataclass(slots=True)
class Wanted:
    """What is wanted of one stream."""

    stream: str = ""
    row: Row = dataclasses.field(default_factory=Row)
    around: frozenset[int] = frozenset()
    """Records that findings are about, and their neighbours."""
    moments: dict[int, str] = dataclasses.field(default_factory=dict)
    newest_from: int = NO_NUMBER
    touched: frozenset[int] = frozenset()
    """All numbers that need a look, but for the newest."""
    tree: Frontier = dataclasses.field(default_factory=Frontier)
    """Over the records before the newest, by the hashes that they state."""
    folded: int = 0
    """Records that `tree` and `leaves` hold."""
    leaves: bytearray = dataclasses.field(default_factory=bytearray)

    def fold(self, leaf: bytes) -> None:
        """Take the next record's hash into the tree."""
        self.folded += 1
        self.leaves += leaf
        if len(self.leaves) >= _FOLDED_AT_ONCE:
            self.finish()

    def finish(self) -> None:
        """Leave nothing waiting."""
        self.tree.extend(self.leaves)
        self.leaves.clear()


def rank(report: Report) -> list[StreamSummary]:
    """Return the streams that get attention: those with the gravest findings first, then the newest."""
    grave: dict[str, int] = {}
    for found in report.findings.listed:
        if found.stream is not None and found.severity is not Severity.NOTE:
            weight = 2 if found.severity is Severity.TAMPERED else 1
            grave[found.stream] = max(weight, grave.get(found.stream, 0))
    return heapq.nlargest(
        _MOST_STREAMS, report.streams, key=lambda stream: (grave.get(stream.stream, 0), stream.last_time)
    )


def share_out(report: Report, streams: int) -> tuple[float, int]:
    """Return each stream's share of what a report has room for, and how many of its newest records that is."""
    problems = any(found.severity is not Severity.NOTE for found in report.findings.listed)
    share = (1 - _PROBLEM_SHARE if problems else 1.0) / max(1, streams)
    return share, max(1, int(MOST_RECORDS * share) - _FIRST)


def want(
    report: Report, ranked: Sequence[StreamSummary], most: int, moments: Iterable[tuple[str, int]]
) -> dict[str, Wanted]:
    """Return what is wanted of each of these streams: `most` of its newest, and what findings are about."""
    around: dict[str, set[int]] = {}
    times: dict[str, dict[int, str]] = {}
    for found in report.findings.listed:
        if found.stream is None or found.severity is Severity.NOTE:
            continue
        for seq in _places(found):
            around.setdefault(found.stream, set()).update(range(max(1, seq - AROUND), seq + AROUND))
            times.setdefault(found.stream, {}).update(dict.fromkeys((seq - 1, seq), ""))
    for stream, seq in moments:
        times.setdefault(stream, {})[seq] = ""
    wanted = {}
    for each in ranked:
        near = around.get(each.stream, set())
        asked = times.get(each.stream, {})
        touched = frozenset({*range(1, _FIRST + 1), *near, *asked})
        wanted[each.stream] = Wanted(each.stream, Row(), frozenset(near), asked, each.last_seq - most + 1, touched)
    return wanted


def _places(found: Finding) -> tuple[int, ...]:
    """Return the first and the last record that a finding is about, and the one behind them."""
    if found.seq is None:
        return ()
    return (found.seq, found.seq + found.count - 1, found.seq + found.count)


class Chosen:
    """The selection as it grows: problems up to their share, the streams' first records, and their newest."""

    def __init__(self, share: float, most: int) -> None:
        """`share` of all bytes, and `most` records, are each stream's."""
        self._problems: dict[tuple[int, int, str], Shown] = {}
        self._problem_bytes = 0
        self._firsts: list[Shown] = []
        self._newest: dict[str | None, list[tuple[int, int, Shown]]] = {}
        self._bytes: dict[str | None, int] = {}
        self._most_bytes = int(MOST_BYTES * share)
        self._most = most
        self._count = 0

    def add(self, shown: Shown) -> None:
        """Take a record, if there is room for it; of a stream's newest, older ones give way."""
        if shown.problem:
            self._add_problem(shown)
        elif (shown.seq or 0) <= _FIRST and len(shown.json) <= self._most_bytes and len(self._firsts) < MOST_RECORDS:
            self._firsts.append(shown)
        else:
            self._add_newest(shown)

    def _add_problem(self, shown: Shown) -> None:
        key = (shown.input, shown.line, shown.json)
        room = len(self._problems) < MOST_RECORDS * _PROBLEM_SHARE
        if room and self._problem_bytes + len(shown.json) <= MOST_BYTES * _PROBLEM_SHARE and key not in self._problems:
            self._problems[key] = shown
            self._problem_bytes += len(shown.json)

    def _add_newest(self, shown: Shown) -> None:
        kept = self._newest.setdefault(shown.stream, [])
        self._count += 1
        heapq.heappush(kept, (shown.seq or 0, self._count, shown))
        size = self._bytes.get(shown.stream, 0) + len(shown.json)
        while len(kept) > 1 and (len(kept) > self._most or size > self._most_bytes):
            size -= len(heapq.heappop(kept)[2].json)
        self._bytes[shown.stream] = size

    def all(self) -> list[Shown]:
        """Return the selection, problems first; of identical copies the first one."""
        newest = (each for kept in self._newest.values() for _, _, each in sorted(kept, key=lambda one: one[:2]))
        found: dict[tuple[str | None, int | None, str], Shown] = {}
        for each in (*self._problems.values(), *self._firsts, *newest):
            found.setdefault((each.stream, each.seq, each.json), each)
        return list(found.values())
