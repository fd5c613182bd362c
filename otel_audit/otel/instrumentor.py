"""`opentelemetry-instrument`: start the audit trail with a program, if OTEL_PYTHON_AUDIT_ENABLED says so.

This is an instrumentor like any other: it takes no place of a distro or configurator, and does nothing by being
installed. It comes after the SDK was set up, so that it can put the processor before what is there.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from opentelemetry._logs import get_logger_provider
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]
from opentelemetry.sdk._logs import LoggerProvider

from otel_audit.config.settings import PREFIX
from otel_audit.errors import ConfigurationError
from otel_audit.startup import start

from .installation import install, remove
from .processor import AuditLogRecordProcessor

__all__ = ["AuditConfiguration", "AuditInstrumentor"]

_ENABLED = f"{PREFIX}ENABLED"


@dataclass
class AuditConfiguration:
    """What may stand under `instrumentation/development: python: audit:` in an OpenTelemetry configuration file."""

    config: str | None = None
    journal: str | None = None
    sinks: list[Any] | None = None
    loggers: list[str] | None = None
    durability: str | None = None
    on_failure: str | None = None


class AuditInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Starts the trail, attaches it to loggers, and installs the processor in the SDK's logger provider."""

    configuration = AuditConfiguration

    _processor: AuditLogRecordProcessor | None = None

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return nothing: what it instruments is Python's own logging."""
        return ()

    def _instrument(self, **given: Any) -> None:
        known = AuditConfiguration.__dataclass_fields__  # `opentelemetry-instrument` adds arguments of its own
        settings = {name: value for name, value in given.items() if name in known and value is not None}
        if not settings and not _truth(os.environ.get(_ENABLED, "")):
            return
        start(**settings)
        provider = get_logger_provider()
        if isinstance(provider, LoggerProvider):
            self._processor = install(provider)

    def _uninstrument(self, **_: Any) -> None:
        processor, self._processor = self._processor, None
        provider = get_logger_provider()
        if processor is not None and isinstance(provider, LoggerProvider):
            remove(provider, processor)


def _truth(text: str) -> bool:
    word = text.strip().lower()
    if word not in {"", "true", "false"}:
        raise ConfigurationError(f"{_ENABLED} is {text!r}; it must be true or false")
    return word == "true"
