"""One source, read to its end: every line judged, every stream in it followed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import accumulate
from typing import Final

from .content import Entry, Fault, examine, looks_like_record
from .findings import Finding, Findings
from .lines import Block, Overlong, Remainder, read_blocks
from .sources import Source, Unreadable, open_source
from .span import Rules, Shared, Span

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

    @property
    def records(self) -> int:
        """Records in it, sound or not."""
        return sum(span.records for span in self.spans)


def read_source(source: Source, rules: Rules, progress: Callable[[int], None] | None = None) -> Reading:
    """Check what can be checked in one source by itself. Never raises for what a source holds."""
    reading = Reading(source)
    judge = _Judge(reading, rules)
    try:
        with open_source(source) as file:
            for part in read_blocks(file.read):
                judge.take(part)
                if progress is not None:
                    progress(reading.bytes)
    except Unreadable as error:
        reading.findings.add(Finding("UNREADABLE", source.path, detail=str(error)))
    judge.finish()
    return reading


class _Judge:
    """Judges each line and gives it to the span of its stream."""

    def __init__(self, reading: Reading, rules: Rules) -> None:
        self._reading = reading
        self._source = reading.source
        self._rules = rules
        self._shared = Shared(reading.findings)
        self._spans: dict[str, Span] = {}

    def take(self, part: Block | Overlong | Remainder) -> None:
        """Take in the next part of the source."""
        reading = self._reading
        if isinstance(part, Block):
            for place, line in enumerate(part.lines):
                self._take_line(line, part.number + place)
            reading.lines += len(part.lines)
            reading.bytes = part.offset + sum(map(len, part.lines)) + len(part.lines)
            self._place_findings(part)
            return
        reading.bytes = part.offset + part.length
        if isinstance(part, Remainder):
            reading.torn = part
            return
        reading.lines += 1
        self._shared.strays += 1
        found = Finding(
            "OVERLONG_LINE", self._source.path, part.number, part.offset, actual=f"{part.length} bytes"
        )
        reading.findings.add(found)

    def finish(self) -> None:
        """Hand over the spans."""
        for span in self._spans.values():
            span.finish()
        self._reading.spans = list(self._spans.values())

    def _take_line(self, line: bytes, number: int) -> None:
        if self._rules.mixed and not looks_like_record(line):
            self._reading.other_lines += 1
            return
        entry, fault = examine(line, parsed_copy=self._rules.parsed_copy)
        if fault is not None:
            self._report(fault, entry, number)
        if entry is None:
            self._shared.strays += 1
        elif not _is_sound(entry, fault):
            if entry.stream in self._spans:
                self._spans[entry.stream].take_damaged(entry, number)
            else:
                self._shared.strays += 1
        elif self._source.stream not in {None, entry.stream}:
            self._report(Fault("FOREIGN_STREAM", self._source.stream, entry.stream), entry, number)
        elif (span := self._span_of(entry)) is not None:
            span.take(entry, number)

    def _span_of(self, entry: Entry) -> Span | None:
        span = self._spans.get(entry.stream)
        if span is None:
            if len(self._spans) >= MOST_STREAMS:
                self._report(Fault("TOO_MANY_STREAMS", f"at most {MOST_STREAMS}"), entry, 0)
                return None
            span = Span(entry.stream, self._source.path, self._source.number, self._rules, self._shared)
            self._spans[entry.stream] = span
        return span

    def _report(self, fault: Fault, entry: Entry | None, number: int) -> None:
        stream, seq = (entry.stream, entry.seq) if entry else (None, None)
        found = Finding(fault.code, self._source.path, number, stream=stream, seq=seq)
        found.expected, found.actual, found.detail = fault.expected, fault.actual, fault.detail
        self._reading.findings.add(found)

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
