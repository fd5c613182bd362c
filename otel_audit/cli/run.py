"""`otel-audit run COMMAND`: start a Python program with an audit trail, and with no change to its code."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from otel_audit.errors import ConfigurationError

__all__ = ["HELP", "add_arguments", "environment_for", "run"]

HELP = "Start a Python program with an audit trail, without a change to its code."

_EPILOG: Final = """Settings come from the environment (OTEL_PYTHON_AUDIT_*), as for `otel_audit.configure`; the
options here are short for some of them. Python processes that the program starts are audited, too.

  otel-audit run --logger django.security --journal /var/lib/shop/audit gunicorn shop.wsgi"""

_PREFIX: Final = "OTEL_PYTHON_AUDIT_"
_PATH: Final = "PYTHONPATH"
_AUTOSTART: Final = Path(__file__).resolve().parents[1] / "autostart"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` takes."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument(
        "--logger", action="append", metavar="NAME", help="a logger that becomes audit; repeat for several (audit)"
    )
    parser.add_argument("--sink", action="append", metavar="URL", help="where records go; repeat for several")
    parser.add_argument("--journal", metavar="DIR", help="directory of stream files")
    parser.add_argument("--config", metavar="FILE", help="YAML configuration")
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, metavar="COMMAND ...", help="the program and its arguments"
    )


def run(args: argparse.Namespace) -> int:
    """Check the settings, then become the command. Returns only if that failed.

    Raises:
        ConfigurationError: a setting is unusable; the command is not started.
    """
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not command:
        raise ConfigurationError("run: there is no command; try `otel-audit run python app.py`")
    environment = environment_for(args, os.environ)
    _check(environment)
    program = shutil.which(command[0], path=environment.get("PATH"))
    if program is None:
        raise ConfigurationError(f"run: {command[0]} is not there, or may not be executed")
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None where one was closed
        stream.flush()
    os.execve(program, command, environment)  # noqa: S606 - this is what the command is for


def environment_for(args: argparse.Namespace, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that the command gets."""
    environment = dict(environ)
    given = {
        "LOGGERS": ",".join(args.logger or ()),
        "SINKS": ",".join(args.sink or ()),
        "JOURNAL": args.journal,
        "CONFIG": args.config,
    }
    environment.update({f"{_PREFIX}{name}": value for name, value in given.items() if value})
    others = [each for each in environment.get(_PATH, "").split(os.pathsep) if each and each != str(_AUTOSTART)]
    environment[_PATH] = os.pathsep.join([str(_AUTOSTART), *others])
    return environment


def _check(environment: Mapping[str, str]) -> None:
    from otel_audit.config.assembly import check
    from otel_audit.config.resolving import resolve

    check(resolve({}, environment))
