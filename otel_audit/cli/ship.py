"""`otel-audit ship`: a process of its own that brings a journal to its sinks, beside or after those that write it."""

from __future__ import annotations

import argparse
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otel_audit.cli.output import escape, say
from otel_audit.errors import ConfigurationError

if TYPE_CHECKING:
    from otel_audit.shipping import Shipper

__all__ = ["HELP", "add_arguments", "run"]

HELP = "Bring a journal to its sinks: as a sidecar or daemon, or once."

_INCOMPLETE = 3
_LOOK_AGAIN = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `ship` takes."""
    parser.add_argument("journal", nargs="?", help="journal directory (default: from the environment or --config)")
    parser.add_argument(
        "--sink", action="append", metavar="URL", help="where to; repeat for several (default: as above)"
    )
    parser.add_argument("--config", metavar="FILE", help="YAML configuration")
    parser.add_argument("--once", action="store_true", help="ship what is there, and leave; exit 3 if not all arrived")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S", help="with --once: give up after S seconds")
    parser.add_argument(
        "--drain", type=float, default=10.0, metavar="S", help="on SIGTERM, ship what is there for at most S seconds"
    )
    parser.add_argument(
        "--json", action="store_true", help="with --once: print a machine-readable report (otel-audit.ship/1)"
    )
    parser.epilog = "exit codes: 0 stopped, or with --once all arrived; 2 usage; 3 with --once, not all arrived"


def run(args: argparse.Namespace) -> int:
    """Ship until SIGTERM or Ctrl-C, or with `--once` until everything arrived."""
    from otel_audit.config.assembly import configure_sinks
    from otel_audit.config.resolving import resolve

    if args.json and not args.once:
        raise ConfigurationError("--json is the report of --once")
    given: dict[str, Any] = {"journal": args.journal, "sinks": args.sink, "config": args.config}
    effective = resolve({name: value for name, value in given.items() if value is not None}, os.environ)
    if effective.settings.journal in {None, "memory"}:
        raise ConfigurationError(
            "ship needs a journal directory: give it as an argument, or set OTEL_PYTHON_AUDIT_JOURNAL"
        )
    directory = Path(str(effective.settings.journal))
    if args.once and not directory.is_dir():
        raise ConfigurationError(f"{directory} is not a directory; is the journal mounted here?")
    shippers = _make_shippers(directory, configure_sinks(effective))
    if not shippers:
        raise ConfigurationError("ship needs a sink: give --sink URL, or set OTEL_PYTHON_AUDIT_SINKS")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if not directory.is_dir():
        say(f"waiting for {escape(str(directory))}: the first record makes it")
        while not (directory.is_dir() or stop.wait(_LOOK_AGAIN)):
            pass
    for shipper in shippers:
        shipper.start()
    try:
        if args.once:
            return _ship_all(shippers, directory, args.timeout, stop, as_json=args.json)
        say(f"shipping {escape(str(directory))} to {', '.join(escape(shipper.name) for shipper in shippers)}")
        stop.wait()
        _ship_all(shippers, directory, args.drain, threading.Event())
        return 0
    finally:
        for shipper in shippers:
            shipper.close()


def _make_shippers(directory: Path, sinks: list[Any]) -> list[Shipper]:
    from otel_audit.shipping import Shipper
    from otel_audit.shipping.source import JournalSource

    return [
        Shipper(
            JournalSource(directory),
            sink.make_sink,
            name=sink.name,
            required=sink.required,
            route=sink.route,
            linger=sink.linger,
        )
        for sink in sinks
    ]


def _ship_all(
    shippers: list[Shipper], directory: Path, timeout: float, stop: threading.Event, *, as_json: bool = False
) -> int:
    from otel_audit.journal.progress import last_seqs

    deadline = time.monotonic() + timeout
    ends = last_seqs(directory)
    late = {
        shipper: {
            stream: seq for stream, seq in ends.items() if stop.is_set() or not shipper.wait_for(stream, seq, deadline)
        }
        for shipper in shippers
    }
    code = _INCOMPLETE if any(late.values()) else 0
    if as_json:
        say(json.dumps(_report(late, ends, code), indent=2))
        return code
    for shipper, missing in late.items():
        name = escape(shipper.name)
        for stream, seq in missing.items():
            say(f"{name}: stream {stream} is not confirmed up to record {seq}")
        if missing and (why := _error_of(shipper)):
            say(f"{name}: {escape(why)}")
    if not code:
        names = ", ".join(escape(shipper.name) for shipper in shippers)
        say(f"{sum(ends.values())} records in {len(ends)} streams: confirmed by {names}")
    return code


def _report(late: dict[Shipper, dict[str, int]], ends: dict[str, int], code: int) -> dict[str, Any]:
    sinks = [
        {"sink": shipper.name, "not_confirmed": missing, "error": _error_of(shipper) if missing else None}
        for shipper, missing in late.items()
    ]
    records = sum(ends.values())
    return {"schema": "otel-audit.ship/1", "exit_code": code, "streams": len(ends), "records": records, "sinks": sinks}


def _error_of(shipper: Shipper) -> str | None:
    return shipper.health()[shipper.name].error
