"""Providers, processors and records, as the tests need them. Works with every SDK release from 1.39 on."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor

__all__ = ["Collecting", "emit", "logged_through", "provider_of", "sdk_handler"]


class Collecting(LogRecordProcessor):
    """Keeps what it is given: the record itself, or what `look` sees of it at that moment."""

    def __init__(self, look: Any = None) -> None:
        self.seen: list[Any] = []
        self.shut_down = False
        self._look = look or (lambda record: record)

    def on_emit(self, log_record: Any) -> None:
        self.seen.append(self._look(log_record))

    def enabled(self, **_: Any) -> bool:
        return True

    def shutdown(self) -> None:
        self.shut_down = True

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


def provider_of(*processors: LogRecordProcessor) -> LoggerProvider:
    provider = LoggerProvider(shutdown_on_exit=False)
    for each in processors:
        provider.add_log_record_processor(each)
    return provider


def emit(provider: LoggerProvider, body: Any = "invoice deleted", *, scope: str = "shop", **given: Any) -> None:
    """Emit one record through the Logs API."""
    given.setdefault("timestamp", time.time_ns())
    given.setdefault("severity_text", "INFO")
    given.setdefault("severity_number", SeverityNumber.INFO)
    provider.get_logger(scope).emit(LogRecord(body=body, **given))


def sdk_handler(provider: LoggerProvider) -> logging.Handler:
    """Return the SDK's own LoggingHandler."""
    from opentelemetry.sdk._logs import LoggingHandler

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return LoggingHandler(logger_provider=provider)


@contextmanager
def logged_through(*handlers: logging.Handler, name: str = "tests.otel") -> Iterator[logging.Logger]:
    """Return a logger with these handlers, in this order, and no others."""
    logger = logging.getLogger(name)
    before = logger.handlers, logger.propagate, logger.level
    logger.handlers, logger.propagate, logger.level = list(handlers), False, logging.INFO
    try:
        yield logger
    finally:
        logger.handlers, logger.propagate, logger.level = before
