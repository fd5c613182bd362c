#!/usr/bin/env bash
# Emits through a LoggerProvider with a queue that is far too short, and checks that the trail has everything.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python shop.py "$work/journal"
otel-audit verify "$work/journal"
found=$(cat "$work"/journal/*.jsonl | grep -c '"event_name":"invoice.delete"')
[[ $found -eq 200 ]] || { echo "$found of 200 events are in the journal"; exit 1; }
