"""The page: what was found as HTML that needs no script, and the data that the page's script checks again."""

from __future__ import annotations

import base64
import dataclasses
import os
import re
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from hashlib import sha256
from html.parser import HTMLParser
from importlib import resources
from string import Template
from typing import TYPE_CHECKING, Any, Final

from otel_audit import __version__
from otel_audit.integrity import CHECKPOINTS
from otel_audit.verify.findings import CODES, PRECEDENCE, Finding, Severity
from otel_audit.verify.report import Report

from .escaping import as_json, as_text
from .facts import facts_of, number
from .gathering import Gathered, gather
from .links import Links
from .signatures import describe_notes, read_notes, size_of
from .streammap import draw_map

if TYPE_CHECKING:
    from otel_audit.integrity.policy import Policy

__all__ = ["MARK", "Given", "build"]

MARK: Final = b'<meta name="generator" content="otel-audit report'
"""Stands near the beginning of every report."""

_WORDS: Final = {
    Severity.NOTE: ("good", "✔", "Intact"),
    Severity.TAMPERED: ("bad", "✘", "Tampered"),
    Severity.UNREADABLE: ("bad", "✘", "Not everything could be read"),
    Severity.INCOMPLETE: ("doubt", "!", "Incomplete"),
    Severity.UNVERIFIABLE: ("doubt", "?", "Cannot be judged"),
    Severity.EMPTY: ("doubt", "?", "Nothing is there"),
}
_ICONS: Final = {"good": "✔", "bad": "✘", "doubt": "!", "none": "–"}
_MOST_PLACES: Final = 5
_LONGEST_VALUE: Final = 400
_MOST_SERVICES: Final = 3


@dataclasses.dataclass(frozen=True)
class Given:
    """What the verifier was given beside the sources; the page repeats it for whoever checks again."""

    policy: Policy | None = None
    checkpoints: Sequence[str | os.PathLike[str]] = ()
    anchors: Sequence[str | os.PathLike[str]] = ()
    parsed_copy: bool = False
    mixed: bool = False
    beside: Sequence[tuple[str, str | os.PathLike[str]]] = ()
    """What else the inputs were held against: what it is (`policy`, `pins`), and the file or directory."""
    command: Sequence[str] = ()
    """The command that makes the same check."""


def build(report: Report, given: Given = Given(), *, now: datetime | None = None) -> str:
    """Return the page for a report, pure ASCII but for its own words.

    The report's sources are read once more, as far as they were verified; `verify(..., digests=True)` has their
    SHA-256 put into the page.
    """
    now = datetime.now(timezone.utc) if now is None else now
    journals = sorted({os.path.dirname(each.path) for each in report.inputs})
    beside = [room for journal in journals if os.path.isdir(room := os.path.join(journal, CHECKPOINTS))]
    notes = {"file": read_notes([*beside, *given.checkpoints]), "anchor": read_notes(given.anchors)}
    sizes = {stream: {size_of(note) for note in about} for stream, about in notes["anchor"].items()}
    places = [(stream, size) for stream, some in sizes.items() for size in some]
    gathered = gather(report, places, parsed_copy=given.parsed_copy, mixed=given.mixed)
    origins: dict[str, Mapping[str, Sequence[str]]] = {
        "stream": {stream: [note] for stream, note in gathered.notes.items()},
        **notes,
    }
    named = {stream: _texts(data.get("keys")) for stream, data in gathered.openings.items()}
    labels = {stream: _label(data) for stream, data in gathered.openings.items()}
    data = _data(report, gathered, labels, describe_notes(origins, given.policy, named), given)
    stated = {
        "head": _head(report, gathered, now),
        "verdict": _verdict(report),
        "facts": _facts(report),
        "map": draw_map(report, gathered, sizes, labels),
        "findings": _findings(report),
        "selection": _selection(report, gathered),
        "manifest": _manifest(report) + _beside(given),
        "again": _again(given),
    }
    style, script = _read("page.css"), _read("page.js")
    return Template(_read("page.html")).substitute(
        stated,
        title=_WORDS[report.verdict][2],
        version=__version__,
        style=style,
        script=script,
        style_digest=_csp_digest(style),
        script_digest=_csp_digest(script),
        data=data,
        data_digest=sha256(data.encode()).hexdigest(),
        stated_digest=sha256("".join(map(_text_of, stated.values())).encode()).hexdigest(),
    )


def _read(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _csp_digest(text: str) -> str:
    return f"sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}"


def _texts(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _label(opening: Mapping[str, Any]) -> str:
    """Return who wrote a stream, as far as its first record says so: service@host/pid."""
    host, pid = _member(opening, "host", "name"), _member(opening, "process", "pid")
    label = "@".join(each[:60] for each in (_service(opening), host) if isinstance(each, str) and each)
    return f"{label}/{pid}" if label and type(pid) is int else label


def _service(opening: Mapping[str, Any]) -> str:
    name = _member(opening, "service", "name")
    return name if isinstance(name, str) else ""


def _member(opening: Mapping[str, Any], outer: str, inner: str) -> Any:
    value = opening.get(outer)
    return value.get(inner) if isinstance(value, dict) else None


def _head(report: Report, gathered: Gathered, now: datetime) -> str:
    services = sorted({_service(each) for each in gathered.openings.values()} - {""})
    said = [f"<strong>{as_text(', '.join(services[:_MOST_SERVICES])[:200])}</strong>"] if services else []
    times = [time for each in report.streams for time in (each.first_time, each.last_time) if time]
    if times:
        said.append(f"{as_text(min(times)[:19])}Z to {as_text(max(times)[:19])}Z")
    count, streams = number(report.records), len(report.streams)
    said.append(f"{count} record{'s' * (count != '1')} in {number(streams)} stream{'s' * (streams != 1)}")
    said.append(f"checked {now.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%SZ} by otel-audit {__version__}")
    return " · ".join(said)


def _verdict(report: Report) -> str:
    state, icon, word = _WORDS[report.verdict]
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


def _facts(report: Report) -> str:
    return "".join(
        f'<li class="{fact.state}"><h3>{fact.subject.name.capitalize()}</h3>'
        f'<p class="value"><span aria-hidden="true">{_ICONS[fact.state]}</span> {as_text(fact.value)}</p>'
        f"<p>{as_text(fact.explanation)}</p></li>"
        for fact in facts_of(report)
    )


# Findings.


def _findings(report: Report) -> str:
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
    state, icon, _ = _WORDS[entry.severity]
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


# Records, inputs, how to check again.


def _selection(report: Report, gathered: Gathered) -> str:
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


def _manifest(report: Report) -> str:
    rows = "".join(
        f"<tr><td><code>{as_text(each.path)}</code></td><td>{number(each.bytes)}</td><td>{number(each.lines)}</td>"
        f"<td><code>{each.sha256 or 'not taken: it could not be read to its end'}</code></td></tr>"
        for each in report.inputs
    )
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Inputs"><table class="manifest"><thead><tr>'
        '<th scope="col">File</th><th scope="col">Bytes of lines</th><th scope="col">Lines</th>'
        f'<th scope="col">SHA-256 of the file as it was read</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _beside(given: Given) -> str:
    if not given.beside:
        return "<p>They were held against nothing else: no policy, no anchor and no pin was given.</p>"
    rows = "".join(
        f"<tr><td>{as_text(kind)}</td><td><code>{as_text(os.fspath(path))}</code></td><td>{_digest_of(path)}</td></tr>"
        for kind, path in given.beside
    )
    return (
        "<h3>What they were held against</h3>"
        '<div class="scroll" tabindex="0" role="region" aria-label="Held against"><table class="manifest"><thead><tr>'
        '<th scope="col">Kind</th><th scope="col">File</th><th scope="col">SHA-256</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _digest_of(path: str | os.PathLike[str]) -> str:
    try:
        if os.path.isdir(path):
            count = len(os.listdir(path))
            return f"a directory of {number(count)} file{'s' * (count != 1)}"
        with open(path, "rb") as file:
            return f"<code>{sha256(file.read()).hexdigest()}</code>"
    except OSError as error:
        return as_text(error.strerror)


def _again(given: Given) -> str:
    return f"<pre><code>{as_text(shlex.join(given.command))}</code></pre>" if given.command else ""


def _data(
    report: Report,
    gathered: Gathered,
    labels: Mapping[str, str],
    checkpoints: list[dict[str, Any]],
    given: Given,
) -> str:
    """Return the data of the page's script: small JSON lists, because there are many of them."""
    inputs = {each.path: place for place, each in enumerate(report.inputs)}
    signed = {each["stream"] for each in checkpoints}
    shown = {each.stream for each in gathered.shown} | signed
    streams = {
        stream.stream: [labels.get(stream.stream, ""), stream.tier, stream.signed, stream.anchored, stream.witnessed]
        for stream in report.streams
        if stream.stream in shown
    }
    findings = [
        [found.stream, found.seq, found.count, inputs.get(found.file), found.line, found.code, found.severity.name]
        for found in report.findings.listed
    ]
    links = Links(gathered.shown, gathered.trees)
    for each in checkpoints:
        each["leads"] = links.lead_to(each["stream"], each["size"], each["root"])
    head = as_json(
        {
            "schema": "otel-audit.report/1",
            "parsed": given.parsed_copy,
            "inputs": [[each.path, each.sha256] for each in report.inputs],
            "streams": streams,
            "findings": findings,
            "checkpoints": checkpoints,
            "trees": {
                stream: [tree.size, [each.hex() for each in tree.subtrees]]
                for stream, tree in gathered.trees.items()
                if stream in signed
            },
        }
    )
    records = ",".join(
        f"[{each.input},{each.line},{int(each.sound)},{links.follows(each)},{int(each.problem)},{each.json}]"
        for each in gathered.shown
    )
    return f'{head[:-1]},"records":[{records}]}}'


class _Text(HTMLParser):
    """The text of a piece of HTML, as a browser's `textContent` gives it."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)


def _text_of(html: str) -> str:
    parser = _Text()
    parser.feed(html)
    parser.close()
    return "".join(parser.pieces)
