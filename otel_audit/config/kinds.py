"""Kinds of settings: how a value is read, from text or already typed, and how JSON Schema says it.

A kind's `parse` raises `ValueError` with a message for each thing that is wrong; a message continues a sentence that
begins with the setting's name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from otel_audit.redaction.paths import parse_path
from otel_audit.redaction.patterns import compile_pattern
from otel_audit.sinks.urls import nearest
from otel_audit.units import parse_bytes, parse_seconds

__all__ = [
    "ALLOW",
    "ATTRIBUTES",
    "NAMES",
    "PATH",
    "PATHS",
    "PATTERNS",
    "RULES",
    "SUBJECT",
    "TEXT",
    "TRUTH",
    "Kind",
    "choice",
    "count",
    "duration",
    "show",
    "size",
]


@dataclass(frozen=True)
class Kind:
    """One kind of value."""

    label: str
    """What the documentation calls it."""
    parse: Callable[[object], Any]
    schema: Mapping[str, Any]
    """JSON Schema of what a YAML file may hold."""
    scalar: bool = True
    """Whether an environment variable can hold it."""
    empty: bool = False
    """Whether an empty environment variable is a value; otherwise it is as good as none (OpenTelemetry
    specification, "Environment variable specification": empty is unset)."""


def show(value: object) -> str:
    """Return a value as a message may quote it: not too long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _truth(value: object) -> bool:
    word = value.strip().lower() if isinstance(value, str) else value
    if word is True or word == "true":
        return True
    if word is False or word == "false":
        return False
    raise ValueError(f"is {show(value)}; it must be true or false")


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"is {show(value)}; it must be text and not empty")
    return value.strip()


def _path(value: object) -> str | None:
    if not isinstance(value, (str, os.PathLike)):
        raise ValueError(f"is {show(value)}; it must be a path")
    text = os.fspath(value).strip()
    if "\0" in text:
        raise ValueError(f"is {show(value)}; no path holds a zero byte")
    return text or None


def _names(value: object) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)) or not all(isinstance(item, str) for item in items):
        raise ValueError(f"is {show(value)}; it must be a list of names, separated by commas")
    return tuple(stripped for item in items if (stripped := item.strip()))


def _paths(value: object) -> tuple[str, ...]:
    found = _names(value)
    _try_each(parse_path, found)
    return found


def _path_text(value: object) -> str:
    text = _text(value)
    _try_each(parse_path, (text,))
    return text


def _patterns(value: object) -> tuple[str, ...]:
    """Read a list; text holds one pattern a line, since a comma may be part of one."""
    items = value.splitlines() if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)) or not all(isinstance(item, str) for item in items):
        raise ValueError(f"is {show(value)}; it must be a list of regular expressions, or text with one a line")
    found = tuple(item for item in items if item.strip())
    _try_each(_compile, found)
    return found


def _compile(text: str) -> None:
    try:
        compile_pattern(text)
    except ValueError as error:
        raise ValueError(f"{show(text)}, which {error}") from None


def _try_each(read: Callable[[str], object], items: tuple[str, ...]) -> None:
    wrong: list[str] = []
    for item in items:
        try:
            read(item)
        except ValueError as error:  # noqa: PERF203 - every mistake is told
            wrong.append(f"holds {error}")
    if wrong:
        raise ValueError(*wrong)


def _allow(value: object) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, Mapping) or not all(isinstance(event, str) and event for event in value):
        raise ValueError(f"is {show(value)}; it must be a mapping of event names to lists of what they may show")
    found: dict[str, tuple[str, ...]] = {}
    wrong: list[str] = []
    for event, paths in value.items():
        try:
            found[event] = _paths(paths)
        except ValueError as error:  # noqa: PERF203 - every mistake is told
            wrong += [f"[{event}] {message}" for message in error.args]
    if wrong:
        raise ValueError(*wrong)
    return found


def _attributes(value: object) -> dict[str, Any]:
    if isinstance(value, str):
        return _parse_pairs(value)
    if not isinstance(value, Mapping) or not all(
        isinstance(name, str) and isinstance(item, (str, int, float)) for name, item in value.items()
    ):
        raise ValueError(f"is {show(value)}; it must be a mapping of names to plain values")
    return dict(value)


def _parse_pairs(text: str) -> dict[str, Any]:
    """Read `name=value,name=value`, percent-encoded (OpenTelemetry specification, resource SDK)."""
    found: dict[str, Any] = {}
    for pair in filter(None, (each.strip() for each in text.split(","))):
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"holds {show(pair)}; write name=value,name=value")
        found[unquote(name.strip())] = unquote(value.strip())
    return found


def _rules(value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"is {show(value)}; it must be a mapping")
    return dict(value)


def duration(*, least: float = 0.0, above: bool = False) -> Kind:
    """Return the kind of a time in seconds, at least `least`, or above it."""

    def parse(value: object) -> float:
        seconds = parse_seconds(value)
        if seconds is None:
            raise ValueError(f"is {show(value)}; it must be a time: 20ms, 5s, 10m, or a number of seconds")
        if seconds < least or (above and seconds == least):
            raise ValueError(f"is {show(value)}; it must be {'more than' if above else 'at least'} {least:g} s")
        return seconds

    bound = {"exclusiveMinimum" if above else "minimum": least}
    written = {"type": "string", "pattern": r"^\s*(\d+\.?\d*|\.\d+)\s*(us|ms|s|m|h|d)?\s*$"}
    return Kind("time", parse, {"anyOf": [{"type": "number", **bound}, written]})


def size(*, least: int = 0, most: int | None = None) -> Kind:
    """Return the kind of an amount of bytes, at least `least` and at most `most`."""

    def parse(value: object) -> int:
        found = parse_bytes(value)
        if found is None:
            raise ValueError(f"is {show(value)}; it must be a size: 64MiB, 1GB, or a number of bytes")
        if found < least:
            raise ValueError(f"is {show(value)}; it must be at least {least} bytes")
        if most is not None and found > most:
            raise ValueError(f"is {show(value)}; it must be at most {most} bytes")
        return found

    written = {"type": "string", "pattern": r"^\s*(\d+\.?\d*|\.\d+)\s*([KkMmGgTt][Ii]?[Bb]|[Bb])?\s*$"}
    return Kind("size", parse, {"anyOf": [{"type": "integer", **_bounds(least, most)}, written]})


def _bounds(least: int, most: int | None) -> dict[str, int]:
    return {"minimum": least} if most is None else {"minimum": least, "maximum": most}


def count(*, least: int = 0, most: int | None = None) -> Kind:
    """Return the kind of a number of things, at least `least` and at most `most`."""

    def parse(value: object) -> int:
        found = int(value) if isinstance(value, str) and value.strip().isdecimal() else value
        if type(found) is not int or found < least:
            raise ValueError(f"is {show(value)}; it must be a whole number, at least {least}")
        if most is not None and found > most:
            raise ValueError(f"is {show(value)}; it must be a whole number, at most {most}")
        return found

    written = {"type": "string", "pattern": r"^\s*\d+\s*$"}
    return Kind("number", parse, {"anyOf": [{"type": "integer", **_bounds(least, most)}, written]})


def choice(*words: str) -> Kind:
    """Return the kind of one of some words."""

    def parse(value: object) -> str:
        if value not in words:
            hint = nearest(value, words) if isinstance(value, str) else ""
            raise ValueError(f"is {show(value)}; it must be one of {', '.join(words)}{_only_near(hint)}")
        return str(value)

    return Kind(" \\| ".join(f"`{word}`" for word in words), parse, {"enum": list(words)})


def _only_near(hint: str) -> str:
    return hint if hint.startswith("; did") else ""


TRUTH = Kind("true \\| false", _truth, {"type": "boolean"})
TEXT = Kind("text", _text, {"type": "string", "minLength": 1})
PATH = Kind("path", _path, {"type": "string"}, empty=True)
_TEXTS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
NAMES = Kind("list of names", _names, _TEXTS, empty=True)
PATHS = Kind("list of paths", _paths, _TEXTS, empty=True)
SUBJECT = Kind("path in a record", _path_text, {"type": "string", "minLength": 1})
PATTERNS = Kind("list of patterns; as text, one a line", _patterns, _TEXTS, empty=True)
ALLOW = Kind(
    "mapping of event names to lists of paths",
    _allow,
    {"type": "object", "additionalProperties": _TEXTS},
    scalar=False,
)
_PLAIN_VALUES = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
ATTRIBUTES = Kind("`name=value,...` or mapping", _attributes, {"anyOf": [{"type": "string"}, _PLAIN_VALUES]})
RULES = Kind("mapping", _rules, {"type": "object"}, scalar=False)
