"""A stream's tree as its signer follows it, and how it grew since sizes that a witness may ask about.

A consistency proof from `old` to `size` (RFC 9162, section 2.1.4) consists of complete subtrees of the first `old`
leaves, which that tree's frontier holds, and of the roots of what lies behind them, up to the edges of the subtrees
above. These are built one behind the other as leaves come, so that any proof costs O(log n) memory, and no leaf is read
again.
"""

from __future__ import annotations

from collections.abc import Iterable

from otel_audit.integrity.merkle import HASH_SIZE, Frontier, Packed

__all__ = ["Extension", "Growth"]


class Extension:
    """What came behind the first `old` leaves: enough to prove that the tree of now extends the tree of then."""

    def __init__(self, start: Frontier) -> None:
        self.old = start.size
        self.size = start.size
        self._inside = start.subtrees
        self._beyond: list[bytes] = []
        """Roots of the complete right siblings on the way from the old tree's last subtree up, nearest first."""
        self._edge = start.size
        """Where the sibling begins that is being built. It is as wide as its place is aligned."""
        self._growing = Frontier()

    def extend(self, leaves: Packed) -> None:
        """Take packed leaf hashes that came next."""
        with memoryview(leaves) as view:
            count, place = len(view) // HASH_SIZE, 0
            self.size += count
            while self.old and place < count:
                width = self._edge & -self._edge
                take = min(count - place, width - self._growing.size)
                self._growing.extend(view[place * HASH_SIZE : (place + take) * HASH_SIZE])
                place += take
                if self._growing.size == width:
                    self._beyond.append(self._growing.root())
                    self._edge += width
                    self._growing = Frontier()

    def proof(self) -> list[bytes]:
        """Return the consistency proof from the old tree to the present one, in the order of RFC 9162."""
        if self.old in {0, self.size}:
            return []
        beyond = list(self._beyond)
        if self._growing.size:
            beyond.append(self._growing.root())
        return _merge(self.old, self.size, self._inside, beyond)


def _merge(old: int, size: int, inside: list[bytes], beyond: list[bytes]) -> list[bytes]:
    """Lay the hashes in the order of the path: from the old tree's edge up to the root.

    On the way down (section 2.1.4.1) each step goes to one side and takes the other one's root: the right one lies
    beyond the old tree, the left one is a complete subtree of it.
    """
    left, right = iter(inside), iter(reversed(beyond))
    path: list[bytes] = []
    start, end, whole = 0, size, True
    while end != old:
        middle = start + (1 << ((end - start - 1).bit_length() - 1))
        if old <= middle:
            path.append(next(right))
            end = middle
        else:
            path.append(next(left))
            start, whole = middle, False
    if not whole:
        path.append(next(left))
    path.reverse()
    return path


class Growth:
    """The frontier of a stream's tree, and the extensions of those of its sizes that were marked."""

    def __init__(self) -> None:
        self.frontier = Frontier()
        self._since: dict[int, Extension] = {}

    def extend(self, leaves: Packed) -> None:
        """Take packed leaf hashes."""
        self.frontier.extend(leaves)
        for extension in self._since.values():
            extension.extend(leaves)

    def mark(self, bases: Iterable[int]) -> dict[int, list[bytes]]:
        """Return the proofs from marked sizes to the present tree; mark its size, and forget all but `bases`."""
        wanted = {*bases, self.frontier.size}
        self._since = {old: each for old, each in self._since.items() if old in wanted}
        proofs = {old: each.proof() for old, each in self._since.items()}
        self._since.setdefault(self.frontier.size, Extension(self.frontier))
        return proofs
