"""`otel-audit report`: what `verify` finds, as one HTML file that a stranger understands."""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
import tempfile
from hashlib import sha256
from typing import Final

from otel_audit.cli.output import complain, say
from otel_audit.cli.verify import add_checking_arguments, check, read_policy
from otel_audit.errors import ConfigurationError

__all__ = ["HELP", "add_arguments", "run"]

HELP = "Check audit streams, and write what was found as one HTML file that needs no network."

_STDOUT: Final = "-"
_FLAGS: Final = ("strict", "unordered", "from_parsed", "mixed")
_VALUES: Final = ("policy", "checkpoint", "anchor", "tsa_ca", "revocation", "otel_certificate", "otel_secret_file")
_BESIDE: Final = (
    ("policy", "policy"),
    ("pins", "pin"),
    ("checkpoints", "checkpoint"),
    ("anchor", "anchor"),
    ("time-stamping authority", "tsa_ca"),
    ("revocation", "revocation"),
    ("certificate", "otel_certificate"),
)
"""What inputs are held against, and the option that names it. Not secrets: guesses could be tried on their digest."""
_DURATIONS: Final = ("max_silence", "max_age")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `report` takes: all that `verify` takes, and where to write."""
    add_checking_arguments(parser)
    parser.add_argument(
        "--output",
        "-o",
        required=True,
        metavar="FILE",
        help="where to write the report, or - for stdout; an earlier report is replaced, any other file is not",
    )


def run(args: argparse.Namespace) -> int:
    """Check, write the report, and return the verdict's exit code."""
    from otel_audit.report import Given, build

    to_stdout = args.output == _STDOUT
    if not to_stdout:
        _refuse_to_replace(args.output)
    if "-" in args.sources:
        _make_stdin_seekable()
    report = check(args, digests=True)
    given = Given(
        read_policy(args),
        args.checkpoint,
        args.anchor,
        parsed_copy=args.from_parsed,
        mixed=args.mixed,
        beside=[(name, path) for name, option in _BESIDE for path in _given(args, option)],
        command=_command(args),
    )
    page = build(report, given).encode()
    if to_stdout:
        _print(page)
        return report.exit_code
    _write(args.output, page)
    if not args.quiet:
        say(f"{args.output}: {len(page) / 1e6:.1f} MB, SHA-256 {sha256(page).hexdigest()}")
        say(f"{report.verdict.name if report.verdict else 'INTACT'}: {report.sentence}")
    return report.exit_code


def _refuse_to_replace(path: str) -> None:
    """Fail if there is something that no `report` has written: the output must never eat the evidence."""
    from otel_audit.report import MARK

    if not os.path.isfile(path):
        return
    with open(path, "rb") as file:
        beginning = file.read(4096)
    if beginning and MARK not in beginning:
        raise ConfigurationError(f"{path} is there and is no report; name another file, or move it away")


def _write(path: str, page: bytes) -> None:
    """Put the page at a path: whole or not at all where that is a file, as it comes where it is a device or a pipe."""
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as file:
            file.write(page)
        return
    from otel_audit.integrity.durable import replace_file

    replace_file(os.path.realpath(path), page, 0o644)


def _make_stdin_seekable() -> None:
    """Keep what comes from a pipe in a file that the system removes: a report reads its sources twice."""
    if sys.stdin is not None and not sys.stdin.seekable():
        spooled = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process reads from it
        shutil.copyfileobj(sys.stdin.buffer, spooled)
        spooled.seek(0)
        sys.stdin = io.TextIOWrapper(spooled)


def _print(page: bytes) -> None:
    if sys.stdout is None:
        complain("standard output is closed; give -o a file")
        raise SystemExit(2)
    sys.stdout.buffer.write(page)
    sys.stdout.buffer.flush()


def _command(args: argparse.Namespace) -> list[str]:
    """Return the command that makes the same check."""
    words = ["otel-audit", "verify", *map(os.fspath, args.sources)]
    words += [_option(name) for name in _FLAGS if getattr(args, name)]
    for name in _VALUES:
        words += [word for each in _given(args, name) for word in (_option(name), each)]
    for name in _DURATIONS:
        if (seconds := getattr(args, name)) is not None:
            words += [_option(name), f"{seconds:g}s"]
    return words


def _given(args: argparse.Namespace, name: str) -> list[str]:
    value = getattr(args, name)
    return value if isinstance(value, list) else [] if value is None else [value]


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
