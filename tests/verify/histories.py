"""Honest histories for the verifier's tests: streams and journals written with nothing but the chain."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path
from typing import Any

from otel_audit.canonical import canonicalize, parse
from otel_audit.chain import leaf_hash
from otel_audit.sealing import Chain

SYSTEM = {"id": "otel-audit", "type": "system"}
START = 1_700_000_000_000_000_000


def stream_id(number: int) -> str:
    """A stream id that is the same in every run."""
    return f"018c{number:08x}{'7abc8def01234567890a':>020}"


def timestamp(nanoseconds: int) -> str:
    from datetime import datetime, timezone

    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"


class Writer:
    """One stream, written honestly. Each record is a millisecond after the one before."""

    def __init__(self, number: int = 1, *, start: int = START) -> None:
        self.stream = stream_id(number)
        self.chain = Chain(self.stream)
        self.lines: list[bytes] = []
        self.now = start

    def seal(self, record: dict[str, Any]) -> bytes:
        self.now += 1_000_000
        line = self.chain.seal(canonicalize({"@timestamp": timestamp(self.now), **record})[:-1])
        self.lines.append(line)
        return line

    def control(self, event: str, data: dict[str, Any], action: str = "NOTE") -> bytes:
        audit = {"action": action, "actor": SYSTEM, "outcome": "success"}
        return self.seal({"audit": audit, "data": data, "event_name": event})

    def open(self, *, previous: list[dict[str, Any]] | None = None, **more: Any) -> Writer:
        data = {
            "format": 1,
            "algorithms": {"canonical": "rfc8785", "hash": "sha256"},
            "previous": previous or [],
            **more,
        }
        self.control("audit.stream.open", data, "OPEN")
        return self

    def event(self, number: int = 0, **more: Any) -> bytes:
        audit = {"action": "DELETE", "actor": {"id": f"alice{number}", "type": "user"}, "outcome": "success"}
        data = {"amount": 12.5, "invoice": number, "note": "größer ☃"}
        return self.seal(
            {"audit": audit, "data": data, "event_name": "invoice.delete", "message": f"gone {number}", **more}
        )

    def events(self, count: int) -> Writer:
        for number in range(count):
            self.event(number)
        return self

    def close(self, lost: int = 0, **more: Any) -> Writer:
        self.control("audit.stream.close", {"records": self.chain.seq + 1, "lost": lost, **more}, "CLOSE")
        return self

    def ending(self, *, closed: bool = True, torn: dict[str, Any] | None = None) -> dict[str, Any]:
        """What the next stream says of this one."""
        said = {"stream": self.stream, "seq": self.chain.seq, "hash": self.chain.last_hash, "closed": closed}
        return {**said, "torn": torn} if torn else said

    def segment(self, number: int = 1) -> str:
        return f"{self.stream}.{number:06d}.jsonl"


def whole(number: int = 1, events: int = 18, **more: Any) -> Writer:
    """A stream that was opened, used and closed: 20 records."""
    return Writer(number).open(**more).events(events).close()


def put(directory: Path, writer: Writer, *cuts: int, tail: bytes = b"") -> Path:
    """Write a stream's segments, cut before the given record numbers; return the first one's path."""
    directory.mkdir(exist_ok=True)
    edges = [0, *[cut - 1 for cut in cuts], len(writer.lines)]
    for number, (start, end) in enumerate(pairwise(edges), 1):
        path = directory / writer.segment(number)
        path.write_bytes(b"".join(writer.lines[start:end]) + (tail if end == len(writer.lines) else b""))
    return directory / writer.segment()


def torn(writer: Writer, tail: bytes, number: int = 1) -> dict[str, Any]:
    """How the next stream declares a torn tail of a stream in one segment."""
    offset = len(b"".join(writer.lines))
    digest = hashlib.sha256(tail).hexdigest()
    return {"segment": writer.segment(number), "offset": offset, "length": len(tail), "sha256": digest}


def reseal(line: bytes, **changes: Any) -> bytes:
    """Change members of a line and give it a fitting hash, as somebody without a key can."""
    record = {**parse(line), **changes}
    del record["hash"]
    canonical = canonicalize({name: value for name, value in record.items() if value is not ...})
    return canonical[:-1] + b',"hash":"%b"}\n' % leaf_hash(canonical).encode()


def rewrite(lines: list[bytes], place: int, **changes: Any) -> list[bytes]:
    """Change one record and seal it and all behind it again: what nothing inside the log can show."""
    kept = lines[:place]
    prev = parse(lines[place - 1])["hash"] if place else None
    for line in lines[place:]:
        link = {"prev_hash": prev} if prev else {}
        line = reseal(line, **link, **changes)
        changes = {}
        prev = parse(line)["hash"]
        kept.append(line)
    return kept
