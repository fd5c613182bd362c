"""A second look at what was verified: the records that a report carries, and where everything lies in time.

The sources are read as a stream; memory is bounded by the selection (`choosing`), not by what they hold.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from otel_audit.chain import HASH_MEMBER_LENGTH, leaf_hash
from otel_audit.integrity.merkle import Frontier
from otel_audit.record import Control
from otel_audit.verify.content import examine, looks_like_record
from otel_audit.verify.envelopes import Envelope, choose_envelope
from otel_audit.verify.findings import Severity
from otel_audit.verify.lines import Block, Overlong, Remainder, read_blocks
from otel_audit.verify.places import Reader, Unreadable
from otel_audit.verify.report import Report, StreamSummary
from otel_audit.verify.sources import STDIN, Source, find_sources, open_source

from .choosing import AROUND, COLUMNS, NO_NUMBER, Chosen, Row, Shown, Wanted, rank, share_out, want
from .escaping import as_json

__all__ = ["Gathered", "gather"]

_MOST_ROWS: Final = 24
_LONGEST_SHOWN: Final = 256 * 1024
_LONGEST_ODD: Final = 4096
_NARROWEST: Final = timedelta(milliseconds=10)
_TAIL: Final = re.compile(rb'"seq":([0-9]{1,16}),"stream":"([0-9a-f]{32})","hash":"([0-9a-f]{64})"\}\Z')
_LONGEST_TAIL: Final = 160
_PREV: Final = re.compile(rb'"prev_hash":"([0-9a-f]{64})",\Z')
_TIME: Final = slice(15, 45)
"""Where a canonical line has its time: it begins with `{"@timestamp":"`."""
_HASH_END: Final = HASH_MEMBER_LENGTH - 1
_CHECKPOINT: Final = f'"event_name":"{Control.CHECKPOINT}"'.encode()


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
    trees: dict[str, Frontier]
    """Merkle trees over the records before a stream's newest: with them, what is carried leads to signed roots."""
    owners: dict[str, str]
    """Path -> stream, of journal segments."""
    lines: dict[tuple[str, int], str]
    """Times of the records near a line (path, number) that a finding is about."""

    def column(self, time: str) -> int:
        """Return the column of the map that a time falls into."""
        return min(bisect_right(self.bounds, time), COLUMNS - 1)


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
    ranked = rank(report)
    start, bounds = _bounds(report.streams)
    others = Row()
    share, most = share_out(report, len(ranked))
    wanted = want(report, ranked, most, moments)
    rows = {stream.stream: wanted[stream.stream].row for stream in ranked[:_MOST_ROWS]}
    for stream, each in wanted.items():
        each.row = rows.get(stream, others)
    chosen = Chosen(share, most)
    result = Gathered([], 0, rows, others, start, bounds, {}, {}, {}, {}, {}, {})
    look = _Look(report, wanted, Wanted(row=others), chosen, result, parsed_copy=parsed_copy, mixed=mixed)
    if STDIN in look.paths:
        sys.stdin.buffer.seek(0)
    for source in find_sources(look.paths):
        if isinstance(source, Source):
            look.read(source)
    result.shown = chosen.all()
    result.left_out = max(0, report.records - sum(each.seq is not None for each in result.shown))
    for stream, each in wanted.items():
        result.moments.update({(stream, seq): time for seq, time in each.moments.items() if time})
        each.finish()
        if each.tree.size:
            result.trees[stream] = each.tree
    return result


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


class _Look:
    """Reads sources and hands what is wanted of them to the selection."""

    def __init__(
        self,
        report: Report,
        wanted: Mapping[str, Wanted],
        rest: Wanted,
        chosen: Chosen,
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
                near = range(found.line - AROUND, found.line + AROUND + 1)
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
            if want.folded + 1 == seq < want.newest_from < NO_NUMBER:
                want.fold(bytes.fromhex(tail[3].decode()))
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

    def _keep(self, place: int, line: bytes, number: int, want: Wanted, record: tuple[str, int, str, bool]) -> None:
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

    def _take_checkpoint(self, want: Wanted, line: bytes, column: int) -> None:
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
