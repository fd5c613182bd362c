"""The beginning of the page: what was checked, the verdict, five facts, and what the list of records holds."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Final

from otel_audit import __version__
from otel_audit.verify.findings import Severity
from otel_audit.verify.report import Report

from .escaping import as_text
from .facts import facts_of, number
from .gathering import Gathered
from .openings import service_of

__all__ = ["ICONS", "VERDICTS", "draw_facts", "draw_head", "draw_selection", "draw_verdict"]

VERDICTS: Final = {
    Severity.NOTE: ("good", "✔", "Intact"),
    Severity.TAMPERED: ("bad", "✘", "Tampered"),
    Severity.UNREADABLE: ("bad", "✘", "Not everything could be read"),
    Severity.INCOMPLETE: ("doubt", "!", "Incomplete"),
    Severity.UNVERIFIABLE: ("doubt", "?", "Cannot be judged"),
    Severity.EMPTY: ("doubt", "?", "Nothing is there"),
}
"""State, icon and word of each verdict."""
ICONS: Final = {"good": "✔", "bad": "✘", "doubt": "!", "none": "–"}
_MOST_SERVICES: Final = 3


def draw_head(report: Report, gathered: Gathered, now: datetime) -> str:
    """Return what was checked, when and by what, as HTML."""
    services = sorted({service_of(each) for each in gathered.openings.values()} - {""})
    said = [f"<strong>{as_text(', '.join(services[:_MOST_SERVICES])[:200])}</strong>"] if services else []
    times = [time for each in report.streams for time in (each.first_time, each.last_time) if time]
    if times:
        said.append(f"{as_text(min(times)[:19])}Z to {as_text(max(times)[:19])}Z")
    count, streams = number(report.records), len(report.streams)
    said.append(f"{count} record{'s' * (count != '1')} in {number(streams)} stream{'s' * (streams != 1)}")
    said.append(f"checked {now.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%SZ} by otel-audit {__version__}")
    return " · ".join(said)


def draw_verdict(report: Report) -> str:
    """Return the verdict and what it proves, as HTML."""
    state, icon, word = VERDICTS[report.verdict]
    proved, also, missing = report.sentence.partition(" Not proved: ")
    paragraphs = [_paragraph(proved.removeprefix("Proved: "), "Proved")]
    if also:
        paragraphs.append(_paragraph(missing, "Not proved"))
    return (
        f'<div class="verdict {state}"><span class="icon" aria-hidden="true">{icon}</span>'
        f'<div><h2 id="verdict-word">{word}</h2>{"".join(paragraphs)}</div></div>'
    )


def _paragraph(text: str, label: str) -> str:
    return f"<p><strong>{label}:</strong> {as_text(text)}</p>"


def draw_facts(report: Report) -> str:
    """Return the five facts as list items."""
    return "".join(
        f'<li class="{fact.state}"><h3>{fact.subject.name.capitalize()}</h3>'
        f'<p class="value"><span aria-hidden="true">{ICONS[fact.state]}</span> {as_text(fact.value)}</p>'
        f"<p>{as_text(fact.explanation)}</p></li>"
        for fact in facts_of(report)
    )


def draw_selection(report: Report, gathered: Gathered) -> str:
    """Return how many of the records are listed, and which."""
    carried = sum(each.seq is not None for each in gathered.shown)
    if not gathered.left_out:
        return "All records that were checked are listed here." if carried else "There is no record to list."
    problems = any(each.problem for each in gathered.shown)
    first = "what was found with its surroundings, then " if problems else ""
    return (
        f"{number(carried)} of {number(report.records)} records are listed here: {first}each stream’s first "
        f"records and its newest. The other {number(gathered.left_out)} were checked as well, and are left out of "
        "this file."
    )
