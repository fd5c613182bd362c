"""A stream made in memory, record by record, and checked as `verify` checks one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from otel_audit.canonical import canonicalize
from otel_audit.integrity.checkpoint import Checkpoint, origin_of
from otel_audit.integrity.merkle import root_hash
from otel_audit.integrity.policy import Policy
from otel_audit.integrity.signatures import CosignatureSigner, Ed25519Signer, Signer, sign_note
from otel_audit.integrity.verdict import Verdict
from otel_audit.integrity.verification import StreamIntegrity
from otel_audit.sealing import Chain

NAME = "shop.example/audit"
START = 1_800_000_000


class Stream:
    """One stream. Times are seconds after `START`."""

    def __init__(self, *, at: float = 0, name: str = NAME) -> None:
        milliseconds = int((START + at) * 1000)
        random = int.from_bytes(os.urandom(10), "big")
        value = milliseconds << 80 | random
        value = value & ~(0xF << 76) | 0x7 << 76
        self.stream = f"{value & ~(0x3 << 62) | 0x2 << 62:032x}"
        self.origin = origin_of(name, self.stream)
        self.records: list[dict[str, Any]] = []
        self.lines: list[bytes] = []
        self.hashes: list[str] = []
        self._chain = Chain(self.stream)
        self.write("audit.stream.open", at=at)

    def write(self, event: str, data: dict[str, Any] | None = None, *, at: float = 0) -> None:
        moment = datetime.fromtimestamp(START + at, timezone.utc)
        record: dict[str, Any] = {
            "@timestamp": moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z",
            "audit": {"action": "X", "actor": {"id": "otel-audit", "type": "system"}, "outcome": "success"},
            "event_name": event,
        }
        if data is not None:
            record["data"] = data
        self.lines.append(self._chain.seal(canonicalize(record)[:-1]))
        record["seq"] = self._chain.seq
        self.records.append(record)
        assert self._chain.last_hash is not None
        self.hashes.append(self._chain.last_hash)

    def log(self, count: int = 1, *, at: float = 0) -> None:
        for _ in range(count):
            self.write("invoice.delete", at=at)

    def packed(self, size: int | None = None) -> bytes:
        return bytes.fromhex("".join(self.hashes[:size]))

    def head(self, size: int | None = None) -> Checkpoint:
        size = len(self.hashes) if size is None else size
        return Checkpoint(self.origin, size, root_hash(self.packed(size)))

    def note(self, *signers: Signer, size: int | None = None, at: float = 0, final: bool = False) -> str:
        return sign_note(self.head(size).encode(), signers, time=int(START + at), final=final).encode()

    def checkpoint(self, *signers: Signer, at: float = 0, final: bool = False) -> str:
        """Sign the present head and write it into the stream."""
        note = self.note(*signers, at=at, final=final)
        self.write("audit.checkpoint", {"note": note}, at=at)
        return note

    def close(self, *, at: float = 0) -> None:
        self.write("audit.stream.close", {"records": len(self.hashes) + 1, "lost": 0}, at=at)

    def copy(self, size: int) -> Stream:
        """The same stream, cut after `size` records; what is written from there on is another history."""
        twin = Stream()
        twin.stream, twin.origin = self.stream, self.origin
        twin.records, twin.lines, twin.hashes = self.records[:size], self.lines[:size], self.hashes[:size]
        twin._chain = Chain(self.stream, size, self.hashes[size - 1])
        return twin

    def check(self, policy: Policy | None = None, *, at: float = 100, batch: int = 7, **kept: Any) -> Verdict:
        return check(self.stream, self.records, self.hashes, policy, at=at, batch=batch, **kept)


def check(
    stream: str,
    records: Sequence[dict[str, Any]],
    hashes: Sequence[str],
    policy: Policy | None,
    *,
    at: float,
    batch: int = 7,
    **kept: Any,
) -> Verdict:
    integrity = StreamIntegrity(stream, policy=policy, now=START + at, **kept)
    for start in range(0, len(records), batch):
        some = records[start : start + batch]
        times = [each["@timestamp"] for each in some]
        integrity.extend(hashes[start : start + batch], until=times[-1], times=times)
        for record in some:
            if record["event_name"].startswith("audit."):
                integrity.control(record)
    return integrity.finish()


@pytest.fixture(scope="session")
def signer() -> Ed25519Signer:
    return Ed25519Signer.from_private(NAME, Ed25519PrivateKey.generate())


@pytest.fixture(scope="session")
def other_signer() -> Ed25519Signer:
    """Another key of the same name."""
    return Ed25519Signer.from_private(NAME, Ed25519PrivateKey.generate())


@pytest.fixture(scope="session")
def witness() -> CosignatureSigner:
    return CosignatureSigner.from_private("witness.example/w1", Ed25519PrivateKey.generate())


@pytest.fixture(scope="session")
def make_stream() -> type[Stream]:
    return Stream


@pytest.fixture(scope="session")
def make_policy() -> Any:
    def make(*logs: Signer, lines: str = "", quorum: str = "none") -> Policy:
        text = "".join(f"log {log.vkey}\n" for log in logs) + lines + f"quorum {quorum}\n"
        return Policy.parse(text.encode())

    return make


@pytest.fixture(scope="session")
def check_records() -> Any:
    return check
