"""What stays of a signed stream's removed beginning: the Merkle tree's complete subtrees over it.

With them the rest of the stream still leads to the roots that were signed. They stand in the `audit.prune` record, and
beside the stream's last checkpoint for the next time. Nobody has to trust them: wrong ones lead to other roots.
"""

from __future__ import annotations

import json
import os
import re
from typing import Final

from otel_audit.integrity import CHECKPOINTS
from otel_audit.integrity.durable import replace_file
from otel_audit.integrity.merkle import Frontier
from otel_audit.record import MAX_LINE

__all__ = ["tree_up_to"]

_TAIL: Final = re.compile(rb'"seq":([1-9][0-9]{0,15}),"stream":"[0-9a-f]{32}","hash":"([0-9a-f]{64})"\}\n\Z')
_LONGEST_TAIL: Final = 160


def tree_up_to(journal: str, stream: str, segment: str, last_seq: int) -> list[str]:
    """Return the subtrees over a stream's first `last_seq` records, largest first, as hex digits; keep them as well.

    `segment` is the file that is to go, the next one after those that went before. Empty if the stream is not signed,
    or if the tree up to this segment is not known.

    Raises:
        OSError: the segment cannot be read, or the tree not be kept.
    """
    if not os.path.exists(os.path.join(journal, CHECKPOINTS, f"{stream}.checkpoint")):
        return []
    kept = os.path.join(journal, CHECKPOINTS, f"{stream}.pruned")
    frontier = _read(kept)
    _add(frontier, segment, last_seq)
    if frontier.size != last_seq:
        return []
    tree = [each.hex() for each in frontier.subtrees]
    replace_file(kept, json.dumps({"size": last_seq, "tree": tree}).encode())
    return tree


def _read(path: str) -> Frontier:
    try:
        with open(path, "rb") as file:
            kept = json.load(file)
        return Frontier.of(kept["size"], [bytes.fromhex(each) for each in kept["tree"]])
    except FileNotFoundError:
        return Frontier()
    except (ValueError, KeyError, TypeError):  # damaged: then no tree is known, and the verifier says what that means
        return Frontier()


def _add(frontier: Frontier, segment: str, last_seq: int) -> None:
    with open(segment, "rb") as file:
        while (line := file.readline(MAX_LINE + 1)).endswith(b"\n"):
            found = _TAIL.search(line, max(0, len(line) - _LONGEST_TAIL))
            if found is None or (seq := int(found[1])) > last_seq:
                return
            if seq == frontier.size + 1:
                frontier.append(bytes.fromhex(found[2].decode()))
