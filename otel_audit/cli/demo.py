"""`otel-audit demo`: an ordinary app, its audit trail, and what happens when somebody touches it."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from otel_audit.cli.output import Style, paint, say
from otel_audit.verify import Report, verify

__all__ = ["HELP", "add_arguments", "run"]

HELP = "See the whole story in a temporary directory: an app, its trail, an edit, a deletion, a cut."

APP: Final = """\
import logging, logging.config

logging.config.dictConfig({
    "version": 1,
    "handlers": {"audit": {"()": "otel_audit.AuditHandler"}},
    "loggers": {"shop": {"handlers": ["audit"], "level": "INFO"}},
})
log = logging.getLogger("shop.billing")

log.info("login ok", extra={"audit": {"event_name": "user.login", "actor": "alice", "outcome": "success"}})
for number in range(1, 6):
    log.info("invoice %d issued", number, extra={"amount": 100 * number, "currency": "EUR"})
log.warning("refund refused", extra={"audit": {"event_name": "invoice.refund", "actor": "bob",
                                               "target": "invoice/4", "outcome": "denied"}})
try:
    1 / 0
except ZeroDivisionError:
    log.exception("nightly report failed")
"""
"""The app. It knows nothing of otel-audit but one handler in its logging configuration."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `demo` takes."""
    parser.add_argument("--keep", metavar="DIR", help="work in this new directory, and leave it behind")


def run(args: argparse.Namespace) -> int:
    """Tell the story; return 0 if every chapter ended as it should."""
    if args.keep:
        Path(args.keep).mkdir(mode=0o700, parents=True)
        return _tell(Path(args.keep))
    with tempfile.TemporaryDirectory(prefix="otel-audit-demo-") as directory:
        return _tell(Path(directory))


def _tell(directory: Path) -> int:
    app, journal = directory / "app.py", directory / "journal"
    app.write_text(APP)
    _heading("1. An ordinary app with ordinary logging calls")
    say(APP)
    say(f"$ OTEL_PYTHON_AUDIT_JOURNAL={journal} python {app.name}      # run twice")
    for _ in range(2):
        _run_app(app, journal)
    first, second = sorted(journal.glob("*.jsonl"))
    _heading("2. Its trail: one line an event, numbered and chained")
    for line in first.read_text().splitlines()[1:4]:
        say(line)
    say("...")
    told = [
        _chapter("3. Nobody touched it", journal, lambda copy: None, 0),
        _chapter(
            "4. Somebody edits an amount: 300 becomes 30000",
            journal,
            lambda copy: _edit(copy / first.name, b'"amount":300,', b'"amount":30000,'),
            1,
        ),
        _chapter("5. Somebody deletes the refused refund", journal, lambda copy: _delete(copy / first.name, 7), 1),
        _chapter(
            "6. Somebody cuts the end off the first run: the second run had noted where it ended",
            journal,
            lambda copy: _cut(copy / first.name, 3),
            1,
        ),
        _chapter(
            "7. Somebody cuts the end off the last run: nothing here knows how long it was",
            journal,
            lambda copy: _cut(copy / second.name, 3),
            3,
        ),
    ]
    say()
    say("Exit code 3 is honest: from these files alone, a cut at the very end looks like a process that was killed.")
    say("A copy elsewhere (a sink) or a signed checkpoint held elsewhere (an anchor) is what tells the two apart.")
    return 0 if all(told) else 1


def _run_app(app: Path, journal: Path) -> None:
    environment = {
        "OTEL_PYTHON_AUDIT_JOURNAL": str(journal),
        "OTEL_PYTHON_AUDIT_SINKS": "",
        "OTEL_SERVICE_NAME": "shop",
    }
    subprocess.run([sys.executable, app.name], cwd=app.parent, env=_with(environment), check=True)


def _with(settings: dict[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return {**kept, **settings}


def _chapter(title: str, journal: Path, tamper: Callable[[Path], None], expected: int) -> bool:
    copy = journal.with_name("copy")
    shutil.copytree(journal, copy)
    try:
        tamper(copy)
        _heading(title)
        say("$ otel-audit verify journal")
        report = verify([copy])
        _show(report)
    finally:
        shutil.rmtree(copy)
    return report.exit_code == expected


def _show(report: Report) -> None:
    from otel_audit.verify import CODES

    for found in report.findings.listed:
        at = f"record {found.seq} of stream {(found.stream or '')[:8]}…" if found.seq else f"stream {found.stream}"
        say(f"  {paint(found.code, 'bad' if found.severity == 1 else 'doubtful')}  {at}")
        say(f"      {CODES[found.code].meaning}")
    style: Style = "good" if report.exit_code == 0 else "bad" if report.exit_code == 1 else "doubtful"
    say(f"  {paint(f'exit {report.exit_code}', style)}  {report.sentence}")


def _heading(title: str) -> None:
    say()
    say(paint(title, "strong"))


def _edit(path: Path, old: bytes, new: bytes) -> None:
    path.write_bytes(path.read_bytes().replace(old, new))


def _delete(path: Path, index: int) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:index] + lines[index + 1 :]))


def _cut(path: Path, count: int) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-count]))
