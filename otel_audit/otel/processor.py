"""The processor: log records that are audit events are sealed before anything else in the SDK gets at them."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from typing import Any, Final, Literal

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord

from otel_audit import twice
from otel_audit.config import current_trail
from otel_audit.context import SelfMade
from otel_audit.errors import ConfigurationError
from otel_audit.notices import notice
from otel_audit.trail import AuditTrail

from .choosing import Select, choose
from .lifting import lift
from .place import find_fault
from .tagging import Tagged

__all__ = ["AuditLogRecordProcessor", "OnError"]

OnError = Literal["warn", "raise"]

_SDK_DISABLED: Final = "OTEL_SDK_DISABLED"
_UNDECIDED: Final = "cannot tell whether a record is an audit event, so it is recorded"
_NOT_PASSED_ON: Final = "the processor given as `next` did not take a record"
_COUNT_LIMITS: Final = ("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT")
_LENGTH_LIMITS: Final = ("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT")


class AuditLogRecordProcessor(LogRecordProcessor):
    """Seals audit events that pass through a `LoggerProvider`, and tags them with their place in the trail.

    Registered before other processors, it tags the record that they get. Given `next`, it hands every record on to
    that processor alone: audit events as a copy of their own, in the order of their numbers. The tags are the
    attributes of the OpenTelemetry audit draft (see `projection`) and the sealed line in `log.record.original`.
    Whatever happens to the passing record behind this processor, the sealed one is in the trail.

    Args:
        trail: the trail that keeps the records; the configured one if None.
        next: a processor to hand records on to.
        select: which records are audit events: a callable, or a mapping (see `choosing`); those with an attribute
            `audit`, `audit.action` or `audit.actor.id` if None.
        on_error: what the application sees if a record cannot be sealed: a line on stderr (`warn`), the record going
            on as it came; or the exception (`raise`), out of its logging call, the record going nowhere.

    Raises:
        ConfigurationError: an argument is unusable.
    """

    def __init__(
        self,
        trail: AuditTrail | None = None,
        *,
        next: LogRecordProcessor | None = None,  # noqa: A002 - the word for it
        select: Select = None,
        on_error: OnError = "warn",
    ) -> None:
        if on_error not in ("warn", "raise"):
            raise ConfigurationError(f"on_error is {on_error!r}; it must be 'warn' or 'raise'")
        if trail is not None and not isinstance(trail, AuditTrail):
            raise ConfigurationError(f"trail must be what otel_audit.configure() returned, not {type(trail).__name__}")
        if next is not None and not callable(getattr(next, "on_emit", None)):
            raise ConfigurationError(f"next must be a log record processor, not {type(next).__name__}")
        self._trail = trail
        self._next = next
        self._is_audit = choose(select)
        self._raises = on_error == "raise"
        self._place_known = False
        self._begin_order()
        if hasattr(os, "register_at_fork"):
            _at_fork(weakref.ref(self))
        twice.enter("processor")
        _say_what_limits()

    def _begin_order(self) -> None:
        self._order = threading.RLock()
        self._to_hand_on: deque[ReadWriteLogRecord] = deque()
        self._handing_on = False

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Seal, tag and hand on an audit event; hand on anything else.

        Raises:
            RecordLost, DeliveryTimeout, ConfigurationError: under `on_error="raise"` alone.
        """
        if not self._place_known:
            self._look_around()
        given = log_record.log_record.attributes
        kind = type(given)
        if kind is Tagged:  # another processor of ours has sealed it
            self._pass_on(log_record)
            return
        attributes: dict[str, Any] = {}
        try:
            attributes = given.copy() if kind is BoundedAttributes else dict(given or ())  # type: ignore[union-attr]
            chosen = self._is_audit(log_record, attributes)
        except Exception as error:  # noqa: BLE001 - `select` and what another processor put there are not ours
            self._fail(error, _UNDECIDED)
            chosen = True  # a record too many, rather than one too few
        if chosen:
            self._record(log_record, attributes)
        elif self._next is not None:
            self._pass_on(log_record)

    def enabled(self, **_: Any) -> bool:
        """Return True: an audit event must not be thought unwanted."""
        return True

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Return whether, within the time, every sink has acknowledged every record, and `next` was flushed."""
        flushed = (self._trail or current_trail()).flush(timeout_millis / 1000)
        return (self._next is None or self._next.force_flush(timeout_millis)) and flushed

    def shutdown(self) -> None:
        """Flush the trail and shut `next` down. The trail stays open: it is the process's, not the provider's."""
        (self._trail or current_trail()).flush()
        if self._next is not None:
            self._next.shutdown()

    def _record(self, log_record: ReadWriteLogRecord, attributes: dict[str, Any]) -> None:
        try:
            trail = self._trail or current_trail()
            sealed_before = twice.watching and twice.take_sealed("handler", trail, *_call(log_record))
            head = None if sealed_before else lift(trail.door, log_record, attributes)
        except SelfMade:
            head = None
        except Exception as error:  # noqa: BLE001 - the caller asked for a log line: what goes wrong here is ours
            self._fail(error)
            head = None
        if head is None:
            self._pass_on(log_record)
            return
        try:
            if self._next is None:
                line = trail.seal(head)
                if line is not None:
                    log_record.log_record.attributes = Tagged(attributes, line)
            else:
                line = self._seal_and_hand_on(trail, head, log_record, attributes)
            if line is not None:
                if twice.watching:
                    twice.note_sealed("processor", trail, *_call(log_record))
                if trail.waits:
                    trail.settle(line)
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)

    def _seal(self, trail: AuditTrail, head: bytes) -> bytes | None:
        try:
            return trail.seal(head)
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)
            return None

    def _seal_and_hand_on(
        self, trail: AuditTrail, head: bytes, log_record: ReadWriteLogRecord, attributes: dict[str, Any]
    ) -> bytes | None:
        """One lock from number to hand-off: `next` sees records in the order of their numbers."""
        with self._order:
            line = self._seal(trail, head)
            handed = log_record
            if line is not None:
                handed = _copy(log_record)
                handed.log_record.attributes = Tagged(attributes, line)
            self._to_hand_on.append(handed)
            if not self._handing_on:  # else `next` has logged something: it gets that once it is done with this
                self._hand_on()
        return line

    def _hand_on(self) -> None:
        self._handing_on = True
        try:
            while self._to_hand_on:
                self._pass_on(self._to_hand_on.popleft())
        finally:
            self._handing_on = False

    def _pass_on(self, log_record: ReadWriteLogRecord) -> None:
        if self._next is None:
            return
        try:
            self._next.on_emit(log_record)
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error, _NOT_PASSED_ON)

    def _fail(self, error: Exception, what: str = "an audit event was not sealed") -> None:
        if self._raises:
            raise error
        notice(f"{what}: {type(error).__name__}: {error}", subject=what)

    def _look_around(self) -> None:
        """With the first record, see where among the provider's processors this one stands."""
        self._place_known = True
        if (fault := find_fault(self)) is not None:
            self._place_known = not self._raises
            if self._raises:
                raise ConfigurationError(fault)
            notice(fault, subject="processor place")


def _call(log_record: ReadWriteLogRecord) -> tuple[int | None, str | None]:
    """Return time and logger, as `twice` wants them."""
    scope = log_record.instrumentation_scope
    return log_record.log_record.timestamp, scope.name if scope is not None else None


def _copy(log_record: ReadWriteLogRecord) -> ReadWriteLogRecord:
    """Copy a record and what is in it. Its class's own way would apply the attribute limits anew."""
    copied: ReadWriteLogRecord = _shallow(log_record)
    copied.log_record = _shallow(log_record.log_record)
    return copied


def _shallow(thing: Any) -> Any:
    copied = object.__new__(type(thing))
    copied.__dict__.update(thing.__dict__)
    return copied


def _say_what_limits() -> None:
    if os.environ.get(_SDK_DISABLED, "").strip().lower() == "true":
        notice(
            f"{_SDK_DISABLED} is set: no log record reaches the audit processor. AuditHandler and otel_audit.record "
            "go on recording.",
            subject="sdk disabled",
        )
    for variable in _COUNT_LIMITS:
        if os.environ.get(variable, "").strip():
            notice(
                f"{variable} is set: the SDK drops a record's first attributes before the audit processor sees it, "
                "those that make it an audit event as well. What lost some is recorded, whatever it was, and says so; "
                "unset it, or use AuditHandler",
                subject=variable,
            )
    for variable in _LENGTH_LIMITS:
        if os.environ.get(variable, "").strip():
            notice(
                f"{variable} is set: the SDK cuts attributes before the audit processor sees them, and the records "
                "say so; unset it, or use AuditHandler",
                subject=variable,
            )


def _at_fork(reference: weakref.ref[AuditLogRecordProcessor]) -> None:
    def begin_anew() -> None:
        processor = reference()
        if processor is not None:
            processor._begin_order()

    os.register_at_fork(after_in_child=begin_anew)
