"""`otel-audit doctor`: would records be written, and would they arrive, from here, now?"""

from __future__ import annotations

import argparse
import json
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Final

from otel_audit.cli.output import Style, escape, paint, say

if TYPE_CHECKING:
    from otel_audit.doctor import Check, Status

__all__ = ["HELP", "add_arguments", "run"]

HELP = "Check settings, disk, clock, keys, TLS and anchors, and send a canary record to every sink."

_STYLES: Final[dict[Status, Style]] = {"ok": "good", "unknown": "dim", "warn": "doubtful", "fail": "bad"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `doctor` takes."""
    parser.epilog = "exit codes: 0 all well, or warnings; 1 something fails; 2 usage"
    parser.add_argument("--config", metavar="FILE", help="YAML configuration (default: from the environment)")
    parser.add_argument(
        "--app",
        metavar="MODULE[:ATTRIBUTE]",
        help="import this and look at its logging; ATTRIBUTE (default: LOGGING) is a dictConfig mapping",
    )
    parser.add_argument("--no-canary", action="store_true", help="send no record to the sinks")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="S", help="seconds for connections and canaries")
    parser.add_argument("--json", action="store_true", help="print a machine-readable report (otel-audit.doctor/1)")


def run(args: argparse.Namespace) -> int:
    """Make the checks, print what they found, and return the exit code."""
    from otel_audit.doctor import examine

    found: list[Check] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they say of plain text is a check of its own
        for check in examine(args.config, app=args.app, canary=not args.no_canary, timeout=args.timeout):
            found.append(check)
            if not args.json:
                _print(check)
    counts = Counter(check.status for check in found)
    code = 1 if counts["fail"] else 0
    if args.json:
        report = {"schema": "otel-audit.doctor/1", "exit_code": code, "checks": [check._asdict() for check in found]}
        say(json.dumps(report, indent=2))
    else:
        say(", ".join(f"{count} {status}" for status in _STYLES if (count := counts[status])))
    return code


def _print(check: Check) -> None:
    word = paint(f"{check.status:<7}", _STYLES[check.status])
    say(f"{word} {escape(check.name)}: {escape(check.what)}")
    if check.todo and check.status != "ok":
        say(f"        {paint('->', 'dim')} {escape(check.todo)}")
