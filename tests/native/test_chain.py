"""A chain that is kept in C seals as the one in Python does."""

from __future__ import annotations

import gc
import hashlib
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_audit import native
from otel_audit.durability import Receipt
from otel_audit.sealing import Chain, new_chain

pytestmark = pytest.mark.skipif(
    native.Chain is None, reason="the part in C was not built: pip install . where there is a C compiler"
)

STREAM = "0199" + "ab" * 14
LEAF = hashlib.sha256(b"\x00")
HEAD = b'{"@timestamp":"2026-11-26T00:00:00.000000000Z"'
HASHES = st.none() | st.text("0123456789abcdef", min_size=64, max_size=64)


def in_c(stream: str = STREAM, seq: int = 0, last_hash: str | None = None, leaf: Any = LEAF) -> Any:
    return native.Chain(Receipt(stream, seq, last_hash), leaf)


@given(
    heads=st.lists(st.binary(max_size=5000).map(lambda rest: HEAD + rest), min_size=1, max_size=5),
    stream=st.text(st.characters(min_codepoint=1, max_codepoint=127), max_size=40),
    seq=st.integers(0, 2**53 - 10),
    last_hash=HASHES,
)
def test_lines_and_places_are_the_same(heads: list[bytes], stream: str, seq: int, last_hash: str | None) -> None:
    mine, other = in_c(stream, seq, last_hash), Chain(stream, seq, last_hash)
    for head in heads:
        line = mine.seal(head)
        assert line == other.seal(head)
        assert mine.last == other.last
        assert hash(mine.last) == hash(other.last)
        assert type(mine.last) is Receipt
        assert (mine.stream, mine.seq, mine.last_hash) == other.last


def test_a_new_stream_is_kept_in_c() -> None:
    chain = new_chain(STREAM)
    assert type(chain) is native.Chain
    assert chain.last == Receipt(STREAM, 0, None)


def test_what_was_not_kept_uses_up_no_number() -> None:
    chain = in_c()
    chain.seal(HEAD)
    before = chain.last
    line = chain.seal(HEAD)
    chain.rewind(before)
    assert chain.last is before
    assert chain.seal(HEAD) == line


@pytest.mark.parametrize(
    "place",
    [
        None,
        (),
        (STREAM, 1),
        [STREAM, 1, None],
        (b"a", 1, None),
        ("\u00e9", 1, None),
        (STREAM, "1", None),
        (STREAM, 1, 5),
    ],
)
def test_what_is_no_place_is_refused(place: Any) -> None:
    with pytest.raises(TypeError, match="a place is a tuple of a stream, a number, and a hash or None"):
        native.Chain(place, LEAF)
    chain = in_c()
    with pytest.raises(TypeError):
        chain.rewind(place)
    assert chain.last == Receipt(STREAM, 0, None)


@pytest.mark.parametrize("head", ["text", None, bytearray(b"{}")])
def test_what_is_no_head_is_refused(head: Any) -> None:
    with pytest.raises(TypeError, match="a head is bytes"):
        in_c().seal(head)


@pytest.mark.parametrize("seq", [-1, 2**53 - 1, 2**70])
def test_a_number_that_the_format_does_not_have_is_refused(seq: int) -> None:
    chain = in_c(seq=seq)
    with pytest.raises(OverflowError):
        chain.seal(HEAD)
    assert chain.seq == seq


class Hash:
    """A hash object that misbehaves."""

    def __init__(self, digest: Any = "0" * 64, *, keeps: bool = False) -> None:
        self.digest, self.keeps, self.kept = digest, keeps, [b""]

    def copy(self) -> Hash:
        return self

    def update(self, data: bytes) -> None:
        if self.keeps:
            self.kept.append(data)

    def hexdigest(self) -> Any:
        if isinstance(self.digest, Exception):
            raise self.digest
        return self.digest


@pytest.mark.parametrize(
    ("leaf", "error"),
    [
        (None, AttributeError),
        (Hash("0" * 63), TypeError),
        (Hash("\u00e9" * 64), TypeError),
        (Hash(b"0" * 64), TypeError),
        (Hash(OSError()), OSError),
        (Hash(keeps=True), TypeError),
    ],
)
def test_the_chain_stays_where_it_was_if_a_record_cannot_be_hashed(leaf: Any, error: type[Exception]) -> None:
    chain = in_c(leaf=leaf)
    with pytest.raises(error):
        chain.seal(HEAD)
    assert chain.last == Receipt(STREAM, 0, None)


def test_bytes_that_others_hold_do_not_change() -> None:
    leaf = Hash(keeps=True)
    with pytest.raises(TypeError, match="must not keep"):
        in_c(leaf=leaf).seal(HEAD)
    assert leaf.kept[1].startswith(HEAD)
    assert leaf.kept[1].endswith(b'"}')


def test_a_chain_that_is_moved_by_its_own_hash_does_not_fall() -> None:
    class Moves(Hash):
        def update(self, data: bytes) -> None:
            chain.rewind(Receipt("other", 7, None))

    chain = in_c(leaf=Moves())
    assert b'"seq":1' in chain.seal(HEAD)
    assert chain.last == Receipt(STREAM, 1, "0" * 64)


def test_nothing_is_leaked() -> None:
    place = Receipt(STREAM, 0, "0" * 64)
    gc.collect()  # what tests before this one left must not go in between
    counted = [sys.getrefcount(each) for each in (None, place, STREAM, LEAF, Receipt)]
    for _ in range(1000):
        chain = native.Chain(place, LEAF)
        chain.seal(HEAD)
        chain.seal(HEAD)
        chain.rewind(place)
        for leaf in (None, Hash("0"), Hash(keeps=True)):
            with pytest.raises((AttributeError, TypeError)):
                native.Chain(place, leaf).seal(HEAD)
    del chain
    after = [sys.getrefcount(each) for each in (None, place, STREAM, LEAF, Receipt)]
    assert all(abs(new - old) < 100 for new, old in zip(after, counted, strict=True))
