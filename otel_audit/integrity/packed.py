"""Leaf hashes on their way into a tree: put by whoever writes records, taken by whoever follows the tree."""

from __future__ import annotations

from otel_audit import native

__all__ = ["PackedLeaves", "new_leaves"]

_SIZE = 32


class PackedLeaves:
    """Leaf hashes in the order in which they came. One thread may put while another takes."""

    def __init__(self) -> None:
        self._packed = bytearray()

    def __len__(self) -> int:
        return len(self._packed) // _SIZE

    def put(self, digest: str) -> None:
        """Add one leaf hash, given as 64 lower-case hex digits.

        Raises:
            ValueError: it is none.
        """
        if len(digest) != 2 * _SIZE or not set(digest) <= set("0123456789abcdef"):
            raise ValueError("a leaf hash is 64 lower-case hex digits")
        self._packed += bytes.fromhex(digest)

    def take(self, count: int) -> bytes:
        """Return the first of these, so many, packed, and forget them.

        Raises:
            ValueError: there are not so many.
        """
        if not 0 <= count <= len(self):
            raise ValueError("there are not so many leaves")
        taken = bytes(self._packed[: count * _SIZE])
        del self._packed[: count * _SIZE]
        return taken


def new_leaves() -> PackedLeaves | native.PackedLeaves:
    """Return room for leaves, in C where that was built."""
    return PackedLeaves() if native.PackedLeaves is None else native.PackedLeaves()
