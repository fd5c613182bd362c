"""What the records in a report prove by themselves; its page derives the same again, and must come to the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from otel_audit.integrity.merkle import Frontier

from .choosing import Shown

__all__ = ["Links"]


class Links:
    """The chain as far as a report carries it."""

    def __init__(self, shown: Iterable[Shown], trees: Mapping[str, Frontier]) -> None:
        """`trees` are those over the records before the ones that are here."""
        self._trees = trees
        self._hashes: defaultdict[str | None, defaultdict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        for each in shown:
            if each.sound and each.seq is not None:
                self._hashes[each.stream][each.seq].add(each.hash)

    def follows(self, record: Shown) -> int:
        """Return 2 if the record before is here and is the one that this one names, 1 if it is another one, else 0."""
        before = self._hashes[record.stream].get((record.seq or 0) - 1)
        if not record.sound or not before:
            return 0
        return 2 if record.prev in before else 1

    def lead_to(self, stream: str, size: int, root: str) -> bool | None:
        """Tell whether the first records of a stream have this Merkle root; None if not all of them are known here."""
        tree = self._trees[stream].copy() if stream in self._trees else Frontier()
        own: dict[int, set[str]] = self._hashes.get(stream, defaultdict(set))
        leaves = [own.get(seq, ()) for seq in range(tree.size + 1, min(size, tree.size + len(own)) + 1)]
        if tree.size + len(leaves) != size or any(len(each) != 1 for each in leaves):
            return None
        tree.extend(b"".join(bytes.fromhex(leaf) for each in leaves for leaf in each))
        return tree.root().hex() == root
