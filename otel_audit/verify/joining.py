"""A whole stream: its spans, from one or several sources, put together in order."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from itertools import groupby

from .findings import Finding, Findings
from .lookup import Lookup
from .sources import is_part
from .span import CLOCK_TOLERANCE, Rules, Span, seconds_between

__all__ = ["Stream", "join"]


class Stream:
    """One stream as far as the sources hold it. Made by `join`."""

    def __init__(self, spans: list[Span]) -> None:
        self.spans = spans
        self.id = spans[0].stream

    @property
    def first(self) -> Span:
        """The span that the stream begins with."""
        return min([self.spans[0], *(span for span in self.spans if span.exported)], key=_start)

    @property
    def last(self) -> Span:
        """The span that holds the stream's last record."""
        return max(self.spans, key=lambda span: span.seq)

    @property
    def records(self) -> int:
        """Records found."""
        return sum(span.records for span in self.spans)

    @property
    def first_seq(self) -> int:
        """Number of the first record found."""
        return self.first.first.seq if self.first.first is not None else 0

    @property
    def closed_at(self) -> int | None:
        """Number of the record that closed the stream."""
        return next((span.closed_at for span in self.spans if span.closed_at is not None), None)

    @property
    def repeated_by(self) -> int:
        """Number of the last record that says why lines were written again."""
        return max(span.repeated_by for span in self.spans)

    @property
    def unknown_format(self) -> bool:
        """Whether the stream says that it is written in a format that is not ours."""
        return self.first.unknown_format

    def holding(self, seq: int) -> Span | None:
        """Return a span in whose range a record lies."""
        return next((span for span in self.spans if span.first and span.first.seq <= seq <= span.seq), None)


def _start(span: Span) -> int:
    return span.first.seq if span.first is not None else 0


def join(
    spans: Iterable[Span], rules: Rules, findings: Findings, lookup: Lookup, torn: Collection[str] = ()
) -> dict[str, Stream]:
    """Put spans together; report what is wrong where two of them meet. `torn` are files that end in half a line."""
    whole = [span for span in spans if span.first is not None]
    whole.sort(key=lambda span: (span.stream, span.exported, span.number or 0, _start(span)))
    streams = {stream: Stream(list(parts)) for stream, parts in groupby(whole, key=lambda span: span.stream)}
    for stream in streams.values():
        before = stream.spans[0]
        for span in stream.spans[1:]:
            because = max(stream.repeated_by, before.seq if before.file in torn else 0)
            _Joint(before, span, rules, findings, because).check(lookup)
            before = max(before, span, key=lambda each: each.seq)
    return streams


class _Joint:
    """The place where one span of a stream ends and the next begins."""

    def __init__(self, before: Span, after: Span, rules: Rules, findings: Findings, repeated_by: int) -> None:
        self._before = before
        self._after = after
        self._rules = rules
        self._findings = findings
        self._repeated_by = repeated_by

    def check(self, lookup: Lookup) -> None:
        """Report what does not fit."""
        before, after = self._before, self._after
        first = after.first
        if first is None:
            return
        missing = first.seq - before.seq - 1
        damaged = before.damaged_tail + after.damaged_head
        if missing < 0:
            self._check_overlap(lookup)
        elif missing == 0:
            if first.prev not in {before.hash, before.also} and not damaged:
                self._report("PREV_MISMATCH", first.seq, expected=before.hash, actual=first.prev)
        elif missing > damaged:
            skipped = before.number and after.number and after.number - before.number > 1
            code = "MISSING_SEGMENT" if skipped else "SEQ_GAP"
            self._report(code, before.seq + 1, missing, expected=str(before.seq + 1), actual=str(first.seq))
        if before.closed_at is not None and after.seq > before.seq:
            self._report("AFTER_CLOSE", before.seq + 1, detail=f"record {before.closed_at} closed the stream")
        if missing >= 0:
            self._check_time(first.time)

    def _check_overlap(self, lookup: Lookup) -> None:
        """Two spans hold the same numbers. By their hashes, equal at the end means equal throughout."""
        before, after = self._before, self._after
        end = min(before.seq, after.seq)
        start = after.first.seq if after.first else end
        count = end - start + 1

        def compare(one: str | None, other: str | None) -> None:
            if one is None or other is None:
                self._report("LINK_UNCHECKED", end, detail=f"also in {before.file}")
            elif one != other:
                self._report("FORK", start, count, expected=one, actual=other, detail=f"at record {end}")
            elif before.exported or after.exported or (is_part(before.file) and is_part(after.file)):
                self._report("IDENTICAL_COPIES", start, count, detail=f"also in {before.file}")
            elif before.number and after.number and before.number != after.number:
                code = "REPEATED_LINES" if self._repeated_by >= start else "REPEAT_UNEXPLAINED"
                self._report(code, start, count, detail=f"also in {before.file}")
            elif before.number and after.number and os.path.dirname(before.file) != os.path.dirname(after.file):
                self._report("IDENTICAL_COPIES", start, count, detail=f"also in {before.file}")
            else:
                self._report("DUPLICATE", start, count, detail=f"also in {before.file}")

        lookup.ask(before, end, lambda one: lookup.ask(after, end, lambda other: compare(one, other)))

    def _check_time(self, time: str) -> None:
        before = self._before
        passed = seconds_between(before.latest, time)
        limit = self._rules.longest_silence(before.interval)
        if passed < -CLOCK_TOLERANCE:
            self._report("CLOCK_BACK", before.seq + 1, expected=f"not before {before.latest}", actual=time)
        elif limit is not None and passed > limit:
            self._report("SILENCE", before.seq + 1, detail=f"{passed:.0f} s without a record")

    def _report(self, code: str, seq: int, count: int = 1, **more: str | None) -> None:
        after = self._after
        found = Finding(code, after.file, after.first_line, stream=after.stream, seq=seq, count=count)
        found.expected, found.actual, found.detail = (
            more.get("expected"),
            more.get("actual"),
            more.get("detail") or "",
        )
        self._findings.add(found)
