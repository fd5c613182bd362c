"""The map: one row a stream, a cell a span of time; each state has a shape of its own beside its colour."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from otel_audit.verify.findings import Finding, Severity
from otel_audit.verify.report import Report, StreamSummary

from .choosing import COLUMNS, Row
from .escaping import as_text
from .facts import number
from .gathering import Gathered

__all__ = ["draw_map"]

_MISSING: Final = frozenset(
    {
        "HEAD_CUT",
        "MISSING_SEGMENT",
        "PIN_TRUNCATED",
        "PRUNED",
        "RECORDS_LOST",
        "SEQ_GAP",
        "SIGNED_TRUNCATED",
        "TRUNCATED",
    }
)
_INSIDE: Final = frozenset({"HEAD_CUT", "MISSING_SEGMENT", "SEQ_GAP"})
"""Of those the ones that count the records that are missing; the others say how many there were once."""
_COUNT: Final = re.compile("[0-9]+")
_STATES: Final = ("altered", "missing", "doubt")
_SHAPES: Final = {
    "altered": "M{x} 0h1v24h-1z",
    "missing": "M{x}.12 5h.76v14h-.76z",
    "doubt": "M{x}.07 12h.86v8h-.86z",
}
"""Taller than a sound cell; hollow; half as high. The viewer box is 24 high, a column 1 wide."""
_LABELS: Final = 5


class Marks(NamedTuple):
    """What stands in one row beside its records."""

    states: Mapping[int, str]
    """Column -> the gravest state in it."""
    counts: Counter[str]
    """How many findings of each state, also those without a place; of what is missing, how many records."""
    anchors: set[int]


def draw_map(
    report: Report, gathered: Gathered, anchored: Mapping[str, Iterable[int]], label: Mapping[str, str]
) -> str:
    """Return the map as HTML. `anchored` are the sizes at which anchors hold streams, `label` their readable names."""
    if not gathered.rows:
        return '<p class="quiet">No stream was found, so there is nothing to draw.</p>'
    by_stream: defaultdict[str, list[Finding]] = defaultdict(list)
    for found in report.findings.listed:
        stream = found.stream or gathered.owners.get(found.file)
        if stream is not None and found.severity is not Severity.NOTE:
            by_stream[stream].append(found)
    summaries = {stream.stream: stream for stream in report.streams if stream.stream in gathered.rows}
    rows = []
    for stream, row in sorted(gathered.rows.items(), key=lambda pair: summaries[pair[0]].first_time):
        marks = _mark(by_stream[stream], summaries[stream], gathered, anchored.get(stream, ()))
        rows.append(_draw_row(summaries[stream], row, marks, gathered, label.get(stream, "")))
    rest = len(report.streams) - len(rows)
    if rest > 0:
        count = sum(gathered.others.cells)
        cells = _draw_cells(gathered.others, {}, set(), *_extent(gathered.others))
        name = f"{number(rest)} other stream{'s' * (rest != 1)}"
        rows.append(
            f'<li><span class="who">{name}<small>together</small></span>'
            f'<svg viewBox="0 0 {COLUMNS} 24" preserveAspectRatio="none" role="img" aria-label="{name}, '
            f'{number(count)} records">{cells}</svg><span class="what">{number(count)} records</span></li>'
        )
    return f'<ol class="map">{"".join(rows)}</ol>{_draw_axis(gathered)}{_LEGEND}{_table(report, summaries)}'


def _mark(findings: Iterable[Finding], stream: StreamSummary, gathered: Gathered, anchored: Iterable[int]) -> Marks:
    states: dict[int, str] = {}
    counts: Counter[str] = Counter()
    cut = 0  # several may know of one cut, from a later stream, an anchor, a pin: the one that knows most counts
    for found in findings:
        state = "missing" if found.code in _MISSING else "altered" if found.severity is Severity.TAMPERED else "doubt"
        if found.severity is not Severity.TAMPERED:
            counts["doubt"] += 1
        elif state != "missing":
            counts[state] += 1
        elif found.code in _INSIDE:
            counts[state] += found.count
        else:
            cut = max(cut, _count_cut(found))
        for column in _columns(found, stream, gathered):
            states[column] = min(state, states.get(column, state), key=_STATES.index)
    counts["missing"] += cut
    moments = gathered.moments
    anchors = {gathered.column(moments[stream.stream, size]) for size in anchored if (stream.stream, size) in moments}
    return Marks(states, counts, anchors)


def _count_cut(found: Finding) -> int:
    """Return how many records are known to be missing behind the last one; at least one is."""
    once, left = (_COUNT.match(text or "") for text in (found.expected, found.actual))
    return max(1, (int(once[0]) if once else 0) - (int(left[0]) if left else 0))


def _columns(found: Finding, stream: StreamSummary, gathered: Gathered) -> Iterable[int]:
    """Return where a finding lies: between the times of the records on its two sides."""
    if found.seq is None:
        times = [gathered.lines[found.file, line] for line in _near(found) if (found.file, line) in gathered.lines]
        return (gathered.column(times[0]),) if times else ()
    last = found.seq + found.count - 1
    if found.seq > stream.last_seq:
        return (gathered.column(stream.last_time),)
    sides = [
        gathered.column(gathered.moments[stream.stream, seq])
        for seq in (found.seq, last, *((found.seq - 1, last + 1) if found.code in _MISSING else ()))
        if (stream.stream, seq) in gathered.moments
    ]
    if not sides:
        return (gathered.column(stream.first_time),)
    return range(min(sides), max(sides) + 1)


def _near(found: Finding) -> tuple[int, ...]:
    line = found.line or 0
    return (line - 1, line + 1, line - 2, line + 2)


def _draw_row(stream: StreamSummary, row: Row, marks: Marks, gathered: Gathered, label: str) -> str:
    start, end = gathered.column(stream.first_time), gathered.column(stream.last_time)
    cells = _draw_cells(row, marks.states, marks.anchors, start, end)
    short = f"…{stream.stream[-8:]}"
    said = _say(marks.counts)
    ends = "closed" if stream.closed else "not closed"
    described = (
        f"Stream {label or ''} {stream.stream}: {number(stream.records)} records, {ends}; {said or 'no finding'}"
    )
    return (
        f'<li><span class="who" title="{as_text(stream.stream)}">{as_text(label or short)}'
        f"<small>{as_text(short if label else ends)}</small></span>"
        f'<svg viewBox="0 0 {COLUMNS} 24" preserveAspectRatio="none" role="img" aria-label="{as_text(described)}">'
        f'{cells}</svg><span class="what">{said or f"{number(stream.records)} records"}</span></li>'
    )


def _say(counts: Counter[str]) -> str:
    records = "record" if counts["missing"] == 1 else "records"
    words = {"altered": "✘ {} altered", "missing": f"✘ {{}} {records} missing", "doubt": "! {} open"}
    return ", ".join(words[state].format(number(counts[state])) for state in _STATES if counts[state])


def _extent(row: Row) -> tuple[int, int]:
    filled = [column for column, count in enumerate(row.cells) if count]
    return (filled[0], filled[-1]) if filled else (0, 0)


def _draw_cells(row: Row, states: Mapping[int, str], anchors: set[int], start: int, end: int) -> str:
    sound = "".join(f"M{x}.07 4h.86v16h-.86z" for x, count in enumerate(row.cells) if count and x not in states)
    parts = [f'<path class="span" d="M{start} 12h{end - start + 1}"/>', f'<path class="sound" d="{sound}"/>']
    for state in _STATES:
        shapes = "".join(_SHAPES[state].format(x=x) for x in sorted(states) if states[x] == state)
        if shapes:
            parts.append(f'<path class="{state}" d="{shapes}"/>')
    if row.checkpoints:
        parts.append(
            f'<path class="checkpoint" d="{"".join(f"M{x}.3 21h.4v3h-.4z" for x in sorted(row.checkpoints))}"/>'
        )
    if anchors:
        parts.append(f'<path class="anchor" d="{"".join(f"M{x}.5 -4v28" for x in sorted(anchors))}"/>')
    return "".join(parts)


def _draw_axis(gathered: Gathered) -> str:
    if not gathered.bounds:
        return ""
    step = COLUMNS // (_LABELS - 1)
    edges = [gathered.start, *gathered.bounds[step - 1 :: step]]
    days = {edge[:10] for edge in edges}
    times = [edge[11:19] if len(days) == 1 else f"{edge[:10]} {edge[11:16]}" for edge in edges]
    note = f"{next(iter(days))}, UTC" if len(days) == 1 else "UTC"
    labels = "".join(f"<span>{as_text(time)}</span>" for time in times)
    return f'<div class="axis" aria-hidden="true"><span class="who">{as_text(note)}</span><div>{labels}</div></div>'


def _key(state: str, path: str, text: str) -> str:
    shape = f'<path class="{state}" d="{path}"/>'
    return f'<li><svg viewBox="0 -2 3 28" preserveAspectRatio="none" aria-hidden="true">{shape}</svg>{text}</li>'


_LEGEND: Final = (
    '<ul class="legend" aria-label="Legend">'
    + _key("sound", "M0 4h.86v16h-.86zM1.07 4h.86v16h-.86zM2.14 4h.86v16h-.86z", "records, sound")
    + _key("span", "M0 12h3", "nothing recorded")
    + _key("altered", "M1 0h1v24h-1z", "altered or contradicted")
    + _key("missing", "M.6 5h1.8v14h-1.8z", "records missing")
    + _key("doubt", "M.6 12h1.8v8h-1.8z", "an open point")
    + _key("checkpoint", "M1 19h1v5h-1z", "checkpoint recorded")
    + _key("anchor", "M1.5 -2v28", "anchored up to here")
    + "</ul>"
)


def _table(report: Report, summaries: Mapping[str, StreamSummary]) -> str:
    counts = Counter(found.stream for found in report.findings.listed if found.severity is not Severity.NOTE)
    rows = "".join(
        f"<tr><td><code>{as_text(stream.stream)}</code></td><td>{as_text(stream.first_time[:19])}Z</td>"
        f"<td>{as_text(stream.last_time[:19])}Z</td><td>{number(stream.first_seq)} to {number(stream.last_seq)}</td>"
        f"<td>{number(stream.records)}</td><td>{'closed' if stream.closed else 'not closed'}</td>"
        f"<td>{as_text(stream.tier)}</td><td>{number(counts[stream.stream])}</td></tr>"
        for stream in sorted(summaries.values(), key=lambda each: each.first_time)
    )
    return (
        "<details><summary>The same as a table</summary>"
        '<div class="scroll" tabindex="0" role="region" aria-label="Streams"><table><thead><tr>'
        '<th scope="col">Stream</th><th scope="col">From</th><th scope="col">To</th><th scope="col">Numbers</th>'
        '<th scope="col">Records</th><th scope="col">End</th><th scope="col">Proof</th><th scope="col">Findings</th>'
        f"</tr></thead><tbody>{rows}</tbody></table></div></details>"
    )
