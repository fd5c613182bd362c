"""Putting the processor before all others of a provider that somebody else has built."""

from __future__ import annotations

from typing import Any, Final

from opentelemetry._logs import get_logger_provider
from opentelemetry.sdk._logs import LoggerProvider

from otel_audit.errors import ConfigurationError
from otel_audit.trail import AuditTrail

from .choosing import Select
from .place import CONCURRENT
from .processor import AuditLogRecordProcessor, OnError

__all__ = ["install", "remove"]

_IN_CODE: Final = "build the provider with AuditLogRecordProcessor as its first processor instead"


def install(
    provider: Any = None, *, trail: AuditTrail | None = None, select: Select = None, on_error: OnError = "warn"
) -> AuditLogRecordProcessor:
    """Register an `AuditLogRecordProcessor` with a provider, before its other processors, and return it.

    A provider that has one keeps it. The SDK has no public way to go before a processor: this uses what all its
    releases since 1.39 have, and refuses a provider that looks otherwise.

    Args:
        provider: an SDK `LoggerProvider`; the global one if None.
        trail, select, on_error: as for `AuditLogRecordProcessor`.

    Raises:
        ConfigurationError: there is no SDK provider, or its processors have no order that could be kept.
    """
    if provider is None:
        provider = get_logger_provider()
    if not isinstance(provider, LoggerProvider):
        raise ConfigurationError(
            f"{type(provider).__name__} is not an OpenTelemetry SDK LoggerProvider: set one up first, or record with "
            "AuditHandler, which needs none"
        )
    several = _processors_of(provider)
    with several._lock:
        known: tuple[Any, ...] = several._log_record_processors
        for each in known:
            if isinstance(each, AuditLogRecordProcessor):
                return each
        processor = AuditLogRecordProcessor(trail, select=select, on_error=on_error)
        several._log_record_processors = (processor, *known)
    return processor


def remove(provider: Any, processor: AuditLogRecordProcessor) -> None:
    """Take a processor out of a provider again, without shutting it down.

    Raises:
        ConfigurationError: the provider is none that `install` could have handled.
    """
    several = _processors_of(provider)
    with several._lock:
        several._log_record_processors = tuple(each for each in several._log_record_processors if each is not processor)


def _processors_of(provider: LoggerProvider) -> Any:
    several = getattr(provider, "_multi_log_record_processor", None)
    name = type(several).__name__
    if name == "ConcurrentMultiLogRecordProcessor":
        raise ConfigurationError(CONCURRENT)
    if not isinstance(getattr(several, "_log_record_processors", None), tuple) or not hasattr(several, "_lock"):
        raise ConfigurationError(f"the processors of this provider ({name}) have no order known here; {_IN_CODE}")
    return several
