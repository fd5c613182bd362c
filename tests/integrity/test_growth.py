"""Proofs from sizes that were marked, as the tree grows: always those that RFC 9162 makes of all the leaves."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import otel_audit
from otel_audit.errors import FormatError
from otel_audit.integrity.growth import Extension, Growth
from otel_audit.integrity.leaves import read_extension, read_leaves
from otel_audit.integrity.merkle import Frontier, consistency_proof

LEAVES = b"".join(sha256(b"%d" % number).digest() for number in range(600))


def after(size: int) -> Frontier:
    frontier = Frontier()
    frontier.extend(LEAVES[: 32 * size])
    return frontier


def test_every_small_extension_is_proved() -> None:
    for old in range(70):
        extension = Extension(after(old))
        for size in range(old, 140):
            assert extension.proof() == consistency_proof(LEAVES, old, size)
            extension.extend(LEAVES[32 * size : 32 * size + 32])


@given(st.integers(0, 300), st.lists(st.integers(0, 60), max_size=5))
@settings(max_examples=200, deadline=None)
def test_it_does_not_matter_in_which_pieces_leaves_come(old: int, steps: list[int]) -> None:
    extension, size = Extension(after(old)), old
    for step in steps:
        extension.extend(memoryview(LEAVES)[32 * size : 32 * (size + step)])
        size += step
    assert extension.proof() == consistency_proof(LEAVES, old, size)


def test_an_extension_holds_a_few_hashes_only() -> None:
    extension = Extension(after(3))
    extension.extend(sha256(b"").digest() * 100_000)
    held = len(extension._inside) + len(extension._beyond) + len(extension._growing.subtrees)
    assert held <= 2 * 17


def test_marks_that_nobody_asks_for_are_forgotten() -> None:
    growth, place = Growth(), 0
    sizes = []
    for step in (3, 5, 11, 2):
        growth.extend(LEAVES[32 * place : 32 * (place + step)])
        place += step
        proofs = growth.mark(sizes[-1:])
        assert proofs == {size: consistency_proof(LEAVES, size, place) for size in sizes[-1:]}
        sizes.append(place)


def test_a_proof_can_be_made_from_the_journal(tmp_path: Path) -> None:
    trail = otel_audit.configure(journal=tmp_path, sinks=[], heartbeat=0, segment_bytes="4KiB")
    for _ in range(40):
        otel_audit.record("order.pay")
    stream = trail.stream.id
    trail.close()
    packed = read_leaves(tmp_path, stream).packed
    for old in (1, 2, 7, 32, 41):
        for size in (old, 41, 42):
            assert read_extension(tmp_path, stream, old, size) == consistency_proof(packed, old, size)
    with pytest.raises(FormatError, match=r"holds 42 records of .*, not 50"):
        read_extension(tmp_path, stream, 7, 50)
    next(iter(sorted(tmp_path.glob("*.jsonl")))).unlink()
    with pytest.raises(FormatError, match="does not follow record 0"):
        read_extension(tmp_path, stream, 7, 42)


def test_reading_a_long_stream_takes_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_audit.integrity.leaves._BATCH", 3)
    monkeypatch.setattr("otel_audit.integrity.leaves._REMEMBERED", 4)
    trail = otel_audit.configure(journal=tmp_path, sinks=[], heartbeat=0)
    for _ in range(100):
        otel_audit.record("order.pay")
    stream = trail.stream.id
    trail.close()
    packed = read_leaves(tmp_path, stream).packed
    assert read_extension(tmp_path, stream, 17, 99) == consistency_proof(packed, 17, 99)
