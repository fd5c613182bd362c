"""Erasing a person: the key of their sealed fields is destroyed, and a record says so.

The key is first taken out of use, then the record is made durable, then the key is destroyed. What dies in between
leaves a key that no process uses and that the next `erase` destroys; it leaves no erasure without its record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .errors import AuditError
from .record import Control
from .redaction.subject_keys import SubjectKeys

if TYPE_CHECKING:
    from .trail import AuditTrail

__all__ = ["NotRecorded", "erase"]

_MOST_TEXT: Final = 1024


class NotRecorded(AuditError):
    """The record of an erasure could not be made durable; the key is out of use and not destroyed."""


def erase(
    trail: AuditTrail, keys: SubjectKeys, subject: str, *, by: str, reason: str = "", named: str | None = None
) -> list[str]:
    """Destroy a person's keys and record it; return the ids of the keys, none if there is no key.

    Args:
        trail: where the record goes.
        keys: where the keys are.
        subject: whose.
        by: who does it.
        reason: why, such as the law or a ticket.
        named: what the record says of whose keys they were; nothing by default, since it is there for ever.

    Raises:
        NotRecorded: the keys are out of use and not destroyed; to be called again.
        ConfigurationError, OSError: the directory of keys cannot be used.
    """
    with keys.erasing(subject) as ids:
        if ids:
            facts = {"by": by[:_MOST_TEXT], "keys": ids}
            if reason:
                facts["reason"] = reason[:_MOST_TEXT]
            if named is not None:
                facts["subject"] = named
            receipt = trail.record_control(Control.ERASE, facts, action="ERASE")
            written = trail.stream.store.written
            trail.stream.sync()
            if receipt.seq is None or trail.stream.store.durable < written:
                raise NotRecorded(
                    "the erasure could not be recorded, and the key is not destroyed; it is out of use: "
                    "see to the journal and erase again"
                )
    return ids
