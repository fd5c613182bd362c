"""A record as an Elastic Common Schema document: fields to search by, and the sealed line in
`event.original`.

The fields are a copy for people and dashboards; what is verified is the line. `data`, `changes` and other
freely shaped members are in the line alone: mapped, they would give an index as many fields as callers have
ideas, and two records with different types under one name could not both be stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Final

__all__ = ["ECS_VERSION", "document"]

ECS_VERSION: Final = "9.0.0"

_CATEGORIES: Final = {
    "api": "api",
    "authentication": "authentication",
    "config": "configuration",
    "configuration": "configuration",
    "data": "database",
    "database": "database",
    "file": "file",
    "host": "host",
    "iam": "iam",
    "network": "network",
    "process": "process",
    "session": "session",
    "web": "web",
}
"""`audit.category` and `event.category` (ECS, "Categorization fields"); others have none there."""

_TYPES: Final = {
    "CREATE": "creation",
    "UPDATE": "change",
    "DELETE": "deletion",
    "READ": "access",
    "LOGIN": "start",
    "LOGOUT": "end",
    "CONFIGURE": "change",
    "GRANT": "change",
    "REVOKE": "change",
}
"""`audit.action` and `event.type`."""


def document(record: Mapping[str, Any], line: str) -> dict[str, Any]:
    """Return the ECS document of a sealed record.

    Raises:
        KeyError, TypeError, AttributeError: this is not a record of format 1.
    """
    audit = record["audit"]
    actor, source = audit["actor"], _object(audit.get("source"))
    trace = record.get("otel", {})
    address = _text(source.get("address"))
    ip = address if _is_ip(address) else None
    delegate = _identity(actor.get("on_behalf_of"))
    found = {
        "@timestamp": record["@timestamp"],
        "ecs": {"version": ECS_VERSION},
        "event": {
            "kind": "event",
            "id": f"{record['stream']}-{record['seq']}",
            "action": record["event_name"],
            "category": _listed(_CATEGORIES.get(_text(audit.get("category")) or "")),
            "type": _listed(_TYPES.get(audit["action"]), _text(audit.get("decision"))),
            "outcome": audit["outcome"],
            "reason": _text(audit.get("reason")),
            "sequence": record["seq"],
            "hash": record["hash"],
            "original": line,
        },
        "message": record.get("message"),
        "log": {"level": record.get("level"), "logger": record.get("logger")},
        "user": {
            "id": _text(actor["id"]),
            "name": _text(actor.get("name")),
            "roles": _texts(actor.get("roles")),
            "effective": {"id": delegate},
        },
        "source": {"address": address, "ip": ip},
        "user_agent": {"original": _text(source.get("user_agent"))},
        "organization": {"id": _identity(audit.get("tenant"))},
        "http": {"request": {"id": _identity(audit.get("request"))}},
        "trace": {"id": trace.get("trace_id")},
        "span": {"id": trace.get("span_id")},
        "related": {"user": _listed(_text(actor["id"]), delegate), "ip": _listed(ip)},
        "auditx": {
            "stream": record["stream"],
            "prev_hash": record.get("prev_hash"),
            "action": audit["action"],
            "actor": {"type": _text(actor["type"])},
            "target": {name: _text(_object(audit.get("target")).get(name)) for name in ("id", "type", "name")},
            "session": _identity(audit.get("session")),
            "data_subject": _identity(audit.get("data_subject")),
            "phase": _text(audit.get("phase")),
        },
    }
    return _pruned(found)


def _text(value: Any) -> str | None:
    """Return a value as the one type that its field has; None for what is not a single value."""
    if value is None or isinstance(value, (dict, list)):
        return None
    return value if isinstance(value, str) else str(value)


def _texts(value: Any) -> list[str]:
    items = value if isinstance(value, list) else [value]
    return [text for item in items if (text := _text(item)) is not None]


def _listed(*values: str | None) -> list[str]:
    return [value for value in values if value is not None]


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _identity(value: Any) -> str | None:
    return _text(value.get("id")) if isinstance(value, dict) else _text(value)


def _is_ip(address: str | None) -> bool:
    try:
        ip_address(address or "")
    except ValueError:
        return False
    return "%" not in (address or "")  # a scope id is no part of what an `ip` field takes


def _pruned(value: dict[str, Any]) -> dict[str, Any]:
    """Return the object without members that hold nothing."""
    kept = {name: _pruned(item) if isinstance(item, dict) else item for name, item in value.items()}
    return {name: item for name, item in kept.items() if item is not None and item not in ({}, [])}
