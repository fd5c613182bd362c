"""One source, read to its end: every line judged, every stream in it followed."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from .bulk import Run, read_runs, stream_of
from .content import (
    Entry,
    Fault,
    behind_other_text,
    declared_format,
    examine,
    looks_like_record,
    may_begin_record,
)
from .documents import Documents
from .envelopes import Envelope, choose_envelope
from .findings import Finding, Findings
from .lines import Block, Overlong, Remainder, read_blocks
from .pieces import split_pieces
from .places import Unreadable
from .sources import Source, open_source
from .span import Rules, Shared, Span
from .unordered import Index

if TYPE_CHECKING:
    from otel_audit.otel.signed import TrustedKeys

__all__ = ["MOST_STREAMS", "Reading", "read_source"]

MOST_STREAMS: Final = 500_000
"""Streams that one run keeps account of; what each says takes about a kilobyte."""


@dataclasses.dataclass(slots=True)
class Reading:
    """What one source holds."""

    source: Source
    findings: Findings = dataclasses.field(default_factory=Findings)
    spans: list[Span] = dataclasses.field(default_factory=list)
    torn: Remainder | None = None
    bytes: int = 0
    lines: int = 0
    other_lines: int = 0
    signatures: int = 0
    """How many signatures on OTLP records were checked and are good."""
    held: int = 0
    """How many lines were taken for records."""
    signable: int = 0
    """How many of them stood in OTLP records whose signatures were looked at."""
    sha256: str | None = None
    """Of the source as it lies there, where that was asked and it could be read to its end."""
    needs_index: bool = False
    """Whether it has to be read again, with an index."""


def read_source(
    source: Source,
    rules: Rules,
    progress: Callable[[int], None] = lambda _: None,
    index: Index | None = None,
    otel_keys: TrustedKeys | None = None,
) -> Reading:
    """Check what can be checked in one source by itself. Never raises for what a source holds.

    Records that come without an order go to the index; without one the source is left to be read again.
    """
    reading = Reading(source)
    judge = _Judge(reading, rules, index, Documents(source.path, reading.findings, otel_keys))
    digest = sha256() if rules.digests else None
    try:
        with open_source(source, None if digest is None else digest.update) as file:
            for part in read_blocks(file.read):
                before = reading.bytes
                judge.take(part)
                progress(reading.bytes - before)
                if reading.needs_index:
                    return Reading(source, needs_index=True)
    except Unreadable as error:
        reading.findings.add(Finding("UNREADABLE", source.path, detail=str(error)))
    else:
        reading.sha256 = None if digest is None else digest.hexdigest()
    judge.finish()
    return reading


class _Judge:
    """Judges each line and gives it to the span of its stream."""

    def __init__(self, reading: Reading, rules: Rules, index: Index | None, documents: Documents) -> None:
        self._reading = reading
        self._source = reading.source
        self._rules = rules
        self._index = index
        self._documents = documents
        self._envelope: Envelope | None = None
        self._sniffed = reading.source.stream is not None
        self._ordered = not (rules.unordered or reading.source.may_be_anything)
        self._shared = Shared(reading.findings)
        self._spans: dict[str, Span] = {}
        self._foreign: Finding | None = None
        """A broken first record that declares another format: the verdict, if no record is sound in ours."""

    def take(self, part: Block | Overlong | Remainder) -> None:
        """Take in the next part of the source."""
        reading = self._reading
        if isinstance(part, Block):
            self._take_lines(part.lines, range(part.number, part.number + len(part.lines)))
            reading.lines += len(part.lines)
            reading.bytes = part.end
            self._place_findings(part)
            return
        reading.bytes = part.offset + part.length
        if isinstance(part, Remainder):
            self._take_rest(part)
            return
        reading.lines += 1
        self._shared.strays += 1
        found = Finding("OVERLONG_LINE", self._source.path, part.number, part.offset, actual=f"{part.length} bytes")
        reading.findings.add(found)

    def finish(self) -> None:
        """Hand over the spans."""
        self._reading.signatures, self._reading.signable = self._documents.signatures, self._documents.signable
        for span in self._spans.values():
            span.finish()
        self._reading.spans = list(self._spans.values())
        if self._foreign is not None and not self._spans:
            self._reading.findings.discard(lambda found: True)
            self._reading.findings.add(self._foreign)

    def _take_rest(self, part: Remainder) -> None:
        if part.data:
            self._sniff([part.data])
        if self._envelope is not None and part.data:  # the envelope's last newline is not the record's
            self._take_lines([part.data], [part.number])
        elif self._may_be_other(part.data):
            self._reading.other_lines += 1
        else:
            self._reading.torn = part

    def _may_be_other(self, rest: bytes) -> bool:
        """Tell whether what no newline ends is no beginning of a record, where other lines are nothing to report."""
        if looks_like_record(rest) or (self._rules.mixed and may_begin_record(rest)):
            return False
        return self._rules.mixed or (self._source.may_be_anything and not self._spans)

    def _sniff(self, lines: Sequence[bytes]) -> None:
        if not self._sniffed:
            self._sniffed = True
            self._envelope = choose_envelope(lines)
            self._ordered = self._ordered and (self._envelope is None or self._envelope.ordered)

    def _take_lines(self, lines: Sequence[bytes], numbers: Sequence[int]) -> None:
        self._sniff(lines)
        if not self._ordered and self._index is None:
            self._reading.needs_index = True
            return
        if self._envelope is not None:
            lines, numbers = self._envelope.open(lines, numbers, self._documents.take)
        if self._rules.mixed or self._envelope is not None or self._source.may_be_anything:
            kept = [place for place, line in enumerate(lines) if looks_like_record(line)]
            self._reading.other_lines += len(lines) - len(kept)
            lines, numbers = [behind_other_text(lines[place]) for place in kept], [numbers[place] for place in kept]
        self._reading.held += len(lines)
        if not self._rules.parsed_copy and self._ordered and self._take_runs(lines, numbers):
            return
        for line, number in zip(lines, numbers, strict=True):
            self._take_line(line, number)

    def _take_runs(self, lines: Sequence[bytes], numbers: Sequence[int]) -> bool:
        """Take lines in bulk, stream by stream; False, and nothing taken, if any of them needs a closer look."""
        if not lines:
            return True
        taken: list[tuple[Run, Sequence[int]]] = []
        for own_lines, own_numbers in _by_stream(lines, numbers):
            runs = read_runs(own_lines)
            if runs is None or self._source.stream not in {None, runs[0].stream}:
                return False
            start = 0
            for run in runs:
                end = start + len(run.hashes)
                taken.append((run, own_numbers[start:end]))
                start = end
        for run, own_numbers in taken:
            span = self._span_of(run.entry(0))
            if span is not None:
                span.take_run(run, own_numbers)
        return True

    def _take_line(self, line: bytes, number: int) -> None:
        entry, fault = examine(line, parsed_copy=self._rules.parsed_copy)
        if fault is not None and fault.code == "NOT_A_RECORD" and not self._ordered and self._index is not None:
            self._take_pieces(line, number, fault, self._index)
            return
        if fault is not None:
            self._report(fault, entry, number)
            if self._foreign is None and (declared := declared_format(line)) is not None:
                self._foreign = Finding("UNKNOWN_FORMAT", self._source.path, number, actual=declared)
        if entry is None:
            self._shared.strays += 1
        elif not _is_sound(entry, fault):
            if entry.stream in self._spans:
                self._spans[entry.stream].take_damaged(entry, number)
            else:
                self._shared.strays += 1
        elif self._source.stream not in {None, entry.stream}:
            self._report(Fault("FOREIGN_STREAM", self._source.stream, entry.stream), entry, number)
        elif not self._ordered and self._index is not None:
            self._index.add(entry, self._source.path, number)
            if fault is None and self._index.pieces.are_waiting:
                self._index.pieces.see(line)
        elif (span := self._span_of(entry)) is not None:
            span.take(entry, number)

    def _take_pieces(self, line: bytes, number: int, fault: Fault, index: Index) -> None:
        """Take a line that is no record: perhaps beginnings of records, with a whole one behind them."""
        pieces = split_pieces(line)
        if len(pieces) > 1 and examine(pieces[-1], parsed_copy=self._rules.parsed_copy)[1] is None:
            self._take_line(pieces.pop(), number)
        found = self._report(fault, None, number)
        index.pieces.hold(pieces, found)

    def _span_of(self, entry: Entry) -> Span | None:
        span = self._spans.get(entry.stream)
        if span is None:
            if len(self._spans) >= MOST_STREAMS:
                self._report(Fault("TOO_MANY_STREAMS", f"at most {MOST_STREAMS}"), entry, 0)
                return None
            span = Span(entry.stream, self._source.path, self._source.number, self._rules, self._shared)
            self._spans[entry.stream] = span
        return span

    def _report(self, fault: Fault, entry: Entry | None, number: int) -> Finding:
        stream, seq = (entry.stream, entry.seq) if entry else (None, None)
        last = self._reading.findings.last()
        if (
            entry
            and last
            and fault.code == "FOREIGN_STREAM"
            and last.continues_with(fault.code, entry.stream, entry.seq)
        ):
            last.count += 1
            return last
        found = Finding(fault.code, self._source.path, number, stream=stream, seq=seq)
        found.expected, found.actual, found.detail = fault.expected, fault.actual, fault.detail
        return self._reading.findings.add(found)

    def _place_findings(self, block: Block) -> None:
        """Give the findings of this block their byte offsets."""
        unplaced = [
            found
            for found in self._reading.findings.listed
            if found.offset is None and found.line is not None and found.line >= block.number
        ]
        if unplaced:
            starts = list(accumulate((len(line) + 1 for line in block.lines), initial=block.offset))
            for found in unplaced:
                found.offset = starts[(found.line or block.number) - block.number]


def _is_sound(entry: Entry, fault: Fault | None) -> bool:
    """Tell whether the line's place can be believed: its content is what was sealed."""
    return fault is None or fault.code == "NON_CANONICAL" or entry.hash == entry.computed


def _by_stream(lines: Sequence[bytes], numbers: Sequence[int]) -> Iterable[tuple[Sequence[bytes], Sequence[int]]]:
    """Part lines by the stream that they seem to belong to."""
    if len(set(map(stream_of, lines))) == 1:
        return [(lines, numbers)]
    parts: defaultdict[bytes, tuple[list[bytes], list[int]]] = defaultdict(lambda: ([], []))
    for line, number in zip(lines, numbers, strict=True):
        own_lines, own_numbers = parts[stream_of(line)]
        own_lines.append(line)
        own_numbers.append(number)
    return parts.values()
