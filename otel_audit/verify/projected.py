"""The fields beside a line, held against the line: what search would show, and what was sealed.

Only fields that this package puts there are looked at. One that is missing is no disagreement, and neither is one that
somebody else added: both are what processors on the way do. A field that says something else than the line is, and so
is a log record that claims to be a record of a trail and holds no line: a search would find it, and nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final, NamedTuple, TypeGuard

from otel_audit.record import DRAFT_NAMES

from .content import looks_like_record

__all__ = ["Disagreement", "disagreements"]

_ORIGINAL: Final = "log.record.original"
_OURS: Final = ("audit.", "auditx.")
_EVENT, _TIME, _TRACE, _SPAN = "event name", "timestamp", "trace id", "span id"
_RECORD_ID: Final = re.compile(r"([0-9a-f]{32})-([0-9]{1,16})")
_INTEGER: Final = re.compile(r"-?[0-9]{1,20}")
_ECS_DEPTH: Final = 8
_SHOWN: Final = 96
_NO_RECORD: Final = (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)


class Disagreement(NamedTuple):
    """One field that says something else than the line beside it."""

    stream: str
    seq: int
    name: str
    expected: str
    actual: str


def disagreements(document: Any) -> Iterator[Disagreement]:
    """Yield where a document of OTLP JSON, or of Elasticsearch as our sink makes it, disagrees with its lines.

    What is no record is passed over: the line is judged as a line.
    """
    waiting = [document]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            if isinstance(records := each.get("logRecords"), list):
                for record in records:
                    yield from _check_log_record(record)
            elif _is_ecs(each):
                yield from _check_ecs(each)
            else:
                waiting.extend(reversed(each.values()))
        elif isinstance(each, list):
            waiting.extend(reversed(each))


def _check_log_record(given: Any) -> Iterator[Disagreement]:
    if not isinstance(given, dict):
        return
    attributes = list(_pairs(given.get("attributes")))
    body = _plain(given.get("body"))
    originals = [value for name, value in attributes if name == _ORIGINAL]
    if _is_line(body):
        yield from _check_projection(given, attributes, body)
    elif originals and _is_line(originals[0]):
        yield from _check_projection(given, attributes, originals[0], passing=True)
    elif named := _RECORD_ID.fullmatch(str(dict(attributes).get(DRAFT_NAMES["id"]))):
        yield Disagreement(named[1], int(named[2]), "the line itself", "a sealed line", "nothing")


def _check_projection(
    given: Mapping[str, Any], attributes: list[tuple[str, Any]], line: str, *, passing: bool = False
) -> Iterator[Disagreement]:
    """Compare an OTLP record with its line. One that is `passing` is the application's, with the line in it."""
    from otel_audit.otel.projection import project

    try:
        record = json.loads(line)
        sealed = project(record)
        stream, seq = str(record["stream"])[:32], int(record["seq"])
    except _NO_RECORD:
        return
    expected: dict[str, Any] = dict(sealed.attributes)
    if sealed.trace_id and sealed.span_id:
        expected |= {_TRACE: sealed.trace_id, _SPAN: sealed.span_id}
    if not passing:
        expected = dict.fromkeys(_own_names()) | expected | {_EVENT: sealed.event_name}
        if any(name.startswith(_OURS) for name, _ in attributes):  # else its time is the pipeline's own
            expected[_TIME] = str(sealed.timestamp)
    for name, value in (*attributes, *_fields(given)):
        if name in expected and not _same(expected[name], value):
            yield Disagreement(stream, seq, name, _shown(expected[name]), _shown(value))


def _fields(given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, member in ((_EVENT, "eventName"), (_TIME, "timeUnixNano"), (_TRACE, "traceId"), (_SPAN, "spanId")):
        value = str(given.get(member) or "").lower() if name != _EVENT else given.get(member)
        if value and value != "0" * len(str(value)):  # OTLP's way of saying none
            yield name, value


@cache
def _own_names() -> frozenset[str]:
    """Names of attributes that stand for a member of the record and for nothing else, in whatever record."""
    from otel_audit.otel.projection import ATTRIBUTE_NAMES

    found = {DRAFT_NAMES[name] for name in ("prev_hash", "prev_id", "end")} | {"auditx.logger"}
    waiting: list[Any] = [ATTRIBUTE_NAMES]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            waiting.extend(each.values())
        elif each.startswith(_OURS):
            found.add(each)
    return frozenset(found)


def _check_ecs(given: Mapping[str, Any]) -> Iterator[Disagreement]:
    from otel_audit.sinks.ecs import document

    line = given["event"]["original"]
    try:
        record = json.loads(line)
        expected = document(record, line)
        stream, seq = str(record["stream"])[:32], int(record["seq"])
    except _NO_RECORD:
        return
    found = dict(_leaves(given))
    for name, value in _leaves(expected):
        if name in found and not _holds(found[name], value):
            yield Disagreement(stream, seq, name, _shown(value), _shown(found[name]))


def _is_ecs(given: Mapping[str, Any]) -> bool:
    """Tell whether our sink made this document; others that keep a line in `event.original` map it as they like."""
    event, own = given.get("event"), given.get("auditx")
    return isinstance(event, dict) and isinstance(own, dict) and "stream" in own and _is_line(event.get("original"))


def _leaves(given: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    if isinstance(given, dict) and depth < _ECS_DEPTH:
        for name, value in given.items():
            yield from _leaves(value, f"{path}.{name}" if path else name, depth + 1)
    else:
        yield path, given


def _holds(found: Any, value: Any) -> bool:
    """Tell whether a field has a value; of a list it may have more, as enrichment adds to them."""
    if isinstance(value, list):
        return all(each in (found if isinstance(found, list) else [found]) for each in value)
    return _same(value, found[0] if isinstance(found, list) and len(found) == 1 else found)


def _is_line(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and looks_like_record(value.encode("utf-8", "surrogatepass"))


def _pairs(given: Any) -> Iterator[tuple[str, Any]]:
    for pair in given if isinstance(given, list) else ():
        if isinstance(pair, dict) and isinstance(name := pair.get("key"), str):
            yield name, _plain(pair.get("value"))


def _plain(value: Any) -> Any:
    """Return an `AnyValue` of OTLP JSON as a value of Python's; as it is, if the projection never makes it."""
    if not isinstance(value, dict) or len(value) != 1:
        return value
    ((kind, inner),) = value.items()
    if kind == "intValue" and isinstance(inner, str) and _INTEGER.fullmatch(inner):
        return int(inner)
    if kind == "arrayValue" and isinstance(inner, dict) and isinstance(items := inner.get("values", []), list):
        return [each.get("stringValue") if isinstance(each, dict) else each for each in items]
    return inner if kind in {"stringValue", "boolValue", "intValue", "doubleValue"} else value


def _same(one: Any, other: Any) -> bool:
    """Compare as searches do: 3 and 3.0 are the same number, 1 and true are not the same value."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _shown(value: Any) -> str:
    return "nothing" if value is None else str(value)[:_SHOWN]
