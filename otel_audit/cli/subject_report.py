"""`otel-audit subject-report`: all records about one person, and what of their sealed fields can still be read."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from otel_audit.cli.output import Style, escape, paint, say
from otel_audit.cli.sources import add_sources

if TYPE_CHECKING:
    from otel_audit.subject_report import Erasure, Report, SealedValue, Sighting

__all__ = ["HELP", "add_arguments", "run"]

HELP = "Find all records about one person, and open their sealed fields while the key is there."

_STYLES: dict[str, Style] = {
    "opened": "good",
    "erased": "dim",
    "no key": "doubtful",
    "cut": "doubtful",
    "changed": "bad",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `subject-report` takes."""
    parser.add_argument("--subject", required=True, metavar="ID", help="whose, as the application writes it")
    add_sources(parser)
    parser.add_argument("--keys", metavar="DIR", help="directory of keys (default: the settings' subject_keys)")
    parser.add_argument("--pseudonym-key", metavar="FILE", help="(default: the settings' pseudonym_key_file)")
    parser.add_argument("--config", metavar="FILE", help="YAML file, in place of OTEL_PYTHON_AUDIT_CONFIG")
    parser.add_argument("--json", action="store_true", help="print a JSON object (otel-audit.subject-report/1)")
    parser.epilog = (
        "Exit codes: 0 found, 1 a record or a sealed field was changed, 2 something cannot be read, 5 nothing found. "
        "Found is where the id, or a pseudonym of it, is a whole value; not where it stands inside a text."
    )


def run(args: argparse.Namespace) -> int:
    """Print what the records say."""
    from otel_audit.cli.privacy import open_subject_keys, read_pseudonym_keys, read_settings
    from otel_audit.subject_report import report_on

    settings = read_settings(args.config)
    keys = open_subject_keys(args.keys, settings) if args.keys or settings.subject_keys else None
    report = report_on(
        args.subject,
        args.sources,
        key=None if keys is None else keys.find(args.subject),
        pseudonym_keys=read_pseudonym_keys(args.pseudonym_key, settings),
    )
    if args.json:
        say(json.dumps(_as_json(report), indent=2))
    else:
        _print(report)
    return report.exit_code


def _print(report: Report) -> None:
    for sighting in report.sightings:
        _print_sighting(sighting)
    for erasure in report.erasures:
        say(f"{paint('ERASED', 'strong')} {erasure.time} by {escape(erasure.by)}{_because(erasure)} ({erasure.id})")
    for place in report.unreadable:
        say(f"{paint('UNREADABLE', 'bad')} {escape(place)}")
    sealed = [each for sighting in report.sightings for each in sighting.sealed]
    counts = {state: sum(each.state == state for each in sealed) for state in _STYLES}
    said = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    say(f"{len(report.sightings)} of {report.records} records; sealed fields: {said or 'none'}")


def _print_sighting(sighting: Sighting) -> None:
    mark = "" if sighting.intact else f" {paint('CHANGED: this is not what was sealed', 'bad')}"
    say(f"{sighting.time} {escape(sighting.event_name)} ({sighting.id}){mark}")
    say(f"    found at {escape(', '.join(sighting.found_at))}")
    for each in sighting.sealed:
        value = f": {escape(json.dumps(each.value, ensure_ascii=False))}" if each.state == "opened" else ""
        if each.whole_bytes is not None:
            value = f", the beginning of {escape(str(each.whole_bytes))} bytes{value}"
        say(f"    {escape(each.path)} {paint(each.state, _STYLES[each.state])}{value}")


def _because(erasure: Erasure) -> str:
    return f", {escape(erasure.reason)}" if erasure.reason else ""


def _as_json(report: Report) -> dict[str, Any]:
    return {
        "schema": "otel-audit.subject-report/1",
        "exit_code": report.exit_code,
        "records_read": report.records,
        "pseudonyms": list(report.pseudonyms),
        "key": report.key,
        "records": [_describe(each) for each in report.sightings],
        "erasures": [{**each._asdict(), "keys": list(each.keys)} for each in report.erasures],
        "unreadable": report.unreadable,
    }


def _describe(sighting: Sighting) -> dict[str, Any]:
    return {
        "id": sighting.id,
        "time": sighting.time,
        "event_name": sighting.event_name,
        "file": sighting.file,
        "line": sighting.line,
        "intact": sighting.intact,
        "found_at": sighting.found_at,
        "sealed": [_describe_sealed(each) for each in sighting.sealed],
        "record": sighting.record,
    }


def _describe_sealed(each: SealedValue) -> dict[str, Any]:
    described: dict[str, Any] = {"path": each.path, "key": each.key, "state": each.state}
    if each.state == "opened":
        described["value"] = each.value
    if each.whole_bytes is not None:
        described["whole_bytes"] = each.whole_bytes
    return described
