"""The door: everything that becomes a record comes in here and leaves as canonical bytes, ready to be sealed.

It stamps the time, adds the context, has secrets taken out and makes the rest JSON-safe. It runs in the caller's
thread and holds no lock. No content makes it raise: what cannot be kept as it was is changed and listed in
`audit.altered`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from . import context
from .canonical import (
    Alteration,
    HarmlessNames,
    Limits,
    canonicalize,
    canonicalize_plain,
    is_plain,
    make_safe,
    settle_floats,
    text_of,
)
from .fields import ANONYMOUS, DEFAULT_EVENT, SYSTEM_ACTOR, normalize, normalize_event_name
from .record import MAX_LINE
from .redaction import Redactor

__all__ = ["Door", "timestamp"]

_ROOM_FOR_TAIL = 512
_MAX_NOTES = 32
_SCHEMA_MEMBERS = 64
_SHORT = Limits(depth=6, items=20, text=1024)
_MOST_NAMES = 1024

_LOG: dict[str, Any] = {"action": "LOG", "actor": ANONYMOUS, "outcome": "unknown"}
"""What `audit` says of a logging call that says nothing."""

_Event: TypeAlias = tuple[
    int, str, dict[str, Any], "dict[str, Any] | None", "str | None", "str | None", "str | None", "dict[str, Any] | None"
]
"""When (Unix time in ns), the event's name, `audit`, `data`, level, logger, message, ids of the span."""

_YEAR_1, _YEAR_10000 = -62_135_596_800, 253_402_300_800
_DIGITS = tuple(f"{number:03}" for number in range(1000))  # half the price of a format specification
_second: tuple[int, str] = (-1, "")


def timestamp(nanoseconds: int) -> str:
    """Spell a Unix time in ns as a record does: UTC, 30 characters, nine digits of fraction (RFC 3339).

    Raises:
        OverflowError, TypeError, ValueError: it is no time between the years 1 and 9999.
    """
    global _second
    rest, nano = divmod(nanoseconds, 1000)
    rest, micro = divmod(rest, 1000)
    seconds, milli = divmod(rest, 1000)
    known, text = _second
    if seconds != known:
        if not _YEAR_1 <= seconds < _YEAR_10000:
            raise OverflowError("not between the years 1 and 9999")
        # Not `datetime`: CPython 3.13.0 crashes if that is used by the last words of a process.
        text = "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}".format(*time.gmtime(seconds)[:6])
        _second = (seconds, text)
    return f"{text}.{_DIGITS[milli]}{_DIGITS[micro]}{_DIGITS[nano]}Z"


class Door:
    """Turns events into the head of a record line: its canonical bytes up to the members that the chain adds."""

    def __init__(self, *, limits: Limits | None = None, redactor: Redactor | None = None) -> None:
        self._limits = limits or Limits()
        self._redactor = redactor or Redactor()
        self._most = self._limits.record
        self._encoder = self._redactor.encoder(_LOG, self._most)
        self._names: dict[str, tuple[str, str]] = {}
        self._own = Redactor()
        """For control records: a verifier reads them, so that no rule of the user's may change them."""

    def admit(  # noqa: PLR0917 - a default that only a keyword reaches costs more
        self,
        event_name: Any = None,
        audit: Mapping[Any, Any] | None = None,
        data: dict[str, Any] | None = None,
        nanoseconds: int | None = None,
        level: str | None = None,
        logger: str | None = None,
        message: str | None = None,
        trace: Callable[[], dict[str, Any] | None] = context.active_trace,
        notes: Sequence[Alteration] = (),
    ) -> bytes:
        """Return the head of one event's record. Whatever is given, it returns.

        Args:
            event_name: low-cardinality, dotted; `log.record` if None.
            audit: what the caller says in the words of the schema; see `fields`.
            data: everything else; not copied, not changed, not kept.
            nanoseconds: when it happened, Unix time in ns; now if None.
            level, logger, message: from the logging call, if it was one.
            trace: returns the ids of the span that it belongs to; by default the active one.
            notes: what was changed before it came here.
        """
        when = time.time_ns() if nanoseconds is None else nanoseconds
        changes, ids = [*notes], None
        try:
            ids = trace()
            name, who = DEFAULT_EVENT, _LOG
            if event_name is not None or audit or context.current() is not None:
                name, who, data = self._describe(event_name, audit, data, changes)
            if not changes and self._encoder is not None:
                head = self._encoder.encode(when, name, who, data, level, logger, message, ids)
                if head is not None:
                    return head
            return self._spell((when, name, who, data, level, logger, message, ids), changes)
        except Exception as error:  # noqa: BLE001 - a value's own methods may raise anything; the event must live
            changes = [Alteration("/data", f"unreadable: {type(error).__name__}")]
            data = {"unreadable": type(data).__name__}
            return self._spell((when, DEFAULT_EVENT, dict(_LOG), data, level, logger, message, ids), changes)

    def admit_call(
        self, attributes: dict[str, Any], standard: tuple[str, ...], message: str, trace: dict[str, Any] | None
    ) -> bytes | None:
        """Return the head of a logging call that says nothing about who and what, if C can write it; None if not.

        Args:
            attributes: all that the logging record holds.
            standard: the names that it has by itself, in their order; what follows these is extra.
            message: with its arguments filled in.
            trace: the ids of the span that it belongs to.
        """
        if self._encoder is None or context.current() is not None:
            return None
        return self._encoder.encode_call(attributes, standard, message, trace)

    def admit_plain(  # noqa: PLR0917 - keywords cost a tenth of a microsecond
        self,
        nanoseconds: int,
        data: dict[str, Any],
        level: str,
        logger: str,
        message: str,
        trace: dict[str, Any] | None,
    ) -> bytes | None:
        """Return the head of a record that says nothing about who and what, if C can write it; None if not."""
        if self._encoder is None or context.current() is not None:
            return None
        return self._encoder.encode(nanoseconds, DEFAULT_EVENT, _LOG, data, level, logger, message, trace)

    def control(self, event_name: str, data: dict[str, Any], *, action: str) -> bytes:
        """Return the head of a control record: the trail speaking of itself."""
        audit = {"action": action, "actor": SYSTEM_ACTOR, "outcome": "success"}
        record = {
            "@timestamp": timestamp(time.time_ns()),
            "audit": audit,
            "data": data,
            "event_name": event_name,
        }
        return self._encode(record, [], self._own)

    def _describe(
        self, event_name: Any, given: Mapping[Any, Any] | None, data: dict[str, Any] | None, notes: list[Alteration]
    ) -> tuple[str, dict[str, Any], dict[str, Any] | None]:
        """Return the event's name, who, what, on what and with which outcome, and what belongs under `data`."""
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
        if type(event_name) is not str or (named := self._names.get(event_name)) is None:
            named = self._name(event_name, notes)
        name, action = named
        if "action" not in audit:
            audit["action"] = action
        return name, audit, data

    def _name(self, given: Any, notes: list[Alteration]) -> tuple[str, str]:
        """Return an event's name and the action that it stands for."""
        if given is None or given == DEFAULT_EVENT:
            return DEFAULT_EVENT, "LOG"
        before = len(notes)
        name = normalize_event_name(given, notes)
        named = name, name.rpartition(".")[2].upper()
        if type(given) is str and len(notes) == before and len(self._names) < _MOST_NAMES:
            self._names[given] = named
        return named

    def _spell(self, event: _Event, notes: list[Alteration]) -> bytes:
        """Return the head of a record that C does not write, or is not there for."""
        when, name, who, data, level, logger, message, ids = event
        try:
            stamp = timestamp(when)
        except (OverflowError, TypeError, ValueError):
            stamp = timestamp(time.time_ns())
            notes = [*notes, Alteration("/@timestamp", f"not a time: {text_of(when):.64}")]
        record: dict[str, Any] = {"@timestamp": stamp, "audit": who, "event_name": name}
        others = {"data": data or None, "level": level, "logger": logger, "message": message, "otel": ids}
        record.update({member: value for member, value in others.items() if value is not None})
        return self._encode(record, notes)

    def _encode(self, record: dict[str, Any], notes: list[Alteration], redactor: Redactor | None = None) -> bytes:
        redactor = redactor or self._redactor
        if not notes and _is_plain(record, redactor):
            try:
                written = canonicalize_plain(record)
            except (TypeError, ValueError):  # a lone surrogate, an integer beyond 2^53, keys outside ASCII
                pass
            else:
                if len(written) <= self._most and redactor.is_clear(record, written):
                    return written[:-1]
        return self._encode_safely(record, notes, redactor)

    def _encode_safely(
        self, record: dict[str, Any], notes: list[Alteration], redactor: Redactor | None = None
    ) -> bytes:
        """Spell a record so that it is JSON-safe, holds nothing that must not be written, and fits on a line.

        Secrets are looked for in what is spelled, where mappings, dataclasses and tuples of any kind have become
        objects and arrays; and before anything is cut, so that the hash of a text that was cut is not one of a secret.
        """
        safe, altered = make_safe(record, self._limits)
        if not _is_whole(safe):
            raise RecursionError("the stack has no room left to spell an audit record")
        redactor, spelled, before = redactor or self._redactor, safe, (*notes, *altered)
        safe = redactor.clean(spelled, altered := [*before])
        written = self._with_notes(safe, altered)
        if len(written) > self._most:
            safe["audit"].pop("altered", None)
            if redactor.rules:  # what is sealed is cut before that
                safe = redactor.clean(spelled, altered := [*before], most=self._limits.text)
            safe, cut = make_safe(safe, self._limits, cut_text=True)
            altered += cut
            written = self._with_notes(safe, altered)
        if len(written) > MAX_LINE - _ROOM_FOR_TAIL:
            if redactor.rules:
                safe = redactor.clean(spelled, altered := [*before], most=_SHORT.text)
                safe, cut = make_safe(safe, self._limits, cut_text=True)
                altered += cut
            written = self._with_notes(_outline(safe), [Alteration("/data", "cut", len(written)), *altered])
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


def _is_plain(record: dict[str, Any], redactor: Redactor) -> bool:
    """Tell whether the names in this record are harmless and its values plain, or can be made so without a loss."""
    for member in ("audit", "data"):
        value = record.get(member)
        if value is None or value is _LOG or is_plain(value, redactor.harmless):
            continue
        if (settled := _settle(value, redactor.harmless)) is None:
            return False
        record[member] = settled
    return True


def _settle(value: dict[str, Any], harmless: HarmlessNames) -> dict[str, Any] | None:
    """Return what is plain but for floats without a fraction (`120.0`) as it is written; None for any other."""
    settled: dict[str, Any] = settle_floats(value)
    return settled if settled is not value and is_plain(settled, harmless) else None


def _is_whole(record: dict[str, Any]) -> bool:
    """Tell whether the members that the schema is made of were spelled: they hold no value that could refuse it."""
    audit = record["audit"]
    return isinstance(audit, dict) and isinstance(audit["actor"], dict) and isinstance(record.get("data", {}), dict)


def _outline(record: dict[str, Any]) -> dict[str, Any]:
    """Return what fits on a line for certain: the schema's short values, and nothing of `data`."""
    kept = {name: value for name, value in record.items() if name != "data"}
    kept["audit"] = dict(list(record["audit"].items())[:_SCHEMA_MEMBERS])
    outline: dict[str, Any] = make_safe(kept, _SHORT, cut_text=True)[0]
    return outline
