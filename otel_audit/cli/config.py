"""`otel-audit config`: is a file or the environment usable, which settings hold, and what may be set."""

from __future__ import annotations

import argparse
import json
import os
import warnings
from typing import TYPE_CHECKING, Any, Final

from otel_audit.cli.output import complain, escape, paint, say
from otel_audit.errors import ConfigurationError

if TYPE_CHECKING:
    from otel_audit.config.resolving import Effective

__all__ = ["HELP", "add_arguments", "run"]

HELP = "Check settings, show which hold and where they come from, print their JSON Schema."

_UNUSABLE: Final = 2
_MASK: Final = "********"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `config` takes."""
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")

    check = actions.add_parser("check", help="exit 2, with a line for each mistake, unless the settings are usable")
    check.add_argument("source", metavar="FILE|env", help="a YAML file by itself, or `env`: this environment")

    show = actions.add_parser("show", help="print the settings that hold in this environment")
    show.add_argument("--config", metavar="FILE", help="YAML file, in place of OTEL_PYTHON_AUDIT_CONFIG")
    show.add_argument("--origin", action="store_true", help="say where each value comes from")
    show.add_argument("--json", action="store_true", help="print a JSON object")

    actions.add_parser("schema", help="print the JSON Schema of a YAML file")


def run(args: argparse.Namespace) -> int:
    """Do it; return the exit code."""
    return {"check": _check, "show": _show, "schema": _print_schema}[args.action](args)


def _check(args: argparse.Namespace) -> int:
    from otel_audit.config.assembly import check
    from otel_audit.config.resolving import resolve

    from_environment = args.source == "env"
    with warnings.catch_warnings(record=True) as doubts:
        warnings.simplefilter("always")
        try:
            if from_environment:
                check(resolve({}, os.environ))
            else:
                check(resolve({"config": args.source}, {}))
        except ConfigurationError as error:
            for line in str(error).splitlines():
                complain(line)
            return _UNUSABLE
    for doubt in doubts:
        say(f"{paint('warning:', 'doubtful')} {escape(str(doubt.message))}")
    say(f"{'the environment' if from_environment else escape(args.source)}: {paint('usable', 'good')}")
    return 0


def _show(args: argparse.Namespace) -> int:
    from otel_audit.config.resolving import resolve

    try:
        effective = resolve({"config": args.config} if args.config else {}, os.environ)
    except ConfigurationError as error:
        for line in str(error).splitlines():
            complain(line)
        return _UNUSABLE
    rows = _list_settings(effective)
    if args.json:
        say(json.dumps({name: {"value": value, "origin": origin} for name, value, origin in rows}, indent=2))
        return 0
    for name, value, origin in rows:
        shown = value if isinstance(value, str) else json.dumps(value)
        line = f"{name} = {escape(shown)}"
        say(f"{line}  {paint(f'({escape(origin)})', 'dim')}" if args.origin else line)
    return 0


def _list_settings(effective: Effective) -> list[tuple[str, Any, str]]:
    from otel_audit.config.assembly import describe
    from otel_audit.config.settings import SECRET_VARIABLES

    rows = [(name, value, effective.origins[name]) for name, value in describe(effective).items()]
    rows += [(name, _MASK, "environment") for name in SECRET_VARIABLES if os.environ.get(name)]
    return rows


def _print_schema(args: argparse.Namespace) -> int:
    from otel_audit.config.published import json_schema

    say(json.dumps(json_schema(), indent=2))
    return 0
