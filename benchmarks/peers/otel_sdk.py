"""The OpenTelemetry SDK's LoggingHandler, BatchLogRecordProcessor and OTLPLogExporter."""

from __future__ import annotations

import logging
import warnings
from functools import partial
from pathlib import Path
from typing import Any

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

from benchmarks.cases import SDK, Far, Log, Way
from benchmarks.peers.standard import attach


def _open(_: Path, far: Far, **options: Any) -> Log:
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    provider = LoggerProvider()
    exporter = OTLPLogExporter(endpoint=f"http://127.0.0.1:{far.port}/v1/logs")
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter, **options))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        handler = LoggingHandler(logger_provider=provider)
    return attach(handler)._replace(close=provider.shutdown)


WAYS = (
    Way(SDK, "http", partial(_open, max_queue_size=1 << 20, schedule_delay_millis=100)),
    Way("SDK handler, batch processor as it comes, OTLP/HTTP", "http", _open),
)
