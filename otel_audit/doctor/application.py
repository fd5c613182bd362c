"""What an application, or the OpenTelemetry SDK in it, can do to audit records without meaning to."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

from .check import Check

__all__ = ["check_app", "check_sdk"]

_LIMITS: Final = (
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT",
)


def check_sdk(environ: Mapping[str, str]) -> Iterator[Check]:
    """Say what the standard variables do to records that pass through the OpenTelemetry SDK.

    Nothing of it touches the journal or a sink of ours: only what the SDK itself exports.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        yield Check(
            "OpenTelemetry SDK",
            "warn",
            "OTEL_SDK_DISABLED is true: AuditLogRecordProcessor sees nothing",
            "use AuditHandler or otel_audit.record, which need no SDK",
        )
    elif limits := [f"{name}={environ[name]}" for name in _LIMITS if environ.get(name)]:
        yield Check(
            "OpenTelemetry SDK",
            "warn",
            f"{', '.join(limits)}: the SDK cuts attributes before it exports them",
            "nothing for our own sinks; for SDK exporters raise the limits above the line's length",
        )
    else:
        yield Check("OpenTelemetry SDK", "ok", "no limit and no switch set")


def check_app(target: str) -> Iterator[Check]:
    """Import `MODULE` or `MODULE:ATTRIBUTE` (a `dictConfig` mapping) and look at the logging that is set up then.

    Importing runs the application's code, as starting it would.
    """
    module_name, _, attribute = target.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # noqa: BLE001 - an application may raise anything when it is imported
        yield Check(
            "application", "fail", f"{module_name}: {type(error).__name__}: {error}", "name what can be imported"
        )
        return
    finally:
        sys.path.remove(os.getcwd())
    settings = getattr(module, attribute or "LOGGING", None)
    if attribute and not isinstance(settings, dict):
        yield Check("application", "fail", f"{target} is no mapping", "name a logging configuration")
    elif isinstance(settings, dict):
        yield _check_config(f"{module_name}:{attribute or 'LOGGING'}", settings)
    yield from _check_loggers()


def _check_config(place: str, settings: Mapping[str, Any]) -> Check:
    if settings.get("disable_existing_loggers", True) and not settings.get("incremental"):
        return Check(
            "logging configuration",
            "warn",
            f"{place} disables every logger that was made before it and that it does not name",
            "set disable_existing_loggers to False",
        )
    return Check("logging configuration", "ok", f"{place} leaves existing loggers alone")


def _check_loggers() -> Iterator[Check]:
    from otel_audit.handler import AuditHandler

    loggers = [each for each in logging.Logger.manager.loggerDict.values() if isinstance(each, logging.Logger)]
    if silenced := sorted(each.name for each in loggers if each.disabled):
        yield Check(
            "loggers",
            "warn",
            f"disabled: {', '.join(silenced[:8])}{' and more' if len(silenced) > 8 else ''}",
            "set disable_existing_loggers to False in the configuration that was applied last",
        )
    if (level := logging.root.manager.disable) > logging.NOTSET:
        yield Check("loggers", "warn", f"logging.disable({level}) holds: lower levels are silent", "take it away")
    ours = [each for each in (logging.root, *loggers) if any(isinstance(h, AuditHandler) for h in each.handlers)]
    doubled = sorted(each.name for each in ours if any(other in ours for other in _parents(each)))
    if doubled:
        yield Check(
            "audit handlers",
            "warn",
            f"{', '.join(doubled)}: an AuditHandler here and one above it: each record is written twice",
            "keep one of them, or set propagate to False",
        )
    elif ours:
        yield Check("audit handlers", "ok", f"on {', '.join(sorted(each.name for each in ours))}")
    else:
        yield Check("audit handlers", "unknown", "no AuditHandler is set up by the import", "see docs/configuration.md")


def _parents(logger: logging.Logger) -> Iterator[logging.Logger]:
    """Yield the loggers that a record of this one reaches, but for itself."""
    while logger.propagate and logger.parent is not None:
        logger = logger.parent
        yield logger
