"""The door: everything that becomes a record comes in here and leaves as canonical bytes, ready to be sealed.

It stamps the time, adds the context, has secrets taken out and makes the rest JSON-safe. It runs in the caller's
thread and holds no lock. No content makes it raise: what cannot be kept as it was is changed and listed in
`audit.altered`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from . import context
from .canonical import Alteration, Limits, canonicalize, make_safe
from .fields import ANONYMOUS, DEFAULT_EVENT, SYSTEM_ACTOR, normalize, normalize_event_name
from .record import MAX_LINE
from .redaction import Redactor

__all__ = ["Door", "timestamp"]

_ROOM_FOR_TAIL = 512
_MAX_NOTES = 32
_SCHEMA_MEMBERS = 64

_second: tuple[int, str] = (0, "")


def timestamp(nanoseconds: int) -> str:
    """Spell a Unix time in ns as a record does: UTC, 30 characters, nine digits of fraction (RFC 3339)."""
    global _second
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    known, text = _second
    if seconds != known:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        _second = (seconds, text)
    return f"{text}.{fraction:09d}Z"


class Door:
    """Turns events into the head of a record line: its canonical bytes up to the members that the chain adds."""

    def __init__(self, *, limits: Limits | None = None, redactor: Redactor | None = None) -> None:
        self._limits = limits or Limits()
        self._redactor = redactor or Redactor()

    def admit(
        self,
        event_name: Any = None,
        audit: Mapping[Any, Any] | None = None,
        data: dict[str, Any] | None = None,
        *,
        nanoseconds: int | None = None,
        level: str | None = None,
        logger: str | None = None,
        message: str | None = None,
    ) -> bytes:
        """Return the head of one event's record. Whatever is given, it returns.

        Args:
            event_name: low-cardinality, dotted; `log.record` if None.
            audit: what the caller says in the words of the schema; see `fields`.
            data: everything else; not copied, not changed, not kept.
            nanoseconds: when it happened, Unix time in ns; now if None.
            level, logger, message: from the logging call, if it was one.
        """
        stamp = timestamp(time.time_ns() if nanoseconds is None else nanoseconds)
        origin = {"level": level, "logger": logger, "message": message, "otel": context.active_trace()}
        try:
            return self._admit(stamp, origin, event_name, audit, data)
        except Exception as error:  # noqa: BLE001 - a value's own methods may raise anything; the event must live
            note = Alteration("/data", f"unreadable: {type(error).__name__}")
            record = {"@timestamp": stamp, "event_name": DEFAULT_EVENT, "audit": _unknown("LOG")}
            return self._encode_safely(record | {k: v for k, v in origin.items() if v is not None}, [note])

    def control(self, event_name: str, data: dict[str, Any], *, action: str) -> bytes:
        """Return the head of a control record: the trail speaking of itself."""
        audit = {"action": action, "actor": SYSTEM_ACTOR, "outcome": "success"}
        record = {"@timestamp": timestamp(time.time_ns()), "audit": audit, "data": data, "event_name": event_name}
        return self._encode(record, [])

    def _admit(
        self,
        stamp: str,
        origin: dict[str, Any],
        event_name: Any,
        given: Mapping[Any, Any] | None,
        data: dict[str, Any] | None,
    ) -> bytes:
        notes: list[Alteration] = []
        audit: dict[str, Any] = {"actor": ANONYMOUS, "outcome": "unknown"}
        scope = context.current()
        if scope is not None:
            audit.update(scope.audit)
            notes.extend(scope.notes)
            if scope.data:
                data = {**scope.data, **(data or {})}
        if given:
            if event_name is None:
                event_name = given.get("event_name", given.get("event"))
            stated, rest = normalize(given, notes)
            audit.update(stated)
            if rest:
                data = {**rest, **(data or {})}
        if event_name is None:
            name = DEFAULT_EVENT
            audit.setdefault("action", "LOG")
        else:
            name = normalize_event_name(event_name, notes)
            if "action" not in audit:
                audit["action"] = "LOG" if name == DEFAULT_EVENT else name.rpartition(".")[2].upper()
        record: dict[str, Any] = {"@timestamp": stamp, "audit": audit, "event_name": name}
        for member, value in origin.items():
            if value is not None:
                record[member] = value
        if data:
            record["data"] = data
        return self._encode(record, notes)

    def _encode(self, record: dict[str, Any], notes: list[Alteration]) -> bytes:
        record = self._redactor.clean(record, notes)
        if not notes:
            try:
                written = canonicalize(record)
            except (TypeError, ValueError, RecursionError):
                pass  # not JSON-safe as it stands
            else:
                if len(written) <= self._limits.record:
                    return written[:-1]
        return self._encode_safely(record, notes)

    def _encode_safely(self, record: dict[str, Any], notes: list[Alteration]) -> bytes:
        safe, altered = make_safe(record, self._limits)
        written = self._with_notes(safe, [*notes, *altered])
        if len(written) > self._limits.record:
            safe, altered = make_safe(record, self._limits, cut_text=True)
            written = self._with_notes(safe, [*notes, *altered])
        if len(written) > MAX_LINE - _ROOM_FOR_TAIL:
            written = self._with_notes(_outline(safe), [Alteration("/data", "cut", len(written)), *notes])
        return written[:-1]

    @staticmethod
    def _with_notes(record: dict[str, Any], notes: list[Alteration]) -> bytes:
        if notes:
            listed = [note.as_json() for note in notes[:_MAX_NOTES]]
            if len(notes) > _MAX_NOTES:
                listed.append({"path": "/", "why": f"and {len(notes) - _MAX_NOTES} more"})
            safe, _ = make_safe(listed, Limits(text=1024), cut_text=True)
            record["audit"]["altered"] = safe
        return canonicalize(record)


def _unknown(action: str) -> dict[str, Any]:
    return {"action": action, "actor": ANONYMOUS, "outcome": "unknown"}


def _outline(record: dict[str, Any]) -> dict[str, Any]:
    """Return what fits on a line for certain: the schema's short values, and nothing of `data`."""
    short = Limits(depth=6, items=20, text=1024)
    kept = {name: value for name, value in record.items() if name != "data"}
    kept["audit"] = dict(list(record["audit"].items())[:_SCHEMA_MEMBERS])
    outline: dict[str, Any] = make_safe(kept, short, cut_text=True)[0]
    return outline

