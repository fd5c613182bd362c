"""How the trail is doing, through the OpenTelemetry metrics API, under the names of the OpenTelemetry audit draft."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from opentelemetry.metrics import CallbackOptions, Histogram, MeterProvider, Observation, get_meter_provider

from otel_audit import __version__
from otel_audit.shipping import Shipper
from otel_audit.shipping.shipper import SinkHealth
from otel_audit.trail import AuditTrail

__all__ = ["SINK", "observe"]

SINK: Final = "audit.sink.name"
"""The attribute that tells sinks apart."""


_Callback: TypeAlias = Callable[[CallbackOptions], Iterable[Observation]]


class _Records:
    """Counts records over the streams that a process writes one after another."""

    def __init__(self) -> None:
        self._stream = ""
        self._before = self._last = 0

    def count(self, trail: AuditTrail) -> int:
        """Return how many records there are by now."""
        if trail.stream.id != self._stream:
            self._stream = trail.stream.id
            self._before += self._last
        self._last = trail.stream.records
        return self._before + self._last


def observe(trail: AuditTrail, provider: MeterProvider | None = None) -> None:
    """Report a trail's counts whenever metrics are collected; the trail itself pays nothing for it.

    `audit.records.emitted`, `audit.records.dropped`, and by sink (`audit.sink.name`) `audit.records.exported`,
    `audit.records.refused`, `audit.queue.depth` (records; the draft's name) and `audit.export.duration` (seconds).

    Args:
        provider: the global one if None.
    """
    meter = (provider or get_meter_provider()).get_meter("otel_audit", __version__)
    reference = weakref.ref(trail)

    def of_trail(count: Callable[[AuditTrail], int]) -> _Callback:
        def observed(_: CallbackOptions) -> Iterable[Observation]:
            alive = reference()
            return [] if alive is None else [Observation(count(alive))]

        return observed

    def of_sinks(read: Callable[[SinkHealth, int], int]) -> _Callback:
        def observed(_: CallbackOptions) -> Iterable[Observation]:
            alive = reference()
            if alive is None:
                return []
            health = alive.health()
            shipped = {name: sink for name, sink in health.sinks.items() if isinstance(sink, SinkHealth)}
            return [Observation(read(sink, health.records), {SINK: name}) for name, sink in shipped.items()]

        return observed

    meter.create_observable_counter(
        "audit.records.emitted",
        [of_trail(_Records().count)],
        unit="{record}",
        description="Records sealed and kept.",
    )
    meter.create_observable_counter(
        "audit.records.dropped",
        [of_trail(lambda alive: alive.stream.lost)],
        unit="{record}",
        description="Records that could not be kept.",
    )
    meter.create_observable_counter(
        "audit.records.exported",
        [of_sinks(lambda sink, _: sink.delivered)],
        unit="{record}",
        description="Records that a sink has confirmed.",
    )
    meter.create_observable_counter(
        "audit.records.refused",
        [of_sinks(lambda sink, _: sink.refused)],
        unit="{record}",
        description="Records that a sink refused, now in quarantine.",
    )
    meter.create_observable_up_down_counter(
        "audit.queue.depth",
        [of_sinks(lambda sink, records: records - sink.confirmed)],
        unit="{record}",
        description="Records of this process that a sink has yet to confirm.",
    )
    duration = meter.create_histogram(
        "audit.export.duration", unit="s", description="Time from sending a batch to the sink's answer."
    )
    for companion in trail.companions:
        if isinstance(companion, Shipper):
            companion.timed = _timer(duration, companion.name)


def _timer(duration: Histogram, name: str) -> Callable[[float], None]:
    return lambda seconds: duration.record(seconds, {SINK: name})
