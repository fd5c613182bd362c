"""Reading a stream's leaf hashes from its journal files, for proofs and for signing by hand.

Every line's hash is derived again from its bytes and every link is checked, so that nothing is proved or
signed over records that do not stand. For findings about what is wrong, `otel-audit verify` is the tool.
"""

from __future__ import annotations

import json
import os
import re
from hashlib import sha256
from typing import Final, NamedTuple

from otel_audit.chain import HASH_MEMBER_LENGTH
from otel_audit.errors import FormatError
from otel_audit.record import MAX_LINE, Control

__all__ = ["Leaves", "read_leaves"]

_TAIL: Final = re.compile(
    rb'(?:,"prev_hash":"([0-9a-f]{64})")?,"seq":([1-9][0-9]{0,15}),"stream":"([0-9a-f]{32})","hash":"([0-9a-f]{64})"}\n\Z'
)
_CHECKPOINT: Final = f'"event_name":"{Control.CHECKPOINT}"'.encode()


class Leaves(NamedTuple):
    """A stream's packed leaf hashes, in order; the line that was asked for; the last checkpoint in the stream."""

    packed: bytes
    line: bytes | None
    checkpoint: str | None


def read_leaves(journal: str | os.PathLike[str], stream: str, *, line_of: int | None = None) -> Leaves:
    """Read a stream's leaf hashes from its segments, and the line with number `line_of`.

    A torn tail is left out.

    Raises:
        FormatError: a line is not the one that was sealed, or does not follow the one before.
        FileNotFoundError: there is no such stream.
        OSError: a segment cannot be read.
    """
    directory = os.fspath(journal)
    names = sorted(name for name in os.listdir(directory) if re.fullmatch(rf"{stream}\.[0-9]+\.jsonl", name))
    if not names:
        raise FileNotFoundError(f"{directory} holds no stream {stream}")
    packed = bytearray()
    wanted = checkpoint = None
    for name in names:
        with open(os.path.join(directory, name), "rb") as file:
            while (line := file.readline(MAX_LINE + 1)).endswith(b"\n"):
                seq = _take(line, stream, packed, name)
                if seq == line_of:
                    wanted = line
                if _CHECKPOINT in line:
                    checkpoint = _note(line) or checkpoint
            if len(line) > MAX_LINE:
                raise FormatError(f"{name}: a line behind record {len(packed) // 32} is longer than {MAX_LINE} bytes")
    return Leaves(bytes(packed), wanted, checkpoint)


def _note(line: bytes) -> str | None:
    record = json.loads(line)
    data = record.get("data")
    note = data.get("note") if isinstance(data, dict) and record["event_name"] == Control.CHECKPOINT else None
    return note if isinstance(note, str) else None


def _take(line: bytes, stream: str, packed: bytearray, name: str) -> int:
    count = len(packed) // 32
    found = _TAIL.search(line, max(0, len(line) - 400))
    digest = sha256(b"\x00" + line[:-HASH_MEMBER_LENGTH] + b"}").digest()
    if found is None or found[4].decode() != digest.hex() or found[3].decode() != stream:
        raise FormatError(f"{name}: the line behind record {count} is not a sealed record of this stream")
    seq = int(found[2])
    if seq <= count and packed[32 * seq - 32 : 32 * seq] == digest:
        return seq  # repeated at the start of a segment after a failed sync
    previous = packed[-32:].hex().encode() if packed else None
    if seq != count + 1 or found[1] != previous:
        raise FormatError(f"{name}: record {seq} does not follow record {count}")
    packed += digest
    return seq
