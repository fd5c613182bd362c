"""The event that every case logs: 15 fields, one of them nested, 437 bytes of JSON."""

from __future__ import annotations

import random
from typing import Any

import orjson

__all__ = ["EVENT_BYTES", "MARK", "Event", "make_events", "make_short_events"]

Event = dict[str, Any]

EVENT_BYTES = 437
MARK = b"ticket-"
"""Stands exactly once in every event: lines that hold it are counted as delivered."""

_SHORT = ("action", "user", "resource", "outcome")


def make_events(count: int = 1024, seed: int = 0) -> list[Event]:
    """Return different events of the same size; one seed gives the same events every time."""
    source = random.Random(seed)
    return [_make_event(source) for _ in range(count)]


def make_short_events(count: int = 1024, seed: int = 0) -> list[Event]:
    """Return different events of four fields: what, by whom, to what, how it ended."""
    return [{name: event[name] for name in _SHORT} for event in make_events(count, seed)]


def _make_event(source: random.Random) -> Event:
    event: Event = {
        "action": source.choice(("document.read", "document.update", "member.invite", "member.remove")),
        "outcome": source.choice(("success", "failure")),
        "user": f"user-{source.randrange(100_000):05}@example.org",
        "role": source.choice(("viewer", "editor", "owner")),
        "tenant": f"tenant-{source.randrange(1000):03}",
        "resource": f"document/{source.randbytes(6).hex()}",
        "address": f"192.0.2.{source.randrange(256)}",
        "agent": "Mozilla/5.0 (X11; Linux x86_64)",
        "request_id": source.randbytes(8).hex(),
        "session_id": source.randbytes(8).hex(),
        "status": source.choice((200, 201, 403, 404)),
        "elapsed_ms": source.randrange(1, 5000),
        "reason": f"{MARK.decode()}{source.randrange(10_000)}",
        "change": {
            "field": "visibility",
            "old": "private",
            "new": "team",
            "seen_by": [source.randrange(100), 7],
        },
        "note": "",
    }
    event["note"] = "x" * (EVENT_BYTES - len(orjson.dumps(event)))
    return event
