#!/usr/bin/env bash
# Logs, checks, changes one name in the journal, and sees that the check finds it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python shop.py "$work/journal"
otel-audit verify "$work/journal"

sed -i 's/"id":"bob"/"id":"eve"/' "$work"/journal/*.jsonl
result=0
otel-audit verify "$work/journal" || result=$?
[[ $result -eq 1 ]] || { echo "the change was not found: exit $result"; exit 1; }
