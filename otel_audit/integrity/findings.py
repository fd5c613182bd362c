"""What the integrity checks find, code by code, and the tier that a stream's proof reaches.

Codes and severities are of the kind that `otel_audit.verify` reports: a code never changes its meaning, and
its severity is the exit code it leads to.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

__all__ = ["CODES", "Code", "Finding", "Severity", "Tier"]


class Severity(IntEnum):
    """How a finding counts. The values are exit codes."""

    NOTE = 0
    TAMPERED = 1
    INCOMPLETE = 3
    UNVERIFIABLE = 4


class Code(NamedTuple):
    """What one code says: how grave it is, what it can mean, what to do next."""

    severity: Severity
    meaning: str
    next_step: str


class Finding(NamedTuple):
    """One thing found. `seq` is the record it is about, or up to which it holds."""

    code: str
    detail: str
    seq: int | None = None
    expected: str | None = None
    actual: str | None = None

    @property
    def severity(self) -> Severity:
        """How this counts for the verdict."""
        return CODES[self.code].severity


_KEEP: Final = "Keep the files and the checkpoint as they are: together they are the evidence."
_POLICY: Final = "Ask whoever runs the log for its verifier key, over another channel, and put it in the policy."
_T, _I, _U = Severity.TAMPERED, Severity.INCOMPLETE, Severity.UNVERIFIABLE

CODES: Final[dict[str, Code]] = {
    # One checkpoint, by itself.
    "CHECKPOINT_MALFORMED": Code(_T, "A checkpoint is not written as any signer writes it.", _KEEP),
    "CHECKPOINT_UNSIGNED": Code(_T, "A checkpoint's signatures were removed.", _KEEP),
    "CHECKPOINT_EXTENSION": Code(
        _U, "A checkpoint carries lines that this verifier does not know.", "Use a newer verifier."
    ),
    "BAD_SIGNATURE": Code(_T, "A trusted key's signature does not fit its checkpoint: one of them was changed.", _KEEP),
    "UNKNOWN_SIGNER": Code(_U, "A checkpoint is signed, but by no key that the policy trusts.", _POLICY),
    "SIGNATURE_MISSING": Code(
        _U,
        "A checkpoint lacks the signature of a type that the policy demands: it was removed, or the signer had no such "
        "key.",
        "Ask whoever runs the log whether both keys sign; without the second one the checkpoint proves nothing to you.",
    ),
    "FOREIGN_CHECKPOINT": Code(_T, "A checkpoint of another log or stream stands in this stream.", _KEEP),
    # Checkpoints and the records they cover.
    "CHECKPOINT_ROOT": Code(
        _T, "The records are not the ones that were signed: they were changed and sealed anew.", _KEEP
    ),
    "CHECKPOINT_SIZE": Code(_T, "A checkpoint in the stream covers more records than stood before it.", _KEEP),
    "CHECKPOINT_ORDER": Code(_T, "Checkpoints go back: an older one follows a newer one.", _KEEP),
    "EQUIVOCATION": Code(
        _T,
        "Two signed checkpoints contradict each other: the signer has shown two versions of the log.",
        _KEEP,
    ),
    "SIGNED_TRUNCATED": Code(_T, "A signed checkpoint covers more records than are here: the end was removed.", _KEEP),
    "CHECKPOINT_LATE": Code(
        _U,
        "A checkpoint lies too many records behind its place for this verifier to look back.",
        "Give the checkpoint in a file of its own (`--checkpoint`).",
    ),
    "TOO_MANY_CHECKPOINTS": Code(
        _U,
        "One file holds more checkpoints than this verifier keeps in memory; the rest of them was not checked.",
        "Split the file, and check the parts together.",
    ),
    "PRUNED_BEYOND": Code(
        _I,
        "What was seen before lies in the part that retention removed: the two cannot be compared.",
        "Compare with a copy that still has that part; then pin the stream anew.",
    ),
    "TIME_IN_FUTURE": Code(_T, "A signature states a time that has not come yet.", "Check this machine's clock first."),
    # What the policy demands.
    "NO_POLICY": Code(
        _I,
        "The stream has checkpoints, but no policy says whose signature counts: none was trusted.",
        _POLICY,
    ),
    "NOT_SIGNED": Code(_U, "The policy demands a signature, and no trusted key has signed this stream.", _POLICY),
    "UNSIGNED_TAIL": Code(
        _I,
        "The last records are not covered by a signature: they may be newer than it, or may have been replaced.",
        "If the process still runs, check again later; else compare the end with a copy held elsewhere.",
    ),
    "NOT_ANCHORED": Code(
        _I,
        "The policy demands an anchor outside the log's reach, and none covers these records.",
        "Fetch the checkpoints from where they are anchored, and give them with `--anchor`.",
    ),
    "QUORUM_MISSED": Code(
        _I,
        "Fewer witnesses than the policy demands have cosigned.",
        "Ask the witnesses for their latest checkpoint.",
    ),
    "STALE": Code(
        _I,
        "The newest trusted checkpoint is older than the policy allows: this may be an old copy of the log.",
        "Get the present log, or the newest checkpoint from an anchor.",
    ),
    # Keys.
    "KEY_CHANGED": Code(
        _T,
        "The signing key changed, and the key before did not sign that it should.",
        "Ask who replaced the key.",
    ),
    "KEY_REVOKED": Code(
        _U, "A checkpoint is signed with a key that was revoked before it.", "Trust what is older only."
    ),
    "ROTATION_INVALID": Code(_T, "A record claims a change of keys that its old key did not sign.", _KEEP),
    # Time stamps.
    "STAMP_MALFORMED": Code(_T, "What is kept as a time stamp is none.", _KEEP),
    "STAMP_OTHER_DATA": Code(
        _T, "A time stamp is over other bytes than the checkpoint that it lies beside: one of them was replaced.", _KEEP
    ),
    "STAMP_INVALID": Code(_T, "A time stamp's signature does not fit what it says: it was changed.", _KEEP),
    "STAMP_USAGE": Code(_T, "A time stamp is signed with a certificate that is not for time stamps.", _KEEP),
    "STAMP_EXPIRED": Code(_T, "A time stamp states a time at which its certificate was not valid.", _KEEP),
    "STAMP_ORDER": Code(
        _T, "Time stamps of one authority go back: it saw more records at an earlier time, and fewer later.", _KEEP
    ),
    "STAMP_UNTRUSTED": Code(
        _U,
        "A time stamp is signed by no authority that the policy trusts.",
        "Ask the authority for its root certificate, over another channel, and put it in the policy (`#! tsa`).",
    ),
    "STAMP_UNSUPPORTED": Code(
        _U,
        "There are time stamps, the policy says whose count, and this verifier cannot read them.",
        "Install what it needs: pip install 'otel-audit[tsa]'.",
    ),
    "STAMP_UNCHECKED": Code(
        Severity.NOTE,
        "There are time stamps, and nothing says whose count: none was checked, none is relied on.",
        "To check them, give the authority's root certificate with --tsa-ca, or name it in the policy (`#! tsa`).",
    ),
    # Epochs.
    "EPOCH_ORDER": Code(_T, "An epoch is sealed after its final seal: an erased key was used again.", _KEEP),
    "EPOCH_MISSING": Code(
        _T,
        "Epochs have no final seal, yet later ones do: seals were removed, or history was sealed anew later.",
        _KEEP,
    ),
    "EPOCH_UNSEALED": Code(
        _I,
        "Epochs at the end should have a final seal by now: the process was killed, or the end was removed.",
        "Compare the end with a copy held elsewhere.",
    ),
    "EPOCH_TIME": Code(
        _I,
        "Records state times outside the epoch in which they were sealed.",
        "Mistrust these times, not the order.",
    ),
    # Record signatures, and marks of an evolving MAC.
    "RECORDS_NOT_SIGNED": Code(
        _U,
        "Records have no signature of their own, which was asked for.",
        "Ask whether the process had `record_signatures`, and whether it recorded faster than it could sign.",
    ),
    "RECORD_SIGNATURES_UNCHECKED": Code(
        Severity.NOTE,
        "Records have signatures of their own, and these were not checked; the checkpoints cover the same records.",
        "Give --record-signatures to check them too; it takes a tenth of a millisecond a record.",
    ),
    "MAC_MISMATCH": Code(
        _T, "The marks are not those of these records: they were changed, or sealed anew without their keys.", _KEEP
    ),
    "MAC_NUMBER_TWICE": Code(
        _T,
        "Two streams were marked from one seed, which the first one had used up.",
        "Ask whether the key file was put back from a copy; else somebody kept a seed.",
    ),
    "MARKED_STREAM_MISSING": Code(
        _I,
        "Marked streams are numbered, and numbers are missing: streams are gone or elsewhere, or were marked anew.",
        "Give all streams of this key together, from the first one on.",
    ),
    "NOT_MARKED": Code(
        _U,
        "A MAC key was given, and this stream has no marks that it could check.",
        "Ask whether the process had a `mac_key_file`.",
    ),
    "UNMARKED_TAIL": Code(
        _I,
        "No sum covers the last records: they may be newer than it, or may have been replaced.",
        "If the process still runs, check again later; else compare the end with a copy held elsewhere.",
    ),
    # Pins.
    "PIN_MISMATCH": Code(
        _T,
        "This is not the log that was seen before: its beginning was replaced, or you are shown another one.",
        _KEEP,
    ),
    "PIN_TRUNCATED": Code(_T, "The log was longer when it was last seen: records were removed or rolled back.", _KEEP),
    "PIN_MISSING_LOG": Code(_T, "A log that was seen before is not here.", "Restore it from a copy."),
    "NOT_PINNED": Code(
        _I,
        "This log was never seen before, so nothing is known to compare it with.",
        "Add --trust-first-use once.",
    ),
}
"""Every code of this room. docs/integrity.md lists them; a test keeps the two the same."""


class Tier(IntEnum):
    """How far the proof reaches; each tier holds against someone whom the one before does not."""

    PLAIN = 0
    CHAINED = 1
    KEYED = 2
    SIGNED = 3
    ANCHORED = 4
    WITNESSED = 5

    @property
    def sentence(self) -> str:
        """What this tier proves, and what it does not, in words for a reader who is no engineer."""
        return _SENTENCES[self]


_SENTENCES: Final = {
    Tier.PLAIN: "Nothing has been proved: these records are not bound to each other.",
    Tier.CHAINED: (
        "The records fit together as they were written; "
        "whoever can write the whole file could still have written all of them anew."
    ),
    Tier.KEYED: (
        "The records fit together and carry the marks of a secret that was erased as it was used; "
        "whoever holds the verification secret could still have written them anew."
    ),
    Tier.SIGNED: (
        "The records are those that a trusted key signed; "
        "whoever holds the key could still have signed others instead, or have cut off what was signed last."
    ),
    Tier.ANCHORED: (
        "The records are those that a trusted key signed, and they agree with what was kept outside the log; "
        "what came after the last anchor rests on the signature alone."
    ),
    Tier.WITNESSED: (
        "The records are those that a trusted key signed, and independent witnesses saw this same log; "
        "what came after the last witnessed checkpoint rests on the signature alone."
    ),
}
