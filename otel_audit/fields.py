"""From what a caller writes to the members of `audit`: `actor="alice"` becomes `{"id": "alice", "type": "user"}`.

Nothing here refuses an event. What does not fit the schema is kept under `data`, and the change is noted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from .canonical import Alteration
from .record import ACTOR_TYPES, AUDIT_MEMBERS, CONTROL_PREFIX, DECISIONS, OUTCOMES

__all__ = ["DEFAULT_EVENT", "SYSTEM_ACTOR", "as_members", "normalize", "normalize_event_name"]

DEFAULT_EVENT: Final = "log.record"
"""Event name of a logging call that gives none."""

SYSTEM_ACTOR: Final[dict[str, Any]] = {"id": "otel-audit", "type": "system"}
"""Who acts in control records."""

ANONYMOUS: Final[dict[str, Any]] = {"id": "anonymous", "type": "anonymous"}

_KIND: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_MOST_REMEMBERED: Final = 1024
_kinds: Final[set[str]] = set()
"""Types of targets that were looked at."""
_DENIALS: Final = frozenset({"denied", "deny", "forbidden", "refused"})
_OTHER_NAMES: Final = {"event": "event_name", "on_behalf_of": "actor.on_behalf_of", "subject": "data_subject"}


def normalize_event_name(name: Any, notes: list[Alteration]) -> str:
    """Return a usable event name; names that only the trail may write get the prefix `app.`."""
    if not isinstance(name, str) or not name.strip():
        if name is not None:
            notes.append(Alteration("/event_name", f"not a name: {type(name).__name__}"))
        return DEFAULT_EVENT
    name = str.__str__(name)  # of a subclass, whose own methods could say anything
    if len(name) > 256:
        notes.append(Alteration("/event_name", "cut", len(name)))
        name = str(name[:256])
    if name.startswith(CONTROL_PREFIX):
        notes.append(Alteration("/event_name", "reserved prefix"))
        return f"app.{name}"
    return str(name)


def as_members(value: Any) -> dict[Any, Any]:
    """Return what was given as `data` as a mapping of its own: what is none stands under its own name."""
    if value is None:
        return {}
    try:
        return dict(value) if isinstance(value, Mapping) else {"data": value}
    except Exception:  # noqa: BLE001 - a value's own methods may raise anything; the event must live
        return {"unreadable": type(value).__name__}


def normalize(given: Mapping[Any, Any], notes: list[Alteration]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split what a caller gave into members of `audit` and the rest, which belongs under `data`."""
    audit: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for key, value in given.items():
        if value is None:
            continue
        if (read := _READERS.get(key)) is not None:
            try:
                read(value, audit, rest, notes)
            except Exception as error:  # noqa: BLE001 - a value's own methods may raise anything; the event must live
                rest[key] = value
                notes.append(Alteration(f"/audit/{key}", f"unreadable: {type(error).__name__}"))
            continue
        name = _OTHER_NAMES.get(key, key)
        if name == "actor.on_behalf_of":
            audit["actor"] = {**audit.get("actor", ANONYMOUS), "on_behalf_of": value}
        elif name in AUDIT_MEMBERS and name != "altered":
            audit[name] = value
        elif name != "event_name":
            rest[key] = value
    return audit, rest


def _read_action(value: Any, audit: dict[str, Any], rest: dict[str, Any], notes: list[Alteration]) -> None:
    audit["action"] = str(value).upper()[:128]


def _read_actor(value: Any, audit: dict[str, Any], rest: dict[str, Any], notes: list[Alteration]) -> None:
    if type(value) is str and value and "actor" not in audit:  # the usual case
        audit["actor"] = {"id": value, "type": "user" if value != "anonymous" else "anonymous"}
        return
    known = audit.get("actor", {}) if "on_behalf_of" in audit.get("actor", {}) else {}
    actor = dict(value) if isinstance(value, Mapping) else {"id": value}
    identity = actor.get("id", actor.get("name"))
    if identity is None or identity == "":
        notes.append(Alteration("/audit/actor", "no id"))
        identity, kind = "anonymous", "anonymous"
    else:
        kind = actor.get("type", "anonymous" if identity == "anonymous" else "user")
    if not isinstance(kind, str) or kind not in ACTOR_TYPES:
        notes.append(Alteration("/audit/actor/type", f"not an actor type: {kind!s:.64}"))
        kind = "user"
    delegated = {"on_behalf_of": known["on_behalf_of"]} if known else {}
    # These two first: of a mapping without end, the rest is cut.
    audit["actor"] = {"id": "", "type": "", **delegated, **actor} | {"id": str(identity), "type": kind}


def _read_outcome(value: Any, audit: dict[str, Any], rest: dict[str, Any], notes: list[Alteration]) -> None:
    if type(value) is str and value in OUTCOMES:  # the usual case
        audit["outcome"] = value
    elif isinstance(value, bool):
        audit["outcome"] = "success" if value else "failure"
    elif isinstance(value, str) and value in OUTCOMES:
        audit["outcome"] = str.__str__(value)
    elif isinstance(value, str) and value in _DENIALS:
        audit["outcome"] = "failure"
        audit.setdefault("decision", "denied")
    else:
        audit["outcome"] = "unknown"
        rest["outcome"] = value
        notes.append(Alteration("/audit/outcome", "not an outcome"))


def _read_decision(value: Any, audit: dict[str, Any], rest: dict[str, Any], notes: list[Alteration]) -> None:
    if isinstance(value, str) and value in DECISIONS:
        audit["decision"] = str.__str__(value)
    else:
        rest["decision"] = value
        notes.append(Alteration("/audit/decision", "not a decision"))


def _read_target(value: Any, audit: dict[str, Any], rest: dict[str, Any], notes: list[Alteration]) -> None:
    audit["target"] = _target(value)


def _read_targets(value: Any, audit: dict[str, Any], rest: dict[str, Any], notes: list[Alteration]) -> None:
    several = value if isinstance(value, (list, tuple, set, frozenset)) else [value]
    audit["targets"] = [_target(item) for item in several]


def _target(value: Any) -> Any:
    if isinstance(value, str):
        kind, _, identity = value.partition("/")
        if identity and (kind in _kinds or _is_kind(kind)):
            return {"id": identity, "type": kind}
        return {"id": value}
    return dict(value) if isinstance(value, Mapping) else {"id": str(value)}


def _is_kind(text: str) -> bool:
    if _KIND.fullmatch(text) is None:
        return False
    if len(_kinds) < _MOST_REMEMBERED:
        _kinds.add(text)
    return True


def _read_source(value: Any, audit: dict[str, Any], rest: dict[str, Any], notes: list[Alteration]) -> None:
    audit["source"] = dict(value) if isinstance(value, Mapping) else {"address": str(value)}


_READERS: Final = {
    "action": _read_action,
    "actor": _read_actor,
    "decision": _read_decision,
    "outcome": _read_outcome,
    "source": _read_source,
    "target": _read_target,
    "targets": _read_targets,
}
