"""Five facts that hold or fail independently: content, continuity, signatures, time, anchors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from otel_audit.integrity.findings import Tier
from otel_audit.verify.findings import CODES, Severity
from otel_audit.verify.report import Report
from otel_audit.verify.subjects import SUBJECTS, Subject

__all__ = ["Fact", "State", "facts_of", "number"]

State = str
"""`good`, `bad`, `doubt` or `none` (nothing was checked)."""


class Fact(NamedTuple):
    """What is known about one subject, in a few words and in a sentence."""

    subject: Subject
    state: State
    value: str
    explanation: str


_NAMES: Final = {
    Subject.CONTENT: ("alteration", "alterations"),
    Subject.CONTINUITY: ("break", "breaks"),
    Subject.SIGNATURES: ("contradiction", "contradictions"),
    Subject.TIME: ("contradiction", "contradictions"),
    Subject.ANCHORS: ("contradiction", "contradictions"),
}
_GOOD: Final = {
    Subject.CONTENT: ("unchanged", "Each record gives the hash that it was sealed with."),
    Subject.CONTINUITY: ("complete", "Each record names the one before it, and none is missing in between."),
}
_TIME: Final = (
    "self-asserted",
    "The times are those of the writers' own clocks. Nothing contradicts them; the order holds.",
)

_STAMPED: Final = (
    "A trusted authority saw these records and states by when. Each record's own time is that of its writer's clock."
)


def facts_of(report: Report) -> list[Fact]:
    """Return the facts in the order in which a reader asks for them."""
    return [_fact_of(subject, report) for subject in Subject]


def _fact_of(subject: Subject, report: Report) -> Fact:
    counts = {code: count for code, count in report.findings.counts().items() if SUBJECTS[code] is subject}
    tampered = _count(counts, Severity.TAMPERED)
    if tampered:
        return Fact(subject, "bad", f"{number(tampered)} {_NAMES[subject][tampered != 1]}", _first(counts))
    open_points = sum(count for code, count in counts.items() if CODES[code].severity is not Severity.NOTE)
    if subject in {Subject.SIGNATURES, Subject.ANCHORS}:
        return _covered(subject, report, counts, open_points)
    if not report.records:
        return Fact(subject, "none", "nothing to check", "No record was found.")
    if open_points:
        return Fact(subject, "doubt", f"{number(open_points)} open point{'s' * (open_points != 1)}", _first(counts))
    return _time(report) if subject is Subject.TIME else Fact(subject, "good", *_GOOD[subject])


def _time(report: Report) -> Fact:
    """Say who vouches for the times, where nothing speaks against them."""
    stamped = sum(stream.stamped for stream in report.streams)
    if not stamped:
        return Fact(Subject.TIME, "none", *_TIME)
    whole = stamped >= report.records
    value = f"all {number(stamped)} stamped" if whole else f"{number(stamped)} of {number(report.records)} stamped"
    return Fact(Subject.TIME, "good" if whole else "doubt", value, _STAMPED)


def _covered(subject: Subject, report: Report, counts: dict[str, int], open_points: int) -> Fact:
    """Judge signatures or anchors: what matters is how many records they reach."""
    if subject is Subject.SIGNATURES:
        covered, word = sum(stream.signed for stream in report.streams), "signed"
        nothing = "No signature of a trusted key was checked. Whoever can write the files could have written all anew."
    else:
        covered, word = sum(max(stream.anchored, stream.witnessed) for stream in report.streams), "anchored"
        nothing = "Nothing from outside the log's reach was compared with it: no anchor, no pin, no witness."
    if not covered:
        return Fact(subject, "doubt" if open_points else "none", "not checked", _first(counts) or nothing)
    whole = covered >= report.records and not open_points
    value = f"all {number(covered)} {word}" if whole else f"{number(covered)} of {number(report.records)} {word}"
    tier = Tier.SIGNED if subject is Subject.SIGNATURES else max(report.tier, Tier.ANCHORED)
    return Fact(subject, "good" if whole else "doubt", value, _first(counts) or tier.sentence)


def _count(counts: dict[str, int], severity: Severity) -> int:
    return sum(count for code, count in counts.items() if CODES[code].severity is severity)


def _first(counts: Iterable[str]) -> str:
    """Return what the gravest code means."""
    ranked = sorted((CODES[code].severity is not Severity.TAMPERED, code) for code in counts if CODES[code].severity)
    return CODES[ranked[0][1]].meaning if ranked else ""


def number(value: int) -> str:
    """Return a count as it is written for people: 1 000 000, with spaces that do not break."""
    return f"{value:,}".replace(",", "\u00a0")
