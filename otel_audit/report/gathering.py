"""A second look at what was verified: which records a report carries, and where everything lies in time.

A report must stay small however much was checked, so it carries a selection: what was found and its surroundings
first, then each stream's beginning and its newest records. Memory is bounded by that selection, not by the sources.
"""

from __future__ import annotations

import dataclasses
import heapq
import json
import re
import sys
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from otel_audit.chain import HASH_MEMBER_LENGTH, leaf_hash
from otel_audit.record import Control
from otel_audit.verify.content import examine, looks_like_record
from otel_audit.verify.envelopes import Envelope, choose_envelope
from otel_audit.verify.findings import Finding, Severity
from otel_audit.verify.lines import Block, Overlong, Remainder, read_blocks
from otel_audit.verify.report import Report, StreamSummary
from otel_audit.verify.sources import STDIN, Reader, Source, Unreadable, find_sources, open_source

from .escaping import as_json

__all__ = ["COLUMNS", "MOST_BYTES", "MOST_RECORDS", "Gathered", "Row", "Shown", "gather"]

MOST_RECORDS: Final = 10_000
MOST_BYTES: Final = 8 * 1024 * 1024
"""Of all records in a report, as they are written into it."""
COLUMNS: Final = 120
"""Cells of the map from the first record to the last."""

_MOST_STREAMS: Final = 1_000
_MOST_ROWS: Final = 24
_LONGEST_SHOWN: Final = 256 * 1024
_LONGEST_ODD: Final = 4096
_NARROWEST: Final = timedelta(milliseconds=10)
_AROUND: Final = 2
"""Records before and behind what was found."""
_TAIL: Final = re.compile(rb'"seq":([0-9]{1,16}),"stream":"([0-9a-f]{32})","hash":"([0-9a-f]{64})"\}\Z')
_LONGEST_TAIL: Final = 160
_PREV: Final = re.compile(rb'"prev_hash":"([0-9a-f]{64})",\Z')
_TIME: Final = slice(15, 45)
"""Where a canonical line has its time: it begins with `{"@timestamp":"`."""
_HASH_END: Final = HASH_MEMBER_LENGTH - 1
_CHECKPOINT: Final = f'"event_name":"{Control.CHECKPOINT}"'.encode()
_PROBLEM_SHARE: Final = 0.6
_FIRST: Final = 2
"""Records at a stream's beginning that are always among those chosen."""


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

    cells: list[int]
    """Records in each column."""
    checkpoints: set[int] = dataclasses.field(default_factory=set)
    """Columns in which one was recorded."""


@dataclasses.dataclass(slots=True)
class Gathered:
    """What a second look gave."""

    shown: list[Shown]
    left_out: int
    """Records that were checked and are not carried."""
    rows: dict[str, Row]
    others: Row
    """All streams that have no row of their own."""
    start: str
    """When the map's first column begins."""
    bounds: list[str]
    """When each column ends."""
    moments: dict[tuple[str, int], str]
    """Times of the records that findings and checkpoints are about."""
    openings: dict[str, dict[str, Any]]
    """What the streams with a row say of themselves in their first record."""
    notes: dict[str, str]
    """The newest checkpoint in each of these streams."""
    owners: dict[str, str]
    """Path -> stream, of journal segments."""
    lines: dict[tuple[str, int], str]
    """Times of the records near a line (path, number) that a finding is about."""

    def column(self, time: str) -> int:
        """Return the column of the map that a time falls into."""
        return min(bisect_right(self.bounds, time), COLUMNS - 1)


@dataclasses.dataclass(slots=True)
class _Wanted:
    """What is wanted of one stream."""

    row: Row
    stream: str = ""
    around: frozenset[int] = frozenset()
    """Records that findings are about, and their neighbours."""
    moments: dict[int, str] = dataclasses.field(default_factory=dict)
    newest_from: int = 2**62
    touched: frozenset[int] = frozenset()
    """All numbers that need a look, but for the newest."""


def gather(
    report: Report, moments: Iterable[tuple[str, int]] = (), *, parsed_copy: bool = False, mixed: bool = False
) -> Gathered:
    """Read the sources of a report once more, as far as they were verified. Standard input must be seekable.

    Args:
        report: what the verifier found in them.
        moments: records (stream, seq) whose times are wanted as well.
        parsed_copy: as for `verify`.
        mixed: as for `verify`.
    """
    ranked = _rank(report)
    start, bounds = _bounds(report.streams)
    others = Row([0] * COLUMNS)
    rows = {stream.stream: Row([0] * COLUMNS) for stream in ranked[:_MOST_ROWS]}
    wanted = _want(report, ranked, rows, others, moments)
    problems = any(found.severity is not Severity.NOTE for found in report.findings.listed)
    chosen = _Chosen(len(wanted), problems=problems)
    result = Gathered([], 0, rows, others, start, bounds, {}, {}, {}, {}, {})
    look = _Look(report, wanted, _Wanted(others), chosen, result, parsed_copy=parsed_copy, mixed=mixed)
    if STDIN in look.paths:
        sys.stdin.buffer.seek(0)
    for source in find_sources(look.paths):
        if isinstance(source, Source):
            look.read(source)
    result.shown = chosen.all()
    result.left_out = max(0, report.records - sum(each.seq is not None for each in result.shown))
    for stream, each in wanted.items():
        result.moments.update({(stream, seq): time for seq, time in each.moments.items() if time})
    return result


def _rank(report: Report) -> list[StreamSummary]:
    """Return the streams that get attention: those with the gravest findings first, then the newest."""
    grave: dict[str, int] = {}
    for found in report.findings.listed:
        if found.stream is not None and found.severity is not Severity.NOTE:
            weight = 2 if found.severity is Severity.TAMPERED else 1
            grave[found.stream] = max(weight, grave.get(found.stream, 0))
    return heapq.nlargest(
        _MOST_STREAMS, report.streams, key=lambda stream: (grave.get(stream.stream, 0), stream.last_time)
    )


def _bounds(streams: Sequence[StreamSummary]) -> tuple[str, list[str]]:
    """Return when the first column of the map begins, and when each of them ends."""
    start = min((stream.first_time for stream in streams if stream.first_time), default="")
    end = max((stream.last_time for stream in streams if stream.last_time), default="")
    if not start or not end:
        return "", []
    first, last = datetime.fromisoformat(start[:26]), datetime.fromisoformat(end[:26])
    if last - first < _NARROWEST and first.year < 9999:
        last = first + _NARROWEST
    step = (last - first) / COLUMNS
    ends = [min(first + step * number, last) for number in range(1, COLUMNS)]  # `last` may be the end of the year 9999
    return start, [f"{end.isoformat(timespec='microseconds')}000Z" for end in (*ends, last)]


def _want(
    report: Report,
    ranked: Sequence[StreamSummary],
    rows: Mapping[str, Row],
    others: Row,
    moments: Iterable[tuple[str, int]],
) -> dict[str, _Wanted]:
    around: dict[str, set[int]] = {}
    times: dict[str, dict[int, str]] = {}
    for found in report.findings.listed:
        if found.stream is None or found.severity is Severity.NOTE:
            continue
        for seq in _places(found):
            around.setdefault(found.stream, set()).update(range(max(1, seq - _AROUND), seq + _AROUND))
            times.setdefault(found.stream, {}).update(dict.fromkeys((seq - 1, seq), ""))
    for stream, seq in moments:
        times.setdefault(stream, {})[seq] = ""
    share = max(1, MOST_RECORDS // max(1, len(ranked)))
    wanted = {}
    for each in ranked:
        near = around.get(each.stream, set())
        asked = times.get(each.stream, {})
        wanted[each.stream] = _Wanted(
            rows.get(each.stream, others),
            each.stream,
            frozenset(near),
            asked,
            each.last_seq - share + 1,
            frozenset({*range(1, _FIRST + 1), *near, *asked}),
        )
    return wanted


def _places(found: Finding) -> tuple[int, ...]:
    """Return the first and the last record that a finding is about, and the one behind them."""
    if found.seq is None:
        return ()
    return (found.seq, found.seq + found.count - 1, found.seq + found.count)


class _Chosen:
    """The selection as it grows: problems up to their share, the streams' first records, and their newest."""

    def __init__(self, streams: int, *, problems: bool) -> None:
        """`streams` share what is left; `problems` says whether to leave room for any."""
        self._problems: dict[tuple[int, int, str], Shown] = {}
        self._problem_bytes = 0
        self._firsts: list[Shown] = []
        self._newest: dict[str | None, list[tuple[int, int, Shown]]] = {}
        self._bytes: dict[str | None, int] = {}
        share = 1 - _PROBLEM_SHARE if problems else 1.0
        self._most_bytes = int(MOST_BYTES * share) // max(1, streams)
        self._most = max(1, int(MOST_RECORDS * share) // max(1, streams) - _FIRST)
        self._count = 0

    def add(self, shown: Shown) -> None:
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


class _Look:
    """Reads sources and hands what is wanted of them to the selection."""

    def __init__(
        self,
        report: Report,
        wanted: Mapping[str, _Wanted],
        rest: _Wanted,
        chosen: _Chosen,
        result: Gathered,
        *,
        parsed_copy: bool,
        mixed: bool,
    ) -> None:
        self._wanted = {stream.encode(): each for stream, each in wanted.items()}
        self._rest = rest
        self._chosen = chosen
        self._result = result
        self._bounds = [each.encode() for each in result.bounds]
        self._parsed_copy = parsed_copy
        self._mixed = mixed
        self._inputs = {each.path: (place, each.bytes) for place, each in enumerate(report.inputs)}
        self.paths = list(self._inputs)
        self._lines: dict[str, set[int]] = {}
        for found in report.findings.listed:
            if found.line is not None and found.severity is not Severity.NOTE:
                near = range(found.line - _AROUND, found.line + _AROUND + 1)
                self._lines.setdefault(found.file, set()).update(near)

    def read(self, source: Source) -> None:
        """Take in one source, up to where it was verified: it may have grown since."""
        place, size = self._inputs[source.path]
        near = self._lines.get(source.path, set())
        if source.stream is not None:
            self._result.owners[source.path] = source.stream
        try:
            with open_source(source) as file:
                envelope: Envelope | None = None
                sniffed = source.stream is not None
                for part in read_blocks(_Limited(file, size).read):
                    if isinstance(part, Overlong) or (isinstance(part, Remainder) and not part.data):
                        continue
                    lines = part.lines if isinstance(part, Block) else [part.data]
                    numbers: Sequence[int] = range(part.number, part.number + len(lines))
                    if not sniffed:
                        sniffed, envelope = True, choose_envelope(lines)
                    if envelope is not None:
                        lines, numbers = envelope.open(lines, numbers)
                    elif isinstance(part, Remainder):
                        self._take_torn(place, part, near)
                        continue
                    strict = not (self._mixed or source.may_be_anything or envelope is not None)
                    self._take(place, lines, numbers, near, strict=strict)
        except Unreadable:
            pass  # the check itself says so

    def _take(
        self, place: int, lines: Sequence[bytes], numbers: Sequence[int], near: set[int], *, strict: bool
    ) -> None:
        find, wanted, rest, bounds, last = _TAIL.search, self._wanted, self._rest, self._bounds, COLUMNS - 1
        for line, number in zip(lines, numbers, strict=True):
            tail = None if self._parsed_copy else find(line, max(0, len(line) - _LONGEST_TAIL))
            if tail is None:
                self._take_odd(place, line, number, problem=strict and number in near)
                continue
            seq = int(tail[1])
            want = wanted.get(tail[2], rest)
            column = min(bisect_right(bounds, line[_TIME]), last)
            want.row.cells[column] += 1
            if _CHECKPOINT in line:
                self._take_checkpoint(want, line, column)
            if seq >= want.newest_from or seq in want.touched or number in near:
                problem = number in near or seq in want.around
                time = line[_TIME].decode("utf-8", "replace")
                self._keep(place, line, number, want, (tail[2].decode(), seq, time, problem))

    def _take_odd(self, place: int, line: bytes, number: int, *, problem: bool) -> None:
        """Take a line that has no record's tail: a damaged one, or a copy that was parsed and written again."""
        may_be_one = self._parsed_copy or looks_like_record(line)
        entry = examine(line, parsed_copy=self._parsed_copy)[0] if may_be_one else None
        if entry is None:
            if problem and line:
                self._show_text(place, line, number)
            return
        want = self._wanted.get(entry.stream.encode(), self._rest)
        want.row.cells[self._result.column(entry.time)] += 1
        if entry.seq >= want.newest_from or entry.seq in want.touched or problem:
            problem = problem or entry.seq in want.around
            self._keep(place, line, number, want, (entry.stream, entry.seq, entry.time, problem))

    def _take_torn(self, place: int, rest: Remainder, near: set[int]) -> None:
        """Take what stands behind the last newline: no record, but perhaps what a finding is about."""
        if rest.number in near:
            self._show_text(place, rest.data, rest.number)

    def _show_text(self, place: int, line: bytes, number: int) -> None:
        text = line[:_LONGEST_ODD].decode("utf-8", "backslashreplace")
        self._chosen.add(Shown(place, number, None, None, "", False, "", None, as_json(text), True))

    def _keep(self, place: int, line: bytes, number: int, want: _Wanted, record: tuple[str, int, str, bool]) -> None:
        stream, seq, time, problem = record
        stated = line[-66:-2].decode("ascii", "replace")
        sound = leaf_hash(line[:-_HASH_END] + b"}") == stated and _is_utf8(line)
        if seq in want.moments:
            want.moments[seq] = time
        if problem:
            self._result.lines[self.paths[place], number] = time
        if seq == 1 and want.row is not self._rest.row:
            self._take_opening(stream, line)
        if len(line) <= _LONGEST_SHOWN:
            text = as_json(line.decode("utf-8", "backslashreplace"))
            before = _PREV.search(line[: line.rfind(b'"seq":')]) if sound else None
            prev = before[1].decode() if before else None
            self._chosen.add(Shown(place, number, stream, seq, time, sound, stated, prev, text, problem))

    def _take_opening(self, stream: str, line: bytes) -> None:
        data = _data(line, Control.STREAM_OPEN)
        if data is not None:
            self._result.openings.setdefault(stream, data)

    def _take_checkpoint(self, want: _Wanted, line: bytes, column: int) -> None:
        data = _data(line, Control.CHECKPOINT)
        if data is None:
            return
        want.row.checkpoints.add(column)
        if want.stream and isinstance(note := data.get("note"), str):
            self._result.notes[want.stream] = note


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _data(line: bytes, event: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    data = record.get("data") if isinstance(record, dict) and record.get("event_name") == event else None
    return data if isinstance(data, dict) else None


class _Limited:
    """The beginning of an input."""

    def __init__(self, file: Reader, size: int) -> None:
        self._file = file
        self._left = size

    def read(self, size: int, /) -> bytes:
        chunk = self._file.read(min(size, self._left)) if self._left else b""
        self._left -= len(chunk)
        return chunk
