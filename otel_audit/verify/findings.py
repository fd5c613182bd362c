"""What a verifier can find: one table of stable codes, and one finding.

A code never changes its meaning. Severities are the exit codes of docs/format.md; the verdict of a whole run is the
gravest severity found (`PRECEDENCE`). An unreadable file never hides a changed one.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import Any, Final, NamedTuple

from otel_audit.integrity import findings as integrity

__all__ = ["CHAIN_CODES", "CODES", "PRECEDENCE", "Code", "Finding", "Findings", "Severity", "gravest"]


class Severity(IntEnum):
    """How a finding counts. The values are exit codes."""

    NOTE = 0
    TAMPERED = 1
    UNREADABLE = 2
    INCOMPLETE = 3
    UNVERIFIABLE = 4
    EMPTY = 5


PRECEDENCE: Final = (
    Severity.TAMPERED,
    Severity.UNREADABLE,
    Severity.UNVERIFIABLE,
    Severity.EMPTY,
    Severity.INCOMPLETE,
    Severity.NOTE,
)
"""Gravest first."""


class Code(NamedTuple):
    """What one code says: how grave it is, what it can mean, what to do next."""

    severity: Severity
    meaning: str
    next_step: str


_COMPARE = "Compare with a copy of this stream held elsewhere (a sink, a backup): `otel-audit compare`."
_KEEP = "Keep this file as it is, and find out who could write to it. " + _COMPARE

_T, _U, _I = Severity.TAMPERED, Severity.UNREADABLE, Severity.INCOMPLETE

CHAIN_CODES: Final[dict[str, Code]] = {
    # One line, by itself.
    "NOT_A_RECORD": Code(
        _T,
        "Bytes that are no record stand among records: inserted, or a record destroyed.",
        "If the program writes other lines to the same output, check it with --mixed; else: " + _KEEP,
    ),
    "OVERLONG_LINE": Code(_T, "A line is longer than the format allows; no writer makes such a line.", _KEEP),
    "DUPLICATE_MEMBER": Code(
        _T,
        "A JSON member stands twice in one object, so that two readers can see two different records.",
        _KEEP,
    ),
    "UNKNOWN_MEMBER": Code(_T, "The record has a member that format 1 does not have; it was added later.", _KEEP),
    "BAD_SCHEMA": Code(_T, "A member is missing or has a type or spelling that no writer gives it.", _KEEP),
    "NON_CANONICAL": Code(
        _T,
        "The content is unaltered, but its bytes are not the ones that were sealed: the line was written again.",
        "If a pipeline parsed and rewrote these lines, check them with --from-parsed; else: " + _KEEP,
    ),
    "HASH_MISMATCH": Code(_T, "The record was changed after it was sealed.", _KEEP),
    "VALUE_MUTATED": Code(
        Severity.UNVERIFIABLE,
        "This parsed copy does not give the sealed bytes back: a pipeline changed a value, or somebody did.",
        "Check the original line, if the pipeline kept it (`event.original`, the OTLP body), or another copy.",
    ),
    "PROJECTION_MISMATCH": Code(
        _T,
        "A field beside the line says something else than the line: searches show what was not sealed.",
        "The line is what counts. Find out who could change this field: a processor on the way, or somebody later.",
    ),
    # One stream, record after record.
    "PREV_MISMATCH": Code(
        _T,
        "The record does not follow the one before it: one of the two was replaced and sealed again.",
        _KEEP,
    ),
    "SEQ_GAP": Code(_T, "Records are missing between two others: they were removed.", _KEEP),
    "MISSING_SEGMENT": Code(_T, "A whole segment file of the stream is missing between two others.", _KEEP),
    "ORDER": Code(_T, "Records stand in another place than they were written in.", _KEEP),
    "DUPLICATE": Code(
        _T,
        "A record stands here twice, byte for byte.",
        "If these lines come from a sink that delivers at least once, check them with --unordered; else: " + _KEEP,
    ),
    "SEGMENT_NAME": Code(
        _T,
        "A file is named like a segment, but not as the writer names one: it was renamed, or put there.",
        _KEEP,
    ),
    "FORK": Code(
        _T,
        "Two different records claim the same place in one stream: two versions of history exist.",
        "Keep both. Only one of them can be in a copy held elsewhere: " + _COMPARE,
    ),
    "FOREIGN_STREAM": Code(_T, "A record of another stream was put into this stream's file.", _KEEP),
    "AFTER_CLOSE": Code(_T, "Records follow the one that closed the stream.", _KEEP),
    "SECOND_OPEN": Code(_T, "A stream is opened again in its middle: two streams were joined.", _KEEP),
    "FORMAT_CHANGE": Code(_T, "The opening record names another format than the one its stream is written in.", _KEEP),
    "NO_OPEN": Code(_T, "The first record of the stream is not the one that opens it.", _KEEP),
    "HEAD_CUT": Code(
        _T,
        "The beginning of the stream is missing, and no record of an intact stream says that retention removed it, "
        "or none that is signed where the policy asks for signatures.",
        "If older files exist, check them together with these. " + _KEEP,
    ),
    # What the streams say of each other.
    "TRUNCATED": Code(_T, "The stream once was longer: a later stream recorded where it had ended.", _KEEP),
    "EXTENDED": Code(_T, "Records were added behind the end that a later stream recorded.", _KEEP),
    "LINK_MISMATCH": Code(
        _T,
        "Another stream recorded a different hash for this record, or that there is no such stream: history was "
        "replaced.",
        _KEEP,
    ),
    "MISSING_STREAM": Code(
        _T,
        "A stream that another one follows is not here: its files were removed.",
        "Restore it from a copy. " + _KEEP,
    ),
    "TORN_MISMATCH": Code(
        _T, "The bytes behind the last whole line are not the ones that a later stream declared.", _KEEP
    ),
    # Nothing contradicts, but something is not there.
    "STREAM_NOT_GIVEN": Code(
        _I, "A stream that another one follows is not among what was checked.", "Give its files as well."
    ),
    "NOT_READ": Code(
        _I,
        "A directory below a journal holds audit files; it is no part of the journal, and was not read.",
        "Files moved out of the way belong back into the journal. If it is a journal of its own, name it as well.",
    ),
    "CHILD_NOT_FOUND": Code(
        _I,
        "A fork was announced, but the child's stream is not here, and its parent's closing record does not say that "
        "it never had one: the parent was killed, or the child outlived it.",
        "If the child should have logged, look for its stream.",
    ),
    "LINK_UNCHECKED": Code(
        _I,
        "A link into the middle of a stream could not be looked up in what was read.",
        "Check the files themselves.",
    ),
    "PRUNED": Code(
        _I,
        "Retention removed the beginning of the stream, and said so in a record; a signed one, if the policy asks for "
        "signatures.",
        "Nothing, if the policy agrees.",
    ),
    "TORN_TAIL": Code(
        _I,
        "The last line is incomplete: the process died while writing, or the file was cut there.",
        "If the process is still running, check again later; the next stream in this journal declares these bytes.",
    ),
    "TORN_DECLARED": Code(
        _I,
        "The last line is incomplete, exactly as the next stream declared: a crash, seen at restart.",
        "Nothing.",
    ),
    "UNCLOSED": Code(
        _I,
        "The stream has no closing record: the process still runs, was killed, or the end was cut off.",
        "Compare its end with a sink's copy or a checkpoint; nothing in here can tell a kill from a cut.",
    ),
    "RECORDS_LOST": Code(
        _I,
        "The writer declared records that it could not keep.",
        "Read the reason in the record; they are gone.",
    ),
    "PIPELINE_DEGRADED": Code(
        _I, "The writer noticed that something interfered with its work.", "Read the cause in the record."
    ),
    "DELIVERY_DEGRADED": Code(
        Severity.NOTE,
        "A sink or an anchor took nothing for a while. What is here is not touched by it.",
        "Ask `otel-audit reconcile` whether the copy at that sink is whole.",
    ),
    "SUPPRESSED": Code(_I, "The writer declared records that a rule kept out.", "Read the rule in the record."),
    "CLOCK_BACK": Code(_I, "The clock went back between two records.", "Order is by seq; mistrust times near here."),
    "CLOCK_STEP": Code(
        _I, "The clock and the time since start disagree: the clock was set.", "Mistrust times near here."
    ),
    "SILENCE": Code(
        _I,
        "Nothing was recorded for longer than it should be: suspended, blocked, or silenced.",
        "Ask what ran then.",
    ),
    "REPEAT_UNEXPLAINED": Code(
        _I,
        "A segment repeats lines of the one before, and no record says why: a crash meanwhile, or copied lines.",
        "Nothing is lost by it. If the stream went on, ask who could write to its files.",
    ),
    "EMPTY_SEGMENT": Code(
        _I,
        "A stream's file holds nothing: a crash before its first record, or an emptied file.",
        "Check its size in a copy.",
    ),
    "TOO_MANY_STREAMS": Code(
        _U,
        "More streams than one run can hold were found; the rest was not checked.",
        "Check fewer files at a time.",
    ),
    # Not judged.
    "UNKNOWN_FORMAT": Code(
        Severity.UNVERIFIABLE,
        "The stream declares a format that this verifier does not know.",
        "Use a newer verifier.",
    ),
    "UNREADABLE": Code(_U, "The file could not be read to its end.", "Check permissions, or the file's integrity."),
    "NO_CHECKPOINT": Code(
        _U,
        "A file that was given as a checkpoint is none: it is empty, or something else.",
        "Get it again, from where it is kept; a download that failed leaves such a file.",
    ),
    "MISSING_PATH": Code(Severity.EMPTY, "There is no such file.", "Check the path; a missing log is never a pass."),
    "EMPTY": Code(
        Severity.EMPTY,
        "No record was found.",
        "Check the path; an emptied log is never a pass. Lines that a pipeline parsed and rewrote need --from-parsed.",
    ),
    # Signatures that OpenTelemetry pipelines make (`audit.integrity.*`).
    "OTEL_SIGNATURE_BAD": Code(
        _T,
        "The signature on an OTLP record is not that of this record: a field, an attribute or the line was changed.",
        "If no processor behind the signing one adds or changes attributes: " + _KEEP,
    ),
    "OTEL_SIGNATURE_UNKNOWN_KEY": Code(
        Severity.UNVERIFIABLE,
        "The signature on an OTLP record was made with a key that was not given.",
        "Name its certificate with --otel-certificate, or its secret with --otel-secret-file.",
    ),
    "OTEL_SIGNATURE_MISSING": Code(
        Severity.UNVERIFIABLE,
        "Audit records carry no signature: they were never signed, or it was taken away.",
        "Ask whether the pipeline signs all of them.",
    ),
    # Not a fault.
    "OTEL_SIGNATURES_UNCHECKED": Code(
        Severity.NOTE,
        "OTLP records carry signatures that were not checked.",
        "To check them, name who signs with --otel-certificate or --otel-secret-file.",
    ),
    "TORN_DOCUMENT": Code(
        Severity.NOTE,
        "A document of an export has no end: who wrote it died. What of its records is nowhere else is missing.",
        "Nothing, if no record is missing.",
    ),
    "OTHER_LINES": Code(Severity.NOTE, "Lines that are no audit records were skipped.", "Nothing."),
    "TORN_REPEAT": Code(
        Severity.NOTE,
        "Beginnings of lines stand beside the same lines whole: a receiver kept what a broken connection had brought.",
        "Nothing: each is, byte for byte, the beginning of a whole line in the same input.",
    ),
    "REPEATED_LINES": Code(
        Severity.NOTE,
        "A segment begins with the last lines of the one before, as after a failed sync, and a record says why.",
        "Nothing.",
    ),
    "CHILD_SILENT": Code(
        Severity.NOTE,
        "Forked children ended without recording anything, says their parent's closing record: they have no streams.",
        "Nothing.",
    ),
    "IDENTICAL_COPIES": Code(
        Severity.NOTE,
        "Records came more than once, byte for byte, as at-least-once delivery does.",
        "Nothing.",
    ),
}
"""What lines, streams and what they say of each other lead to. docs/format.md lists them; a test keeps the two the
same."""

BUCKET_CODES: Final[dict[str, Code]] = {
    "OBJECT_OVERWRITTEN": Code(
        _T,
        "Something else was put above an object of the archive, under its name. What was archived lies below it and "
        "is what was checked; a plain download gets the other.",
        "Keep both versions, and find out who could write to the bucket.",
    ),
    "OBJECT_HIDDEN": Code(
        _T,
        "A delete marker was put above an object of the archive. What was archived lies below it and is what was "
        "checked; a plain download misses it.",
        "Find out who could delete in the bucket; removing the marker shows the object again.",
    ),
    "OBJECT_EXPIRED": Code(
        _I,
        "An object of the archive was deleted when no lock held it any more: by a lifecycle rule, or by somebody.",
        "Nothing, if the policy agrees.",
    ),
    "ANCHOR_MISSING": Code(
        _I,
        "A record says that a checkpoint was stored in this bucket, and it is not there.",
        "Ask how long it was locked. While a lock holds, only who owns the server's disks can remove an object.",
    ),
    "ANCHOR_ELSEWHERE": Code(
        _I,
        "The stream's records say that its checkpoints were stored in another place than the one that was given.",
        "Find out who changed where they go; give that place with --anchor as well.",
    ),
    "LOCK_MISSING": Code(
        _I,
        "Nothing keeps what is archived from being deleted: its bucket has no Object Lock, or the object no retention.",
        "Set up a bucket with Object Lock and a default retention, and archive to that (docs/how-to/worm-bucket.md).",
    ),
    "LOCK_WEAK": Code(
        _I,
        "The lock of an archived object is not what was asked for: it ends too early, is no legal hold, or can be "
        "bypassed (GOVERNANCE).",
        "Find out who changed the sink's settings or the bucket's default. If GOVERNANCE is what you want, say so: "
        "`lock=governance` with `retain`.",
    ),
    "LOCK_UNCHECKED": Code(
        Severity.UNVERIFIABLE,
        "What protects the archived objects could not be asked.",
        "Give the reader s3:GetBucketObjectLockConfiguration, s3:GetObjectRetention and s3:GetObjectLegalHold.",
    ),
    "VERSIONS_UNCHECKED": Code(
        Severity.UNVERIFIABLE,
        "The newest version of each object was read, because this account may not see the others.",
        "Give the reader s3:ListBucketVersions and s3:GetObjectVersion.",
    ),
    "LOCK_ENDED": Code(
        Severity.NOTE,
        "The lock of an archived object has ended as it was meant to; whoever may delete in the bucket can delete it.",
        "Nothing, if that is as long as it should be kept.",
    ),
    "OBJECT_REPEATED": Code(
        Severity.NOTE,
        "An object was stored more than once, with the same content, as after an answer that was lost.",
        "Nothing.",
    ),
}
"""What is found of archives that are read in their bucket."""

CODES: Final[dict[str, Code]] = {
    **CHAIN_CODES,
    **BUCKET_CODES,
    **{name: Code(Severity(code.severity), code.meaning, code.next_step) for name, code in integrity.CODES.items()},
}
"""Every code: those of the chain, of buckets, and those of signatures, anchors and pins (docs/integrity.md)."""


@dataclasses.dataclass(slots=True)
class Finding:
    """One thing found, and where. `count` records from `seq` on, when it is about several."""

    code: str
    file: str = ""
    line: int | None = None
    offset: int | None = None
    stream: str | None = None
    seq: int | None = None
    expected: str | None = None
    actual: str | None = None
    detail: str = ""
    count: int = 1

    @property
    def severity(self) -> Severity:
        """How this counts for the verdict."""
        return CODES[self.code].severity

    def continues_with(self, code: str, stream: str, seq: int) -> bool:
        """Tell whether a finding with these would only be this one, one record longer."""
        return (self.code, self.stream) == (code, stream) and self.seq is not None and self.seq + self.count == seq

    def as_json(self) -> dict[str, Any]:
        """Return the object of the `otel-audit.verify/1` report; its member names are stable."""
        code = CODES[self.code]
        return {
            "code": self.code,
            "severity": code.severity.name.lower(),
            "file": self.file,
            "line": self.line,
            "offset": self.offset,
            "stream": self.stream,
            "seq": self.seq,
            "count": self.count,
            "expected": self.expected,
            "actual": self.actual,
            "detail": self.detail,
            "meaning": code.meaning,
            "next": code.next_step,
        }


class Findings:
    """Findings in the order in which they were made: the first of them in full, the rest counted by code."""

    def __init__(self, most: int = 1000) -> None:
        self.listed: list[Finding] = []
        self.unlisted: Counter[str] = Counter()
        self._most = most

    def add(self, found: Finding) -> Finding:
        """Keep one finding, or count it if there are too many to keep."""
        if len(self.listed) < self._most:
            self.listed.append(found)
        else:
            self.unlisted[found.code] += 1
        return found

    def last(self) -> Finding | None:
        """Return the latest finding, if it was kept."""
        return self.listed[-1] if self.listed and not self.unlisted else None

    def extend(self, others: Findings) -> None:
        """Add the findings of another list."""
        for found in others.listed:
            self.add(found)
        self.unlisted.update(others.unlisted)

    def discard(self, condition: Callable[[Finding], bool]) -> None:
        """Take back the findings of which this is true."""
        self.listed = [found for found in self.listed if not condition(found)]

    def take_back(self, found: Finding) -> None:
        """Take back one finding, listed or only counted."""
        for place, each in enumerate(self.listed):
            if each is found:
                del self.listed[place]
                return
        self.unlisted[found.code] -= 1
        self.unlisted += Counter()  # drops what is zero

    def counts(self) -> Counter[str]:
        """Return how many findings each code has."""
        return Counter(found.code for found in self.listed) + self.unlisted

    def verdict(self) -> Severity:
        """Return what all of it comes to."""
        return gravest(CODES[code].severity for code in self.counts())


def gravest(severities: Iterable[Severity]) -> Severity:
    """Return the severity that decides the verdict."""
    present = set(severities)
    return next((severity for severity in PRECEDENCE if severity in present), Severity.NOTE)
