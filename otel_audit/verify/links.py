"""What streams say of each other, held against what is there: beginnings, ends, forks, torn tails."""

from __future__ import annotations

import functools
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from otel_audit.record import Control

from .controls import Claim, Cut
from .findings import Finding, Findings, Severity
from .joining import Stream
from .lookup import Lookup, digest_behind, holds
from .places import Unreadable
from .reading import Reading
from .sources import segments_beside

__all__ = ["Links"]


class Links:
    """Checks every stream's beginning and end, and every claim about another stream."""

    def __init__(
        self, streams: Mapping[str, Stream], readings: Sequence[Reading], findings: Findings, lookup: Lookup
    ) -> None:
        self.streams = streams
        self._readings = readings
        self._by_path = {reading.source.path: reading for reading in readings}
        self._findings = findings
        self._lookup = lookup
        self._segments: defaultdict[str, list[Reading]] = defaultdict(list)
        self._claims: defaultdict[str, list[Claim]] = defaultdict(list)
        self._cuts: defaultdict[str, list[Cut]] = defaultdict(list)
        self._unsigned_cuts: defaultdict[str, list[Cut]] = defaultdict(list)
        self._judged_tails: set[str] = set()
        self._journals = {
            os.path.dirname(reading.source.path) for reading in readings if reading.source.stream is not None
        }
        for reading in readings:
            if reading.source.stream is not None:
                self._segments[reading.source.stream].append(reading)
        tampered = {found.stream for found in findings.listed if found.severity is Severity.TAMPERED}
        for stream in streams.values():
            for span in stream.spans:
                for claim in span.claims:
                    self._claims[claim.stream].append(claim)
                for cut in span.cuts if stream.id not in tampered else ():  # only an intact stream can vouch for a cut
                    self._cuts[cut.stream].append(cut)

    def cuts_of(self, stream: str) -> list[Cut]:
        """Return what intact streams say that retention removed of this one."""
        return self._cuts.get(stream, [])

    def leave_out_cuts(self, is_vouched_for: Callable[[Cut], bool]) -> None:
        """Let no record of a removal excuse anything that is not vouched for. To be called before `check`."""
        given, self._cuts = self._cuts, defaultdict(list)
        for stream, cuts in given.items():
            for cut in cuts:
                (self._cuts if is_vouched_for(cut) else self._unsigned_cuts)[stream].append(cut)

    def check(self) -> None:
        """Report everything that does not fit, or that is not there."""
        for claims in self._claims.values():
            for claim in claims:
                self._check_claim(claim)
        for reading in self._readings:
            self._check_tail(reading)
        for stream in self.streams.values():
            self._check_beginning(stream)
            self._check_end(stream)
            self._check_children(stream)

    def _check_beginning(self, stream: Stream) -> None:
        span, first = stream.first, stream.first.first
        if first is None or first.seq - 1 <= span.damaged_head:
            if first is not None and first.seq == 1 and first.event != Control.STREAM_OPEN:
                self._add("NO_OPEN", span.file, span.first_line, stream.id, 1, expected=Control.STREAM_OPEN)
            return
        missing = first.seq - 1
        if any((cut.last_seq, cut.last_hash) == (missing, first.prev) for cut in self._cuts[stream.id]):
            self._add("PRUNED", span.file, span.first_line, stream.id, 1, count=missing)
        elif span.number is not None and self._lies_beside(span.file, stream.id, missing, first.prev):
            self._add("STREAM_NOT_GIVEN", span.file, span.first_line, stream.id, 1, count=missing)
        else:
            found = self._add("HEAD_CUT", span.file, span.first_line, stream.id, 1, count=missing)
            found.expected, found.actual = "1", str(first.seq)
            found.detail = self._unsigned_excuse(stream.id, lambda cut: cut.last_seq == missing)

    def _check_end(self, stream: Stream) -> None:
        last = stream.last
        torn = any(self._by_path[span.file].torn for span in stream.spans)
        if stream.closed_at is None and not last.damaged_tail and not torn and not stream.unknown_format:
            found = self._add("UNCLOSED", last.file, last.last_line, stream.id, last.seq)
            ends = [claim for claim in self._claims[stream.id] if claim.closed is not None]
            if ends:
                found.detail = f"stream {ends[0].by} recorded this same end when it began"

    def _check_children(self, stream: Stream) -> None:
        silent = frozenset().union(*(span.never_opened for span in stream.spans))
        without = 0
        for span in stream.spans:
            for fork in span.forks:
                if fork.child in self.streams:
                    if fork.child in silent:
                        found = self._add("LINK_MISMATCH", span.file, fork.line, fork.child, 1)
                        found.expected = "no stream"
                        found.detail = f"by the closing record of stream {stream.id}, its parent"
                elif fork.child in silent:
                    without += 1
                elif not self._cuts.get(fork.child):
                    found = self._add("CHILD_NOT_FOUND", span.file, fork.line, stream.id, fork.seq)
                    found.detail = f"child {fork.child}"
        if without:
            self._add("CHILD_SILENT", stream.last.file, None, stream.id, stream.closed_at, count=without)

    def _check_claim(self, claim: Claim) -> None:
        if claim.torn is not None:
            self._check_torn_claim(claim, str(claim.torn["segment"]))
        stream = self.streams.get(claim.stream)
        if stream is None:
            self._check_absence(claim)
            return
        last = stream.last
        if claim.seq > last.seq + last.damaged_tail:
            self._contradict(
                "TRUNCATED", claim, last.seq, expected=f"{claim.seq} records", actual=f"{last.seq} records"
            )
        elif claim.closed is not None and claim.seq < last.seq:
            self._contradict("EXTENDED", claim, claim.seq + 1, expected=f"{claim.seq} records", actual=f"{last.seq}")
        elif claim.seq == last.seq:
            if claim.hash not in {last.hash, last.also}:
                self._contradict("LINK_MISMATCH", claim, claim.seq, expected=claim.hash, actual=last.hash)
            elif claim.closed is not None and claim.closed != (stream.closed_at == claim.seq) and not last.damaged_tail:
                said = "closed" if claim.closed else "not closed"
                self._contradict("LINK_MISMATCH", claim, claim.seq, expected=said)
        elif (span := stream.holding(claim.seq)) is not None:
            self._lookup.ask(span, claim.seq, lambda found: self._compare(claim, found))

    def _compare(self, claim: Claim, found: str | None) -> None:
        if found is None:
            self._contradict("LINK_UNCHECKED", claim, claim.seq, expected=claim.hash)
        elif found != claim.hash:
            self._contradict("LINK_MISMATCH", claim, claim.seq, expected=claim.hash, actual=found)

    def _check_absence(self, claim: Claim) -> None:
        if claim.seq == 0:
            return  # it ended before its first record
        if any(_covers(cut, claim) for cut in self._cuts[claim.stream]):
            self._contradict("PRUNED", claim, 1)
        elif claim.stream in self._segments:
            if not any(_is_out_of_reach(reading) for reading in self._segments[claim.stream]):
                self._contradict("TRUNCATED", claim, 0, expected=f"{claim.seq} records", actual="none")
        elif self._is_elsewhere(claim):
            self._contradict("STREAM_NOT_GIVEN", claim, 1)
        else:
            found = self._contradict("MISSING_STREAM", claim, 1, expected=f"{claim.seq} records")
            if excuse := self._unsigned_excuse(claim.stream, lambda cut: _covers(cut, claim)):
                found.detail += f"; {excuse}"

    def _unsigned_excuse(self, stream: str, fits: Callable[[Cut], bool]) -> str:
        """Return what to say of a removal that a record tells of and no signature covers, if there is one."""
        cut = next((cut for cut in self._unsigned_cuts.get(stream, ()) if fits(cut)), None)
        if cut is None:
            return ""
        return f"record {cut.at} of stream {cut.by} says that they were removed, and no signature covers that record"

    def _is_elsewhere(self, claim: Claim) -> bool:
        """Tell whether the stream of a claim need not be here: this is no journal, or not all of one was given."""
        if os.path.dirname(claim.file) not in self._journals:
            return True
        return self._lies_beside(claim.file, claim.stream, claim.seq, claim.hash)

    def _contradict(
        self, code: str, claim: Claim, seq: int, *, expected: str | None = None, actual: str | None = None
    ) -> Finding:
        """Report about the stream that a claim is about, at the place where the claim stands."""
        found = self._add(code, claim.file, claim.line, claim.stream, seq)
        found.expected, found.actual = expected, actual
        found.detail = f"by the first record of stream {claim.by}"
        return found

    def _check_torn_claim(self, claim: Claim, name: str) -> None:
        reading = next((each for each in self._segments[claim.stream] if each.source.name == name), None)
        if reading is None or claim.torn is None:
            return  # a copy at a sink has whole lines only
        self._judged_tails.add(reading.source.path)
        offset = claim.torn["offset"]
        try:
            length, digest = digest_behind(reading.source, offset)
        except Unreadable:
            return  # it was reported when it was read the first time
        stated = (claim.torn["length"], claim.torn["sha256"])
        if (length, digest) == stated:
            self._findings.discard(lambda found: found.file == reading.source.path and (found.offset or 0) >= offset)
            found = self._add("TORN_DECLARED", reading.source.path, None, claim.stream, None)
        else:
            found = self._add("TORN_MISMATCH", reading.source.path, None, claim.stream, None)
            found.expected, found.actual = f"{stated[0]} bytes, {stated[1]}", f"{length} bytes, {digest}"
        found.offset = offset
        found.detail = f"by the first record of stream {claim.by}"

    def _check_tail(self, reading: Reading) -> None:
        source, torn = reading.source, reading.torn
        if torn is None or source.path in self._judged_tails:
            return
        code = "TORN_TAIL"
        if source.stream is not None:
            stream = self.streams.get(source.stream)
            last = max(self._segments[source.stream], key=lambda each: each.source.number or 0)
            if stream is not None and stream.closed_at is not None and reading is last:
                code = "AFTER_CLOSE"
            elif reading is last and any(claim.closed is not None for claim in self._claims[source.stream]):
                code = "TORN_MISMATCH"
        found = self._add(code, source.path, torn.number, source.stream, None)
        found.offset, found.detail = torn.offset, f"{torn.length} bytes, SHA-256 {torn.sha256}"

    def _lies_beside(self, path: str, stream: str, seq: int, digest: str | None) -> bool:
        """Tell whether this record lies in a segment beside a file, which then was just not among what was given.

        Names can be made by anybody, so it takes the record itself: only the genuine one has this hash.
        """
        return any(
            holds(segment, stream, seq, digest)
            for segment in segments_beside(path, stream)
            if os.path.realpath(segment.path) not in self._given
        )

    @functools.cached_property
    def _given(self) -> set[str]:
        return {os.path.realpath(path) for path in self._by_path}

    def _add(
        self,
        code: str,
        file: str,
        line: int | None,
        stream: str | None,
        seq: int | None,
        *,
        count: int = 1,
        expected: str | None = None,
    ) -> Finding:
        return self._findings.add(Finding(code, file, line, None, stream, seq, expected, count=count))


def _covers(cut: Cut, claim: Claim) -> bool:
    """Tell whether retention removed what is claimed: a stream up to its end, a parent beyond the place of a fork."""
    if (cut.last_seq, cut.last_hash) == (claim.seq, claim.hash):
        return True
    return claim.closed is None and cut.last_seq > claim.seq


def _is_out_of_reach(reading: Reading) -> bool:
    """Tell whether a file is there but could not be read; what is no file at all is no segment that was written."""
    return "UNREADABLE" in reading.findings.counts() and os.path.isfile(reading.source.path)
