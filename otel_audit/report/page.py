"""The page: what was found as HTML that needs no script, and the data that the page's script checks again."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from hashlib import sha256
from html.parser import HTMLParser
from importlib import resources
from string import Template
from typing import Final

from otel_audit import __version__
from otel_audit.integrity import CHECKPOINTS
from otel_audit.verify.report import Report

from .data import encode_data
from .explained import draw_findings
from .gathering import gather
from .inputs import Given, draw_command, draw_inputs
from .openings import keys_of, label_of
from .signatures import describe_notes, read_notes, size_of
from .streammap import draw_map
from .summary import VERDICTS, draw_facts, draw_head, draw_selection, draw_verdict

__all__ = ["MARK", "build"]

MARK: Final = b'<meta name="generator" content="otel-audit report'
"""Stands near the beginning of every report."""
_UNREAD: Final = frozenset({"noscript", "script", "style"})
_NOTHING: Final = Given()


def build(report: Report, given: Given = _NOTHING, *, now: datetime | None = None) -> str:
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
    named = {stream: keys_of(data) for stream, data in gathered.openings.items()}
    labels = {stream: label_of(data) for stream, data in gathered.openings.items()}
    data = encode_data(report, gathered, labels, describe_notes(origins, given.policy, named), given)
    stated = {
        "head": draw_head(report, gathered, now),
        "verdict": draw_verdict(report),
        "facts": draw_facts(report),
        "map": draw_map(report, gathered, sizes, labels),
        "findings": draw_findings(report),
        "selection": draw_selection(report, gathered),
        "manifest": draw_inputs(report, given),
        "again": draw_command(given),
    }
    style, script = _read("page.css"), _read("page.js")
    page = Template(_read("page.html"))
    parts = dict(
        stated,
        title=VERDICTS[report.verdict][2],
        version=__version__,
        style=style,
        style_digest=_csp_digest(style),
        script_digest=_csp_digest(script),
        data_digest=sha256(data.encode()).hexdigest(),
    )
    text = _text_of(page.substitute(parts, script="", data="", stated_digest=""))
    return page.substitute(parts, script=script, data=data, stated_digest=sha256(text.encode()).hexdigest())


def _read(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _csp_digest(text: str) -> str:
    return f"sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}"


class _Text(HTMLParser):
    """The text in a page's body, as a browser that runs scripts has it, without that of scripts and styles."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._within: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._within.add(tag)

    def handle_endtag(self, tag: str) -> None:
        self._within.discard(tag)

    def handle_data(self, data: str) -> None:
        if "body" in self._within and not self._within & _UNREAD:
            self.pieces.append(data)


def _text_of(html: str) -> str:
    parser = _Text()
    parser.feed(html)
    parser.close()
    return "".join(parser.pieces).strip()
