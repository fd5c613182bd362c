"""One record's proof (c2sp.org/tlog-proof): that it stands in the log, checked without the log and without a
network.

    c2sp.org/tlog-proof@v1
    index <seq - 1>
    <base64 hash, leaf's sibling first>
    ...
    <empty line>
    <checkpoint: a signed note>

Besides the proof a checker needs the record's line and a trust policy, which must come from somewhere else.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Final

from otel_audit.integrity.checkpoint import Checkpoint
from otel_audit.integrity.epochs import EpochKey
from otel_audit.integrity.heads import TrustedHead, trust
from otel_audit.integrity.merkle import HASH_SIZE, Packed, ProofError, inclusion_proof, verify_inclusion
from otel_audit.integrity.note import MAX_NOTE, decode_base64, parse_note
from otel_audit.integrity.policy import Policy

__all__ = ["MAX_PROOF", "LateSealError", "QuorumError", "TlogProof", "check_epoch", "make_proof"]

HEADER: Final = "c2sp.org/tlog-proof@v1"
MAX_PROOF: Final = MAX_NOTE + 65_536
_MAX_STEPS: Final = 63
_INDEX: Final = re.compile("0|[1-9][0-9]{0,18}")


class QuorumError(ProofError):
    """Fewer witnesses than the policy demands have cosigned the checkpoint."""


class LateSealError(ProofError):
    """The checkpoint was sealed in another epoch than the one that the record's time lies in."""


@dataclass(frozen=True, slots=True)
class TlogProof:
    """An inclusion proof together with the checkpoint that it leads to. Nothing of it is checked before
    `verify`.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint: str
    extra: bytes | None = None
    """Not authenticated; anybody may have put it there."""

    def encode(self) -> str:
        """Return the `.tlog-proof` file."""
        lines = [HEADER]
        if self.extra is not None:
            lines.append(f"extra {base64.b64encode(self.extra).decode()}")
        lines.append(f"index {self.index}")
        lines.extend(base64.b64encode(each).decode() for each in self.path)
        return "\n".join(lines) + "\n\n" + self.checkpoint

    @classmethod
    def parse(cls, raw: str | bytes) -> TlogProof:
        """Read a `.tlog-proof` file.

        Raises:
            ProofError, NoteError: it is not one.
        """
        if len(raw) > MAX_PROOF:
            raise ProofError(f"a proof of {len(raw)} bytes; at most {MAX_PROOF} are read")
        try:
            text = raw.decode() if isinstance(raw, bytes) else raw
        except UnicodeDecodeError as error:
            raise ProofError("the proof is not valid UTF-8") from error
        head, blank, checkpoint = text.partition("\n\n")
        lines = head.split("\n")
        if lines.pop(0) != HEADER or not blank:
            raise ProofError(f"not a proof: it must begin with {HEADER} and hold a checkpoint behind an empty line")
        extra = decode_base64(lines.pop(0)[6:]) if lines and lines[0].startswith("extra ") else None
        index = lines.pop(0) if lines else ""
        if not index.startswith("index ") or not _INDEX.fullmatch(index[6:]):
            raise ProofError(f"no index line: {index[:40]!r}")
        if len(lines) > _MAX_STEPS:
            raise ProofError(f"{len(lines)} hashes; no tree is so deep")
        path = tuple(decode_base64(line) for line in lines)
        if any(len(each) != HASH_SIZE for each in path):
            raise ProofError(f"every hash of a proof takes {HASH_SIZE} bytes")
        parse_note(checkpoint)
        return cls(int(index[6:]), path, checkpoint, extra)

    def verify(self, leaf: bytes, policy: Policy, *, now: float) -> TrustedHead:
        """Check that the record with this hash stands at `index` in a log that the policy trusts.

        Raises:
            ProofError: it does not; `QuorumError`: too few witnesses (c2sp.org/tlog-proof, "Verifying a tlog proof").
            NoteError: the checkpoint is not signed as the policy demands.
        """
        head = trust(self.checkpoint, policy, now=now)
        if not policy.quorum_met(head.witnesses):
            raise QuorumError(f"the checkpoint lacks the cosignatures of quorum {policy.quorum!r}")
        verify_inclusion(leaf, self.index, head.checkpoint.size, self.path, head.checkpoint.root)
        return head


def check_epoch(head: TrustedHead, time: float, *, skew: float) -> None:
    """Check that a head with an epoch's seal was sealed in the epoch that a record's time (POSIX seconds) lies in.

    A proof does not show which seals the log had before. Who takes the key of a later epoch could seal an old stream
    anew with it; only the log itself tells (`verify`).

    Raises:
        LateSealError: it was not.
    """
    seal = head.seal
    if seal is None or not isinstance(seal.key, EpochKey):
        return
    schedule = seal.key.schedule
    if not schedule.begin(seal.epoch) - skew <= time <= schedule.end(seal.epoch) + skew:
        raise LateSealError(
            f"the checkpoint is sealed in epoch {seal.epoch}, and the record's time lies in epoch "
            f"{schedule.epoch_at(time)}: whoever had the later key could have sealed another record in its place; ask "
            "for a proof under a checkpoint of the record's own epoch, as `otel-audit prove` makes it, or `verify` the "
            "log"
        )


def make_proof(leaves: Packed, index: int, checkpoint: str, *, extra: bytes | None = None) -> TlogProof:
    """Return the proof of leaf `index` under a checkpoint of the log with these (packed) leaf hashes.

    Raises:
        ValueError: the checkpoint does not cover that leaf, or more leaves than there are.
        ProofError: these leaves are not the checkpoint's.
        NoteError: it is no checkpoint.
    """
    head = Checkpoint.parse(parse_note(checkpoint).text)
    path = inclusion_proof(leaves, index, head.size)
    leaf = bytes(leaves[index * HASH_SIZE : (index + 1) * HASH_SIZE])
    verify_inclusion(leaf, index, head.size, path, head.root)
    return TlogProof(index, tuple(path), checkpoint, extra)
