"""`opentelemetry-instrument`: start the audit trail with a program, if OTEL_PYTHON_AUDIT_ENABLED says so.

This is an instrumentor like any other: it takes no place of a distro or configurator, and does nothing by being
installed. It comes after the SDK was set up, so that it can put the processor before what is there.

`opentelemetry-instrument` logs whatever an instrumentor raises, and starts the program all the same. That nothing is
audited then is said on stderr; with `on_failure` `raise` or `block`, the program is not started.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final

from opentelemetry._logs import get_logger_provider
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]
from opentelemetry.sdk._logs import LoggerProvider

from otel_audit.config.resolving import find_unknown, resolve
from otel_audit.config.settings import CONFIG_VARIABLE, PREFIX
from otel_audit.errors import ConfigurationError
from otel_audit.notices import notice
from otel_audit.startup import start

from .installation import install, remove
from .processor import AuditLogRecordProcessor

__all__ = ["AuditConfiguration", "AuditInstrumentor"]

_ENABLED: Final = f"{PREFIX}ENABLED"
_ON_FAILURE: Final = f"{PREFIX}ON_FAILURE"
_RUNNER: Final = "opentelemetry.instrumentation.auto_instrumentation"
_BEFORE_THE_PROGRAM: Final = "sitecustomize"
_STOPPING: Final = ("raise", "block")


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
        try:
            if not settings and not _truth(os.environ.get(_ENABLED, "")):
                if (
                    unknown := find_unknown(os.environ)
                ) and _RUNNER in _callers():  # the misspelt one may be the switch
                    _complain("\n".join(unknown), settings)
                return
            start(**settings)
        except Exception as error:
            if _RUNNER in _callers():  # which lets no exception through
                _complain(str(error), settings)
            raise
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


def _callers() -> set[str]:
    """Return the names of the modules that led here."""
    names = set()
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        names.add(str(frame.f_globals.get("__name__")))
        frame = frame.f_back
    return names


def _complain(reason: str, settings: Mapping[str, Any]) -> None:
    """Say that nothing is audited, and why.

    Raises:
        SystemExit: a caller whose record cannot be kept was to be told so; all of this program's would be lost.
    """
    policy = _read_policy(settings)
    stops = policy in _STOPPING
    ending = f"on_failure is {policy!r}: the program is not started" if stops else "the program runs without a trail"
    notice(f"NOTHING IS AUDITED: {'; '.join(reason.splitlines())}; {ending}", subject="not audited")
    if stops:
        if _BEFORE_THE_PROGRAM in _callers():
            os._exit(2)  # SystemExit would be a fatal error of the interpreter here, and nothing else has run yet
        raise SystemExit(2)


def _read_policy(settings: Mapping[str, Any]) -> str:
    """Return what `on_failure` says, as far as that can be known where other settings are wrong."""
    stated = settings.get("on_failure") or os.environ.get(_ON_FAILURE, "").strip()
    given = {"config": settings.get("config"), "on_failure": stated or None}
    variables = {CONFIG_VARIABLE: os.environ.get(CONFIG_VARIABLE, "")}
    try:
        return resolve(given, variables).settings.on_failure
    except ConfigurationError:
        return str(stated)
