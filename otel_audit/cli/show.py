"""`otel-audit show`: one record, the two beside it, and whether they hold together."""

from __future__ import annotations

import argparse
import json
import re
from typing import Final

from otel_audit.cli.output import escape, paint, say
from otel_audit.cli.sources import add_sources

__all__ = ["HELP", "add_arguments", "run"]

HELP = "Show one record, its neighbours, and whether they hold together."

_NOT_THERE: Final = 5
_ID: Final = re.compile(r"([0-9a-f]{32})-([1-9][0-9]{0,15})")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `show` takes."""
    parser.add_argument("id", metavar="STREAM-SEQ", type=_identity, help="the record's id")
    add_sources(parser)
    parser.add_argument("--raw", action="store_true", help="print the line as it is stored, and nothing else")


def run(args: argparse.Namespace) -> int:
    """Print the record; return 0 if it holds, 1 if it does not, 5 if it is not there."""
    from otel_audit.verify.content import examine
    from otel_audit.verify.lookup import find_lines

    stream, seq = args.id
    lines = find_lines(args.sources, [(stream, each) for each in (seq - 1, seq, seq + 1)])
    if (stream, seq) not in lines:
        say(f"record {stream}-{seq} is not there")
        return _NOT_THERE
    line = lines[stream, seq]
    if args.raw:
        say(line.decode("utf-8", "backslashreplace"))
        return 0
    entry, fault = examine(line)
    _print_pretty(line)
    holds = _say("its content is what was sealed", fault is None, fault.code if fault else "")
    for other, text in ((seq - 1, "it follows the record before it"), (seq + 1, "the record behind it follows it")):
        if (stream, other) not in lines:
            say(
                f"{paint('?', 'doubtful')} record {other} is not there to compare with"
                if other
                else "- it is the first"
            )
            continue
        neighbour, _ = examine(lines[stream, other])
        pair = (neighbour, entry) if other < seq else (entry, neighbour)
        linked = pair[0] is not None and pair[1] is not None and pair[0].hash == pair[1].prev
        holds = _say(text, linked, "its prev_hash is another") and holds
    return 0 if holds else 1


def _print_pretty(line: bytes) -> None:
    try:
        text = json.dumps(json.loads(line), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = line.decode("utf-8", "backslashreplace")
    for each in text.split("\n"):
        say(escape(each))


def _say(text: str, holds: bool, otherwise: str) -> bool:
    say(f"{paint('yes' if holds else 'NO', 'good' if holds else 'bad')}: {text}{'' if holds else f' ({otherwise})'}")
    return holds


def _identity(text: str) -> tuple[str, int]:
    found = _ID.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no record id; it is <32 hex digits>-<number>")
    return found[1], int(found[2])
