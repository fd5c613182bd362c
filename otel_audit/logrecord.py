"""From a `logging.LogRecord` to the head of an audit record: message, extras, exception, time, context.

A record that somebody made or mangled by hand may hold anything; whatever it holds, a head comes out.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Final

from .canonical import Alteration, text_of
from .context import SelfMade, active_trace, refuse_self_made
from .door import Door

__all__ = ["admit", "read_time"]

_STANDARD: Final = tuple(logging.LogRecord("", 0, "", 0, "", None, None).__dict__)
_modules: Final = sys.modules
_NOT_EXTRA: Final = frozenset({*_STANDARD, "message", "asctime", "taskName"})


def read_extra(record: logging.LogRecord) -> dict[str, Any]:
    """Return what the caller gave as `extra=`: attributes that a logging record does not have by itself."""
    extra = record.__dict__.copy()
    try:
        for name in _STANDARD:  # a copy without twenty members costs less than one made of the other fifteen
            del extra[name]
    except KeyError:  # a factory of somebody's own
        return {name: value for name, value in record.__dict__.items() if name not in _NOT_EXTRA}
    if "message" in extra:  # a formatter of another handler was here first
        del extra["message"]
        extra.pop("asctime", None)
    return extra


def read_time(record: logging.LogRecord) -> Any:
    """Return when the record was made, in ns: `created` is a float, and what it has beyond microseconds is noise.

    From a record made by hand, what stands there may be no time; then it is returned as it is.
    """
    try:
        return int(record.created * 1_000_000) * 1000
    except (OverflowError, TypeError, ValueError):
        return record.created


def read_message(record: logging.LogRecord) -> str:
    """Return the message with its arguments filled in; where they do not fit, say so instead of raising."""
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 - an argument's __str__ may raise anything; the event must live
        return f"{text_of(record.msg)} [arguments do not fit: {type(error).__name__}]"


def admit(
    door: Door, record: logging.LogRecord, shape: Callable[[dict[str, Any]], dict[str, Any]] | None = None
) -> bytes:
    """Take one logging record through the door; return the head of its audit record.

    Raises:
        SelfMade: it comes out of the delivery of this door's own records.
    """
    try:
        message = record.msg if not record.args and type(record.msg) is str else read_message(record)
        if shape is None:
            trace = active_trace() if "opentelemetry.trace" in _modules else None
            if (head := door.admit_call(record.__dict__, _STANDARD, message, trace)) is not None:
                return head
        refuse_self_made(door)  # there is a scope in such a context, so that the way above leads here
        data = read_extra(record)
        event_name, audit = _read_audit(data)
        _add_traces(record, data)
        return door.admit(
            event_name,
            audit,
            data if shape is None else shape(data),
            nanoseconds=read_time(record),
            level=_text(record.levelname),
            logger=_text(record.name),
            message=message,
        )
    except SelfMade:
        raise
    except Exception as error:  # noqa: BLE001 - attributes of a record made by hand may be anything; the event must live
        return door.admit(
            data={"unreadable": type(record).__name__},
            level=_text(getattr(record, "levelname", "")),
            logger=_text(getattr(record, "name", "")),
            message=text_of(getattr(record, "msg", "")),
            notes=[Alteration("/", f"unreadable: {type(error).__name__}")],
        )


def _read_audit(data: dict[str, Any]) -> tuple[str | None, Mapping[Any, Any] | None]:
    """Take `extra={"audit": ...}` out of the extras: a mapping in the words of the schema, or an event's name."""
    audit = data.pop("audit", None)
    if isinstance(audit, str):
        return audit, None
    if audit is None or isinstance(audit, Mapping):
        return None, audit
    data["audit"] = audit
    return None, None


def _text(value: Any) -> str:
    return value if type(value) is str else text_of(value)


def _add_traces(record: logging.LogRecord, data: dict[str, Any]) -> None:
    if isinstance(record.exc_info, tuple) and record.exc_info[0] is not None:
        data.setdefault("exception", _describe_exception(*record.exc_info))
    elif record.exc_text:
        data.setdefault("exception", {"stacktrace": record.exc_text})
    if record.stack_info:
        data.setdefault("stack", record.stack_info)
    if (task := record.__dict__.get("taskName")) is not None:
        data.setdefault("taskName", task)


def _describe_exception(kind: Any, error: Any, trace: Any) -> dict[str, str]:
    described = {"type": text_of(getattr(kind, "__qualname__", kind)), "message": text_of(error)}
    try:
        described["stacktrace"] = "".join(traceback.format_exception(kind, error, trace))
    except Exception as unreadable:  # noqa: BLE001 - notes and causes are objects with methods of their own
        described["stacktrace"] = f"<unprintable: {type(unreadable).__name__}>"
    return described
