"""The OpenTelemetry SDK's LoggingHandler, alone and with its BatchLogRecordProcessor and OTLPLogExporter."""

from __future__ import annotations

import logging
import warnings
from functools import partial
from pathlib import Path
from typing import Any

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler, LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

from benchmarks.cases import SDK, SDK_ALONE, SDK_MAPPING, Case, Far, Log, Way
from benchmarks.events import Event
from benchmarks.peers.standard import attach


class _Nothing(LogRecordProcessor):
    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        pass

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


def attach_provider(*processors: LogRecordProcessor) -> Log:
    """Log through the SDK's LoggingHandler to a provider with these processors."""
    provider = LoggerProvider()
    for processor in processors:
        provider.add_log_record_processor(processor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        handler = LoggingHandler(logger_provider=provider)
    return attach(handler)._replace(close=provider.shutdown)


def say_who_and_what(log: Log) -> Log:
    """Have each event logged with an `audit` mapping beside its fields."""
    logger = logging.getLogger("benchmark")

    def write(event: Event) -> None:
        said = {"actor": event["user"], "target": event["resource"], "outcome": event["outcome"]}
        logger.info("document read", extra={**event, "audit": said})

    return log._replace(write=write)


def _open_alone(_: Path) -> Log:
    return attach_provider(_Nothing())


def _open_mapping(_: Path) -> Log:
    return say_who_and_what(attach_provider(_Nothing()))


def _open(_: Path, far: Far, **options: Any) -> Log:
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    exporter = OTLPLogExporter(endpoint=f"http://127.0.0.1:{far.port}/v1/logs")
    return attach_provider(BatchLogRecordProcessor(exporter, **options))


CASES = (Case(SDK_ALONE, _open_alone, keeps=False), Case(SDK_MAPPING, _open_mapping, keeps=False))

WAYS = (
    Way(SDK, "http", partial(_open, max_queue_size=1 << 20, schedule_delay_millis=100)),
    Way("SDK handler, batch processor as it comes, OTLP/HTTP", "http", _open),
)
