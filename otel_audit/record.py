"""What a record is: its members, its schema, and its names in the OpenTelemetry audit draft.

A record is one JSON object on one line. Its top-level members are closed (`MEMBERS`); the members of `audit`
are closed too (`AUDIT_MEMBERS`); everything else a caller gives lives under `data`. See docs/format.md.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "AUDIT_MEMBERS",
    "CONTROL_PREFIX",
    "DRAFT_NAMES",
    "DRAFT_REVISION",
    "FORMAT",
    "MAX_LINE",
    "MEMBERS",
    "Control",
    "record_id",
]

FORMAT: Final = 1
"""Version of the record line, declared by a stream's `audit.stream.open` record."""

MAX_LINE: Final = 1_048_576
"""Longest line in bytes, newline included. A writer cuts values to stay below it; a verifier refuses more."""

MEMBERS: Final = (
    "@timestamp",
    "audit",
    "data",
    "event_name",
    "level",
    "logger",
    "message",
    "otel",
    "prev_hash",
    "seq",
    "stream",
    "hash",
)
"""Every top-level member, in the order in which a line holds them. `hash` closes the line."""

REQUIRED_MEMBERS: Final = frozenset({"@timestamp", "audit", "event_name", "seq", "stream", "hash"})

AUDIT_MEMBERS: Final = frozenset(
    {
        "action",
        "actor",
        "altered",
        "category",
        "changes",
        "data_subject",
        "decision",
        "outcome",
        "phase",
        "reason",
        "request",
        "session",
        "source",
        "target",
        "targets",
        "tenant",
        "version",
    }
)
"""Members of `audit`. `action`, `actor` (with `id` and `type`) and `outcome` are always there."""

OUTCOMES: Final = frozenset({"success", "failure", "unknown"})
ACTOR_TYPES: Final = frozenset({"user", "service", "system", "anonymous"})
DECISIONS: Final = frozenset({"allowed", "denied"})

CONTROL_PREFIX: Final = "audit."
"""Event names that begin so are written by the trail itself; a caller cannot use them."""


class Control:
    """Event names of control records: ordinary records about the stream itself."""

    STREAM_OPEN: Final = "audit.stream.open"
    STREAM_CLOSE: Final = "audit.stream.close"
    STREAM_FORK: Final = "audit.stream.fork"
    CHECKPOINT: Final = "audit.checkpoint"
    HEARTBEAT: Final = "audit.heartbeat"
    GAP: Final = "audit.gap"
    SIGNATURES: Final = "audit.signatures"
    KEY_ROTATE: Final = "audit.key.rotate"
    ANCHOR: Final = "audit.anchor"
    CONFIG_CHANGE: Final = "audit.config.change"
    SUPPRESSED: Final = "audit.suppressed"
    DEGRADED: Final = "audit.pipeline.degraded"
    RECOVERED: Final = "audit.pipeline.recovered"
    PRUNE: Final = "audit.prune"
    ERASE: Final = "audit.erase"
    LOG_READ: Final = "audit.log.read"
    LOG_EXPORT: Final = "audit.log.export"


DRAFT_REVISION: Final = "195a6da"
"""Revision of the OpenTelemetry audit draft (branch `auditing`) that `DRAFT_NAMES` follows."""

DRAFT_NAMES: Final[dict[str, str]] = {
    "id": "audit.record.id",
    "stream": "audit.sequence.stream_id",
    "seq": "audit.sequence.number",
    "prev_hash": "audit.sequence.previous_hash",
    "prev_id": "audit.sequence.previous_record_id",
    "end": "audit.sequence.end",
    "action": "audit.action",
    "outcome": "audit.outcome",
    "actor.id": "audit.actor.id",
    "actor.type": "audit.actor.type",
    "target.id": "audit.target.id",
    "target.type": "audit.target.type",
    "source.address": "audit.source.id",
    "source.type": "audit.source.type",
    "schema_version": "audit.schema.version",
    "integrity.value": "audit.integrity.value",
    "integrity.algorithm": "audit.integrity.algorithm",
    "integrity.certificate": "audit.integrity.certificate",
    "integrity.signer": "audit.integrity.signer",
    "integrity.canonicalization": "audit.integrity.canonicalization",
}
"""Our names on the left, the draft's attribute names on the right."""


def record_id(stream: str, seq: int) -> str:
    """Return a record's id, `<stream>-<seq>`: the idempotency key at every sink."""
    return f"{stream}-{seq}"
