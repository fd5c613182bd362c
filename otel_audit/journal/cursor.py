"""How far a sink has confirmed a stream: one small file, replaced whole. Behind is safe, ahead is loss.

A cursor is locked while somebody ships its stream to its sink, so that two processes never ship the same.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

from .files import lock, sync_directory
from .reader import Position

__all__ = ["Cursor", "list_cursors", "read_position", "read_state", "write_state"]

CURSORS: Final = "cursors"
STATE: Final = "state"


class Cursor:
    """One sink's place in one stream, kept in `cursors/<sink>/<stream>`. Taken with `acquire`, let go with `close`."""

    interval = 0.5  # each move is two fsyncs

    def __init__(self, journal: Path, sink: str, stream: str) -> None:
        self.position = Position()
        self.finished = False
        self.begun = 0
        self._directory = room_of(journal, sink)
        self._path = self._directory / stream
        self._guard = self._directory / f"{stream}.lock"
        self._descriptor = -1

    def acquire(self) -> bool:
        """Lock the cursor and read where it stands; False if another process ships this stream to this sink."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._guard, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not lock(descriptor):
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        try:
            self.position, self.finished, self.begun = _read(self._path)
        except OSError:
            self.close()
            raise
        return True

    def move(self, position: Position, *, finished: bool = False, begun: int = 0) -> None:
        """Note durably that the sink has everything up to this position, and may have the batch behind it that ends
        with the record `begun`.

        Raises:
            OSError: the cursor stands where it stood; the same lines will be sent again.
        """
        kept = {
            "segment": position.segment,
            "offset": position.offset,
            "seq": position.seq,
            "finished": finished,
        }
        if begun > position.seq:
            kept["begun"] = begun
        _replace(self._path, kept)
        self.position, self.finished, self.begun = position, finished, begun

    def close(self) -> None:
        """Let the cursor go for another process to take."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def room_of(journal: Path, sink: str) -> Path:
    """Return the directory of a sink's cursors: its name, spelled so that it is one file name."""
    return journal / CURSORS / quote(sink, safe="")


def read_position(journal: Path, sink: str, stream: str) -> tuple[Position, bool]:
    """Return a sink's place in a stream and whether it is done with it; the stream's start if there is no cursor."""
    return _read(room_of(journal, sink) / stream)[:2]


def write_state(journal: Path, sink: str, state: Mapping[str, Any]) -> None:
    """Leave word of how a sink is doing, for `otel-audit status`."""
    directory = room_of(journal, sink)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _replace(directory / STATE, {**state, "at": time.time()}, durably=False)


def read_state(journal: Path, sink: str) -> dict[str, Any]:
    """Return what `write_state` left; empty if nothing."""
    try:
        state = json.loads((room_of(journal, sink) / STATE).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def list_cursors(journal: Path) -> list[str]:
    """Return the names of the sinks that have cursors in this journal."""
    try:
        return sorted(unquote(entry.name) for entry in os.scandir(journal / CURSORS) if entry.is_dir())
    except FileNotFoundError:
        return []


def _replace(path: Path, content: Mapping[str, Any], *, durably: bool = True) -> None:
    """Put new content under a name: whoever reads sees the old or the new, whatever happens."""
    temporary = path.with_suffix(".new")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(json.dumps(content).encode())
        file.flush()
        if durably:
            os.fsync(file.fileno())
    os.replace(temporary, path)
    if durably:
        sync_directory(path.parent)


def _read(path: Path) -> tuple[Position, bool, int]:
    try:
        kept = json.loads(path.read_bytes())
        position = Position(int(kept["segment"]), int(kept["offset"]), int(kept["seq"]))
        return position, bool(kept["finished"]), int(kept.get("begun", 0))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return Position(), False, 0  # from the start: duplicates are harmless, a hole is not
