"""One record's proof, checked with nothing but the record, the proof and the policy."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

from otel_audit.integrity.checkpoint import Checkpoint
from otel_audit.integrity.merkle import ProofError, root_hash
from otel_audit.integrity.note import NoteError
from otel_audit.integrity.proof import TlogProof, make_proof
from otel_audit.integrity.signatures import Signer, sign_note


@pytest.fixture(scope="module")
def stream(make_stream: Any) -> Any:
    made = make_stream()
    made.log(30)
    return made


@pytest.fixture(scope="module")
def policy(make_policy: Any, signer: Signer) -> Any:
    return make_policy(signer)


@pytest.fixture(scope="module")
def proof(stream: Any, signer: Signer) -> TlogProof:
    return make_proof(stream.packed(), 17, stream.note(signer))


@pytest.fixture(scope="module")
def leaf(stream: Any) -> bytes:
    return bytes.fromhex(stream.hashes[17])


def test_a_proof_comes_back_from_its_file_and_verifies(proof: TlogProof, leaf: bytes, policy: Any, stream: Any) -> None:
    again = TlogProof.parse(proof.encode().encode())
    assert again == proof
    assert again.verify(leaf, policy, now=time.time()).checkpoint == stream.head()


def test_extra_data_is_kept_but_not_believed(stream: Any, signer: Signer, leaf: bytes, policy: Any) -> None:
    proof = make_proof(stream.packed(), 17, stream.note(signer), extra=b"who knows")
    again = TlogProof.parse(proof.encode())
    assert again.extra == b"who knows"
    again.verify(leaf, policy, now=0)


def test_it_proves_this_record_only(proof: TlogProof, stream: Any, policy: Any) -> None:
    for index, each in enumerate(stream.hashes):
        if index != 17:
            with pytest.raises(ProofError):
                proof.verify(bytes.fromhex(each), policy, now=0)


def test_it_needs_a_key_that_the_policy_names(
    proof: TlogProof, leaf: bytes, make_policy: Any, other_signer: Signer
) -> None:
    with pytest.raises(NoteError):
        proof.verify(leaf, make_policy(other_signer), now=0)


def test_it_needs_the_quorum(stream: Any, leaf: bytes, make_policy: Any, signer: Signer, witness: Signer) -> None:
    policy = make_policy(signer, lines=f"witness w {witness.vkey}\n", quorum="w")
    with pytest.raises(ProofError, match="quorum"):
        make_proof(stream.packed(), 17, stream.note(signer)).verify(leaf, policy, now=2e9)
    head = make_proof(stream.packed(), 17, stream.note(signer, witness)).verify(leaf, policy, now=2e9)
    assert [key.name for key in head.witnesses] == [witness.name]


def test_no_bit_of_a_proof_can_be_changed(proof: TlogProof, leaf: bytes, policy: Any) -> None:
    raw = proof.encode().encode()
    for place in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[place // 8] ^= 1 << place % 8
        with pytest.raises((ProofError, NoteError)):
            TlogProof.parse(bytes(changed)).verify(leaf, policy, now=2e9)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:100],
        lambda text: text.replace("@v1", "@v2"),
        lambda text: text.replace("index 17", "index 017"),
        lambda text: text.replace("index 17", "index -1"),
        lambda text: text.replace("index 17", "index 9" + "9" * 30),
        lambda text: text.replace("index 17\n", ""),
        lambda text: text.replace("index 17\n", "index 17\n" + "A" * 43 + "=\n" * 70),
        lambda text: text.replace("index 17\n", "index 17\nAAAA\n"),
        lambda text: text.replace("index 17\n", "extra !\nindex 17\n"),
        lambda text: text.split("\n\n")[0],
        lambda text: "x" * 10**6,
        lambda text: b"\xff",
        lambda text: "",
    ],
)
def test_what_is_no_proof_is_refused(proof: TlogProof, change: Any) -> None:
    with pytest.raises((ProofError, NoteError)):
        TlogProof.parse(change(proof.encode()))


def test_no_proof_is_made_under_a_checkpoint_of_another_log(stream: Any, make_stream: Any, signer: Signer) -> None:
    other = make_stream()
    other.log(30)
    with pytest.raises(ProofError):
        make_proof(stream.packed(), 17, other.note(signer))
    with pytest.raises(ValueError, match="no leaf"):
        make_proof(stream.packed(), 17, stream.note(signer, size=10))


def test_one_record_in_a_million_takes_two_kilobytes_and_a_millisecond(
    signer: Signer, witness: Signer, make_policy: Any
) -> None:
    leaves = os.urandom(32 * 1_000_000)
    head = Checkpoint("shop.example/audit/" + "0" * 32, 1_000_000, root_hash(leaves))
    note = sign_note(head.encode(), [signer, witness], time=1).encode()
    text = make_proof(leaves, 654_321, note).encode()
    assert len(text.encode()) < 2048
    policy = make_policy(signer, lines=f"witness w {witness.vkey}\n", quorum="w")
    leaf = leaves[654_321 * 32 : 654_322 * 32]
    spent = []
    for _ in range(20):
        begin = time.perf_counter()
        TlogProof.parse(text).verify(leaf, policy, now=2e9)
        spent.append(time.perf_counter() - begin)
    assert min(spent) < 0.001
