"""`otel-audit prune`: remove what is old from a journal, so that everybody can see that it was removed, and which."""

from __future__ import annotations

import argparse
import os
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from otel_audit.cli.output import say
from otel_audit.units import parse_bytes, parse_seconds

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["HELP", "add_arguments", "run"]

HELP = "Remove the oldest files of a journal, and record that they were removed."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `prune` takes."""
    parser.add_argument("journal", help="directory with stream files")
    limit = parser.add_mutually_exclusive_group(required=True)
    limit.add_argument(
        "--before", type=_age, metavar="TIME", help="what was last written before: 2026-11-01, 2026-11-01T12:00Z, 30d"
    )
    limit.add_argument("--keep-bytes", type=_size, metavar="SIZE", help="the oldest, until so much is left: 10GB")
    parser.add_argument(
        "--key",
        metavar="FILE",
        help="key that signs the record of it (default: the settings' signing_key_file, with their anchors)",
    )
    parser.add_argument(
        "--anchor",
        action="append",
        metavar="URL",
        help="where its checkpoint goes as well: directory:///path or another anchor (default: as --key)",
    )
    parser.add_argument("--config", metavar="FILE", help="YAML file, in place of OTEL_PYTHON_AUDIT_CONFIG")
    parser.epilog = (
        "Whole files go, from a stream's beginning, and none that a sink with a cursor in this journal has not got, "
        "or that is still written. A record of each, `audit.prune`, is on disk before: verify then says PRUNED."
    )


def run(args: argparse.Namespace) -> int:
    """Remove, and say how much."""
    from pathlib import Path

    from otel_audit.cli.privacy import read_settings
    from otel_audit.cli.signing import settings_of_own
    from otel_audit.config import build_trail
    from otel_audit.errors import AuditError, ConfigurationError
    from otel_audit.journal.retention import Limits
    from otel_audit.journal.writer import JournalWriter
    from otel_audit.retention import UNSIGNED, Retention

    journal = Path(args.journal)
    if not journal.is_dir():
        raise ConfigurationError(f"{journal} is no directory")
    before = _journal_bytes(journal)
    given = settings_of_own(journal, args.key, lambda: read_settings(args.config), args.anchor)
    if "signing_key_file" not in given and _is_signed(journal):
        raise ConfigurationError(
            f"streams in {journal} are signed, and nothing would sign the record of what is removed: to a verifier "
            "whose policy asks for signatures that is tampering. Give --key FILE, or the settings with their "
            "signing_key_file"
        )
    trail = build_trail(given, {})
    store = trail.stream.store
    assert isinstance(store, JournalWriter)
    retention = Retention(trail, store, Limits(args.before, args.keep_bytes), opens=True)
    try:
        removed = sum(iter(retention.prune, 0))
    finally:
        trail.close()
    if UNSIGNED in retention.troubles():
        raise AuditError("the record of what is to be removed could not be signed, and nothing more was removed")
    held = ", ".join(sorted(str(trouble["sink"]) for trouble in retention.troubles().values() if "sink" in trouble))
    freed = before - _journal_bytes(journal)
    say(f"{removed} files removed, {max(0, freed)} bytes less" + (f"; more is held for {held}" if held else ""))
    return 0


def _is_signed(journal: Path) -> bool:
    from otel_audit.integrity import CHECKPOINTS

    return any((journal / CHECKPOINTS).glob("*.checkpoint"))


def _journal_bytes(journal: os.PathLike[str]) -> int:
    return sum(each.stat().st_size for each in os.scandir(journal) if each.name.endswith(".jsonl"))


def _age(text: str) -> float:
    """Return how many seconds ago that was."""
    seconds = parse_seconds(text)
    if seconds is not None:
        return seconds
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write 2026-11-01, 2026-11-01T12:00Z or 30d") from None
    return time.time() - (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def _size(text: str) -> int:
    found = parse_bytes(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write 10GB, 512MiB or a number of bytes")
    return found
