"""How streams ended: what the next stream of a journal has to declare. Nothing here writes to a stream's file.

Only the last few records of a stream's last segments are read, whatever the length of the log.
"""

from __future__ import annotations

import contextlib
import os
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

from ..canonical import parse
from ..chain import HASH_MEMBER_LENGTH, leaf_hash
from ..record import MAX_LINE, Control
from .files import Segment, is_live, list_streams, sync_directory

__all__ = ["ENDED", "Ending", "LastRecord", "find_endings", "mark_declared", "read_last_record"]

ENDED: Final = "ended"
"""Directory of empty files named after streams whose end a later stream has declared."""

_MOST_DECLARED: Final = 256
_HASH_CHUNK: Final = 1 << 20
_WINDOWS: Final = (64 * 1024, 2 * MAX_LINE)
"""How much of a segment's end is searched for its last record: the usual, and the most."""


class LastRecord(NamedTuple):
    """The last whole record in a segment, and where it ends."""

    seq: int
    hash: str
    event_name: str
    end: int


class Ending(NamedTuple):
    """How a stream ended: its last record, whether it was closed, and what was torn off behind it."""

    stream: str
    seq: int
    hash: str | None
    closed: bool
    torn: dict[str, Any] | None

    def as_json(self) -> dict[str, Any]:
        """Return the object that goes into `previous` of the next stream's first record."""
        described: dict[str, Any] = {"stream": self.stream, "seq": self.seq, "closed": self.closed}
        if self.hash is not None:
            described["hash"] = self.hash
        if self.torn is not None:
            described["torn"] = self.torn
        return described


def find_endings(directory: Path, own: str) -> list[Ending]:
    """Return the streams that ended and that no stream has declared yet, oldest first."""
    try:
        declared = set(os.listdir(directory / ENDED))
    except FileNotFoundError:
        declared = set()
    endings: list[Ending] = []
    for stream, segments in list_streams(directory).items():
        if stream == own or stream in declared or is_live(segments[-1]):
            continue
        with contextlib.suppress(FileNotFoundError):  # retention took it while we looked, and said so
            endings.append(_read_ending(stream, segments))
        if len(endings) == _MOST_DECLARED:
            break
    return endings


def mark_declared(directory: Path, endings: list[Ending]) -> None:
    """Remember that these endings stand in a stream's first record. To be called once that record is written."""
    if not endings:
        return
    ended = directory / ENDED
    ended.mkdir(mode=0o700, exist_ok=True)
    for ending in endings:
        os.close(os.open(ended / ending.stream, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    sync_directory(ended)


def _read_ending(stream: str, segments: list[Segment]) -> Ending:
    torn: dict[str, Any] | None = None
    for segment in reversed(segments):
        last = read_last_record(segment.path)
        end = 0 if last is None else last.end
        if torn is None and (length := segment.path.stat().st_size - end) > 0:
            torn = {
                "length": length,
                "offset": end,
                "segment": segment.path.name,
                "sha256": _digest(segment.path, end, length),
            }
        if last is not None:
            return Ending(stream, last.seq, last.hash, last.event_name == Control.STREAM_CLOSE, torn)
    return Ending(stream, 0, None, False, torn)


def read_last_record(path: Path) -> LastRecord | None:
    """Return the last whole, self-consistent record of a segment, or None if its end holds none."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        for window in _WINDOWS:
            start = max(0, size - window)
            file.seek(start)
            last = _find_last(file.read(size - start), start)
            if last is not None or start == 0:
                return last
    return None


def _find_last(tail: bytes, start: int) -> LastRecord | None:
    end = tail.rfind(b"\n") + 1
    while end > 0:
        begin = tail.rfind(b"\n", 0, end - 1) + 1
        if (record := _read(tail[begin:end])) is not None:
            return LastRecord(record["seq"], record["hash"], record["event_name"], start + end)
        end = begin
    return None


def _read(line: bytes) -> dict[str, Any] | None:
    try:
        record = parse(line)
    except ValueError:
        return None
    digest = record.get("hash")
    if digest != leaf_hash(line[:-HASH_MEMBER_LENGTH] + b"}"):
        return None
    return record if isinstance(record.get("seq"), int) and isinstance(record.get("event_name"), str) else None


def _digest(path: Path, offset: int, length: int) -> str:
    digest = sha256()
    with path.open("rb") as file:
        file.seek(offset)
        while length > 0 and (chunk := file.read(min(length, _HASH_CHUNK))):
            digest.update(chunk)
            length -= len(chunk)
    return digest.hexdigest()
