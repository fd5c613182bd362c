"""What of a sealed record stands beside it in OTLP, for search and routing.

The record itself travels as its line, a string, which every hop leaves alone. Around it stand the fields
that OTLP has (event name, time, severity, trace ids) and flat attributes: the OpenTelemetry audit draft's
names where the draft has one, semantic conventions where they have one, and `auditx.*` for the rest, so
that a later draft cannot collide. What is large or freely shaped (`data`, `changes`, `targets`, `altered`)
is in the line alone. The table is closed: no record can produce more attributes than it names.
"""

from __future__ import annotations

import calendar
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

from otel_audit.record import DRAFT_NAMES, FORMAT, Control, record_id

__all__ = ["ATTRIBUTE_NAMES", "BODY_ONLY", "SCHEMA_VERSION", "Projection", "Value", "project", "project_attributes"]

Value: TypeAlias = "str | bool | int | float | list[str]"

SCHEMA_VERSION: Final = f"otel_audit/{FORMAT}"
"""`audit.schema.version` of records that name no version of their own."""

_Names: TypeAlias = "str | dict[str, _Names]"

ATTRIBUTE_NAMES: Final[dict[str, _Names]] = {
    "action": DRAFT_NAMES["action"],
    "actor": {
        "id": DRAFT_NAMES["actor.id"],
        "type": DRAFT_NAMES["actor.type"],
        "name": "auditx.actor.name",
        "roles": "user.roles",
        "on_behalf_of": {
            "": "auditx.actor.on_behalf_of.id",
            "id": "auditx.actor.on_behalf_of.id",
            "type": "auditx.actor.on_behalf_of.type",
        },
    },
    "category": "auditx.category",
    "data_subject": {
        "": "auditx.data_subject.id",
        "id": "auditx.data_subject.id",
        "type": "auditx.data_subject.type",
    },
    "decision": "auditx.decision",
    "outcome": DRAFT_NAMES["outcome"],
    "phase": "auditx.phase",
    "reason": "auditx.reason",
    "request": {"": "auditx.request.id", "id": "auditx.request.id"},
    "session": {"": "session.id", "id": "session.id"},
    "source": {
        "address": DRAFT_NAMES["source.address"],
        "type": DRAFT_NAMES["source.type"],
        "user_agent": "user_agent.original",
    },
    "target": {
        "id": DRAFT_NAMES["target.id"],
        "type": DRAFT_NAMES["target.type"],
        "name": "auditx.target.name",
    },
    "tenant": {"": "auditx.tenant.id", "id": "auditx.tenant.id", "name": "auditx.tenant.name"},
    "version": DRAFT_NAMES["schema_version"],
}
"""Members of `audit` and attribute names; the name "" is for a member that is no object."""

BODY_ONLY: Final = frozenset({"altered", "changes", "targets"})
"""Members of `audit` that are in the line alone."""

_SEVERITY: Final = {
    "TRACE": 1,
    "DEBUG": 5,
    "INFO": 9,
    "NOTICE": 10,
    "WARNING": 13,
    "WARN": 13,
    "ERROR": 17,
    "CRITICAL": 21,
    "FATAL": 21,
}
"""SeverityNumber of Python's level names (OpenTelemetry logs data model, appendix B); 0 means unspecified."""

_MAX_LIST = 64


class Projection(NamedTuple):
    """One record's fields in the words of the OpenTelemetry logs data model."""

    attributes: dict[str, Value]
    event_name: str
    timestamp: int
    """Unix time in ns. The observed time is the same: the record was written in the call that it records."""
    severity_number: int
    severity_text: str
    trace_id: str
    """32 hex digits, or empty."""
    span_id: str
    """16 hex digits, or empty."""
    trace_flags: int


def project(record: Mapping[str, Any]) -> Projection:
    """Return what stands beside a sealed record in OTLP.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: this is not a record of format 1.
    """
    level = record.get("level", "")
    trace = record.get("otel", {})
    return Projection(
        project_attributes(record),
        record["event_name"],
        _nanoseconds(record["@timestamp"]),
        _SEVERITY.get(level, 0),
        level,
        trace.get("trace_id", ""),
        trace.get("span_id", ""),
        trace.get("trace_flags", 0),
    )


def project_attributes(record: Mapping[str, Any]) -> dict[str, Value]:
    """Return the attributes alone.

    Raises:
        KeyError, TypeError, AttributeError: this is not a record of format 1.
    """
    stream, seq = record["stream"], record["seq"]
    found: dict[str, Value] = {
        DRAFT_NAMES["id"]: record_id(stream, seq),
        DRAFT_NAMES["stream"]: stream,
        DRAFT_NAMES["seq"]: seq,
        DRAFT_NAMES["schema_version"]: SCHEMA_VERSION,
    }
    if "prev_hash" in record:
        found[DRAFT_NAMES["prev_hash"]] = record["prev_hash"]
        found[DRAFT_NAMES["prev_id"]] = record_id(stream, seq - 1)
    if record["event_name"] == Control.STREAM_CLOSE:
        found[DRAFT_NAMES["end"]] = True
    if "logger" in record:
        found["auditx.logger"] = record["logger"]
    for member, value in record["audit"].items():
        names = ATTRIBUTE_NAMES.get(member)
        if names is not None:
            _put(found, names, value)
    return found


def _put(found: dict[str, Value], names: _Names, value: Any) -> None:
    if isinstance(names, str):
        if type(value) is str or _is_flat(value):
            found[names] = value
    elif isinstance(value, dict):
        for member, inner in value.items():
            if member in names:
                _put(found, names[member], inner)
    elif "" in names:
        _put(found, names[""], value)


def _is_flat(value: Any) -> bool:
    if isinstance(value, list):
        return 0 < len(value) <= _MAX_LIST and all(isinstance(item, str) for item in value)
    return isinstance(value, (str, bool, int, float))


def _nanoseconds(timestamp: str) -> int:
    return _seconds(timestamp[:19]) * 1_000_000_000 + int(timestamp[20:29])


@lru_cache(64)
def _seconds(timestamp: str) -> int:
    year, month, day = int(timestamp[:4]), int(timestamp[5:7]), int(timestamp[8:10])
    return calendar.timegm((year, month, day, int(timestamp[11:13]), int(timestamp[14:16]), int(timestamp[17:19])))
