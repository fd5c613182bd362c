from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk._logs.export import LogRecordExportResult, SimpleLogRecordProcessor

from otel_audit.errors import ConfigurationError
from otel_audit.otel import AuditLogRecordProcessor
from otel_audit.otel.exporters import (
    AuditFileExporter,
    AuditLogstashExporter,
    AuditOTLPExporter,
    AuditStdoutExporter,
)
from otel_audit.trail import AuditTrail
from tests.otel.logs import emit, provider_of
from tests.sinks.receiver import Receiver
from tests.writer.trails import verified

pytestmark = pytest.mark.filterwarnings("ignore:audit records go to .* in plain text:RuntimeWarning")


def told(lines: bytes | str) -> list[str]:
    records = [json.loads(line) for line in lines.splitlines()]
    return [record["message"] for record in records if "message" in record]


def test_each_record_is_a_sealed_line(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    provider = provider_of(SimpleLogRecordProcessor(AuditFileExporter(str(path))))
    emit(provider, "one", attributes={"audit.actor.id": "alice"})
    emit(provider, "two")
    provider.shutdown()

    assert told(path.read_text()) == ["one", "two"]
    assert json.loads(path.read_text().splitlines()[1])["audit"]["actor"]["id"] == "alice"
    assert verified(path).exit_code == 0


def test_what_the_processor_sealed_is_not_sealed_again(tmp_path: Path, trail: AuditTrail) -> None:
    path = tmp_path / "audit.jsonl"
    exporter = SimpleLogRecordProcessor(AuditFileExporter(str(path)))
    provider = provider_of(AuditLogRecordProcessor(trail), exporter)
    emit(provider, "sealed", attributes={"audit.action": "READ"})
    emit(provider, "ordinary")
    provider.shutdown()

    assert told(path.read_text()) == ["ordinary"]


def test_a_record_that_cannot_be_kept_fails_the_batch(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "taken").mkdir()
    exporter = AuditFileExporter(str(tmp_path / "taken"))
    results: list[Any] = []

    class Noting(SimpleLogRecordProcessor):
        def on_emit(self, log_record: Any) -> None:
            results.append(exporter.export([log_record]))

    emit(provider_of(Noting(exporter)))

    assert results == [LogRecordExportResult.FAILURE]
    assert "audit_file" in capfd.readouterr().err


def test_a_network_exporter_flushes_when_its_sink_has_everything(tmp_path: Path) -> None:
    with Receiver() as receiver:
        url = f"logstash+tcp://127.0.0.1:{receiver.port}?allow=loopback"
        exporter = AuditLogstashExporter(url, str(tmp_path))
        provider = provider_of(SimpleLogRecordProcessor(exporter))
        emit(provider, "one")
        assert exporter.force_flush(10_000)
        provider.shutdown()

        assert told(b"".join(receiver.lines)) == ["one"]
    assert verified(tmp_path).exit_code == 0


def test_after_shutdown_nothing_is_taken(tmp_path: Path) -> None:
    exporter = AuditFileExporter(str(tmp_path / "audit.jsonl"))
    exporter.shutdown()
    exporter.shutdown()

    assert exporter.export([]) is LogRecordExportResult.FAILURE
    assert exporter.force_flush()


@pytest.mark.parametrize("kind", [AuditFileExporter, AuditLogstashExporter])
def test_an_exporter_without_a_place_to_write_says_which_variable_is_missing(kind: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"set OTEL_PYTHON_AUDIT_(FILE_PATH|LOGSTASH_URL)"):
        kind()


def test_a_network_exporter_has_a_room_of_its_own_in_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_PYTHON_AUDIT_JOURNAL", str(tmp_path))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    exporter = AuditOTLPExporter()
    emit(provider_of(SimpleLogRecordProcessor(exporter)), "one")

    assert exporter.force_flush(10) is False
    assert list((tmp_path / "audit_otlp").glob("*.jsonl"))


def test_the_settings_of_the_processs_trail_do_not_reach_an_exporters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PYTHON_AUDIT_SINKS", "nowhere:")

    AuditStdoutExporter().shutdown()
