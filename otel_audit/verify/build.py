"""Builds the single-file verifier: `python -m otel_audit.verify.build otel-audit-verify.pyz`.

For auditors: it runs with any Python from 3.10 on and, where signatures are to be checked, the package `cryptography`;
nothing is installed. The same sources give the same bytes.

    python otel-audit-verify.pyz /var/lib/shop/audit --policy trust.policy --pin pins.json
"""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from otel_audit import __version__

__all__ = ["build"]

_PACKAGE: Final = Path(__file__).parents[1]
_ROOMS: Final = ("integrity", "verify")
_FILES: Final = ("record.py", "canonical.py", "chain.py", "errors.py", "spelling.py")
_FOR_THE_CHECKOUT: Final = {Path(__file__).name, "published.py"}
_COMMANDS: Final = {"verify": "verify", "verify-proof": "verify_proof", "compare": "compare"}
_BEGINNING: Final = (1980, 1, 1, 0, 0, 0)
"""The only moment that a zip file's entries need to state, so that two builds are the same."""

_MAIN: Final = f"""\
import sys

from otel_audit.cli import __main__ as command

if __name__ == "__main__":
    command.COMMANDS.clear()
    command.COMMANDS.update({_COMMANDS!r})
    words = sys.argv[1:]
    if words and not words[0].startswith("-") and words[0] not in command.COMMANDS:
        words.insert(0, "verify")
    sys.exit(command.main(words))
"""


def build(path: str | os.PathLike[str]) -> None:
    """Write the single-file verifier.

    Raises:
        OSError: it cannot be written.
    """
    with open(path, "wb") as file:
        file.write(b"#!/usr/bin/env python3\n")
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in sorted(_contents()):
                archive.writestr(zipfile.ZipInfo(name, _BEGINNING), content, zipfile.ZIP_DEFLATED)
    os.chmod(path, 0o755)  # noqa: S103 - a program for everybody, without secrets


def _contents() -> Iterator[tuple[str, str]]:
    yield "__main__.py", _MAIN
    yield "otel_audit/__init__.py", f"__version__ = {__version__!r}\n"
    commands = ("__init__", "__main__", "output", *_COMMANDS.values())
    paths = [_PACKAGE / name for name in _FILES]
    paths += [each for room in _ROOMS for each in (_PACKAGE / room).glob("*.py") if each.name not in _FOR_THE_CHECKOUT]
    paths += [_PACKAGE / "cli" / f"{name}.py" for name in commands]
    for path in paths:
        yield path.relative_to(_PACKAGE.parent).as_posix(), path.read_text(encoding="utf-8")


if __name__ == "__main__":
    build(sys.argv[1])
