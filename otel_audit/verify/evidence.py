"""What holds beyond the chain: each stream's records against signatures, anchors, pins and the trust policy.

The policy decides what must be there, never the log. A stream that names its keys itself is held to its own
checkpoints, but that proves nothing to anybody: who could write the file could have named his own key.
"""

from __future__ import annotations

import dataclasses
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_audit.integrity.findings import Finding as Found
from otel_audit.integrity.findings import Tier
from otel_audit.record import Control

from .controls import Cut
from .findings import Finding, Findings, Severity
from .joining import Stream
from .notes import FileNote, find_beside, read_files, sort_notes
from .places import Elsewhere
from .span import Span, seconds_between
from .trace import MARK, Statement, Trace

if TYPE_CHECKING:
    from otel_audit.integrity.mackey import MacKey
    from otel_audit.integrity.marking import StreamMarks
    from otel_audit.integrity.pins import Pins
    from otel_audit.integrity.policy import Policy
    from otel_audit.integrity.recordsign import SignedRecords
    from otel_audit.integrity.statements import Revocation
    from otel_audit.integrity.verification import StreamIntegrity

    from .keeping import Claim

__all__ = ["Asked", "Evidence", "Proved"]

_EPOCH: Final = "1970-01-01T00:00:00.000000000Z"

_AT_THE_END: Final = frozenset(
    {"SIGNED_TRUNCATED", "PIN_TRUNCATED", "UNSIGNED_TAIL", "UNMARKED_TAIL", "STALE", "EPOCH_UNSEALED"}
)
"""What follows by itself where only the beginning of a stream could be read."""

_OWN_WORD: Final = frozenset({"UNKNOWN_SIGNER", "KEY_CHANGED"})
"""What means nothing where only the log says which keys are its own."""


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a verifier was given beside the log. It must come from somewhere else than the log."""

    policy: Policy | None = None
    pins: Pins | None = None
    checkpoints: Sequence[str | os.PathLike[str]] = ()
    anchors: Sequence[str | os.PathLike[str]] = ()
    revocations: Sequence[str | os.PathLike[str]] = ()
    mac_key: MacKey | None = None
    each_record: bool = False
    """Whether the records' own signatures are checked too."""

    @property
    def anything(self) -> bool:
        """Whether streams that name no keys are to be checked too."""
        given = (self.policy, self.pins, self.mac_key)
        return bool(self.checkpoints or self.anchors) or any(each is not None for each in given)

    @property
    def wants_times(self) -> bool:
        """Whether the checks need every record's time."""
        if self.policy is None:
            return False
        from otel_audit.integrity.epochs import EpochKey

        return any(isinstance(key, EpochKey) for key in self.policy.logs)


class Proved(NamedTuple):
    """How far the proof of one stream reaches."""

    tier: Tier
    sentence: str
    signed: int = 0
    anchored: int = 0
    witnessed: int = 0
    stamped: int = 0
    stamped_at: str = ""
    keyed: int = 0
    record_signatures: int = 0


class _Followed:
    """A stream whose records are checked as they come."""

    def __init__(
        self,
        integrity: StreamIntegrity,
        start: int,
        *,
        own_word: bool,
        marks: StreamMarks | None = None,
        records: SignedRecords | None = None,
    ) -> None:
        self.integrity = integrity
        self.marks = marks
        self.records = records
        self.signs_records = False
        self.end = start
        """Number of the last record that was taken."""
        self.own_word = own_word
        """Whether only the log itself says which keys are its own."""
        self.overflowed = False
        self.stored: list[Statement] = []
        """Records about checkpoints that were stored in a bucket."""

    def take(self, trace: Trace) -> None:
        """Take the records of a trace that are new."""
        packed, times = memoryview(trace.packed), trace.times or []
        for statement in trace.statements:
            if statement.seq > self.end:
                self._extend(trace, packed, times, statement.seq, statement.time)
                self.integrity.control(
                    {"event_name": statement.event, "seq": statement.seq, "data": statement.data},
                )
                if self.records is not None and statement.event == Control.SIGNATURES:
                    self.records.take(statement.data, statement.seq)
                elif self.records is not None and statement.event == Control.CHECKPOINT:
                    self.records.cover(statement.data)
                if statement.event == Control.ANCHOR and isinstance(statement.data.get("key"), str):
                    self.stored.append(statement)
                if self.marks is not None and MARK in statement.data:
                    self.marks.take(statement.data[MARK], statement.seq)
        self._extend(trace, packed, times, trace.end, None)
        self.overflowed = self.overflowed or trace.overflowed
        self.signs_records = self.signs_records or trace.signs_records

    def _extend(self, trace: Trace, packed: memoryview, times: Sequence[str], upto: int, until: str | None) -> None:
        if upto > self.end:
            start, stop = self.end + 1 - trace.start, upto + 1 - trace.start
            hashes = bytes(packed[32 * start : 32 * stop])
            self.integrity.extend_packed(hashes, until=until, times=times[start:stop])
            if self.marks is not None:
                self.marks.extend_packed(hashes)
            if self.records is not None:
                self.records.extend_packed(hashes)
            self.end = upto


class Evidence:
    """Collects what is known beside the streams, follows each stream as it is read, and reports in the end."""

    def __init__(self, asked: Asked, journals: Iterable[str], whole: Iterable[str], findings: Findings) -> None:
        """`journals` are the directories that the sources lie in; of those in `whole`, all streams should be here."""
        self._asked = asked
        self._findings = findings
        beside = list(find_beside(journals, findings))
        whole = {os.path.realpath(each) for each in whole}
        kept = {note.path for note in beside if os.path.realpath(os.path.dirname(os.path.dirname(note.path))) in whole}
        given = list(read_files(asked.checkpoints, findings))
        anchors = list(read_files(asked.anchors, findings))
        self.kept_in = [note.path for note in (*given, *anchors) if isinstance(note.path, Elsewhere)]
        """What was read from buckets."""
        self._demanding = kept | {note.path for note in (*given, *anchors)}
        self._checkpoints = sort_notes([*beside, *given], findings) if beside or given else {}
        self._anchors = sort_notes(anchors, findings) if anchors else {}
        self._revocations = list(self._read_revocations())
        self._streams: dict[str, _Followed] = {}
        self._waiting: defaultdict[str, list[Trace]] = defaultdict(list)
        self._plain: set[str] = set()

    def take(self, spans: Iterable[Span]) -> None:
        """Take the spans of one source; what cannot be followed yet waits for what comes before it."""
        for span in spans:
            trace, span.trace = span.trace, None
            if trace is None:
                self._plain.add(span.stream)
            elif span.stream not in self._plain:
                self._waiting[span.stream].append(trace)
                self._follow(span.stream)

    def follow_pruned(self, streams: Iterable[Stream], cuts_of: Callable[[str], Sequence[Cut]]) -> None:
        """Follow the streams whose beginnings were removed as well. To be called when everything was taken."""
        for stream in streams:
            if self._waiting.get(stream.id) and stream.id not in self._streams:
                self._follow_pruned(stream, cuts_of(stream.id))

    def vouches_for(self, cut: Cut, stream: Stream) -> bool:
        """Tell whether the record of a removal may excuse what is missing: it is signed, or need not be.

        The end of a stream that was killed is not signed, and whoever removed records could write one behind it. The
        writer removes nothing before its record is signed. `stream` is the one that the record stands in.
        """
        policy, followed = self._asked.policy, self._streams.get(cut.by)
        if policy is None or (followed is not None and followed.integrity.sum_up() >= cut.at):
            return True
        from otel_audit.integrity.checkpoint import birth_of

        # Neither can be dated back alone: the time of the record, and that at which what it removes began.
        latest = max(span.latest for span in stream.spans)
        return not policy.demands_signature(max(seconds_between(_EPOCH, latest), birth_of(cut.stream)))

    def finish(self, streams: Mapping[str, Stream], cuts_of: Callable[[str], Sequence[Cut]]) -> dict[str, Proved]:
        """Report what was found, and return how far each stream's proof reaches. Pins are moved, not saved."""
        tampered = self._tampered(streams.values())
        doubtful = self._check_numbers(streams)
        proved = {}
        for stream in streams.values():
            chained = stream.id not in tampered
            followed = self._streams.get(stream.id)
            if followed is None:
                tier = Tier.CHAINED if chained else Tier.PLAIN
                proved[stream.id] = Proved(tier, tier.sentence)
                self._report_unfollowed(stream)
            else:
                proved[stream.id] = self._judge(stream, followed, chained=chained, counted=stream.id not in doubtful)
        self._report_missing(streams, cuts_of)
        return proved

    def claims(self) -> Iterator[Claim]:
        """Yield what the streams' records say was stored in buckets."""
        from .keeping import Claim

        for stream, followed in self._streams.items():
            for each in followed.stored:
                if isinstance(each.data.get("bucket"), str):
                    yield Claim(stream, each.seq, each.data)

    # Following.

    def _follow(self, stream: str) -> None:
        followed = self._streams.get(stream)
        waiting = self._waiting[stream]
        if followed is None:
            first = next((trace for trace in waiting if trace.start == 1), None)
            if first is None:
                return
            followed = self._streams[stream] = self._begin(stream, first.keys)
        waiting.sort(key=lambda trace: trace.start)
        while waiting and waiting[0].start <= followed.end + 1:
            followed.take(waiting.pop(0))

    def _begin(self, stream: str, keys: Sequence[str], cut: Cut | None = None) -> _Followed:
        from otel_audit.integrity.merkle import Frontier
        from otel_audit.integrity.verification import StreamIntegrity

        policy = self._asked.policy
        pruned = None if cut is None else Frontier.of(cut.last_seq, [bytes.fromhex(each) for each in cut.tree])
        integrity = StreamIntegrity(
            stream,
            policy=_named_by_itself(keys) if policy is None and keys else policy,
            pins=self._asked.pins,
            checkpoints=[note.raw for note in self._checkpoints.get(stream, ())],
            anchors=[note.raw for note in self._anchors.get(stream, ())],
            replies={
                note.raw: note.reply
                for note in (*self._checkpoints.get(stream, ()), *self._anchors.get(stream, ()))
                if note.reply is not None
            },
            revocations=self._revocations,
            pruned=pruned,
        )
        return _Followed(
            integrity,
            0 if cut is None else cut.last_seq,
            own_word=policy is None and bool(keys),
            marks=self._marks_of(stream) if cut is None else None,
            records=self._records_of(stream) if cut is None else None,
        )

    def _records_of(self, stream: str) -> SignedRecords | None:
        policy = self._asked.policy
        if policy is None or not self._asked.each_record:
            return None
        from otel_audit.integrity.checkpoint import origin_of
        from otel_audit.integrity.recordsign import SignedRecords

        keys = [key for key in policy.logs if key in policy.log_keys(origin_of(key.name, stream))]
        return SignedRecords(stream, keys, self._revocations)

    def _marks_of(self, stream: str) -> StreamMarks | None:
        if self._asked.mac_key is None:
            return None
        from otel_audit.integrity.marking import StreamMarks

        return StreamMarks(stream, self._asked.mac_key)

    def _follow_pruned(self, stream: Stream, cuts: Sequence[Cut]) -> None:
        """Begin where retention cut, with the tree that its record holds; a wrong tree leads to no signed root."""
        for cut in reversed(cuts):
            if cut.last_seq == stream.first_seq - 1 and len(cut.tree) == cut.last_seq.bit_count():
                self._streams[stream.id] = self._begin(stream.id, [], cut)
                self._follow(stream.id)
                return

    def _read_revocations(self) -> Iterable[Revocation]:
        if not self._asked.revocations:
            return
        policy = self._asked.policy
        if policy is None:
            from otel_audit.errors import ConfigurationError

            raise ConfigurationError("a revocation counts by its revoker's key, which a policy names: give a policy")
        for note in read_files(self._asked.revocations, self._findings):
            yield _open_revocation(note, policy)

    # Judging.

    def _tampered(self, streams: Iterable[Stream]) -> set[str]:
        found = [one for one in self._findings.listed if one.severity is Severity.TAMPERED]
        files = {one.file for one in found if one.stream is None}
        bad = {one.stream for one in found if one.stream is not None}
        unsure = bool(self._findings.unlisted)
        return {
            stream.id
            for stream in streams
            if unsure or stream.id in bad or not files.isdisjoint(span.file for span in stream.spans)
        }

    def _check_numbers(self, streams: Mapping[str, Stream]) -> set[str]:
        """Return the streams whose marks count for nothing, because marked streams before them are missing."""
        if self._asked.mac_key is None:
            return set()
        from otel_audit.integrity.marking import find_gaps

        marks = ((stream, each.marks) for stream, each in self._streams.items() if each.marks is not None)
        doubtful, found = find_gaps(self._asked.mac_key, marks)
        for stream, each in found:
            self._report(streams[stream], each)
        return doubtful

    def _judge(self, stream: Stream, followed: _Followed, *, chained: bool, counted: bool) -> Proved:
        whole = followed.end == stream.last.seq and not self._is_cut_short(stream)
        marked, found = self._judge_marks(followed)
        contradicted = any(each.code == "MAC_MISMATCH" for each in found)
        verdict = followed.integrity.finish(
            chained=chained and whole and not contradicted, keyed=marked if counted and not contradicted else 0
        )
        verdict.findings.extend(found)
        if followed.records is not None:
            verdict.findings.extend(followed.records.finish())
        kept = [each for each in verdict.findings if whole or each.code not in _AT_THE_END]
        if followed.own_word:
            kept = [each for each in kept if each.code not in _OWN_WORD]
            verdict.tier, verdict.signed = min(verdict.tier, Tier.KEYED if verdict.keyed else Tier.CHAINED), 0
        for each in kept:
            self._report(stream, each)
        if followed.own_word:
            detail = (
                "the checkpoints were held to the keys that the log itself names, which anybody could have put there"
            )
            self._add("NO_POLICY", stream, detail)
        if followed.signs_records and followed.records is None:
            self._add("RECORD_SIGNATURES_UNCHECKED", stream, "")
        if followed.overflowed:
            self._add("TOO_MANY_CHECKPOINTS", stream, "")
        pins = self._asked.pins
        if pins is not None and chained and whole and not any(each.code == "PRUNED_BEYOND" for each in kept):
            verdict.advance(pins)
        proved = Proved(
            verdict.tier,
            verdict.sentence,
            verdict.signed,
            verdict.anchored,
            verdict.witnessed,
            keyed=verdict.keyed,
            record_signatures=0 if followed.records is None else followed.records.checked,
        )
        if verdict.stamped is None or verdict.tier < Tier.SIGNED:
            return proved
        size, stamp = verdict.stamped
        return proved._replace(stamped=size, stamped_at=f"{stamp.time:%Y-%m-%dT%H:%M:%SZ}")

    def _judge_marks(self, followed: _Followed) -> tuple[int, list[Found]]:
        """Return how many records have good marks, and what was found of them."""
        if self._asked.mac_key is None:
            return 0, []
        if followed.marks is None:
            return 0, [Found("NOT_MARKED", "without its beginning no sum over it can be checked")]
        return followed.marks.marked, followed.marks.finish(followed.integrity.closed_at)

    def _is_cut_short(self, stream: Stream) -> bool:
        files = {span.file for span in stream.spans}
        return any(one.code == "UNREADABLE" and one.file in files for one in self._findings.listed)

    def _report_unfollowed(self, stream: Stream) -> None:
        """Say of a stream whose beginning is not here, and that no tree stands for, that it was not checked."""
        policy = self._asked.policy
        if policy is not None and policy.demands_signature(seconds_between(_EPOCH, stream.last.last_time)):
            self._add("NOT_SIGNED", stream, "without its beginning no signature over it can be checked")
        if self._asked.mac_key is not None:
            self._add("NOT_MARKED", stream, "without its beginning no sum over it can be checked")

    def _report_missing(self, streams: Mapping[str, Stream], cuts_of: Callable[[str], Sequence[Cut]]) -> None:
        policy = self._asked.policy
        notes = [
            note
            for stream, about in (*self._checkpoints.items(), *self._anchors.items())
            if stream not in streams
            for note in about
            if note.path in self._demanding and (note.stream is None or _is_ours(note, policy))
        ]
        if not notes and not self._asked.pins:
            return
        from otel_audit.integrity.verdict import missing_logs

        for stream, found in missing_logs(streams.keys(), pins=self._asked.pins, notes=[note.raw for note in notes]):
            if any(cut.last_seq >= int(found.expected or 0) for cut in cuts_of(stream)):
                self._findings.add(Finding("PRUNED", stream=stream, detail=found.detail))
            else:
                file = next((note.path for note in notes if note.stream == stream), "")
                self._findings.add(_converted(found, stream, file))

    def _report(self, stream: Stream, found: Found) -> None:
        span = (None if found.seq is None else stream.holding(found.seq)) or stream.last
        self._findings.add(_converted(found, stream.id, span.file))

    def _add(self, code: str, stream: Stream, detail: str) -> None:
        self._findings.add(Finding(code, stream.last.file, stream=stream.id, detail=detail))


def _converted(found: Found, stream: str, file: str) -> Finding:
    return Finding(found.code, file, None, None, stream, found.seq, found.expected, found.actual, found.detail)


def _is_ours(note: FileNote, policy: Policy | None) -> bool:
    """Tell whether a key of the policy speaks for the note's log; an anchor's directory may be shared with others."""
    from otel_audit.integrity.checkpoint import Checkpoint
    from otel_audit.integrity.note import parse_note

    return policy is None or bool(policy.log_keys(Checkpoint.parse(parse_note(note.raw).text).origin))


def _open_revocation(note: FileNote, policy: Policy) -> Revocation:
    from otel_audit.errors import ConfigurationError
    from otel_audit.integrity.note import NoteError
    from otel_audit.integrity.statements import Revocation

    try:
        return Revocation.open(note.raw, policy.revokers)
    except NoteError as error:
        raise ConfigurationError(f"{note.path}: {error}") from error


def _named_by_itself(keys: Sequence[str]) -> Policy:
    """Return a policy that trusts what a log says of its own keys, and demands nothing."""
    from otel_audit.errors import ConfigurationError
    from otel_audit.integrity.note import NoteError
    from otel_audit.integrity.policy import Policy, read_vkey

    policy = Policy(signed_since=float("inf"))
    for each in keys:
        try:
            policy.logs.append(read_vkey(each))
        except (NoteError, ConfigurationError):  # noqa: PERF203 - a key of a type that is not known here
            continue
    return policy
