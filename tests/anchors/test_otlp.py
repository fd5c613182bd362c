"""A receiver of another trust domain: what it is sent, and that it gets no secret of the log's own receiver."""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

import otel_audit
from otel_audit.integrity.checkpoint import Checkpoint
from otel_audit.integrity.note import parse_note
from tests.anchors.shop import NAME, Shop, eventually
from tests.sinks.http_server import Reply, Server

pytestmark = pytest.mark.filterwarnings(
    "ignore:checkpoints go to .* in plain text:RuntimeWarning",
    "ignore:audit records go to .* in plain text:RuntimeWarning",
)

TAKEN = Reply(headers={"Content-Type": "application/x-protobuf"})


def test_the_receiver_gets_the_note_as_a_log_record(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=s3cret")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    with Server(default=TAKEN) as server:
        stream = shop.record(f"otlp+http://{server.host}", service="shop")
    request = ExportLogsServiceRequest.FromString(server.received[-1].body)
    (resource,) = request.resource_logs
    ((record,),) = [scope.log_records for scope in resource.scope_logs]
    attributes = {each.key: each.value for each in record.attributes}
    checkpoint = Checkpoint.parse(parse_note(record.body.string_value).text)
    assert record.event_name == "audit.checkpoint"
    assert attributes["audit.checkpoint.origin"].string_value == f"{NAME}/{stream}" == checkpoint.origin
    assert attributes["audit.checkpoint.size"].int_value == checkpoint.size == len(shop.lines())
    assert "shop" in {each.value.string_value for each in resource.resource.attributes}
    assert all("authorization" not in each.headers for each in server.received)
    kept = tmp_path / "kept"
    kept.write_text(record.body.string_value)
    assert shop.verify("--anchor", kept).tier == "anchored"
    shop.cut(1)
    shop.forget_beside()
    assert shop.verify("--anchor", kept).code == 1


def test_a_rejected_record_does_not_count_and_is_recorded(shop: Shop) -> None:
    rejected = ExportLogsServiceResponse(
        partial_success=ExportLogsPartialSuccess(rejected_log_records=1, error_message="not here")
    )
    answer = Reply(body=rejected.SerializeToString(), headers=TAKEN.headers)
    with (
        Server(default=answer) as server,
        shop.open(f"otlp+http://{server.host}", patience=0.1, checkpoint_interval=0.05),
    ):
        otel_audit.record("invoice.delete", actor="alice")
        assert eventually(shop.troubles)
    assert shop.troubles()[0][1]["cause"] == "anchor refuses"
    assert "not here" in shop.troubles()[0][1]["error"]


def test_the_environment_alone_names_no_anchor(shop: Shop) -> None:
    with pytest.raises(otel_audit.ConfigurationError, match="there is no anchor 'otlp'; did you mean 'otlp"):
        shop.record("otlp:")
