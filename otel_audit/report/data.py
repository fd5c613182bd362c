"""The data of the page's script: small JSON lists, because there are many of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otel_audit.verify.report import Report

from .escaping import as_json
from .gathering import Gathered
from .inputs import Given
from .links import Links

__all__ = ["encode_data"]


def encode_data(
    report: Report,
    gathered: Gathered,
    labels: Mapping[str, str],
    checkpoints: list[dict[str, Any]],
    given: Given,
) -> str:
    """Return what the page lists and checks again, as JSON that can stand in a `<script>` element."""
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
