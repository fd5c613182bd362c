#!/usr/bin/env bash
# Runs the same program twice, once without OpenTelemetry and once under opentelemetry-instrument: each time its `shop`
# loggers become audit, by environment variables alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

export OTEL_PYTHON_AUDIT_LOGGERS=shop
export OTEL_PYTHON_AUDIT_SINKS=

check() {
    otel-audit verify "$1"
    local found
    found=$(cat "$1"/*.jsonl | grep -c '"logger":"shop\.')
    [[ $found -eq 2 ]] || { echo "$found of 2 events are in $1"; exit 1; }
    if grep -q -e 'correct horse' -e 'urllib3' "$1"/*.jsonl; then
        echo "something is in $1 that must not be"
        exit 1
    fi
}

OTEL_PYTHON_AUDIT_JOURNAL=$work/run otel-audit run python shop.py
check "$work/run"

export OTEL_PYTHON_AUDIT_ENABLED=true OTEL_TRACES_EXPORTER=none OTEL_METRICS_EXPORTER=none OTEL_LOGS_EXPORTER=none
OTEL_PYTHON_AUDIT_JOURNAL=$work/instrument opentelemetry-instrument python shop.py
check "$work/instrument"
