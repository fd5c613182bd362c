"""The Merkle tree against RFC 6962's own words, published vectors, and proofs that should not hold."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_audit.integrity.merkle import (
    EMPTY_ROOT,
    Frontier,
    ProofError,
    consistency_proof,
    inclusion_proof,
    node_hash,
    root_hash,
    verify_consistency,
    verify_inclusion,
)

# The test vectors of the Certificate Transparency project's reference implementation.
VECTOR_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
VECTOR_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [sha256(b"\x00" + bytes.fromhex(each)).digest() for each in VECTOR_LEAVES]


def leaves(count: int) -> list[bytes]:
    return [sha256(b"\x00%d" % number).digest() for number in range(count)]


def by_definition(hashes: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, word for word."""
    if not hashes:
        return sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return sha256(b"\x01" + by_definition(hashes[:split]) + by_definition(hashes[split:])).digest()


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_the_published_vectors(size: int) -> None:
    assert root_hash(b"".join(LEAVES[:size])).hex() == VECTOR_ROOTS[size - 1]


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert Frontier().root() == EMPTY_ROOT == sha256(b"").digest()


@given(st.lists(st.integers(0, 40), max_size=12))
def test_a_frontier_has_the_same_root_however_its_leaves_arrive(batches: list[int]) -> None:
    given_leaves = leaves(sum(batches))
    frontier, place = Frontier(), 0
    for batch in batches:
        if batch == 1:
            frontier.append(given_leaves[place])
        else:
            frontier.extend(b"".join(given_leaves[place : place + batch]))
        place += batch
        assert frontier.root() == by_definition(given_leaves[:place])
    assert frontier.size == len(given_leaves)
    assert len(frontier._subtrees) == format(frontier.size, "b").count("1")


def test_a_copied_frontier_goes_its_own_way() -> None:
    frontier = Frontier()
    frontier.extend(b"".join(LEAVES[:5]))
    twin = frontier.copy()
    twin.append(LEAVES[5])
    assert frontier.root().hex() == VECTOR_ROOTS[4]
    assert twin.root().hex() == VECTOR_ROOTS[5]


def test_half_a_leaf_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Frontier().extend(bytes(33))


@given(st.integers(1, 70).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1))))
def test_every_record_can_be_proved(place: tuple[int, int]) -> None:
    size, index = place
    hashes = leaves(size)
    path = inclusion_proof(b"".join(hashes), index, size)
    verify_inclusion(hashes[index], index, size, path, by_definition(hashes))


@given(st.integers(0, 70).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size))))
def test_every_tree_is_consistent_with_its_beginnings(place: tuple[int, int]) -> None:
    size, old = place
    hashes = leaves(size)
    path = consistency_proof(b"".join(hashes), old, size)
    verify_consistency(old, by_definition(hashes[:old]), size, by_definition(hashes), path)


def test_the_published_inclusion_and_consistency_paths() -> None:
    packed = b"".join(LEAVES)
    assert [each.hex() for each in inclusion_proof(packed, 0, 8)] == [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]
    assert [each.hex() for each in consistency_proof(packed, 6, 8)] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


# Size 7, index 4 has a path of three hashes and a right edge: every shape of step is in it.
SIZE, INDEX = 7, 4
PATH = inclusion_proof(b"".join(LEAVES), INDEX, SIZE)
ROOT = bytes.fromhex(VECTOR_ROOTS[SIZE - 1])


@pytest.mark.parametrize(
    ("leaf", "index", "size", "path", "root"),
    [
        pytest.param(LEAVES[4], 5, SIZE, PATH, ROOT, id="wrong index"),
        pytest.param(LEAVES[4], 3, SIZE, PATH, ROOT, id="wrong index to the left"),
        pytest.param(LEAVES[4], 7, SIZE, PATH, ROOT, id="index beyond the tree"),
        pytest.param(LEAVES[4], -1, SIZE, PATH, ROOT, id="negative index"),
        pytest.param(LEAVES[4], INDEX, SIZE, PATH[:-1], ROOT, id="cut"),
        pytest.param(LEAVES[4], INDEX, SIZE, [], ROOT, id="empty"),
        pytest.param(LEAVES[4], INDEX, SIZE, [*PATH, PATH[0]], ROOT, id="one hash too many"),
        pytest.param(LEAVES[4], INDEX, SIZE, [PATH[1], PATH[0], PATH[2]], ROOT, id="siblings swapped"),
        pytest.param(node_hash(LEAVES[4], LEAVES[5]), INDEX, SIZE, PATH[1:], ROOT, id="a node as a leaf"),
        pytest.param(ROOT, 0, SIZE, [], ROOT, id="the root as a leaf"),
        pytest.param(node_hash(ROOT, ROOT), 9, 9, [], node_hash(ROOT, ROOT), id="a leaf behind the last"),
        pytest.param(LEAVES[4], INDEX, SIZE + 1, PATH, bytes.fromhex(VECTOR_ROOTS[SIZE]), id="used a size later"),
        pytest.param(LEAVES[4], INDEX, SIZE, PATH, bytes(32), id="another root"),
        pytest.param(LEAVES[4], INDEX, SIZE, [*PATH[:-1], PATH[-1][:31]], ROOT, id="a short hash"),
        pytest.param(LEAVES[4][:31], INDEX, SIZE, PATH, ROOT, id="a short leaf"),
        pytest.param(LEAVES[0], 0, 0, [], EMPTY_ROOT, id="an empty tree"),
    ],
)
def test_a_false_inclusion_proof_proves_nothing(
    leaf: bytes, index: int, size: int, path: list[bytes], root: bytes
) -> None:
    with pytest.raises(ProofError):
        verify_inclusion(leaf, index, size, path, root)


R = [EMPTY_ROOT, *(bytes.fromhex(each) for each in VECTOR_ROOTS)]
STEP = consistency_proof(b"".join(LEAVES), 6, 8)


@pytest.mark.parametrize(
    ("old", "old_root", "size", "root", "path"),
    [
        pytest.param(6, R[6], 8, R[8], [], id="empty"),
        pytest.param(4, R[4], 8, R[8], [], id="empty, from a complete tree"),
        pytest.param(0, R[1], 8, R[8], [], id="size 0 with a root of its own"),
        pytest.param(0, R[0], 8, R[8], STEP, id="size 0 with a proof"),
        pytest.param(8, R[8], 6, R[6], STEP, id="backwards"),
        pytest.param(8, R[7], 8, R[8], [], id="the same size, another root"),
        pytest.param(8, R[8], 8, R[8], STEP, id="the same size with a proof"),
        pytest.param(6, R[6], 8, R[8], STEP[:-1], id="cut"),
        pytest.param(6, R[6], 8, R[8], STEP * 22, id="sixty-six hashes"),
        pytest.param(6, R[5], 8, R[8], STEP, id="another old root"),
        pytest.param(6, R[6], 8, R[7], STEP, id="another new root"),
        pytest.param(5, R[5], 8, R[8], STEP, id="the proof of another size"),
        pytest.param(-1, R[0], 8, R[8], STEP, id="a negative size"),
    ],
)
def test_a_false_consistency_proof_proves_nothing(
    old: int, old_root: bytes, size: int, root: bytes, path: list[bytes]
) -> None:
    with pytest.raises(ProofError):
        verify_consistency(old, old_root, size, root, path)


@given(st.integers(2, 40), st.data())
def test_no_single_bit_of_a_proof_can_be_changed(size: int, data: st.DataObject) -> None:
    hashes = leaves(size)
    packed, root = b"".join(hashes), by_definition(hashes)
    index = data.draw(st.integers(0, size - 1))
    path = inclusion_proof(packed, index, size)
    step = data.draw(st.integers(0, len(path) - 1))
    changed = bytearray(path[step])
    changed[data.draw(st.integers(0, 31))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ProofError):
        verify_inclusion(hashes[index], index, size, [*path[:step], bytes(changed), *path[step + 1 :]], root)


@pytest.mark.parametrize(("index", "size"), [(5, 5), (-1, 5), (0, 9), (0, 0)])
def test_there_is_no_proof_of_what_is_not_there(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="no leaf"):
        inclusion_proof(b"".join(LEAVES), index, size)
    with pytest.raises(ValueError, match="no proof"):
        consistency_proof(b"".join(LEAVES), 9, 9)


@pytest.mark.parametrize("size", [0, 1, 2, 5, 6, 7, 255])
def test_a_frontier_goes_on_from_its_subtrees(size: int) -> None:
    leaves = [sha256(b"%d" % number).digest() for number in range(size + 3)]
    begun = Frontier()
    begun.extend(b"".join(leaves[:size]))
    resumed = Frontier.of(size, begun.subtrees)
    resumed.extend(b"".join(leaves[size:]))
    assert resumed.root() == root_hash(b"".join(leaves))


@pytest.mark.parametrize(
    ("size", "subtrees"),
    [
        pytest.param(-1, [bytes(32)], id="a negative size"),
        pytest.param(2**63, [bytes(32)], id="a size beyond 2^63 - 1"),
        pytest.param(6, [bytes(32)], id="too few"),
        pytest.param(4, [bytes(32)] * 2, id="too many"),
        pytest.param(5, [bytes(32), bytes(31)], id="a short one"),
        pytest.param(0, [bytes(32)], id="some of an empty tree"),
    ],
)
def test_what_cannot_be_a_trees_subtrees_is_refused(size: int, subtrees: list[bytes]) -> None:
    with pytest.raises(ValueError, match="complete subtrees"):
        Frontier.of(size, subtrees)


def test_the_largest_tree_has_a_frontier() -> None:
    assert Frontier.of(2**63 - 1, [bytes(32)] * 63).size == 2**63 - 1
