"""`otel-audit pseudonym`: the pseudonyms of a value, so that its records can be searched for."""

from __future__ import annotations

import argparse
import json

from otel_audit.cli.output import say

__all__ = ["HELP", "add_arguments", "run"]

HELP = "Print the pseudonyms of a value, one for each key, the newest last."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `pseudonym` takes."""
    parser.add_argument("value", help="as the application writes it; `-`: one line of standard input")
    parser.add_argument("--key", metavar="FILE", help="key file (default: the settings' pseudonym_key_file)")
    parser.add_argument("--config", metavar="FILE", help="YAML file, in place of OTEL_PYTHON_AUDIT_CONFIG")
    parser.add_argument("--json", action="store_true", help="print a JSON object (otel-audit.pseudonym/1)")


def run(args: argparse.Namespace) -> int:
    """Print them."""
    import sys

    from otel_audit.cli.privacy import read_pseudonym_keys, read_settings
    from otel_audit.errors import ConfigurationError
    from otel_audit.redaction.pseudonyms import read_keys

    keys = read_keys(args.key) if args.key else read_pseudonym_keys(None, read_settings(args.config))
    if not keys:
        raise ConfigurationError("give --key=<file>, the setting pseudonym_key_file of the application")
    value = sys.stdin.readline().rstrip("\n") if args.value == "-" else args.value
    if args.json:
        found = [{"key": key.id, "pseudonym": key.name(value)} for key in keys]
        say(json.dumps({"schema": "otel-audit.pseudonym/1", "pseudonyms": found}, indent=2))
        return 0
    for key in keys:
        say(key.name(value))
    return 0
