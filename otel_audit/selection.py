"""Which logging records are audit events: by logger, level, marker, or whatever a callable says."""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from .errors import ConfigurationError

__all__ = ["Select", "make_selection"]

Select: TypeAlias = "Callable[[logging.LogRecord], bool] | Mapping[str, Any] | None"

_KEYS = ("level", "loggers", "marker")


def make_selection(select: Select) -> Callable[[logging.LogRecord], bool] | None:
    """Return a predicate over logging records, or None if all are selected.

    A mapping (from `dictConfig` or YAML) may hold `loggers` (names or patterns; `shop` takes in `shop.cart`),
    `level` (name or number: at least this), and `marker` (the record must have this attribute, given in `extra`,
    and it must be true). All that are given must hold.

    Raises:
        ConfigurationError: an unknown key, level, or type.
    """
    if select is None or callable(select):
        return select
    if not isinstance(select, Mapping):
        raise ConfigurationError(f"select must be a callable or a mapping, not {type(select).__name__}")
    for key in select:
        if key not in _KEYS:
            import difflib

            near = difflib.get_close_matches(str(key), _KEYS, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(_KEYS)}"
            raise ConfigurationError(f"select has no key {key!r}{hint}")
    tests: list[Callable[[logging.LogRecord], bool]] = []
    if (loggers := select.get("loggers")) is not None:
        tests.append(_by_logger([loggers] if isinstance(loggers, str) else loggers))
    if (level := select.get("level")) is not None:
        least = _level_number(level)
        tests.append(lambda record: record.levelno >= least)
    if (marker := select.get("marker")) is not None:
        tests.append(lambda record: bool(record.__dict__.get(marker)))
    return lambda record: all(test(record) for test in tests)


def _by_logger(names: Sequence[str]) -> Callable[[logging.LogRecord], bool]:
    known: dict[str, bool] = {}

    def matches(record: logging.LogRecord) -> bool:
        verdict = known.get(record.name)
        if verdict is None:
            verdict = any(_covers(name, record.name) for name in names)
            if len(known) < 4096:
                known[record.name] = verdict
        return verdict

    return matches


def _covers(pattern: str, logger: str) -> bool:
    return logger == pattern or logger.startswith(f"{pattern}.") or fnmatch.fnmatchcase(logger, pattern)


def _level_number(level: Any) -> int:
    number = level if isinstance(level, int) else logging.getLevelName(str(level).upper())
    if not isinstance(number, int):
        raise ConfigurationError(f"select: {level!r} is not a logging level; use a name such as INFO or a number")
    return number
