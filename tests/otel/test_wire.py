"""Hand-written protobuf, read back by opentelemetry-proto's own classes."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_audit.otel.projection import project
from otel_audit.otel.wire import RequestWriter, _any_value, encode_record

pytest.importorskip("opentelemetry.proto")

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

STREAM = "01a200a867407357b1ffeabe75c3f9c0"
RESOURCE = {"service.name": "shop", "process.command_args": ("a", "b"), "n": 1}
WRITER = RequestWriter(RESOURCE, "otel_audit", "1")

text = st.text(st.characters(exclude_categories=["Cs"]))
integers = st.integers(-(2**53) + 1, 2**53 - 1)
scalar = text | integers | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)
keys = st.sampled_from(["", "id", "type", "x"])
values = st.recursive(
    scalar | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner),
    max_leaves=4,
)
names = st.sampled_from(["action", "actor", "session", "source", "tenant", "reason", "outcome", "version", "other"])


def line_of(members: dict[str, Any]) -> bytes:
    return json.dumps(members, ensure_ascii=False).encode() + b"\n"


def decode(*records: bytes) -> list[LogRecord]:
    request = ExportLogsServiceRequest.FromString(WRITER.write(records))
    (resource,) = request.resource_logs
    (scope,) = resource.scope_logs
    assert (scope.scope.name, scope.scope.version) == ("otel_audit", "1")
    return list(scope.log_records)


def plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    found = getattr(value, kind)
    return [plain(item) for item in found.values] if kind == "array_value" else found


@given(
    audit=st.dictionaries(names, values),
    seq=st.integers(1, 2**53 - 1),
    event_name=text,
    logger=text,
    level=text,
    trace_flags=st.integers(0, 255),
)
def test_every_record_reads_back_as_its_projection(
    audit: dict[str, Any], seq: int, event_name: str, logger: str, level: str, trace_flags: int
) -> None:
    members = {
        "@timestamp": "2026-11-21T22:30:00.123456789Z",
        "audit": audit,
        "event_name": event_name,
        "level": level,
        "logger": logger,
        "otel": {"trace_id": "ab" * 16, "span_id": "cd" * 8, "trace_flags": trace_flags},
        "prev_hash": "0" * 64,
        "seq": seq,
        "stream": STREAM,
    }
    line = line_of(members)
    (found,) = decode(encode_record(STREAM, seq, line))
    shown = project(members)
    attributes = {item.key: plain(item.value) for item in found.attributes}
    assert attributes == shown.attributes
    assert {name: type(value) for name, value in attributes.items()} == {
        name: type(value) for name, value in shown.attributes.items()
    }
    assert found.body.string_value.encode() + b"\n" == line
    assert (found.event_name, found.severity_text) == (event_name, level)
    assert found.time_unix_nano == found.observed_time_unix_nano == 1_795_300_200_123_456_789
    assert (found.trace_id.hex(), found.span_id.hex(), found.flags) == ("ab" * 16, "cd" * 8, trace_flags)


@given(st.binary(max_size=200) | values.map(lambda value: json.dumps(value).encode()))
def test_no_line_is_refused_and_its_bytes_survive(line: bytes) -> None:
    (found,) = decode(encode_record(STREAM, 3, line + b"\n"))
    body = getattr(found.body, found.body.WhichOneof("value"))
    assert (body.encode() if isinstance(body, str) else body) == line
    assert {item.key: plain(item.value) for item in found.attributes}["audit.record.id"] == f"{STREAM}-3"


@pytest.mark.parametrize(
    "members",
    [
        {"@timestamp": "1969-11-21T22:30:00.123456789Z"},
        {"otel": {"trace_id": "zz", "span_id": "zz"}},
        {"otel": {"trace_id": "ab" * 16, "span_id": "cd" * 8, "trace_flags": -1}},
        {"level": 5},
        {"event_name": 7},
        {"audit": None},
    ],
)
def test_a_line_out_of_shape_travels_with_its_id_alone(members: dict[str, Any]) -> None:
    line = line_of(
        {
            "@timestamp": "2026-11-21T22:30:00.000000001Z",
            "audit": {},
            "event_name": "x",
            "seq": 1,
            "stream": STREAM,
        }
        | members
    )
    (found,) = decode(encode_record(STREAM, 1, line))
    assert found.body.string_value.encode() + b"\n" == line
    assert len(found.attributes) == 3


def test_several_records_make_one_scope_in_order() -> None:
    lines = [encode_record(STREAM, seq, b"line %d\n" % seq) for seq in range(1, 400)]
    assert [found.body.string_value for found in decode(*lines)] == [f"line {seq}" for seq in range(1, 400)]


def test_the_resource_is_written_with_its_types() -> None:
    resource = ExportLogsServiceRequest.FromString(WRITER.write([])).resource_logs[0].resource
    assert {item.key: plain(item.value) for item in resource.attributes} == {
        "service.name": "shop",
        "process.command_args": ["a", "b"],
        "n": 1,
    }


@given(st.floats())
def test_a_float_keeps_its_value(double: float) -> None:
    found = AnyValue.FromString(_any_value(double)).double_value
    assert found == double or (math.isnan(found) and math.isnan(double))
