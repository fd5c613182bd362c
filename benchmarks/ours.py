"""otel-audit as it is used here: the only file that knows its interface."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import otel_audit
import otel_audit.verify
from benchmarks.cases import Case, Far, Log, Way
from benchmarks.events import Event
from benchmarks.peers.standard import attach, open_file
from otel_audit.integrity import keys
from otel_audit.stream import Durability

__all__ = ["CASES", "FORMATTER", "HANDLER", "OTLP", "RECORD", "SHORT_LINE", "TLS", "WAYS", "open_short", "verify"]

HANDLER = "**AuditHandler, {}**"
RECORD = "**otel_audit.record, process**"
TLS = "**AuditHandler, JSON lines over TLS**"
OTLP = "**AuditHandler, OTLP/HTTP**"
FORMATTER = "**FileHandler + AuditFormatter**"

SHORT_LINE = 437
"""Bytes of the line that a short event becomes, roughly."""


def _open_handler(durability: Durability, directory: Path) -> Log:
    trail = otel_audit.configure(journal=directory, sinks=[], durability=durability)
    return attach(otel_audit.AuditHandler())._replace(flush=trail.flush, close=trail.close)


def _open_signed(directory: Path) -> Log:
    key = directory.with_suffix(".pem")
    if not key.exists():
        keys.generate(key, "benchmarks.example/audit")
    trail = otel_audit.configure(journal=directory, sinks=[], signing_key_file=key)
    return attach(otel_audit.AuditHandler())._replace(flush=trail.flush, close=trail.close)


def _open_record(directory: Path) -> Log:
    trail = otel_audit.configure(journal=directory, sinks=[], durability="process")

    def write(event: Event) -> None:
        otel_audit.record(
            "document.read",
            actor=event["user"],
            target=event["resource"],
            outcome=event["outcome"],
            data=event,
        )

    return Log(write, trail.flush, trail.close)


def open_short(journal: Path, durability: Durability = "process") -> Log:
    """Open a journal for short events: an actor, a target, an outcome and nothing else."""
    trail = otel_audit.configure(journal=journal, sinks=[], durability=durability)

    def write(event: Event) -> None:
        otel_audit.record(event["action"], actor=event["user"], target=event["resource"], outcome=event["outcome"])

    return Log(write, trail.flush, trail.close)


def verify(journal: Path, jobs: int) -> int:
    """Verify a journal and return how many records it holds.

    Raises:
        RuntimeError: it is not intact, and its figures would be worth nothing.
    """
    report = otel_audit.verify.verify([journal], jobs=jobs)
    if report.exit_code != 0:
        raise RuntimeError(f"{journal}: {report.sentence}")
    return report.records


def _open_way(url: str, directory: Path, far: Far) -> Log:
    sink = url.format(port=far.port, authority=far.authority)
    trail = otel_audit.configure(journal=directory / "journal", sinks=[sink])
    return attach(otel_audit.AuditHandler())._replace(flush=trail.flush, close=trail.close)


WAYS = (
    Way(TLS, "tls", partial(_open_way, "logstash+tls://localhost:{port}?allow=loopback&ca_file={authority}")),
    Way(OTLP, "http", partial(_open_way, "otlp+http://127.0.0.1:{port}")),
)

CASES = (
    Case(HANDLER.format("relaxed"), partial(_open_handler, "relaxed")),
    Case(HANDLER.format("process"), partial(_open_handler, "process")),
    Case(HANDLER.format("process, signed"), _open_signed),
    Case(HANDLER.format("always"), partial(_open_handler, "always"), events=2_000),
    Case(RECORD, _open_record),
    Case(FORMATTER, partial(open_file, otel_audit.AuditFormatter)),
)
