"""The Kafka sink against librdkafka's own mock cluster, which fails as it is told to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from otel_audit.errors import ConfigurationError
from otel_audit.sinks.base import RecordsRefused, SealedLine, Sink, SinkUnavailable
from otel_audit.sinks.kafka import KafkaSink
from tests.sinks.lines import sealed

confluent_kafka = pytest.importorskip("confluent_kafka")

pytestmark = pytest.mark.filterwarnings("ignore:audit records go to .* in plain text:RuntimeWarning")


def mock_sink(**options: Any) -> KafkaSink:
    sink = KafkaSink(hosts="127.0.0.1:1", topic="audit", transport="tcp", **options)
    sink._settings["test.mock.num.brokers"] = 3
    return sink


def test_a_batch_is_confirmed_message_by_message() -> None:
    sink = mock_sink()
    assert isinstance(sink, Sink)
    sink.send(sealed(100))
    sink.send(sealed(100))
    sink.close()


def test_no_broker_in_time_keeps_the_records_and_the_next_send_starts_anew() -> None:
    sink = KafkaSink(hosts="127.0.0.1:1", topic="audit", transport="tcp", timeout=0.5)
    with pytest.raises(SinkUnavailable, match=r"127\.0\.0\.1:1, topic audit: 3 of 3"):
        sink.send(sealed(3))
    assert sink._producer is None


def test_a_message_larger_than_the_client_takes_is_refused_or_kept_but_never_confirmed() -> None:
    sink = mock_sink(max_bytes=1000)
    line = SealedLine("s", 1, b"x" * 5_000_000 + b"\n")
    with pytest.raises((RecordsRefused, SinkUnavailable)):
        sink.send([line])
    sink.send(sealed(1))
    sink.close()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("kafka+tls://broker:9093", "broker:9093/topic"),
        ("kafka+tls://broker/audit", "port"),
        ("kafka+ssl://broker:9093/audit", "unknown scheme"),
        ("kafka+tls://me@broker:9093/audit", "password_file"),
        ("kafka+tls://broker:9093/audit?timeout=0", "not positive"),
        ("kafka+tcp://broker:9093/audit?ca_file=/ca.pem", "plain text"),
        ("kafka+tls://broker:9093/audit?acks=1", "no option 'acks'"),
    ],
)
def test_a_wrong_url_says_what_is_wrong(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        KafkaSink.from_url(url)


def test_a_password_comes_from_a_file_and_is_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("hunter2\n")
    sink = KafkaSink(hosts="127.0.0.1:1", topic="audit", user="writer", password_file=str(file), timeout=0.3)
    with pytest.raises(SinkUnavailable) as caught:
        sink.send(sealed(1))
    assert "hunter2" not in f"{caught.value} {sink!r}"
