"""A canary: one harmless record, taken the whole way to each sink.

It goes through a journal of its own in a temporary directory, so that no cursor of the real one moves. What a sink
then has is a small stream: opened, `app.doctor.canary`, closed.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .check import Check

if TYPE_CHECKING:
    from otel_audit.config.assembly import ConfiguredSink
    from otel_audit.shipping import Shipper

__all__ = ["EVENT", "send_canary"]

EVENT: Final = "app.doctor.canary"
_LAST: Final = 3
"""The stream is opened, has one record, and is closed."""


def send_canary(sinks: Sequence[ConfiguredSink], *, timeout: float) -> Iterator[Check]:
    """Write a canary and wait for each sink to confirm it, at most `timeout` seconds for all of them."""
    from otel_audit.journal.writer import JournalWriter
    from otel_audit.keeper import Intervals
    from otel_audit.shipping import Shipper as Shipping
    from otel_audit.shipping.source import JournalSource
    from otel_audit.trail import AuditTrail

    with tempfile.TemporaryDirectory(prefix="otel-audit-doctor-") as place:
        directory = Path(place)
        trail = AuditTrail(JournalWriter(directory), intervals=Intervals(heartbeat=0.0))
        actor = {"id": "otel-audit", "type": "system"}
        receipt = trail.record(EVENT, {"action": "TEST", "actor": actor, "outcome": "success"})
        trail.close()
        began = time.monotonic()
        shippers = [Shipping(JournalSource(directory), sink.make_sink, name=sink.name) for sink in sinks]
        for shipper in shippers:
            shipper.start()
        try:
            for shipper, sink in zip(shippers, sinks, strict=True):
                yield _await(shipper, sink, receipt.stream, began, timeout)
        finally:
            for shipper in shippers:
                shipper.close()


def _await(shipper: Shipper, sink: ConfiguredSink, stream: str, began: float, timeout: float) -> Check:
    label = f"canary to {sink.name}"
    arrived = shipper.wait_for(stream, _LAST, began + timeout)
    health = shipper.health()[sink.name]
    if health.refused:
        return Check(label, "fail", "the sink refuses the record for what it is", "look at its log; mapping or size?")
    if not arrived:
        return Check(label, "fail", health.error or f"not confirmed within {timeout:g} s", "see the checks above it")
    took = f"{1000 * (time.monotonic() - began):.0f} ms"
    with closing(sink.make_sink()) as built:
        window = built.window
    if window:
        said = f"sent in {took}; this protocol has no acknowledgement, so look for {EVENT} at the far end"
        return Check(label, "ok", said)
    return Check(label, "ok", f"confirmed in {took}")
