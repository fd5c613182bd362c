"""Reading a stream's leaf hashes from its journal files, for proofs and for signing by hand.

Every line's hash is derived again from its bytes and every link is checked, so that nothing is proved or
signed over records that do not stand. For findings about what is wrong, `otel-audit verify` is the tool.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from hashlib import sha256
from typing import Final, NamedTuple

from otel_audit.chain import HASH_MEMBER_LENGTH
from otel_audit.errors import FormatError
from otel_audit.integrity.checkpoint import Checkpoint
from otel_audit.integrity.growth import Extension
from otel_audit.integrity.merkle import HASH_SIZE, Frontier
from otel_audit.integrity.note import NoteError, parse_note
from otel_audit.integrity.recordsign import note_of
from otel_audit.record import MAX_LINE, Control

__all__ = ["Leaves", "read_extension", "read_leaves", "read_signature"]

_TAIL: Final = re.compile(
    rb'(?:,"prev_hash":"([0-9a-f]{64})")?,"seq":([1-9][0-9]{0,15}),"stream":"([0-9a-f]{32})","hash":"([0-9a-f]{64})"}\n\Z'
)
_BATCH: Final = 4096
_REMEMBERED: Final = 65_536
"""How many records back, at least, a line may be repeated where the whole tree is not kept."""
_CHECKPOINT: Final = f'"event_name":"{Control.CHECKPOINT}"'.encode()
_SIGNATURES: Final = f'"event_name":"{Control.SIGNATURES}"'.encode()


class Leaves(NamedTuple):
    """A stream's packed leaf hashes, in order; the line that was asked for; the last checkpoint in the stream."""

    packed: bytes
    line: bytes | None
    checkpoint: str | None
    covering: str | None
    """The first checkpoint in the stream over that line."""


def read_leaves(journal: str | os.PathLike[str], stream: str, *, line_of: int | None = None) -> Leaves:
    """Read a stream's leaf hashes from its segments, and the line with number `line_of`.

    A torn tail is left out.

    Raises:
        FormatError: a line is not the one that was sealed, or does not follow the one before.
        FileNotFoundError: there is no such stream.
        OSError: a segment cannot be read.
    """
    walk = _Walk(stream)
    wanted = checkpoint = covering = None
    for name, line in _read_lines(os.fspath(journal), walk):
        seq = walk.take(line, name)
        if seq == line_of:
            wanted = line
        if _CHECKPOINT in line:
            note = _note(line)
            checkpoint = note or checkpoint
            if note is not None and line_of is not None and covering is None and _size(note) >= line_of:
                covering = note
    return Leaves(bytes(walk.packed), wanted, checkpoint, covering)


def read_extension(journal: str | os.PathLike[str], stream: str, old: int, size: int) -> list[bytes]:
    """Return the consistency proof from the tree of a stream's first `old` records to that of its first `size`.

    Memory stays bounded, however long the stream is.

    Raises:
        FormatError: a line is not the one that was sealed, or does not follow the one before, or there are fewer.
        FileNotFoundError: there is no such stream.
        OSError: a segment cannot be read.
    """
    walk = _Walk(stream)
    tree, extension, folded = Frontier(), None, 0
    for name, line in _read_lines(os.fspath(journal), walk):
        walk.take(line, name)
        count = walk.count
        if count in {old, size} or count - folded >= _BATCH:
            (tree if extension is None else extension).extend(walk.since(folded))
            folded = count
            walk.forget()
            if count == old:
                extension = Extension(tree)
            if count == size and extension is not None:
                return extension.proof()
    raise FormatError(f"{os.fspath(journal)} holds {walk.count} records of {stream}, not {size}")


class _Walk:
    """The hashes of a stream's lines, one after another: all of them, or the latest."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.packed = bytearray()
        self._dropped = 0

    @property
    def count(self) -> int:
        """How many records there were."""
        return self._dropped + len(self.packed) // HASH_SIZE

    def since(self, count: int) -> bytes:
        """Return the packed hashes behind the first `count` records."""
        return bytes(self.packed[(count - self._dropped) * HASH_SIZE :])

    def forget(self) -> None:
        """Let go of hashes that no line repeats any more."""
        if len(self.packed) > 2 * _REMEMBERED * HASH_SIZE:
            self._dropped += _REMEMBERED
            del self.packed[: _REMEMBERED * HASH_SIZE]

    def take(self, line: bytes, name: str) -> int:
        """Take the next line, and return its number.

        Raises:
            FormatError: it is not the one that was sealed, or does not follow the one before.
        """
        count, packed = self.count, self.packed
        found = _TAIL.search(line, max(0, len(line) - 400))
        digest = sha256(b"\x00" + line[:-HASH_MEMBER_LENGTH] + b"}").digest()
        if found is None or found[4].decode() != digest.hex() or found[3].decode() != self.stream:
            raise FormatError(f"{name}: the line behind record {count} is not a sealed record of this stream")
        seq = int(found[2])
        place = (seq - self._dropped) * HASH_SIZE
        if self._dropped < seq <= count and packed[place - HASH_SIZE : place] == digest:
            return seq  # repeated at the start of a segment after a failed sync
        previous = packed[-HASH_SIZE:].hex().encode() if packed else None
        if seq != count + 1 or found[1] != previous:
            raise FormatError(f"{name}: record {seq} does not follow record {count}")
        packed += digest
        return seq


def _read_lines(directory: str, walk: _Walk) -> Iterator[tuple[str, bytes]]:
    """Yield the whole lines of a stream, each with its segment's name."""
    names = sorted(name for name in os.listdir(directory) if re.fullmatch(rf"{walk.stream}\.[0-9]+\.jsonl", name))
    if not names:
        raise FileNotFoundError(f"{directory} holds no stream {walk.stream}")
    for name in names:
        with open(os.path.join(directory, name), "rb") as file:
            while (line := file.readline(MAX_LINE + 1)).endswith(b"\n"):
                yield name, line
            if len(line) > MAX_LINE:
                raise FormatError(f"{name}: a line behind record {walk.count} is longer than {MAX_LINE} bytes")


def read_signature(journal: str | os.PathLike[str], stream: str, seq: int, digest: str) -> str | None:
    """Return a record's own signature as a signed note, out of the stream's `audit.signatures` records; None if none.

    Raises:
        FormatError: such a record does not hold signatures. OSError: a segment cannot be read.
    """
    directory = os.fspath(journal)
    for name in sorted(name for name in os.listdir(directory) if re.fullmatch(rf"{stream}\.[0-9]+\.jsonl", name)):
        with open(os.path.join(directory, name), "rb") as file:
            for line in filter(lambda line: _SIGNATURES in line, file):
                record = json.loads(line)
                if record["event_name"] != Control.SIGNATURES:
                    continue
                try:
                    note = note_of(record["data"], stream, seq, digest)
                except (KeyError, TypeError, ValueError) as error:
                    raise FormatError(f"{name}: record {record['seq']} holds no record signatures: {error}") from error
                if note is not None:
                    return note
    return None


def _size(note: str) -> int:
    try:
        return Checkpoint.parse(parse_note(note).text).size
    except NoteError:
        return 0


def _note(line: bytes) -> str | None:
    record = json.loads(line)
    data = record.get("data")
    note = data.get("note") if isinstance(data, dict) and record["event_name"] == Control.CHECKPOINT else None
    return note if isinstance(note, str) else None
