"""Leaves that are packed in C are those that Python packs."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_audit import native
from otel_audit.integrity.packed import PackedLeaves, new_leaves

KINDS = [PackedLeaves] if native.PackedLeaves is None else [PackedLeaves, native.PackedLeaves]
DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)
STEPS = st.lists(st.lists(DIGESTS, max_size=150) | st.floats(0, 1), max_size=12)


@pytest.mark.skipif(native.PackedLeaves is None, reason="the part in C was not built")
def test_they_are_packed_in_c_where_that_was_built() -> None:
    assert type(new_leaves()) is native.PackedLeaves


@pytest.mark.parametrize("kind", KINDS)
@given(steps=STEPS)
def test_what_was_put_is_taken_in_order_and_once(kind: Any, steps: list[Any]) -> None:
    leaves, waiting = kind(), []
    for step in steps:
        if isinstance(step, list):
            waiting += step
            for digest in step:
                leaves.put(digest)
        else:
            count = int(step * len(waiting))
            assert leaves.take(count).hex() == "".join(waiting[:count])
            del waiting[:count]
        assert len(leaves) == len(waiting)
    assert leaves.take(len(waiting)).hex() == "".join(waiting)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "digest", ["", "0" * 63, "0" * 65, "A" * 64, " " * 64, "0" * 63 + "g", "/" * 64, ":" * 64, "`" * 64, "\u00e9" * 64]
)
def test_what_is_no_hash_is_refused(kind: Any, digest: str) -> None:
    leaves = kind()
    leaves.put("0f" * 32)
    with pytest.raises(ValueError, match="64 lower-case hex digits"):
        leaves.put(digest)
    assert leaves.take(1) == b"\x0f" * 32
    assert len(leaves) == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [-1, 2, 2**40])
def test_no_more_is_taken_than_there_is(kind: Any, count: int) -> None:
    leaves = kind()
    leaves.put("00" * 32)
    with pytest.raises(ValueError, match="not so many"):
        leaves.take(count)
    assert len(leaves) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_one_thread_puts_while_another_takes(kind: Any) -> None:
    leaves, taken = kind(), []

    def put() -> None:
        for number in range(20_000):
            leaves.put(f"{number:064x}")

    thread = threading.Thread(target=put)
    thread.start()
    while thread.is_alive() or len(leaves):
        taken.append(leaves.take(len(leaves)))
    assert b"".join(taken) == b"".join(number.to_bytes(32, "big") for number in range(20_000))
