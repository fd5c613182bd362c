"""Sealing: a record's place in its stream, and the hash that binds it to the record before it.

    R    = the canonical bytes of the record without `hash`
    hash = SHA-256(0x00 || R)            an RFC 6962 leaf hash: chain link and Merkle leaf are one value
    line = R without its last brace, then ,"hash":"<hex>"} and a newline

`prev_hash`, `seq` and `stream` sort last among a record's members, so a sealed line ends in a *tail* that can be
written, and read, without touching the JSON before it.
"""

from __future__ import annotations

import os
import time
from hashlib import sha256
from typing import Final

__all__ = ["HASH_MEMBER_LENGTH", "Chain", "leaf_hash", "new_stream_id", "seal_tail"]

HASH_MEMBER_LENGTH: Final = len(',"hash":""}\n') + 64
"""Length in bytes of what `hash` adds to a line, closing brace and newline included."""


_LEAF: Final = sha256(b"\x00")


def leaf_hash(canonical: bytes) -> str:
    """Return the hash of a record's canonical bytes as 64 lower-case hex digits (RFC 6962, section 2.1)."""
    return sha256(b"\x00" + canonical).hexdigest()


def seal_tail(stream: str, seq: int, prev_hash: str | None) -> bytes:
    """Return the members that the chain adds to a record, from the comma before them to the closing brace."""
    if prev_hash is None:
        return b',"seq":%d,"stream":"%b"}' % (seq, stream.encode())
    return b',"prev_hash":"%b","seq":%d,"stream":"%b"}' % (prev_hash.encode(), seq, stream.encode())


def new_stream_id() -> str:
    """Return a fresh stream id: a UUIDv7 (RFC 9562, section 5.7) as 32 lower-case hex digits."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = milliseconds << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return f"{value:032x}"


class Chain:
    """One stream's state: its id, the number and the hash of its last record. Not thread-safe.

    Sealing and keeping are two steps, because a write can fail: `seal` moves the chain on, `mark` and `rewind`
    return it to where it stood, so that a record that was not written never uses up a number.
    """

    __slots__ = ("_link", "_suffix", "last_hash", "seq", "stream")

    def __init__(self, stream: str, seq: int = 0, last_hash: str | None = None) -> None:
        self.stream = stream
        self.seq = seq
        self.last_hash = last_hash
        self._link = _link(last_hash)
        self._suffix = f',"stream":"{stream}"}}'

    def seal(self, head: bytes) -> bytes:
        """Number, link and hash one record; return its line, newline included.

        `head` is the canonical JSON object of the record's other members without its closing brace.
        """
        self.seq = seq = self.seq + 1
        canonical = head + f"{self._link}{seq}{self._suffix}".encode()
        hashed = _LEAF.copy()  # cheaper than another hash object, and than a copy of the record behind a zero
        hashed.update(canonical)
        self.last_hash = digest = hashed.hexdigest()
        self._link = f',"prev_hash":"{digest}","seq":'
        return canonical[:-1] + f',"hash":"{digest}"}}\n'.encode()

    def mark(self) -> tuple[int, str | None]:
        """Return the present place, to `rewind` to."""
        return self.seq, self.last_hash

    def rewind(self, mark: tuple[int, str | None]) -> None:
        """Return to a place that `mark` gave: what was sealed since then was not kept."""
        self.seq, self.last_hash = mark
        self._link = _link(self.last_hash)


def _link(prev_hash: str | None) -> str:
    return ',"seq":' if prev_hash is None else f',"prev_hash":"{prev_hash}","seq":'
