#!/usr/bin/env bash
# Agent, gateway and store on this machine, on loopback; the gateway dies on the way. Ends with what verify says.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
collector=${OTELCOL_BIN:-$(../../tests/servers/otelcol/build.sh --path)}
if [[ ! -x $collector ]]; then
    echo "No Collector: set OTELCOL_BIN, or run tests/servers/otelcol/build.sh" >&2
    exit 1
fi
configs=../../collector-config
room=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$room"' EXIT

make_certificate() { # name, extension
    openssl req -newkey rsa:2048 -nodes -subj "/CN=$1" -keyout "$room/$1.key" -out "$room/$1.csr"
    openssl x509 -req -in "$room/$1.csr" -CA "$room/ca.crt" -CAkey "$room/ca.key" -days 1 -out "$room/$1.crt" \
        -extfile <(echo "subjectAltName=DNS:localhost")
} 2>/dev/null

openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj "/CN=audit CA" -keyout "$room/ca.key" -out "$room/ca.crt" 2>/dev/null
make_certificate agent
make_certificate gateway

export AUDIT_CA=$room/ca.crt

start_store() {
    AUDIT_LISTEN=127.0.0.1:24328 AUDIT_HEALTH_PORT=24330 AUDIT_METRICS_PORT=24331 AUDIT_DIR=$room/store \
        INVOCATION_ID=$RANDOM$RANDOM "$collector" --config $configs/to-file.yaml 2>"$room/store.log" &
}

start_gateway() {
    AUDIT_LISTEN=127.0.0.1:24338 AUDIT_HEALTH_PORT=24340 AUDIT_METRICS_PORT=24341 AUDIT_STATE=$room/queue \
        AUDIT_SERVER_CERT=$room/gateway.crt AUDIT_SERVER_KEY=$room/gateway.key AUDIT_NEXT=http://127.0.0.1:24328 \
        AUDIT_CERT=$room/gateway.crt AUDIT_KEY=$room/gateway.key \
        "$collector" --config $configs/gateway.yaml 2>>"$room/gateway.log" &
    gateway=$!
}

start_agent() {
    AUDIT_HEALTH_PORT=24350 AUDIT_METRICS_PORT=24351 AUDIT_STATE=$room/offsets AUDIT_JOURNAL=$room/journal \
        AUDIT_GATEWAY=https://localhost:24338 AUDIT_CERT=$room/agent.crt AUDIT_KEY=$room/agent.key \
        "$collector" --feature-gates=stanza.synchronousLogEmitter --config $configs/agent-journal.yaml \
        2>"$room/agent.log" &
}

stored() {
    cat "$room"/store/*.jsonl 2>/dev/null | grep -o '"audit.record.id","value":{"stringValue":"[^"]*"' | sort -u | wc -l
}

start_store
start_gateway
start_agent
python app.py "$room/journal" 2000
kill -9 "$gateway"
wait "$gateway" 2>/dev/null || true
python app.py "$room/journal" 2000
start_gateway

for _ in $(seq 300); do
    [[ $(stored) -ge 4004 ]] && break # and the two streams' opening and closing records
    sleep 0.2
done
echo "in the store: $(stored) records"
python -m otel_audit verify --unordered "$room/store"
