"""`otel-audit erase`: destroy the key of a person's sealed fields, and record that it was destroyed."""

from __future__ import annotations

import argparse
import getpass
import json
from typing import TYPE_CHECKING

from otel_audit.cli.output import escape, paint, say

if TYPE_CHECKING:
    from otel_audit.redaction.subject_keys import SubjectKeys

__all__ = ["HELP", "add_arguments", "run"]

HELP = "Destroy the key of a person's sealed fields, and record that it was destroyed."

_NOT_THERE = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `erase` takes."""
    parser.add_argument("--subject", required=True, metavar="ID", help="whose, as the application writes it")
    parser.add_argument("--by", metavar="NAME", help="who does it, for the record (default: this system's user)")
    parser.add_argument("--reason", default="", help="why, for the record: a law, a ticket")
    parser.add_argument(
        "--name-subject",
        choices=("no", "pseudonym", "clear"),
        default="no",
        help="how the record names the person: not at all (default), by a pseudonym, or in clear, for ever",
    )
    parser.add_argument("--config", metavar="FILE", help="YAML file, in place of OTEL_PYTHON_AUDIT_CONFIG")
    parser.add_argument("--journal", metavar="DIR", help="where the record goes (default: the settings' journal)")
    parser.add_argument("--keys", metavar="DIR", help="directory of keys (default: the settings' subject_keys)")
    parser.add_argument("--pseudonym-key", metavar="FILE", help="(default: the settings' pseudonym_key_file)")
    parser.add_argument(
        "--key",
        metavar="FILE",
        help="key that signs the record (default: the settings' signing_key_file, with their anchors)",
    )
    parser.add_argument("--json", action="store_true", help="print a machine-readable report (otel-audit.erase/1)")
    parser.epilog = (
        "Exit codes: 0 destroyed and recorded, 2 not (see the message), 5 there is no key of this person. Copies of "
        "the key in backups and snapshots, and what was never sealed, are not reached: see docs/how-to/erasure.md."
    )


def run(args: argparse.Namespace) -> int:
    """Erase, and say which keys went."""
    from pathlib import Path

    from otel_audit.cli.privacy import open_subject_keys, read_pseudonym_keys, read_settings
    from otel_audit.cli.signing import settings_of_own
    from otel_audit.config import build_trail
    from otel_audit.erasure import erase
    from otel_audit.errors import ConfigurationError

    settings = read_settings(args.config)
    keys = open_subject_keys(args.keys, settings)
    journal = args.journal or settings.journal
    if journal is None:
        raise ConfigurationError("give --journal=<directory>: an erasure without a record is none that can be shown")
    if not Path(journal).is_dir():
        raise ConfigurationError(
            f"{journal} is no directory: give the journal that is to hold the record of the erasure"
        )
    named = {"no": None, "clear": args.subject}.get(args.name_subject)
    if args.name_subject == "pseudonym":
        pseudonyms = read_pseudonym_keys(args.pseudonym_key, settings)
        if not pseudonyms:
            raise ConfigurationError("--name-subject pseudonym needs --pseudonym-key")
        named = pseudonyms[-1].name(args.subject)
    if keys.find(args.subject) is None and not keys.is_erasing(args.subject):
        return _report(args, keys, [])
    trail = build_trail(settings_of_own(journal, args.key, lambda: settings), {})
    try:
        ids = erase(trail, keys, args.subject, by=args.by or getpass.getuser(), reason=args.reason, named=named)
    finally:
        trail.close()
    return _report(args, keys, ids)


def _report(args: argparse.Namespace, keys: SubjectKeys, ids: list[str]) -> int:
    code = 0 if ids else _NOT_THERE
    if args.json:
        say(json.dumps({"schema": "otel-audit.erase/1", "exit_code": code, "keys": ids}, indent=2))
    elif ids:
        say(f"{paint('destroyed', 'good')}: {', '.join(ids)}; recorded in the journal")
    else:
        say(f"there is no key of this person in {escape(keys.directory)}")
    return code
