"""The chain: a record's place in its stream, and the hash that binds it to the record before it (see `sealing`).

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

__all__ = ["HASH_MEMBER_LENGTH", "leaf_hash", "new_stream_id", "seal_tail"]

HASH_MEMBER_LENGTH: Final = len(',"hash":""}\n') + 64
"""Length in bytes of what `hash` adds to a line, closing brace and newline included."""


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
