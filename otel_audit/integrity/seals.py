"""What a verifier demands of the seals of one stream, taken together.

Each rule answers an attack on a verifier that lacked it (systemd-journald, CVE-2023-31437, -31438 and -31439:
the cryptography was sound, the checks were missing):

* every epoch since the stream's birth has exactly one *final* seal, an idle epoch too: else a tail is cut
  off and sealing goes on as if nothing had been (31438);
* epochs rise by one and never fall: else history is rewritten and sealed again with a later key (31439);
* nothing is sealed in an epoch after its final seal;
* a seal that is missing at the end is a finding, never "as good as sealed".

Nothing that a reader finds his way by lies outside a seal (31437): the seal is over the records themselves.
"""

from __future__ import annotations

from otel_audit.integrity.epochs import EpochAttestation, Schedule
from otel_audit.integrity.findings import Finding

__all__ = ["SealSeries"]


class SealSeries:
    """The seals of one stream, fed in the order of their sizes."""

    def __init__(self, schedule: Schedule, birth: float) -> None:
        """`birth` is the stream's first moment in POSIX seconds; its id, a UUIDv7, states it."""
        self.schedule = schedule
        self._due = max(schedule.epoch_at(birth), 0)
        self._last: tuple[int, int, bool] | None = None

    def add(self, seal: EpochAttestation, size: int) -> list[Finding]:
        """Take the next seal; return what is wrong with its place in the series."""
        found: list[Finding] = []
        present = size, seal.epoch, seal.final
        if present == self._last:
            return found  # the same seal again, from a file or an anchor
        self._last = present
        if seal.epoch < self._due:
            detail = f"the seal over {size} records is of epoch {seal.epoch}, which had its final seal before"
            return [Finding("EPOCH_ORDER", detail, size, f"epoch {self._due}", f"epoch {seal.epoch}")]
        if seal.epoch > self._due:
            missing = _epochs(self._due, seal.epoch - 1)
            detail = f"the seal over {size} records is of epoch {seal.epoch}, but {missing} had no final seal"
            found.append(Finding("EPOCH_MISSING", detail, size, f"epoch {self._due}", f"epoch {seal.epoch}"))
        self._due = seal.epoch + 1 if seal.final else seal.epoch
        return found

    def finish(self, now: float, *, ended: bool) -> list[Finding]:
        """Say what is missing at the end. `ended`: a seal covers the record that closes the stream."""
        last = min(self.schedule.epoch_at(now), self.schedule.count) - 1
        if ended or self._due > last:
            return []
        detail = f"{_epochs(self._due, last)} should have a final seal by now"
        return [Finding("EPOCH_UNSEALED", detail)]


def _epochs(first: int, last: int) -> str:
    return f"epoch {first}" if first == last else f"epochs {first} to {last}"
