"""Which records a sink gets: rules over a record's event name, level, logger and fields.

    route:
      event_name: ["user.*", "invoice.delete"]     # patterns, as in a shell
      level: WARNING                               # at least
      logger: shop                                 # takes in shop.cart
      field: {audit.outcome: failure, audit.actor.type: [user, service]}

All rules that are given must hold; of a list, one. Control records (`audit.*`) always pass: without them nobody could
tell at the sink whether anything is missing. What a sink does not get is still in the journal.
"""

from __future__ import annotations

import fnmatch
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import orjson

from .errors import ConfigurationError
from .record import CONTROL_PREFIX
from .sinks.urls import nearest

__all__ = ["Route", "make_line_route", "make_route"]

Route: TypeAlias = Callable[[Mapping[str, Any]], bool]

_KEYS: Final = ("event_name", "level", "logger", "field")
_SCALARS: Final = (str, int, float, bool, type(None))


def make_route(rules: Mapping[str, Any]) -> Route:
    """Return a predicate over parsed records.

    A record without a level or logger (from `audit.record`) does not match a rule about it. A level that this process
    has no number for matches: it cannot be said to be too low.

    Raises:
        ConfigurationError: an unknown rule, or one that is not of its form.
    """
    if not isinstance(rules, Mapping) or not rules:
        raise ConfigurationError(f"route is a mapping with one or several of {', '.join(_KEYS)}")
    for key in rules:
        if key not in _KEYS:
            raise ConfigurationError(f"route has no rule {key!r}{nearest(str(key), _KEYS)}")
    tests: list[Route] = []
    if "event_name" in rules:
        tests.append(_by_event_name(_texts("event_name", rules["event_name"])))
    if "level" in rules:
        tests.append(_by_level(rules["level"]))
    if "logger" in rules:
        tests.append(_by_logger(_texts("logger", rules["logger"])))
    if "field" in rules:
        tests.extend(_by_field(rules["field"]))
    return lambda record: is_control(record) or all(test(record) for test in tests)


def make_line_route(rules: Mapping[str, Any]) -> Callable[[bytes], bool]:
    """Return the same predicate over sealed lines.

    Raises:
        ConfigurationError: as `make_route`.
    """
    route = make_route(rules)
    return lambda line: route(orjson.loads(line))


def is_control(record: Mapping[str, Any]) -> bool:
    """Tell whether the trail speaks of itself in this record."""
    return bool(record["event_name"].startswith(CONTROL_PREFIX))


def _texts(rule: str, given: Any) -> Sequence[str]:
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, (list, tuple)) or not texts or not all(isinstance(text, str) for text in texts):
        raise ConfigurationError(f"route: {rule} is a word or a list of words")
    return texts


def _by_event_name(patterns: Sequence[str]) -> Route:
    pattern = re.compile("|".join(fnmatch.translate(each) for each in patterns))
    return lambda record: pattern.match(record["event_name"]) is not None


def _by_level(level: Any) -> Route:
    least = _number(level)
    if least is None:
        raise ConfigurationError(f"route: {level!r} is no logging level; write a name such as WARNING")

    def matches(record: Mapping[str, Any]) -> bool:
        name = record.get("level")
        if name is None:
            return False
        number = _number(name)
        return number is None or number >= least

    return matches


def _number(level: Any) -> int | None:
    if isinstance(level, int) and not isinstance(level, bool):
        return level
    for name in (str(level), str(level).upper()):
        if isinstance(number := logging.getLevelName(name), int):
            return number
    return None


def _by_logger(names: Sequence[str]) -> Route:
    def matches(record: Mapping[str, Any]) -> bool:
        logger = record.get("logger")
        return logger is not None and any(logger == name or logger.startswith(f"{name}.") for name in names)

    return matches


def _by_field(fields: Any) -> list[Route]:
    if not isinstance(fields, Mapping) or not fields or not all(isinstance(path, str) for path in fields):
        raise ConfigurationError("route: field is a mapping of dotted paths, as in {audit.outcome: failure}")
    return [_equals(path, wanted) for path, wanted in fields.items()]


def _equals(path: str, wanted: Any) -> Route:
    values = list(wanted) if isinstance(wanted, (list, tuple)) else [wanted]
    if not values or not all(isinstance(value, _SCALARS) for value in values):
        raise ConfigurationError(f"route: field {path} is compared with a plain value or a list of those")
    return lambda record: any(
        found == value and isinstance(found, bool) == isinstance(value, bool)
        for found in _find(record, path)
        for value in values
    )


def _find(value: Any, path: str) -> list[Any]:
    """Return what stands at a dotted path. Names may themselves hold dots, so that several values can stand there."""
    if not isinstance(value, dict):
        return []
    found = [value[path]] if path in value else []
    dot = path.find(".")
    while dot >= 0:
        if path[:dot] in value:
            found += _find(value[path[:dot]], path[dot + 1 :])
        dot = path.find(".", dot + 1)
    return found
