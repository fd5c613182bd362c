"""Logs exporters: `OTEL_LOGS_EXPORTER=audit_stdout` and its kin make what an SDK exports an audit trail.

An exporter sits behind the SDK's queue: what was dropped there, it never sees, and who was acting it does not know. The
processor has neither weakness. What the processor sealed is not sealed here again; its trail has sinks of its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult

from otel_audit.config import build_trail
from otel_audit.config.settings import PREFIX
from otel_audit.errors import AuditError, ConfigurationError
from otel_audit.notices import notice
from otel_audit.trail import AuditTrail

from .lifting import lift
from .tagging import Tagged

__all__ = ["AuditFileExporter", "AuditLogstashExporter", "AuditOTLPExporter", "AuditStdoutExporter"]

_JOURNAL: Final = f"{PREFIX}JOURNAL"
_FILE_PATH: Final = f"{PREFIX}FILE_PATH"
_LOGSTASH_URL: Final = f"{PREFIX}LOGSTASH_URL"
_OWN_MATTERS: Final = (f"{PREFIX}LOGGERS", f"{PREFIX}SINKS", f"{PREFIX}METRICS")
"""Settings of the process's trail that mean nothing for that of an exporter."""


class _TrailExporter(LogRecordExporter):
    """Seals each record in a trail of its own, with one sink.

    Args:
        url: the sink.
        journal: directory of stream files. A network sink has one: `OTEL_PYTHON_AUDIT_JOURNAL`, and in it a directory
            of the exporter's name, else memory.
    """

    name: ClassVar[str]

    def __init__(self, url: str, journal: str | None) -> None:
        environ = {name: value for name, value in os.environ.items() if name not in _OWN_MATTERS}
        given: dict[str, Any] = {"sinks": [url], "journal": journal or ""}
        self._build: Callable[[], AuditTrail] = lambda: build_trail(given, environ)
        self._trail: AuditTrail | None = self._build()
        self._exporting = threading.Lock()

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Seal these records; FAILURE if one of them could not be kept."""
        trail = self._trail
        if trail is None:
            return LogRecordExportResult.FAILURE
        try:
            with self._exporting:
                for record in batch:
                    _keep(trail, record)
        except (AuditError, OSError) as error:
            notice(f"logs exporter {self.name}: {error}", subject=self.name)
            return LogRecordExportResult.FAILURE
        return LogRecordExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Return whether, within the time, the sink has acknowledged every record."""
        return self._trail is None or self._trail.flush(timeout_millis / 1000)

    def shutdown(self) -> None:
        """Close the trail."""
        trail, self._trail = self._trail, None
        if trail is not None:
            trail.close()


def _keep(trail: AuditTrail, record: ReadableLogRecord) -> None:
    attributes = record.log_record.attributes
    if not isinstance(attributes, Tagged):
        trail.seal(lift(trail.door, record, dict(attributes or {})))


class AuditStdoutExporter(_TrailExporter):
    """`audit_stdout`: sealed lines on standard output."""

    name = "audit_stdout"

    def __init__(self) -> None:
        super().__init__("stdout:", None)


class AuditFileExporter(_TrailExporter):
    """`audit_file`: sealed lines in a file (`path`, else OTEL_PYTHON_AUDIT_FILE_PATH)."""

    name = "audit_file"

    def __init__(self, path: str | None = None) -> None:
        super().__init__(f"file://{_absolute(_needed(path, 'path', _FILE_PATH, self.name))}", None)


class AuditLogstashExporter(_TrailExporter):
    """`audit_logstash`: sealed lines to Logstash (`url`, else OTEL_PYTHON_AUDIT_LOGSTASH_URL)."""

    name = "audit_logstash"

    def __init__(self, url: str | None = None, journal: str | None = None) -> None:
        super().__init__(_needed(url, "url", _LOGSTASH_URL, self.name), _journal(journal, self.name))


class AuditOTLPExporter(_TrailExporter):
    """`audit_otlp`: records to an OTLP receiver (`url`, else `otlp:`, which is what OTEL_EXPORTER_OTLP_* say)."""

    name = "audit_otlp"

    def __init__(self, url: str | None = None, journal: str | None = None) -> None:
        super().__init__(url or "otlp:", _journal(journal, self.name))


def _needed(given: str | None, argument: str, variable: str, name: str) -> str:
    value = given or os.environ.get(variable, "").strip()
    if not value:
        raise ConfigurationError(f"logs exporter {name}: set {variable} (or `{argument}` in a configuration file)")
    return value


def _absolute(path: str) -> str:
    return Path(path).absolute().as_posix()


def _journal(given: str | None, name: str) -> str:
    if given:
        return given
    shared = os.environ.get(_JOURNAL, "").strip()
    return shared if shared == "memory" else os.path.join(shared, name) if shared else "memory"
