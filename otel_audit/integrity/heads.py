"""Trusted heads: a signed checkpoint, judged by a policy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from otel_audit.integrity.checkpoint import Checkpoint
from otel_audit.integrity.epochs import EpochAttestation
from otel_audit.integrity.note import Attestation, NoteError, VerifierKey, open_note, parse_note, split_vkey
from otel_audit.integrity.policy import Policy
from otel_audit.integrity.statements import Revocation

__all__ = ["TrustedHead", "is_revoked", "key_types", "trust"]


@dataclass(frozen=True, slots=True)
class TrustedHead:
    """A checkpoint that a log key of the policy signed, and who else did."""

    checkpoint: Checkpoint
    signers: tuple[Attestation, ...]
    """Valid signatures of log keys."""
    cosigners: tuple[Attestation, ...]
    """Valid cosignatures of witnesses."""

    @property
    def witnesses(self) -> list[VerifierKey]:
        """The keys of the witnesses that cosigned."""
        return [each.key for each in self.cosigners]

    @property
    def seal(self) -> EpochAttestation | None:
        """The epoch seal among the signatures, if there is one."""
        return next((each for each in self.signers if isinstance(each, EpochAttestation)), None)

    @property
    def time(self) -> int | None:
        """The latest time that a signature states, in POSIX seconds; None where none does."""
        return max((each.time for each in (*self.signers, *self.cosigners) if each.time is not None), default=None)


def key_types(keys: Iterable[VerifierKey]) -> set[int]:
    """Return the types of these keys (the first byte of their material)."""
    return {split_vkey(key.vkey)[1][0] for key in keys}


def is_revoked(head: TrustedHead, policy: Policy, revocations: Sequence[Revocation]) -> bool:
    """Tell whether revoked keys made so many of a head's signatures that the others are not what the policy asks."""
    origin, size = head.checkpoint.origin, head.checkpoint.size
    keys = [each.key for each in head.signers]
    good = [key for key in keys if not any(each.covers(key, origin, size) for each in revocations)]
    return key_types(good) != key_types(keys) if policy.each_type else not good


def trust(raw: str | bytes, policy: Policy, *, now: float) -> TrustedHead:
    """Return the head that a signed checkpoint states, once its signatures are found good.

    Raises:
        NoteError: it is not well formed; no log key of the policy signed it; a known key's signature is bad;
        it
            states a time that has not come. The quorum of witnesses is the caller's to judge.
    """
    note = parse_note(raw)
    checkpoint = Checkpoint.parse(note.text)
    logs = policy.log_keys(checkpoint.origin)
    found = open_note(note, [*logs, *policy.witness_keys()])
    ours = {(key.name, key.key_id) for key in logs}
    signers = tuple(each for each in found if (each.key.name, each.key.key_id) in ours)
    if not signers:
        raise NoteError("note-no-known-signature", f"no log key of the policy signed for {checkpoint.origin[:200]!r}")
    if policy.each_type and (lacking := key_types(logs) - key_types(each.key for each in signers)):
        named = ", ".join(f"0x{kind:02x}" for kind in sorted(lacking))
        raise NoteError("note-type-missing", f"no key of type {named} signed for {checkpoint.origin[:200]!r}")
    cosigners = tuple(each for each in found if each not in signers)
    head = TrustedHead(checkpoint, signers, cosigners)
    if head.time is not None and head.time > now + policy.clock_skew:
        raise NoteError("note-future", f"a signature states a time {head.time - now:.0f} s ahead of this clock")
    if checkpoint.extensions:
        raise NoteError("checkpoint-extension", f"{len(checkpoint.extensions)} extension lines, which nobody audits")
    return head
