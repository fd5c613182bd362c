"""The standard library's side of the road: a handler that records, and a formatter that seals.

`AuditHandler.handle` takes no lock: encoding runs in the calling thread, and the stream orders what comes.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, Final

from pythonjsonlogger.core import BaseJsonFormatter

from . import twice
from .canonical import Alteration, text_of
from .config import current_trail
from .context import active_trace
from .door import Door
from .notices import notice
from .selection import Select, make_selection
from .silence import SilenceWatch, watch_for_silence
from .stream import Stream
from .trail import AuditTrail, describe_process

__all__ = ["AuditFormatter", "AuditHandler"]

_STANDARD: Final = tuple(logging.LogRecord("", 0, "", 0, "", None, None).__dict__)
_LAST_STANDARD: Final = _STANDARD[-1]
_LAST_STANDARD_AT: Final = len(_STANDARD) - 1
_NOT_EXTRA: Final = frozenset({*_STANDARD, "message", "asctime", "taskName"})


def read_extra(record: logging.LogRecord) -> dict[str, Any]:
    """Return what the caller gave as `extra=`: attributes that a logging record does not have by itself."""
    # `makeRecord` sets extras behind the standard attributes, so that they are what is left after those.
    attributes = record.__dict__
    behind = islice(attributes.items(), _LAST_STANDARD_AT, None)
    if next(behind, ("",))[0] != _LAST_STANDARD:  # a factory of somebody's own
        return {name: value for name, value in attributes.items() if name not in _NOT_EXTRA}
    extra = dict(behind)
    if "message" in extra or "asctime" in extra:  # a formatter of another handler was here first
        extra.pop("message", None)
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
    """Take one logging record through the door; return the head of its audit record."""
    try:
        data = read_extra(record)
        message = record.msg if not record.args and type(record.msg) is str else read_message(record)
        if shape is None and not (record.exc_info or record.stack_info or record.exc_text or "audit" in data):
            if (task := record.__dict__.get("taskName")) is not None:
                data.setdefault("taskName", task)
            trace = active_trace() if "opentelemetry.trace" in sys.modules else None
            head = door.admit_plain(data, read_time(record), record.levelname, record.name, message, trace=trace)
            if head is not None:
                return head
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
    except Exception as error:  # noqa: BLE001 - attributes of a record made by hand may be anything; the event must live
        return door.admit(
            data={"unreadable": type(record).__name__},
            level=_text(record.levelname),
            logger=_text(record.name),
            message=text_of(record.msg),
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


class AuditHandler(logging.Handler):
    """Turns logging records into audit records.

    Args:
        trail: the trail that keeps them; the configured one if None.
        level: least level that is recorded.
        select: which of the records that reach this handler are audit events; all of them if None.
            A callable, or a mapping with `loggers`, `level`, `marker` (see `selection`).

    `extra={"audit": {...}}` fills the schema, `extra={"audit": "invoice.delete"}` gives just the event's name;
    other extras go to `data`. `close()` is not final: a handler that `dictConfig` closed works on if it is used.
    """

    def __init__(
        self, trail: AuditTrail | None = None, *, level: int | str = logging.NOTSET, select: Select = None
    ) -> None:
        super().__init__(level)
        self._trail = trail
        self._select = make_selection(select)
        self._heard_by: AuditTrail | None = None
        twice.enter("handler")
        self._silence: SilenceWatch

    def handle(self, record: logging.LogRecord) -> bool:
        """Record it, unless a filter or `select` leaves it out. Takes no lock."""
        if self.filters:
            passed: Any = self.filter(record)  # since Python 3.12 a filter may return another record
            if not passed:
                return False
            if isinstance(passed, logging.LogRecord):
                record = passed
        if self._select is not None and not self._is_selected(self._select, record):
            return False
        self.emit(record)
        return True

    def _is_selected(self, select: Callable[[logging.LogRecord], bool], record: logging.LogRecord) -> bool:
        try:
            return bool(select(record))
        except Exception:  # noqa: BLE001 - where nobody can tell, it is recorded
            self.handleError(record)
            return True

    def emit(self, record: logging.LogRecord) -> None:
        """Record it.

        Raises:
            RecordLost: it could not be kept, and the failure policy says to raise.
        """
        trail = self._trail or current_trail()
        if trail is not self._heard_by:
            self._heard_by, self._silence = trail, watch_for_silence(trail, AuditHandler)
        self._silence.heard(record)
        if twice.watching:
            call = int(record.created * 1e9), record.name
            if twice.take_sealed("processor", trail, *call):
                return
            trail.keep(admit(trail.door, record))
            twice.note_sealed("handler", trail, *call)
        else:
            trail.keep(admit(trail.door, record))

    def __repr__(self) -> str:
        return f"<AuditHandler {logging.getLevelName(self.level)}>"


class AuditFormatter(BaseJsonFormatter):
    """Seals each record that it formats, so that any standard handler prints an audit trail.

    A python-json-logger formatter: `defaults`, `static_fields`, `rename_fields` and `process_log_record` apply to the
    record's `data`. It writes a stream of its own, opened by the first record (that call returns two lines). One
    formatter serves one handler: lines must be written in the order in which they were formatted. Nothing is kept
    here, so a handler that drops a line breaks the chain, and `verify` says so; `AuditHandler` has no such gap.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._door = Door()
        self._lines = _Lines()
        self._formatting = threading.RLock()  # a signal handler may log in the middle of this
        self._stream = Stream(
            self._lines,
            control=self._door.control,
            describe=describe_process,
            warn=notice,
            forked=self._forget_lock,
        )

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's sealed line (two, the first time), without the newline that the handler adds."""
        head = admit(self._door, record, self._shape)
        with self._formatting:
            self._stream.append(head)
            return self._lines.take()

    def _shape(self, data: dict[str, Any]) -> dict[str, Any]:
        shaped = {**self.defaults, **data, **self.static_fields}
        for old, new in self.rename_fields.items():
            if old in shaped:
                shaped[new] = shaped.pop(old)
        return self.process_log_record(shaped)

    def _forget_lock(self) -> None:
        self._formatting = threading.RLock()


class _Lines:
    """A store that hands each line back. Implements `stream.Store`."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.written = self.durable = 0
        self._kept = b""

    def begin(self, stream: str) -> list[Any]:
        return []

    def declared(self, endings: list[Any]) -> None:
        pass

    def append(self, lines: bytes) -> None:
        self._kept += lines

    def take(self) -> str:
        lines, self._kept = self._kept, b""
        return lines.decode().removesuffix("\n")

    def sync(self, upto: int | None = None) -> None:
        pass

    def repair(self) -> None:
        pass

    def end(self) -> None:
        pass

    def forget(self) -> None:
        self.lock = threading.Lock()
        self._kept = b""
