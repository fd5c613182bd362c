"""Lines that a sink refuses for what they are: put aside, never in the way of the lines behind them.

They stay in the journal like every other line; `quarantine/<sink>` lists them again, each behind a reason.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final
from urllib.parse import quote

__all__ = ["quarantine"]

QUARANTINE: Final = "quarantine"


def quarantine(journal: Path, sink: str, line: bytes, reason: str) -> None:
    """Append a refused line, as `{"reason": ..., "line": ...}`, and make it durable.

    Raises:
        OSError: it could not be written; the sink's cursor must not move past the line.
    """
    directory = journal / QUARANTINE
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    entry = json.dumps({"reason": reason[:1024], "line": line.decode(errors="backslashreplace").removesuffix("\n")})
    path = directory / quote(sink, safe="")
    with open(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), "ab") as file:
        file.write(entry.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
