"""Sealed streams made from the format's own parts, for tests that only carry lines from place to place."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from otel_audit.canonical import canonicalize
from otel_audit.chain import new_stream_id
from otel_audit.sealing import Chain

_START = datetime(2026, 11, 21, 22, 30, tzinfo=timezone.utc)


def sealed_stream(records: int, *, stream: str | None = None, padding: int = 0) -> list[str]:
    """Return one whole stream, opened and closed, of `records` lines in all, each without its newline."""
    chain = Chain(stream or new_stream_id())
    opening = {
        "format": 1,
        "algorithms": {"canonical": "rfc8785", "hash": "sha256"},
        "durability": "process",
        "service": {"name": "shop"},
        "host": {"name": "node-1"},
        "process": {"pid": 4711, "python": "3.11.7"},
        "package": {"name": "otel-audit", "version": "0.1.0"},
        "config_digest": "0" * 64,
        "previous": [],
    }
    lines = [_seal(chain, 0, "audit.stream.open", opening)]
    for number in range(1, records - 1):
        data = {"invoice": f"INV-{number}", "note": "naïve “quotes” \\ and \u2028", "amount": number / 4}
        if padding:
            data["padding"] = "x" * padding
        lines.append(_seal(chain, number, "invoice.delete", data))
    lines.append(_seal(chain, records, "audit.stream.close", {"records": records, "lost": 0}))
    return lines


def _seal(chain: Chain, number: int, event_name: str, data: dict[str, object]) -> str:
    moment = _START + timedelta(milliseconds=number)
    control = event_name.startswith("audit.")
    actor = {"id": "otel-audit", "type": "system"} if control else {"id": "alice", "type": "user"}
    record = {
        "@timestamp": f"{moment:%Y-%m-%dT%H:%M:%S.%f}{number % 1000:03d}Z",
        "audit": {"action": event_name.rpartition(".")[2].upper(), "actor": actor, "outcome": "success"},
        "data": data,
        "event_name": event_name,
    }
    return chain.seal(canonicalize(record)[:-1]).decode().removesuffix("\n")
