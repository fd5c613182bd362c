"""Bytes into lines: in blocks, split on newline only, in bounded memory whatever the input holds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

__all__ = ["BLOCK_BYTES", "LINE_CAP", "Block", "Overlong", "Remainder", "read_blocks"]

BLOCK_BYTES: Final = 128 * 1024
LINE_CAP: Final = 16 * 1024 * 1024
"""Longest line that is held in memory. Above MAX_LINE, because an envelope may hold a batch of records."""


class Block(NamedTuple):
    """Whole lines, without their newlines: the first one's number (from 1) and offset, and where the last ends."""

    number: int
    offset: int
    lines: list[bytes]
    end: int


class Overlong(NamedTuple):
    """A line beyond `LINE_CAP`, skipped to its end."""

    number: int
    offset: int
    length: int


class Remainder(NamedTuple):
    """What stands behind the last newline. `data` is empty if there is more than `LINE_CAP` of it."""

    number: int
    offset: int
    length: int
    sha256: str
    data: bytes


def read_blocks(read: Callable[[int], bytes]) -> Iterator[Block | Overlong | Remainder]:
    """Yield the lines that `read` (a binary file's method) gives, then what is left behind the last newline."""
    number, offset = 1, 0
    held: list[bytes] = []  # the beginning of a line whose newline was not read yet
    length = 0
    skipping: hashlib._Hash | None = None  # set while that line is too long to hold
    while chunk := read(BLOCK_BYTES):
        if skipping is not None:
            end = chunk.find(b"\n") + 1
            if not end:
                skipping.update(chunk)
                length += len(chunk)
                continue
            yield Overlong(number, offset, length + end)
            number, offset = number + 1, offset + length + end
            skipping, length, chunk = None, 0, chunk[end:]
        end = chunk.rfind(b"\n") + 1
        if end:
            data = b"".join((*held, chunk[: end - 1]))
            lines = data.split(b"\n")
            block = Block(number, offset, lines, offset + len(data) + 1)
            yield block
            number, offset = number + len(lines), block.end
            held, length = [], 0
        held.append(chunk[end:])
        length += len(chunk) - end
        if length > LINE_CAP:
            skipping, held = hashlib.sha256(b"".join(held)), []
    if length:
        rest = b"".join(held)
        digest = skipping or hashlib.sha256(rest)
        yield Remainder(number, offset, length, digest.hexdigest(), rest)
