"""A stream as it grows: each record is numbered, linked to the one before it and hashed."""

from __future__ import annotations

from hashlib import sha256

from . import native
from .chain import leaf_hash, seal_tail
from .durability import Receipt

__all__ = ["Chain", "new_chain"]


class Chain:
    """One stream's state: where its last record stands. Not thread-safe.

    Sealing and keeping are two steps, because a write can fail: `seal` moves the chain on, and `rewind` returns it to
    where `last` stood, so that a record that was not written never uses up a number.
    """

    __slots__ = ("last",)

    def __init__(self, stream: str, seq: int = 0, last_hash: str | None = None) -> None:
        self.last = Receipt(stream, seq, last_hash)
        """Where the last record stands; number 0 before the first."""

    @property
    def stream(self) -> str:
        """The stream's id."""
        return self.last.stream

    @property
    def seq(self) -> int:
        """The last record's number."""
        return self.last.seq or 0

    @property
    def last_hash(self) -> str | None:
        """The last record's hash."""
        return self.last.hash

    def seal(self, head: bytes) -> bytes:
        """Number, link and hash one record; return its line, newline included.

        `head` is the canonical JSON object of the record's other members without its closing brace.
        """
        stream, seq, digest = self.stream, self.seq + 1, self.last_hash
        canonical = head + seal_tail(stream, seq, digest)
        digest = leaf_hash(canonical)
        self.last = Receipt(stream, seq, digest)
        return b'%b,"hash":"%b"}\n' % (canonical[:-1], digest.encode())

    def rewind(self, last: Receipt) -> None:
        """Return to where `last` stood then: what was sealed since was not kept."""
        self.last = last


def new_chain(stream: str) -> Chain | native.Chain:
    """Return the state of a stream without a record, which is kept in C where that was built."""
    return Chain(stream) if native.Chain is None else native.Chain(Receipt(stream, 0, None), sha256(b"\x00"))
