"""The findings as a table: what was found, where, what it means, what to do."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from otel_audit.verify.findings import CODES, PRECEDENCE, Finding, Severity
from otel_audit.verify.report import Report

from .escaping import as_text
from .facts import number
from .summary import VERDICTS

__all__ = ["draw_findings"]

_MOST_PLACES: Final = 5
_LONGEST_VALUE: Final = 400


def draw_findings(report: Report) -> str:
    """Return the table as HTML, gravest first."""
    counts = report.findings.counts()
    if not counts:
        return '<p class="quiet">Nothing was found: no contradiction, and nothing that is missing.</p>'
    by_code: defaultdict[str, list[Finding]] = defaultdict(list)
    for found in report.findings.listed:
        by_code[found.code].append(found)
    ordered = sorted(counts, key=lambda code: PRECEDENCE.index(CODES[code].severity))
    rows = "".join(_finding_row(code, by_code[code], counts[code]) for code in ordered)
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Findings"><table class="findings"><thead><tr>'
        '<th scope="col">Finding</th><th scope="col">Where</th><th scope="col">What it means</th>'
        f'<th scope="col">What to do</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _finding_row(code: str, found: Sequence[Finding], count: int) -> str:
    entry = CODES[code]
    state, icon, _ = VERDICTS[entry.severity]
    if entry.severity is Severity.NOTE:
        state, icon, word = "none", "–", "note"
    else:
        word = entry.severity.name.lower()
    times = f" <span>× {number(count)}</span>" if count > 1 else ""
    return (
        f'<tr id="finding-{code}"><th scope="row" class="{state}"><span aria-hidden="true">{icon}</span> '
        f"<code>{code}</code>{times}<small>{word}</small></th>"
        f"<td>{_where(found, count)}</td><td>{_prose(entry.meaning)}</td><td>{_prose(entry.next_step)}</td></tr>"
    )


def _prose(text: str) -> str:
    """Return a sentence of the tables as HTML: what stands in backticks is code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", as_text(text))


def _where(found: Sequence[Finding], count: int) -> str:
    first, rest = found[:_MOST_PLACES], found[_MOST_PLACES:]
    parts = [f'<ul class="places">{"".join(map(_place, first))}</ul>' if first else ""]
    if rest:
        parts.append(
            f"<details><summary>{number(len(rest))} more</summary>"
            f'<ul class="places">{"".join(map(_place, rest))}</ul></details>'
        )
    if count > len(found):
        parts.append(f"<p>{number(count - len(found))} more were counted, and are not listed.</p>")
    return "".join(parts)


def _place(found: Finding) -> str:
    place = as_text(os.path.basename(found.file) or found.file)
    if found.line is not None:
        place += f":{found.line}"
    elif found.offset is not None:
        place += f" at byte {found.offset}"
    about = ""
    if found.stream is not None:
        about = f"stream …{as_text(found.stream[-8:])}"
        if found.seq is not None:
            about = f"record {found.seq}" + (f" to {found.seq + found.count - 1}" if found.count > 1 else "")
            about += f" of …{as_text(found.stream[-8:])}"
    values = "".join(
        f"<div><dt>{name}</dt><dd>{as_text(value[:_LONGEST_VALUE])}</dd></div>"
        for name, value in (("expected", found.expected), ("found", found.actual), ("", found.detail))
        if value
    )
    said = "<br>".join(filter(None, (about, f'<span title="{as_text(found.file)}">{place}</span>' if place else "")))
    return f"<li>{said}{f'<dl>{values}</dl>' if values else ''}</li>"
