"""What a record must look like, beyond being JSON: member names, types and spellings of format 1."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final

from otel_audit.record import ACTOR_TYPES, AUDIT_MEMBERS, DECISIONS, MEMBERS, OUTCOMES, REQUIRED_MEMBERS

__all__ = [
    "AUDIT_TYPES",
    "AUDIT_WORDS",
    "HEAD_MEMBERS",
    "HEX32",
    "HEX64",
    "MAX_SEQ",
    "REQUIRED_ACTOR",
    "REQUIRED_AUDIT",
    "REQUIRED_HEAD",
    "TOP_TYPES",
    "audit_fault",
    "otel_fault",
    "place_fault",
    "timestamp_is_valid",
    "unknown_members",
]

HEX32: Final = re.compile(r"[0-9a-f]{32}")
HEX64: Final = re.compile(r"[0-9a-f]{64}")
_TIMESTAMP: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{9}Z")
_OTEL: Final = {
    "trace_id": HEX32,
    "span_id": re.compile(r"[0-9a-f]{16}"),
}
MAX_SEQ: Final = 2**53 - 1

_CHAIN_MEMBERS: Final = {"prev_hash", "seq", "stream", "hash"}
HEAD_MEMBERS: Final = frozenset(MEMBERS) - _CHAIN_MEMBERS
REQUIRED_HEAD: Final = REQUIRED_MEMBERS - _CHAIN_MEMBERS
TOP_TYPES: Final[dict[str, type]] = {
    "audit": dict,
    "data": dict,
    "event_name": str,
    "level": str,
    "logger": str,
    "message": str,
    "otel": dict,
}
REQUIRED_AUDIT: Final = frozenset({"action", "actor", "outcome"})
AUDIT_TYPES: Final[dict[str, type]] = {
    "action": str,
    "actor": dict,
    "altered": list,
    "source": dict,
    "target": dict,
    "targets": list,
}
REQUIRED_ACTOR: Final = frozenset({"id", "type"})
AUDIT_WORDS: Final = {"outcome": OUTCOMES, "decision": DECISIONS}


def unknown_members(record: dict[str, Any]) -> list[str]:
    """Return the names of members that a record does not have, `audit.` before those inside `audit`."""
    audit = record.get("audit")
    inside = audit.keys() - AUDIT_MEMBERS if isinstance(audit, dict) else set()
    return sorted(record.keys() - set(MEMBERS)) + sorted(f"audit.{name}" for name in inside)


def place_fault(record: dict[str, Any]) -> str | None:
    """Say what is wrong with the members that place a record in its stream, if anything is."""
    for name in ("stream", "seq", "hash", "@timestamp"):
        if name not in record:
            return f"{name} is missing"
    seq = record["seq"]
    if type(seq) is not int or not 1 <= seq <= MAX_SEQ:  # not isinstance: True is an int, and no number
        return "seq must be an integer from 1 to 2^53 - 1"
    if not _matches(HEX32, record["stream"]):
        return "stream must be 32 lower-case hex digits"
    if not _matches(HEX64, record["hash"]):
        return "hash must be 64 lower-case hex digits"
    if seq == 1 and "prev_hash" in record:
        return "the first record has no prev_hash"
    if seq > 1 and not _matches(HEX64, record.get("prev_hash")):
        return "prev_hash must be 64 lower-case hex digits"
    if not isinstance(record["@timestamp"], str) or not timestamp_is_valid(record["@timestamp"]):
        return "@timestamp must be 30 characters, such as 2026-11-21T22:30:00.123456789Z"
    return None


def audit_fault(record: dict[str, Any]) -> str | None:
    """Say what is wrong with the other members, if anything is."""
    for name, kind in TOP_TYPES.items():
        if name in record and not isinstance(record[name], kind):
            return f"{name} must be {_said(kind)}"
    if not record.get("event_name"):
        return "event_name is missing or empty"
    audit = record.get("audit")
    if audit is None:
        return "audit is missing"
    return _inside_audit(audit) or otel_fault(record.get("otel", {}))


def _inside_audit(audit: dict[str, Any]) -> str | None:
    for name in sorted(REQUIRED_AUDIT - audit.keys()):
        return f"audit.{name} is missing"
    for name, kind in AUDIT_TYPES.items():
        if name in audit and not isinstance(audit[name], kind):
            return f"audit.{name} must be {_said(kind)}"
    for name, words in AUDIT_WORDS.items():
        if name in audit and not _is_one_of(audit[name], words):
            return f"audit.{name} must be one of {', '.join(sorted(words))}"
    actor = audit["actor"]
    if not isinstance(actor.get("id"), str):
        return "audit.actor.id must be a string"
    if not _is_one_of(actor.get("type"), ACTOR_TYPES):
        return f"audit.actor.type must be one of {', '.join(sorted(ACTOR_TYPES))}"
    return None


def otel_fault(otel: dict[str, Any]) -> str | None:
    """Say what is wrong with the trace context, if anything is."""
    for name, value in otel.items():
        if name == "trace_flags":
            if type(value) is not int or not 0 <= value <= 255:
                return "otel.trace_flags must be an integer from 0 to 255"
            continue
        form = _OTEL.get(name)
        if form is None or not _matches(form, value):
            return f"otel.{name} is not a trace context in lower-case hex"
    return None


def timestamp_is_valid(text: str) -> bool:
    """Tell whether this is a time as a record writes it: 30 characters, UTC, nanoseconds."""
    if _TIMESTAMP.fullmatch(text) is None:
        return False
    try:
        datetime.fromisoformat(text[:19])
    except ValueError:
        return False
    return True


def _matches(form: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and form.fullmatch(value) is not None


def _is_one_of(value: Any, words: frozenset[str]) -> bool:
    return isinstance(value, str) and value in words


def _said(kind: Any) -> str:
    return {dict: "an object", list: "an array", str: "a string"}[kind]
