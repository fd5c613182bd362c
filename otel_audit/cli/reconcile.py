"""`otel-audit reconcile`: which records of a journal are in which copy, and sending once more what is missing."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from otel_audit.cli.output import Style, escape, paint, say
from otel_audit.errors import ConfigurationError

if TYPE_CHECKING:
    from otel_audit.reconcile import Comparison, Ranges, Reconciliation
    from otel_audit.shipping.reshipping import Reshipped

__all__ = ["HELP", "add_arguments", "run"]

HELP = "Say which records of a journal a copy lacks, has beyond it, or has changed; send the missing ones again."

_EPILOG: Final = """exit codes, the gravest of all copies:
  0 the same   1 different content   2 usage, or unreadable   3 missing or extra   5 nothing there
With --reship, 0 also if all that was missing has been sent again."""
_PRECEDENCE: Final = (1, 3, 5, 0)
_MOST_SHOWN: Final = 20
_KINDS: Final[tuple[tuple[str, Style, str], ...]] = (
    ("different", "bad", "are not what the journal holds"),
    ("missing", "doubtful", "are not in the copy"),
    ("extra", "doubtful", "are not in the journal"),
    ("pruned", "dim", "are only in the copy: retention removed them from the journal"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `reconcile` takes."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("journal", help="journal directory, or any copy that the others are held against")
    parser.add_argument(
        "copies", nargs="+", metavar="COPY", help="file, directory, glob pattern or -: what a sink has, as it dumps it"
    )
    parser.add_argument("--together", action="store_true", help="all COPY arguments are parts of one copy")
    parser.add_argument("--from-parsed", action="store_true", help="lines may have been parsed and written again")
    parser.add_argument("--json", action="store_true", help="print a machine-readable report (otel-audit.reconcile/1)")
    parser.add_argument("--reship", metavar="SINK-URL", help="send what the copy lacks to this sink, at least once")
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="S", help="with --reship: give up after S seconds"
    )


def run(args: argparse.Namespace) -> int:
    """Compare, print, and return the exit code."""
    from otel_audit.reconcile import Reconciliation

    groups = [args.copies] if args.together else [[copy] for copy in args.copies]
    if args.reship and len(groups) > 1:
        raise ConfigurationError("--reship needs one copy; with --together several COPY arguments are one")
    if args.reship and not Path(args.journal).is_dir():
        raise ConfigurationError(f"--reship needs a journal directory, and {args.journal} is none")
    with Reconciliation(parsed_copy=args.from_parsed) as books:
        copies = [books.read(group) for group in groups]
        journal = books.read([args.journal])
        results = [books.compare(journal, copy) for copy in copies]
        code = min((each.exit_code for each in results), key=_PRECEDENCE.index)
        sent = _reship(args, books, results[0]) if args.reship and results[0].missing.records else None
    if sent is not None and code == 3 and not (results[0].extra.records or sent.refused or sent.gone):
        code = 0
    if args.json:
        say(json.dumps(_as_json(results, sent, code), indent=2))
        return code
    for each in results:
        _print(each)
    if sent is not None:
        _print_sent(sent)
    return code


def _reship(args: argparse.Namespace, books: Reconciliation, result: Comparison) -> Reshipped:
    from otel_audit.config.assembly import configure_sinks
    from otel_audit.config.resolving import resolve
    from otel_audit.shipping.reshipping import reship

    (configured,) = configure_sinks(resolve({"journal": args.journal, "sinks": [args.reship]}, os.environ))
    sink = configured.make_sink()
    try:
        missing = books.missing(result.journal, result.copy)
        return reship(Path(args.journal), missing, sink, timeout=args.timeout)
    finally:
        sink.close()


def _print(result: Comparison) -> None:
    name = escape(result.copy.name)
    shown = 0
    for kind, style, meaning in _KINDS:
        ranges: Ranges = getattr(result, kind)
        if not ranges.records:
            continue
        say(f"{paint(kind.upper(), style)} {name}: {ranges.records} records {meaning}")
        for found in ranges.listed[: max(0, _MOST_SHOWN - shown)]:
            numbers = str(found.first) if found.records == 1 else f"{found.first}-{found.last}"
            say(f"    {found.stream} {numbers}")
            shown += 1
        if (more := len(ranges.listed) + ranges.unlisted - _MOST_SHOWN) > 0:
            say(f"    and {more} more ranges (--json lists them)")
    for place in [*result.journal.places, *result.copy.places][:_MOST_SHOWN]:
        where = f"{escape(place.file)}:{place.line}"
        say(f"{paint('DAMAGED', 'bad')} {where}: no record as it was sealed ({place.code})")
    say(_conclude(result))


def _conclude(result: Comparison) -> str:
    name = escape(result.copy.name)
    if result.exit_code == 5:
        return f"{paint('EMPTY', 'doubtful')} {name}: neither it nor the journal holds a record"
    if result.exit_code == 0:
        return f"{paint('THE SAME', 'good')} {name}: {result.same} records, each as the journal holds it"
    return f"{name}: {result.same} records are the same in both, the above are not"


def _print_sent(sent: Reshipped) -> None:
    say(f"sent again: {sent.sent} records")
    if sent.refused:
        more = f" and {len(sent.refused) - _MOST_SHOWN} more" if len(sent.refused) > _MOST_SHOWN else ""
        say(f"{paint('REFUSED', 'bad')} by the sink: {', '.join(sorted(sent.refused)[:_MOST_SHOWN])}{more}")
    if sent.gone:
        say(f"{paint('GONE', 'doubtful')}: {sent.gone} records left the journal before they could be sent")


def _as_json(results: list[Comparison], sent: Reshipped | None, code: int) -> dict[str, Any]:
    report: dict[str, Any] = {
        "schema": "otel-audit.reconcile/1",
        "exit_code": code,
        "journal": {"name": results[0].journal.name, "records": results[0].journal.records},
        "copies": [_describe(each) for each in results],
    }
    if sent is not None:
        report["reshipped"] = {"sent": sent.sent, "refused": sorted(sent.refused), "gone": sent.gone}
    return report


def _describe(result: Comparison) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": result.copy.name,
        "exit_code": result.exit_code,
        "records": result.copy.records,
        "same": result.same,
    }
    for kind, _, _ in _KINDS:
        ranges: Ranges = getattr(result, kind)
        described[kind] = {
            "records": ranges.records,
            "ranges": [found._asdict() for found in ranges.listed],
            "ranges_not_listed": ranges.unlisted,
        }
    places = [*result.journal.places, *result.copy.places]
    described["damaged"] = {
        "lines": result.journal.damaged + result.copy.damaged,
        "places": [place._asdict() for place in places],
    }
    return described
