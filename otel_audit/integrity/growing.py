"""A stream's tree as a verifier follows it: records wait until it is known at which size a root is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from otel_audit.integrity.merkle import HASH_SIZE, Frontier

__all__ = ["GrowingTree"]


class GrowingTree:
    """The records so far: those folded into the tree, and those that wait behind it.

    Folding up to a size that somebody signed, and no further, costs each record one hash; a tree that was folded
    further could not go back.
    """

    def __init__(self, start: Frontier | None = None) -> None:
        """`start` is the tree over records that are not here any more."""
        self._frontier = Frontier() if start is None else start.copy()
        self.size = self._frontier.size
        self._hashes = bytearray()
        self._times: list[str] = []
        self._span: tuple[str, str] | None = None

    @property
    def folded(self) -> int:
        """How many records the tree has."""
        return self._frontier.size

    def extend(self, packed: bytes, times: Sequence[str] = ()) -> None:
        """Let records wait: their packed hashes, and their times where somebody wants them.

        Raises:
            ValueError: a hash is cut off.
        """
        count, rest = divmod(len(packed), HASH_SIZE)
        if rest:
            raise ValueError(f"packed hashes take {HASH_SIZE} bytes each; {len(packed)} bytes were given")
        self._hashes += packed
        self._times.extend(times)
        self.size += count

    def fold(self, size: int) -> None:
        """Fold the records up to `size` into the tree; nothing if it has them."""
        count = size - self._frontier.size
        if count <= 0:
            return
        with memoryview(self._hashes) as view:
            self._frontier.extend(view[: count * HASH_SIZE])
        del self._hashes[: count * HASH_SIZE]
        times = self._times[:count]
        del self._times[:count]
        if times:
            times.extend(self._span or ())
            self._span = min(times), max(times)

    def root(self) -> bytes:
        """Return the root over the folded records."""
        return self._frontier.root()

    def take_span(self) -> tuple[str, str] | None:
        """Return the earliest and the latest time among the records folded since this was asked last."""
        span, self._span = self._span, None
        return span
