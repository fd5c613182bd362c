"""The Merkle tree over a stream's record hashes (RFC 6962, section 2.1; RFC 9162, section 2.1).

A record's own hash is its leaf hash, so this module only ever hashes inner nodes. Leaves are given packed: 32
bytes each, one behind the other, in any bytes-like object (a million of them is 32 MB).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from struct import Struct
from typing import Final

from otel_audit.errors import AuditError

__all__ = [
    "EMPTY_ROOT",
    "HASH_SIZE",
    "Frontier",
    "Packed",
    "ProofError",
    "consistency_proof",
    "inclusion_proof",
    "node_hash",
    "root_hash",
    "verify_consistency",
    "verify_inclusion",
]

HASH_SIZE: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()
"""Root of the tree without leaves."""

Packed = bytes | bytearray | memoryview

_NODE: Final = sha256(b"\x01")
"""What every inner node's hash begins with. Never updated, only copied."""
_PAIRS: Final = Struct(f"{2 * HASH_SIZE}s").iter_unpack


class ProofError(AuditError, ValueError):
    """A proof does not prove what it was offered for."""


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node (RFC 6962, section 2.1)."""
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """An append-only tree that keeps its complete subtrees' roots only: O(log n) memory, the root at any
    moment.
    """

    __slots__ = ("_subtrees", "size")

    def __init__(self) -> None:
        self.size = 0
        self._subtrees: list[bytes] = []  # largest first, one for each bit that is set in `size`

    @classmethod
    def of(cls, size: int, subtrees: Sequence[bytes]) -> Frontier:
        """Return the frontier of a tree of `size` leaves from its complete subtrees' roots, largest first.

        Raises:
            ValueError: such a tree has other subtrees.
        """
        if not 0 <= size < 2**63 or len(subtrees) != size.bit_count() or any(len(one) != HASH_SIZE for one in subtrees):
            raise ValueError(f"{len(subtrees)} hashes are not the complete subtrees of {size} leaves")
        frontier = cls()
        frontier.size, frontier._subtrees = size, list(subtrees)
        return frontier

    @property
    def subtrees(self) -> list[bytes]:
        """The complete subtrees' roots, largest first."""
        return self._subtrees.copy()

    def copy(self) -> Frontier:
        """Return a frontier that stands where this one stands and goes its own way."""
        twin = Frontier()
        twin.size = self.size
        twin._subtrees = self._subtrees.copy()
        return twin

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash of 32 bytes."""
        self._add(leaf, 1)

    def extend(self, leaves: Packed) -> None:
        """Add packed leaf hashes: about twice as fast a leaf as `append`."""
        count = len(leaves) // HASH_SIZE
        if count * HASH_SIZE != len(leaves):
            raise ValueError(f"packed leaves take {HASH_SIZE} bytes each; {len(leaves)} bytes were given")
        packed = bytes(leaves)
        start = 0
        while start < count:
            # The largest complete subtree that may stand here: as large as the place's alignment and what is
            # left.
            width = 1 << ((count - start).bit_length() - 1)
            if self.size:
                width = min(width, self.size & -self.size)
            self._add(_complete_root(packed[start * HASH_SIZE : (start + width) * HASH_SIZE]), width)
            start += width

    def _add(self, root: bytes, width: int) -> None:
        subtrees = self._subtrees
        below = self.size // width
        while below & 1:
            root = sha256(b"\x01" + subtrees.pop() + root).digest()
            below >>= 1
        subtrees.append(root)
        self.size += width

    def root(self) -> bytes:
        """Return the root of the tree as it stands."""
        if not self._subtrees:
            return EMPTY_ROOT
        root = self._subtrees[-1]
        for subtree in reversed(self._subtrees[:-1]):
            root = node_hash(subtree, root)
        return root


def _complete_root(level: bytes) -> bytes:
    """Return the root over a power of two of packed leaves, level by level."""
    while len(level) > HASH_SIZE:
        parents = []
        for pair in _PAIRS(level):
            node = _NODE.copy()  # takes half the time that making a new one does
            node.update(pair[0])
            parents.append(node.digest())
        level = b"".join(parents)
    return level


def root_hash(leaves: Packed, start: int = 0, end: int | None = None) -> bytes:
    """Return the root over the packed leaves `start` to `end` (exclusive)."""
    frontier = Frontier()
    stop = None if end is None else end * HASH_SIZE
    frontier.extend(memoryview(leaves)[start * HASH_SIZE : stop])
    return frontier.root()


def inclusion_proof(leaves: Packed, index: int, size: int) -> list[bytes]:
    """Return the audit path of leaf `index` in the tree of the first `size` leaves, leaf's sibling first.

    Source: RFC 9162, section 2.1.3.1.

    Raises:
        ValueError: there is no such leaf.
    """
    if not 0 <= index < size <= len(leaves) // HASH_SIZE:
        raise ValueError(f"no leaf {index} in a tree of {size} leaves, {len(leaves) // HASH_SIZE} given")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(root_hash(leaves, middle, end))
            end = middle
        else:
            path.append(root_hash(leaves, start, middle))
            start = middle
    path.reverse()
    return path


def consistency_proof(leaves: Packed, old: int, size: int) -> list[bytes]:
    """Return the proof that the tree of `size` leaves extends the tree of its first `old` leaves.

    Source: RFC 9162, section 2.1.4.1. Empty where `old` is 0 or `size`, as C2SP tlog-witness has it.

    Raises:
        ValueError: `old` is larger than `size`, or there are fewer leaves.
    """
    if not 0 <= old <= size <= len(leaves) // HASH_SIZE:
        raise ValueError(f"no proof from {old} to {size} over {len(leaves) // HASH_SIZE} leaves")
    if old in {0, size}:
        return []
    path: list[bytes] = []
    start, end = 0, size
    whole = True  # the old tree is itself a complete subtree here: its root is known to whoever asks
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(root_hash(leaves, middle, end))
            end = middle
        else:
            path.append(root_hash(leaves, start, middle))
            start, whole = middle, False
    if not whole:
        path.append(root_hash(leaves, start, end))
    path.reverse()
    return path


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Check that `leaf` stands at `index` in the tree of `size` leaves under `root` (RFC 9162, section
    2.1.3.2).

    Raises:
        ProofError: it does not, or the path has another length or shape.
    """
    if not 0 <= index < size:
        raise ProofError(f"index {index} is outside a tree of {size} leaves")
    _check_hashes([leaf, root, *path])
    result = leaf
    for sibling, is_left in _climb(index, size - 1, path, "inclusion"):
        result = node_hash(sibling, result) if is_left else node_hash(result, sibling)
    if result != root:
        raise ProofError(f"the inclusion proof of index {index} leads to another root")


def verify_consistency(old: int, old_root: bytes, size: int, root: bytes, path: Sequence[bytes]) -> None:
    """Check that the tree (`size`, `root`) extends the tree (`old`, `old_root`) (RFC 9162, section 2.1.4.2).

    Raises:
        ProofError: it does not, or the path has another length.
    """
    if not 0 <= old <= size:
        raise ProofError(f"a tree of {size} leaves cannot extend one of {old}")
    _check_hashes([old_root, root, *path])
    if old in {0, size}:
        if path:
            raise ProofError("the consistency proof is too long")
        expected = EMPTY_ROOT if old == 0 else root
        if old_root != expected:
            raise ProofError(f"two different roots at size {old}")
        return
    hashes = list(path)
    if old & (old - 1) == 0:
        hashes.insert(0, old_root)
    if not hashes:
        raise ProofError("the consistency proof is empty")
    place, last = old - 1, size - 1
    while place & 1:
        place >>= 1
        last >>= 1
    old_result = new_result = hashes[0]
    for sibling, is_left in _climb(place, last, hashes[1:], "consistency"):
        if is_left:
            old_result = node_hash(sibling, old_result)
        new_result = node_hash(sibling, new_result) if is_left else node_hash(new_result, sibling)
    if old_result != old_root or new_result != root:
        raise ProofError(f"the tree of {size} leaves does not extend the one of {old}")


def _climb(place: int, last: int, siblings: Sequence[bytes], what: str) -> Iterator[tuple[bytes, bool]]:
    """Yield each sibling on the way to the root, and whether it stands on the left.

    `place` is the node to begin at, `last` the last one of its level.
    """
    for sibling in siblings:
        if last == 0:
            raise ProofError(f"the {what} proof is too long")
        is_left = bool(place & 1) or place == last
        yield sibling, is_left
        while is_left and place and not place & 1:
            place >>= 1
            last >>= 1
        place >>= 1
        last >>= 1
    if last:
        raise ProofError(f"the {what} proof is too short")


def _check_hashes(hashes: Sequence[bytes]) -> None:
    if any(len(each) != HASH_SIZE for each in hashes):
        raise ProofError(f"every hash of a proof takes {HASH_SIZE} bytes")


def _split(count: int) -> int:
    """Return the largest power of two below `count` (RFC 6962, section 2.1)."""
    return 1 << ((count - 1).bit_length() - 1)
