from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_audit.config import build_trail
from otel_audit.otel import observe
from otel_audit.trail import AuditTrail


def read(reader: InMemoryMetricReader) -> dict[str, Any]:
    """Return each metric's points: their value, or for a histogram its count, by the sink that they speak of."""
    found: dict[str, Any] = {}
    data = reader.get_metrics_data()
    for resource in data.resource_metrics if data else []:
        for metric in resource.scope_metrics[0].metrics:
            for point in metric.data.data_points:
                value = point.count if hasattr(point, "count") else point.value
                sink = (point.attributes or {}).get("audit.sink.name")
                found[metric.name if sink is None else f"{metric.name} {sink}"] = value
    return found


@pytest.fixture
def reader() -> InMemoryMetricReader:
    return InMemoryMetricReader()


def test_records_are_counted_over_streams(trail: AuditTrail, reader: InMemoryMetricReader) -> None:
    observe(trail, MeterProvider([reader]))
    trail.record("order.pay")
    assert read(reader) == {"audit.records.emitted": 2, "audit.records.dropped": 0}
    trail.close()
    trail.record("order.pay")
    trail.record("order.pay")
    assert read(reader)["audit.records.emitted"] == 5


def test_each_sink_is_counted_by_itself(tmp_path: Path, reader: InMemoryMetricReader) -> None:
    url = f"file://{tmp_path}/out.jsonl"
    given = {"journal": str(tmp_path / "journal"), "sinks": [{"url": url, "name": "archive"}]}
    trail = build_trail(given, {})
    observe(trail, MeterProvider([reader]))
    trail.record("order.pay")
    assert trail.flush(10)
    found = read(reader)
    assert found["audit.records.exported archive"] == 2
    assert found["audit.queue.depth archive"] == 0
    assert found["audit.records.refused archive"] == 0
    assert found["audit.export.duration archive"] >= 1
    trail.close()


@pytest.mark.filterwarnings("ignore:audit records go to .* in plain text:RuntimeWarning")
def test_what_a_dead_sink_does_not_get_is_its_queue(tmp_path: Path, reader: InMemoryMetricReader) -> None:
    given = {"journal": str(tmp_path), "sinks": [{"url": "logstash+tcp://127.0.0.1:9?allow=loopback", "name": "dead"}]}
    trail = build_trail(given, {})
    observe(trail, MeterProvider([reader]))
    for _ in range(5):
        trail.record("order.pay")
    found = read(reader)
    assert (found["audit.queue.depth dead"], found["audit.records.exported dead"]) == (6, 0)
    trail.close(timeout=0.1)


def test_a_trail_that_is_gone_is_not_kept_alive(reader: InMemoryMetricReader) -> None:
    import gc

    from otel_audit.door import Door
    from otel_audit.sinks.local import LocalStore, StandardTarget

    trail = AuditTrail(LocalStore([StandardTarget("stderr")]), door=Door())
    observe(trail, MeterProvider([reader]))
    del trail
    gc.collect()
    assert read(reader) == {}
