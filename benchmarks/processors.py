"""Our processor behind the SDK's LoggingHandler: plain calls, calls that say who and what, others."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import otel_audit
from benchmarks.cases import Case, Log
from benchmarks.harness import Sample, ratio
from benchmarks.peers.otel_sdk import attach_provider, say_who_and_what
from otel_audit.otel import AuditLogRecordProcessor

__all__ = ["AUDIT", "CASES", "NO_AUDIT", "PLAIN", "added"]

PLAIN = "**audit processor, every record selected**"
AUDIT = "**audit processor, records with an `audit` mapping**"
NO_AUDIT = "**audit processor, records that are no audit**"


def _open(select: Any, directory: Path) -> Log:
    trail = otel_audit.configure(journal=directory, sinks=[])
    log = attach_provider(AuditLogRecordProcessor(trail, select=select))
    return log._replace(flush=trail.flush, close=trail.close)


def _open_audit(directory: Path) -> Log:
    return say_who_and_what(_open(None, directory))


CASES = (
    Case(PLAIN, partial(_open, lambda _: True)),
    Case(AUDIT, _open_audit),
    Case(NO_AUDIT, partial(_open, None), keeps=False),
)


def added(samples: list[Sample], task: str, alone: str) -> float | None:
    """Return what a case adds to the SDK's own cost, as a share of that."""
    found = ratio(samples, task, alone, "call_us")
    return None if found is None else found - 1
