"""The command `otel-audit`: finds the subcommand, imports its module and nothing else, runs it.

A subcommand is a module in this package with `HELP` (one line), `add_arguments(parser)` and `run(args)`, which returns
the exit code. Modules import what is heavy inside `run`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, Final, NoReturn, Protocol

from otel_audit import __version__
from otel_audit.cli import output
from otel_audit.errors import AuditError

__all__ = ["COMMANDS", "main"]

COMMANDS: Final[dict[str, str]] = {
    "demo": "demo",
    "verify": "verify",
    "report": "report",
    "tail": "tail",
    "show": "show",
    "keys": "keys",
    "checkpoint": "checkpoint",
    "prove": "prove",
    "prune": "prune",
    "verify-proof": "verify_proof",
    "compare": "compare",
    "run": "run",
    "ship": "ship",
    "status": "status",
    "reconcile": "reconcile",
    "doctor": "doctor",
    "config": "config",
    "pseudonym": "pseudonym",
    "subject-report": "subject_report",
    "erase": "erase",
}
"""Subcommand -> module in this package, in the order in which `--help` lists them."""

_USAGE_ERROR: Final = 2
_INTERRUPTED: Final = 130


class _Command(Protocol):
    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, args: argparse.Namespace) -> int: ...


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        output.complain(f"{message} (see `{self.prog} --help`)")
        raise SystemExit(_USAGE_ERROR)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; return the process's exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    named = next((word for word in given if not word.startswith("-")), None)
    try:
        args = _parse(given, named)
        output.set_color(args.color)
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = int(args.run(args))
        if sys.stdout is not None:
            sys.stdout.flush()  # what cannot be written is an error here, not a complaint of the interpreter's
        return code
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # the reader (`head`) has seen enough
        _let_go_of_stdout()
        return _USAGE_ERROR
    except (AuditError, OSError) as error:
        output.complain(_describe(error))
        _let_go_of_stdout()
        return _USAGE_ERROR


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Write a warning as a line for people, without the place in our source that it came from."""
    output.warn(str(message))


def _let_go_of_stdout() -> None:
    """See to it that the interpreter's own flush at the end has nothing to complain of."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parse(given: list[str], named: str | None) -> argparse.Namespace:
    common = _Parser(add_help=False)
    common.add_argument(
        "--color", choices=("auto", "always", "never"), default=argparse.SUPPRESS, help="colour the output"
    )
    parser = _Parser(prog="otel-audit", description="Audit records that nobody can quietly change.", parents=[common])
    parser.add_argument("--version", action="version", version=f"otel-audit {__version__}")
    parser.set_defaults(color="auto")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
    for name in [named] if named in COMMANDS else COMMANDS:
        module = _import(name)
        sub = commands.add_parser(name, help=module.HELP, description=module.HELP, parents=[common])
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return parser.parse_args(given)


def _import(name: str) -> _Command:
    module: Any = importlib.import_module(f"otel_audit.cli.{COMMANDS[name]}")
    return module  # type: ignore[no-any-return]


def _describe(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    return str(error)


if __name__ == "__main__":
    sys.exit(main())
