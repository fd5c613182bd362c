"""Sealed lines for sinks to carry."""

from __future__ import annotations

from typing import Any

from otel_audit.chain import new_stream_id
from otel_audit.door import Door
from otel_audit.sealing import Chain
from otel_audit.sinks.base import SealedLine

__all__ = ["sealed"]


def sealed(
    count: int, *, stream: str | None = None, start: int = 1, by: Any = "alice", **data: Any
) -> list[SealedLine]:
    """Return `count` records of one stream from number `start` on, done by an actor."""
    chain, door = Chain(stream or new_stream_id(), start - 1, "0" * 64 if start > 1 else None), Door()
    lines = []
    for number in range(start, start + count):
        given = {"actor": by, "target": f"invoice/{number}", "outcome": "success"}
        head = door.admit("invoice.delete", given, {"note": "naïve \u2028 \U0001f600", **data}, nanoseconds=number)
        lines.append(SealedLine(chain.stream, number, chain.seal(head)))
    return lines
