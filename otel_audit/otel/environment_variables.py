"""The environment variables of this package: `opentelemetry-instrument` makes a command-line flag of each."""

from __future__ import annotations

from typing import Final

OTEL_PYTHON_AUDIT_ENABLED: Final = "OTEL_PYTHON_AUDIT_ENABLED"
"""`true`: the `audit` instrumentor starts the trail."""

OTEL_PYTHON_AUDIT_JOURNAL: Final = "OTEL_PYTHON_AUDIT_JOURNAL"
"""Directory of stream files."""

OTEL_PYTHON_AUDIT_SINKS: Final = "OTEL_PYTHON_AUDIT_SINKS"
"""Where records go: URLs, separated by commas."""

OTEL_PYTHON_AUDIT_LOGGERS: Final = "OTEL_PYTHON_AUDIT_LOGGERS"
"""Existing loggers that become audit, separated by commas."""

OTEL_PYTHON_AUDIT_DURABILITY: Final = "OTEL_PYTHON_AUDIT_DURABILITY"
"""When a logging call returns."""

OTEL_PYTHON_AUDIT_ON_FAILURE: Final = "OTEL_PYTHON_AUDIT_ON_FAILURE"
"""What a caller sees when a record cannot be kept."""

OTEL_PYTHON_AUDIT_CONFIG: Final = "OTEL_PYTHON_AUDIT_CONFIG"
"""YAML file of settings."""

OTEL_PYTHON_AUDIT_SIGNING_KEY_FILE: Final = "OTEL_PYTHON_AUDIT_SIGNING_KEY_FILE"
"""Private key that signs checkpoints."""

OTEL_PYTHON_AUDIT_METRICS: Final = "OTEL_PYTHON_AUDIT_METRICS"
"""`true`: report counts, queues and durations through the metrics API."""

OTEL_PYTHON_AUDIT_FILE_PATH: Final = "OTEL_PYTHON_AUDIT_FILE_PATH"
"""File that the logs exporter `audit_file` writes."""

OTEL_PYTHON_AUDIT_LOGSTASH_URL: Final = "OTEL_PYTHON_AUDIT_LOGSTASH_URL"
"""Where the logs exporter `audit_logstash` sends."""
