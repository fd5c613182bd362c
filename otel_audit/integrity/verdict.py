"""What the checks of one stream come to, and which logs should be there and are not."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from otel_audit.integrity.checkpoint import Checkpoint, stream_of
from otel_audit.integrity.findings import Finding, Severity, Tier
from otel_audit.integrity.note import NoteError, parse_note
from otel_audit.integrity.pins import Pins
from otel_audit.integrity.stamps import Stamp

__all__ = ["Verdict", "missing_logs"]


@dataclass(slots=True)
class Verdict:
    """What was found about one stream, and how far the proof reaches."""

    findings: list[Finding]
    tier: Tier
    origin: str
    size: int
    root: bytes
    signed: int
    """Records, from the first on, that a trusted signature covers."""
    anchored: int
    """Records that an anchor or a pin covers."""
    witnessed: int
    """Records that a checkpoint with the witnesses' quorum covers."""
    stamped: tuple[int, Stamp] | None = None
    """Records that the last trusted time stamp covers, and that stamp."""
    keyed: int = 0
    """Records that the evolving MAC marks."""

    @property
    def sentence(self) -> str:
        """What has been proved and what has not, in one sentence."""
        if any(each.severity == Severity.TAMPERED for each in self.findings):
            return "Contradictions were found: nothing is proved about these records."
        reach = {
            Tier.KEYED: self.keyed,
            Tier.SIGNED: self.signed,
            Tier.ANCHORED: self.anchored,
            Tier.WITNESSED: self.witnessed,
        }
        covered = reach.get(self.tier, self.size)
        proved = self.tier.sentence
        if self.tier < Tier.SIGNED and self.anchored:
            proved += f" The first {self.anchored} agree with what was kept outside the log."
        if self.stamped is not None and self.tier >= Tier.SIGNED:
            size, stamp = self.stamped
            proved += f" The first {size} existed by {stamp.time:%Y-%m-%dT%H:%M:%SZ}, as {stamp.signer} has stamped."
        return proved if covered == self.size else f"Records 1 to {covered} of {self.size}: {proved}"

    def advance(self, pins: Pins) -> None:
        """Move the stream's pin to this tree, unless something contradicts it."""
        if self.size and not any(each.severity == Severity.TAMPERED for each in self.findings):
            pins.advance(self.origin, self.size, self.root)


def missing_logs(
    seen: Collection[str], *, pins: Pins | None = None, notes: Iterable[str | bytes] = ()
) -> list[tuple[str, Finding]]:
    """Return, with its stream, a finding for each log that a pin or a signed checkpoint knows and `seen` lacks.

    `seen` are the streams of which at least one record was there; `notes` are checkpoints and anchors alike.
    """
    found = {}
    for raw in notes:
        try:
            head = Checkpoint.parse(parse_note(raw).text)
        except NoteError:
            continue  # a finding of the streams that are there
        stream = stream_of(head.origin)
        if stream is not None and stream not in seen and head.size:
            detail = f"{head.size} records of {head.origin} were signed"
            found[stream] = Finding("SIGNED_TRUNCATED", detail, None, str(head.size), "0")
    for origin in pins or ():
        stream = stream_of(origin)
        if stream is not None and stream not in seen:
            pin = pins.get(origin) if pins is not None else None
            size = None if pin is None else str(pin.size)
            found[stream] = Finding("PIN_MISSING_LOG", f"{origin} was seen before", None, size, "0")
    return sorted(found.items())
