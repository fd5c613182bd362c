"""Every single bit of a log, flipped one at a time: never a pass, never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_audit.verify import verify
from tests.verify.histories import put, whole


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    assert missed(tmp_path / "audit.jsonl", range(8)) == []


def test_a_flipped_bit_of_every_byte_of_a_journal_segment_is_found(tmp_path: Path) -> None:
    assert missed(put(tmp_path, whole()), [5]) == []


def missed(path: Path, bits: range | list[int]) -> list[tuple[int, int, int]]:
    """Flip bits of a 20-record log at this path; return the flips that are not called tampering."""
    log = bytearray(b"".join(whole().lines))
    last = len(log) - 1  # without its newline the last record is a torn tail: incomplete, not tampered
    wrong = []
    for place in range(len(log)):
        for bit in bits:
            log[place] ^= 1 << bit
            path.write_bytes(log)
            found = verify([path]).exit_code
            log[place] ^= 1 << bit
            if found != (3 if place == last else 1):
                wrong.append((place, bit, found))
    return wrong
