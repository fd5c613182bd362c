"""`otel-audit status`: how far each sink is with a journal, and what it last complained of."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

from otel_audit.cli.output import escape, paint, say
from otel_audit.errors import ConfigurationError

__all__ = ["HELP", "add_arguments", "run"]

HELP = "Say how far each sink is: records behind, the oldest of them, the last error."

_INCOMPLETE = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `status` takes."""
    parser.add_argument("journal", nargs="?", help="journal directory (default: OTEL_PYTHON_AUDIT_JOURNAL)")
    parser.add_argument("--json", action="store_true", help="print a machine-readable report (otel-audit.status/1)")


def run(args: argparse.Namespace) -> int:
    """Print it; return 3 if a sink is failing, else 0."""
    from otel_audit.journal.progress import last_seqs, live_streams, sink_progress

    named = args.journal or os.environ.get("OTEL_PYTHON_AUDIT_JOURNAL")
    if not named:
        raise ConfigurationError("status needs a journal directory: give it, or set OTEL_PYTHON_AUDIT_JOURNAL")
    directory = Path(named)
    if not directory.is_dir():
        raise ConfigurationError(f"{directory} is not a directory")
    ends, live, sinks = last_seqs(directory), live_streams(directory), sink_progress(directory)
    failing = [one for one in sinks if one.state.get("error")]
    if args.json:
        report = {
            "schema": "otel-audit.status/1",
            "streams": len(ends),
            "live_streams": len(live),
            "records": sum(ends.values()),
            "sinks": [one._asdict() for one in sinks],
        }
        say(json.dumps(report, indent=2))
        return _INCOMPLETE if failing else 0
    count = f"{len(ends)} streams ({len(live)} being written), {sum(ends.values())} records"
    say(f"journal {escape(str(directory))}: {count}")
    if not sinks:
        say("no sink has ever shipped from here")
    for one in sinks:
        word = paint("failing", "bad") if one in failing else paint("ok", "good")
        line = f"sink {escape(one.sink)}: {word}, {one.confirmed} records confirmed, {one.behind} behind"
        say(f"{line}, the oldest from {escape(one.oldest)}" if one.oldest else line)
        if one in failing:
            since = one.state.get("failing_since")
            ago = f" for {time.time() - since:.0f} s" if isinstance(since, (int, float)) else ""
            say(f"    failing{ago}: {escape(str(one.state['error']))}")
        if one.state.get("refused"):
            say(f"    {one.state['refused']} records were refused and are in quarantine/{escape(one.sink)}")
    return _INCOMPLETE if failing else 0
