#!/usr/bin/env bash
# Run the application as a container runtime would, and check what it printed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
output=$(mktemp)
trap 'rm -f "$output"' EXIT
python app.py >"$output"
python -m otel_audit verify "$output"
