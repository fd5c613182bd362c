"""Cosignatures of a real witness (litewitness): proofs that it takes, histories that it refuses, what it is worth."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import otel_audit
from otel_audit.anchors.witness import WitnessAnchor
from otel_audit.cli.__main__ import main
from otel_audit.errors import ConfigurationError
from otel_audit.integrity.checkpoint import Checkpoint, origin_of
from otel_audit.integrity.merkle import consistency_proof, root_hash
from otel_audit.integrity.note import parse_note
from otel_audit.integrity.publishing import AnchorError, AnchorRefused, SignedHead
from otel_audit.integrity.signatures import sign_note
from tests.anchors.litewitness import Witness, running_witness
from tests.anchors.shop import NAME, Shop, eventually
from tests.sinks.http_server import Reply, Server

pytestmark = [
    pytest.mark.server("litewitness"),
    pytest.mark.filterwarnings("ignore:checkpoints go to .* in plain text:RuntimeWarning"),
]


@pytest.fixture(scope="module")
def witness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Witness]:
    with running_witness(tmp_path_factory.mktemp("one") / "w", "witness.example/one") as witness:
        yield witness


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Witness]:
    with running_witness(tmp_path_factory.mktemp("two") / "w", "witness.example/two") as witness:
        yield witness


def record(shop: Shop, *witnesses: Witness, rounds: int = 3) -> str:
    """Let a process write a stream of which the witnesses know, and see every checkpoint; return its origin."""
    anchors = [witness.url(name=f"w{number}", every="0s") for number, witness in enumerate(witnesses)]
    with shop.open(*anchors) as trail:
        origin = origin_of(NAME, trail.stream.id)
        for witness in witnesses:
            witness.know(origin, shop.vkey)
        for number in range(1, rounds + 1):
            for _ in range(7 * number):
                otel_audit.record("invoice.delete", actor="alice")
            trail.flush()
            assert eventually(lambda number=number: len(shop.anchorings()) >= number * len(witnesses)), shop.lines()[-1]
    return origin


def trust(shop: Shop, *witnesses: Witness, needed: int = 1) -> None:
    lines = "".join(f"witness w{number} {each.vkey}\n" for number, each in enumerate(witnesses))
    names = " ".join(f"w{number}" for number in range(len(witnesses)))
    shop.write_policy(f"{lines}group all {needed} {names}\n", quorum="all")


def leaves(shop: Shop) -> bytes:
    return b"".join(bytes.fromhex(line["hash"]) for line in shop.lines())


def test_each_checkpoint_extends_the_one_before(shop: Shop, witness: Witness) -> None:
    origin = record(shop, witness)
    sizes = [each["size"] for each in shop.anchorings()]
    assert sizes == sorted(set(sizes))
    assert witness.size(origin) == len(shop.lines())


def test_a_cosigned_stream_is_witnessed(shop: Shop, witness: Witness) -> None:
    record(shop, witness)
    trust(shop, witness)
    outcome = shop.verify()
    assert (outcome.code, outcome.tier) == (0, "witnessed")
    assert outcome.stream["witnessed"] == outcome.stream["last_seq"]


def test_the_cosignature_is_kept_under_the_note_beside_the_log(shop: Shop, witness: Witness) -> None:
    origin = record(shop, witness)
    note = parse_note((shop.checkpoints / f"{origin[-32:]}.w0.checkpoint").read_bytes())
    assert [each.name for each in note.signatures] == [NAME, "witness.example/one"]
    assert Checkpoint.parse(note.text).size == len(shop.lines())


def test_cosignatures_of_two_witnesses_count_together(shop: Shop, witness: Witness, other: Witness) -> None:
    """Each has its own copy of the same checkpoint; a quorum of both is met by the two."""
    record(shop, witness, other)
    trust(shop, witness, other, needed=2)
    outcome = shop.verify()
    assert (outcome.code, outcome.tier) == (0, "witnessed")
    shop.forget_beside("w1.checkpoint")
    outcome = shop.verify()
    assert outcome.tier == "witnessed"
    assert outcome.stream["witnessed"] < outcome.stream["last_seq"]


def test_the_quorum_is_the_policys(shop: Shop, witness: Witness, other: Witness) -> None:
    record(shop, witness)
    trust(shop, witness, other, needed=2)
    outcome = shop.verify()
    assert (outcome.code, outcome.found) == (3, {"QUORUM_MISSED"})


def test_what_was_cut_off_behind_the_cosignature_is_missed(shop: Shop, witness: Witness, tmp_path: Path) -> None:
    origin = record(shop, witness)
    trust(shop, witness)
    shutil.copy(shop.checkpoints / f"{origin[-32:]}.w0.checkpoint", tmp_path)
    shop.forget_beside()
    shop.cut(3)
    outcome = shop.verify("--anchor", tmp_path)
    assert outcome.code == 1
    assert "SIGNED_TRUNCATED" in outcome.found


def test_a_witness_that_does_not_know_the_stream_refuses_and_it_is_recorded(shop: Shop, witness: Witness) -> None:
    with shop.open(witness.url(name="w0"), checkpoint_interval=0.05) as trail:
        otel_audit.record("invoice.delete", actor="alice")
        assert eventually(shop.troubles)
        witness.know(origin_of(NAME, trail.stream.id), shop.vkey)
        assert eventually(shop.anchorings)
        assert eventually(lambda: len(shop.troubles()) == 2)
    (_, trouble), (recovered, _) = shop.troubles()
    assert recovered == "recovered"
    assert trouble["cause"] == "anchor refuses"
    assert "answered 403: unknown log" in trouble["error"]


def test_a_witness_that_has_seen_another_history_refuses_and_it_is_recorded(shop: Shop, witness: Witness) -> None:
    """As where the log was written anew behind its back: it saw seven other records."""
    with shop.open(witness.url(name="w0"), patience=0.2) as trail:
        origin = origin_of(NAME, trail.stream.id)
        witness.know(origin, shop.vkey)
        witness.forget(origin, 7, b"\x07" * 32)
        for _ in range(20):
            otel_audit.record("invoice.delete", actor="alice")
        trail.flush()
        assert eventually(shop.troubles)
    ((_, trouble),) = shop.troubles()
    assert trouble["cause"] == "anchor refuses"
    assert re.search(r"answered 422: bad consistency proof", trouble["error"])
    assert shop.anchorings() == []
    trust(shop, witness)
    assert "QUORUM_MISSED" in shop.verify().found


def test_a_witness_that_has_seen_more_than_there_is_refuses_and_it_is_recorded(shop: Shop, witness: Witness) -> None:
    with shop.open(witness.url(name="w0"), patience=0.2, checkpoint_interval=0.05) as trail:
        origin = origin_of(NAME, trail.stream.id)
        witness.know(origin, shop.vkey)
        witness.forget(origin, 1000, b"\x07" * 32)
        otel_audit.record("invoice.delete", actor="alice")
        assert eventually(shop.troubles)
    assert "has seen 1000 records of this stream" in shop.troubles()[0][1]["error"]


def test_a_witness_that_was_restored_gets_a_proof_from_where_it_stands(shop: Shop, witness: Witness) -> None:
    """The sizes between which the process can prove are few; the rest of the tree is read from the journal."""
    with shop.open(witness.url(name="w0", every="0s")) as trail:
        origin = origin_of(NAME, trail.stream.id)
        witness.know(origin, shop.vkey)
        for number in range(1, 4):
            for _ in range(11):
                otel_audit.record("invoice.delete", actor="alice")
            trail.flush()
            assert eventually(lambda number=number: len(shop.anchorings()) == number)
        witness.forget(origin, 5, root_hash(leaves(shop), 0, 5))
        otel_audit.record("invoice.delete", actor="alice")
        trail.flush()
        assert eventually(lambda: len(shop.anchorings()) == 4)
    assert witness.size(origin) == len(shop.lines())
    assert shop.troubles() == []


def test_a_cosignature_of_another_witness_does_not_count(shop: Shop, witness: Witness, other: Witness) -> None:
    url = witness.url(name="w0").replace(witness.vkey, other.vkey)
    with shop.open(url, patience=0.2, checkpoint_interval=0.05) as trail:
        witness.know(origin_of(NAME, trail.stream.id), shop.vkey)
        otel_audit.record("invoice.delete", actor="alice")
        assert eventually(shop.troubles)
    assert "without a valid cosignature of witness.example/two" in shop.troubles()[0][1]["error"]
    assert shop.anchorings() == []


def test_one_record_is_proved_with_both_cosignatures(
    shop: Shop, witness: Witness, other: Witness, capsys: pytest.CaptureFixture[str]
) -> None:
    origin = record(shop, witness, other)
    trust(shop, witness, other, needed=2)
    base, stream = shop.directory / "evidence", origin[-32:]
    copies = [word for n in (0, 1) for word in ("--checkpoint", str(shop.checkpoints / f"{stream}.w{n}.checkpoint"))]
    proof = ["verify-proof", f"{base}.json", f"{base}.tlog-proof", "--policy", str(shop.policy)]
    assert main(["prove", str(shop.journal), f"{stream}-5", "-o", str(base), *copies]) == 0
    assert main(proof) == 0
    assert "seen by witness.example/one, witness.example/two" in capsys.readouterr().out
    assert main(["prove", str(shop.journal), f"{stream}-5", "-o", str(base), *copies[:2]]) == 0
    assert main(proof) == 3
    (shop.directory / "older").write_text(shop.anchorings()[0]["note"])
    older = ["--checkpoint", str(shop.directory / "older")]
    assert main(["prove", str(shop.journal), f"{stream}-5", "-o", str(base), *copies, *older]) == 2
    assert "older is another checkpoint than" in capsys.readouterr().err


def test_it_does_not_cosign_what_the_keys_thief_wrote(shop: Shop, witness: Witness) -> None:
    origin = record(shop, witness)
    known = witness.size(origin)
    shop.rewrite()
    packed = leaves(shop) + bytes(32) * known  # longer than what it saw, with a proof as good as a thief can make it
    size = len(packed) // 32
    checkpoint = Checkpoint(origin, size, root_hash(packed))
    note = sign_note(checkpoint.encode(), [shop.signer()], time=0).encode()
    anchor = WitnessAnchor.from_url(witness.url())
    with pytest.raises(AnchorRefused, match="answered 422: bad consistency proof"):
        anchor.publish(SignedHead(note, checkpoint, lambda old: consistency_proof(packed, old, size)))
    assert witness.size(origin) == known


@pytest.mark.parametrize(
    ("replies", "message"),
    [
        ([Reply(body=b"garbage")], "without a valid cosignature"),
        ([Reply(body=b"")], "without a valid cosignature"),
        ([Reply(body="— witness.example/one AAAAAAAA\n".encode())], "without a valid cosignature"),
        ([Reply(body=b"\xff")], "without a valid cosignature"),
        ([Reply(status=409, body=b"7\n")], "answered 409"),
        ([Reply(status=409, body=b"many\n", headers={"Content-Type": "text/x.tlog.size"})], "409 without a size"),
        ([Reply(status=409, body=b"3\n", headers={"Content-Type": "text/x.tlog.size"})] * 2, "answered 409: 3"),
        ([Reply(status=500, body=b"oh")], "answered 500: oh"),
    ],
)
def test_an_answer_that_is_none_does_not_count(
    witness: Witness, shop: Shop, replies: list[Reply], message: str
) -> None:
    checkpoint = Checkpoint(origin_of(NAME, "01a3185c50007a278a5f3ae58b8e739b"), 5, bytes(32))
    note = sign_note(checkpoint.encode(), [shop.signer()], time=0).encode()
    with Server(*replies) as server:
        anchor = WitnessAnchor.from_url(f"witness+http://{server.host}/?allow=loopback&vkey={witness.vkey}")
        with pytest.raises(AnchorError, match=message):
            anchor.publish(SignedHead(note, checkpoint, lambda _: []))


def test_a_key_that_is_no_witness_key_is_a_mistake(shop: Shop) -> None:
    for vkey, message in ((shop.vkey, "a witness signs cosignatures"), ("x", "a verifier key reads")):
        with pytest.raises(ConfigurationError, match=message):
            WitnessAnchor.from_url(f"witness+https://w.example/?vkey={vkey}")
