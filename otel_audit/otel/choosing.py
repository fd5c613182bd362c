"""Which of the log records that pass through a `LoggerProvider` are audit events."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk._logs import ReadWriteLogRecord

from otel_audit.errors import ConfigurationError
from otel_audit.sinks.urls import nearest

__all__ = ["AUDIT_ATTRIBUTES", "EVENT_NAME_ATTRIBUTES", "Chooser", "Select", "choose", "read_event_name"]

Select: TypeAlias = "Callable[[ReadWriteLogRecord], bool] | Mapping[str, Any] | None"
Chooser: TypeAlias = Callable[[ReadWriteLogRecord, Mapping[str, Any]], bool]

AUDIT_ATTRIBUTES: Final = frozenset({"audit", "audit.action", "audit.actor.id"})
"""A record that has one of these is an audit event, unless `select` says otherwise."""

EVENT_NAME_ATTRIBUTES: Final = ("otel.event.name", "event.name")
"""Where an event's name stands if the record's own field is empty (semantic conventions; the latter is deprecated)."""

_KEYS: Final = ("attributes", "event_names", "level", "loggers")
_MOST_LOGGERS: Final = 4096
_SEVERITIES: Final = {
    "TRACE": 1,
    "DEBUG": 5,
    "INFO": 9,
    "WARN": 13,
    "WARNING": 13,
    "ERROR": 17,
    "FATAL": 21,
    "CRITICAL": 21,
}


def choose(select: Select) -> Chooser:
    """Return a predicate over a record and its attributes.

    A mapping may hold `attributes` (names: the record has one of them), `event_names` and `loggers` (names or
    patterns; for loggers, `shop` takes in `shop.cart`), and `level` (a severity's name or number: at least this). All
    that are given must hold. None selects what has one of `AUDIT_ATTRIBUTES`. A record of which the SDK's count limit
    took attributes has one of them, whatever they are: it may have been the first that went.

    Raises:
        ConfigurationError: an unknown key, level, or type.
    """
    if select is None:
        return _has_any(AUDIT_ATTRIBUTES)
    if callable(select):
        return lambda record, _: bool(select(record))
    if not isinstance(select, Mapping):
        raise ConfigurationError(f"select must be a callable or a mapping, not {type(select).__name__}")
    for key in select:
        if key not in _KEYS:
            raise ConfigurationError(f"select has no key {key!r}{nearest(str(key), _KEYS)}")
    tests: list[Chooser] = []
    if (level := select.get("level")) is not None:
        tests.append(_at_least(_severity(level)))
    if (names := select.get("attributes")) is not None:
        tests.append(_has_any(frozenset(_listed(names))))
    if (names := select.get("event_names")) is not None:
        tests.append(_named(_listed(names)))
    if (names := select.get("loggers")) is not None:
        tests.append(_by_logger(_listed(names)))
    if len(tests) == 1:
        return tests[0]
    return lambda record, attributes: all(test(record, attributes) for test in tests)


def read_event_name(record: ReadWriteLogRecord, attributes: Mapping[str, Any]) -> str | None:
    """Return the event's name, from the record's field or an attribute."""
    name = record.log_record.event_name
    if name:
        return name
    for each in EVENT_NAME_ATTRIBUTES:
        named = attributes.get(each)
        if isinstance(named, str) and named:
            return named
    return None


def _has_any(names: frozenset[str]) -> Chooser:
    def matches(record: ReadWriteLogRecord, attributes: Mapping[str, Any]) -> bool:
        if not attributes.keys().isdisjoint(names):
            return True
        kept = record.log_record.attributes
        if type(kept) is not BoundedAttributes or not kept.dropped:
            return False
        return kept.maxlen is not None and len(kept) >= kept.maxlen

    return matches


def _at_least(least: int) -> Chooser:
    def matches(record: ReadWriteLogRecord, _: Mapping[str, Any]) -> bool:
        number = record.log_record.severity_number
        return number is not None and int(number.value) >= least

    return matches


def _named(patterns: Sequence[str]) -> Chooser:
    def matches(record: ReadWriteLogRecord, attributes: Mapping[str, Any]) -> bool:
        name = read_event_name(record, attributes)
        return name is not None and any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)

    return matches


def _by_logger(patterns: Sequence[str]) -> Chooser:
    known: dict[str, bool] = {}

    def matches(record: ReadWriteLogRecord, _: Mapping[str, Any]) -> bool:
        scope = record.instrumentation_scope
        name = scope.name if scope is not None else ""
        verdict = known.get(name)
        if verdict is None:
            verdict = any(
                name == pattern or name.startswith(f"{pattern}.") or fnmatch.fnmatchcase(name, pattern)
                for pattern in patterns
            )
            if len(known) < _MOST_LOGGERS:
                known[name] = verdict
        return verdict

    return matches


def _listed(names: Any) -> list[str]:
    listed = [names] if isinstance(names, str) else names
    if not isinstance(listed, (list, tuple, set, frozenset)) or not all(isinstance(name, str) for name in listed):
        raise ConfigurationError(f"select: {names!r} is neither a name nor a list of names")
    return list(listed)


def _severity(level: Any) -> int:
    if isinstance(level, int):
        return level
    number = _SEVERITIES.get(str(level).upper())
    if number is None:
        raise ConfigurationError(
            f"select: {level!r} is not a severity; use one of {', '.join(_SEVERITIES)} or a SeverityNumber"
        )
    return number
