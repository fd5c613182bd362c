"""From an OpenTelemetry log record to an audit record: the projection's way back, through the same door.

`audit.*` and `auditx.*` attributes fill the schema, under the names that `projection` writes and under the schema's
own (`audit.actor.name`); `audit` may hold a mapping or an event's name, as in `AuditHandler`. All other attributes go
to `data`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk._logs import ReadableLogRecord, ReadWriteLogRecord

from otel_audit.canonical import Alteration
from otel_audit.context import refuse_self_made
from otel_audit.door import Door
from otel_audit.record import AUDIT_MEMBERS

from .choosing import EVENT_NAME_ATTRIBUTES
from .projection import ATTRIBUTE_NAMES

__all__ = ["lift"]

_Path: TypeAlias = tuple[str, ...]

_PREFIXES: Final = ("audit.", "auditx.")
_BODY: Final = "otel.body"
"""Where in `data` a body stands that is no string."""
_MAX_REMEMBERED: Final = 4096
_LATEST: Final = 253_402_300_800_000_000_000
"""The year 10000 in ns: a timestamp has four digits for the year."""


def lift(door: Door, record: ReadableLogRecord | ReadWriteLogRecord, attributes: dict[str, Any]) -> bytes:
    """Return the head of the audit record that this log record becomes. The record is not changed.

    Args:
        attributes: the record's attributes, as the processor found them.

    Raises:
        SelfMade: it comes out of the delivery of this door's own records.
    """
    inner = record.log_record
    scope = record.instrumentation_scope
    logger = scope.name if scope is not None and type(scope.name) is str else None
    body, level, when = inner.body, inner.severity_text, inner.timestamp
    notes = _limits_reached(inner.attributes, attributes)
    trace = _trace(inner) if inner.trace_id else None
    if (
        _ordinary.issuperset(attributes)
        and type(body) is str
        and type(level) is str
        and type(when) is int
        and 0 <= when < _LATEST
        and logger is not None
        and not (notes or inner.event_name)
        and (head := door.admit_plain(when, attributes, level, logger, body, trace)) is not None
    ):
        return head
    refuse_self_made(door)
    level, when = _level(inner), _time(inner, notes)
    data = dict(attributes)
    name = inner.event_name
    for each in EVENT_NAME_ATTRIBUTES:
        if isinstance(data.get(each), str):
            name = name or data[each]
            del data[each]
    audit = _read_schema(data)
    if body is not None and type(body) is not str:
        data[_BODY] = body
    return door.admit(
        name,
        audit,
        data,
        nanoseconds=when,
        level=level,
        logger=logger,
        message=body if type(body) is str else None,
        trace=lambda: trace,
        notes=notes,
    )


_ordinary: Final[set[str]] = set()
"""Names of attributes that were looked at and are no words of the schema."""


def _read_schema(data: dict[str, Any]) -> dict[str, Any] | None:
    """Take out of the attributes what they say in the words of the schema."""
    unknown = data.keys() - _ordinary
    if not unknown:
        return None
    audit: dict[str, Any] = {}
    given = data.get("audit")
    if type(given) is dict or isinstance(given, Mapping):
        del data["audit"]
        # The passing record keeps the mappings that the caller gave: they are not ours to add to.
        audit.update({name: value if type(value) is str else _own(value) for name, value in given.items()})
        if len(unknown) == 1:
            return audit
    elif isinstance(given, str):
        audit["event_name"] = data.pop("audit")
    for name in [name for name in data if name in unknown and isinstance(name, str)]:
        if name.startswith(_PREFIXES):
            if (path := _path(name)) is not None:
                _put(audit, path, data.pop(name))
        elif name != "audit" and name not in EVENT_NAME_ATTRIBUTES and len(_ordinary) < _MAX_REMEMBERED:
            _ordinary.add(name)
    return audit


def _own(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _put(audit: dict[str, Any], path: _Path, value: Any) -> None:
    """Set a member; `actor` and `actor.id` may both be given, in any order."""
    place = audit
    for member in path[:-1]:
        inner = place.get(member)
        if type(inner) is not dict:
            inner = place[member] = {} if inner is None else {"id": inner}
        place = inner
    known = place.get(path[-1])
    if type(known) is dict and not isinstance(value, Mapping):
        known["id"] = value
    else:
        place[path[-1]] = value


def _paths(names: Any, path: _Path = ()) -> dict[str, _Path]:
    found: dict[str, _Path] = {}
    for member, name in names.items():
        here = (*path, member) if member else path
        if isinstance(name, str):
            found.setdefault(name, here)
        else:
            found.update(_paths(name, here))
    return found


_KNOWN: Final = {name: path for name, path in _paths(ATTRIBUTE_NAMES).items() if name.startswith(_PREFIXES)}


@lru_cache(1024)
def _path(name: str) -> _Path | None:
    """Return where in `audit` an attribute belongs, or None if the schema has no place for it."""
    known = _KNOWN.get(name)
    if known is not None:
        return known
    path = tuple(name.partition(".")[2].split("."))
    return path if path[0] in AUDIT_MEMBERS and path[0] != "altered" and all(path) else None


def _time(inner: Any, notes: list[Alteration]) -> int | None:
    for stamp in (inner.timestamp, inner.observed_timestamp):
        if stamp is None:
            continue
        if type(stamp) is int and 0 <= stamp < _LATEST:
            return stamp
        notes.append(Alteration("/@timestamp", "not a time"))
    return None


def _level(inner: Any) -> str | None:
    if type(inner.severity_text) is str and inner.severity_text:
        return str(inner.severity_text)
    number = inner.severity_number
    return None if number is None or number.value == 0 else str(number.name)


def _trace(inner: Any) -> dict[str, Any] | None:
    trace_id, span_id = inner.trace_id, inner.span_id
    if not trace_id or not span_id:
        return None
    return {
        "span_id": f"{span_id:016x}",
        "trace_flags": int(inner.trace_flags or 0),
        "trace_id": f"{trace_id:032x}",
    }


def _limits_reached(kept: Any, attributes: Mapping[str, Any]) -> list[Alteration]:
    """Say what the SDK's attribute limits took before the processor saw the record: nobody can bring it back."""
    if not isinstance(kept, BoundedAttributes):
        return []
    notes: list[Alteration] = []
    if kept.dropped:
        notes.append(Alteration("/data", "attributes dropped by the SDK", kept.dropped))
    if (longest := kept.max_value_len) is not None:
        notes += [
            Alteration(f"/data/{name}", "perhaps cut by the SDK", longest)
            for name, value in attributes.items()
            if isinstance(value, (str, bytes)) and len(value) == longest
        ]
    return notes
