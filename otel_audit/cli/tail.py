"""`otel-audit tail`: the last records, and the next ones as they are written, each checked against the one before."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from otel_audit.cli.output import escape, is_terminal, note, paint, say

if TYPE_CHECKING:
    from otel_audit.verify.following import Seen

__all__ = ["HELP", "add_arguments", "run"]

HELP = "Show the last records, and with -f the next ones, checking the chain on the way."

_POLL_SECONDS: Final = 0.25


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `tail` takes."""
    parser.add_argument("sources", nargs="+", metavar="SRC", help="journal directories or files")
    parser.add_argument(
        "-n", "--lines", type=_count, default=10, metavar="N", help="last records to show (default: 10)"
    )
    parser.add_argument(
        "-f",
        "--follow",
        action="store_true",
        help="go on as records are written, until Ctrl-C; wait for what is not there yet",
    )


def run(args: argparse.Namespace) -> int:
    """Print records, one a line; return 1 if one of them does not fit where it stands, else 0."""
    from otel_audit.verify.following import Follower

    follower = Follower(args.sources)
    seen = sorted(follower.read(), key=lambda each: each.time)
    if not follower.files and not args.follow:
        raise FileNotFoundError(2, "no such file, or no *.jsonl file under it", args.sources[0])
    sound = all(each.finding is None for each in seen)
    for each in seen[max(0, len(seen) - args.lines) :]:
        _print(each)
    if args.follow and not seen:
        note(f"waiting for the first record in {', '.join(args.sources)}")
    while args.follow:
        if sys.stdout is not None:
            sys.stdout.flush()  # whoever reads a pipe waits for it
        time.sleep(_POLL_SECONDS)
        for each in follower.read():
            sound = sound and each.finding is None
            _print(each)
    return 0 if sound else 1


def _print(seen: Seen) -> None:
    record = seen.record
    audit = _object(record, "audit")
    target = _object(audit, "target")
    stream = str(record.get("stream", ""))
    looked_at = is_terminal()
    said = [
        seen.time,
        f"{stream[:8] if looked_at else stream}-{record.get('seq', '')}",
        seen.finding or "ok",
        str(record.get("event_name", "")),
        str(_object(audit, "actor").get("id", "")),
        str(audit.get("outcome", "")),
        "/".join(str(target[key]) for key in ("type", "id") if key in target),
        str(record.get("message", "")),
    ]
    fields = [escape(each) for each in said]
    fields[2] = paint(fields[2], "bad" if seen.finding else "good")
    say(("  " if looked_at else "\t").join(fields))


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of records")
    return int(text)


def _object(value: dict[str, Any], name: str) -> dict[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}
