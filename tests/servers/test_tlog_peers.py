"""Our notes, checkpoints and proofs against Go's `note`, `tlog` and `transparency-dev/formats`, both ways."""

from __future__ import annotations

import base64
import json
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from otel_audit.integrity.checkpoint import Checkpoint
from otel_audit.integrity.merkle import (
    ProofError,
    consistency_proof,
    inclusion_proof,
    root_hash,
    verify_consistency,
    verify_inclusion,
)
from otel_audit.integrity.note import Note, Signature, open_note, parse_note
from otel_audit.integrity.policy import read_vkey
from otel_audit.integrity.signatures import CosignatureSigner, Ed25519Signer, MLDSA44Signer, Signer, sign_note
from tests.servers.require import missing

pytestmark = pytest.mark.server("tlog")

HEAD = Checkpoint("shop.example/audit/01a3185c50007a278a5f3ae58b8e739b", 42, sha256(b"root").digest())
LEAVES = [sha256(b"\x00%d" % number).digest() for number in range(70)]


class Peer:
    """The Go program in `tlog/`."""

    def __init__(self, binary: Path) -> None:
        self._process = subprocess.Popen([str(binary)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, question: str, **given: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"ask": question, **given}, default=encode) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


def encode(value: bytes) -> str:
    return base64.b64encode(value).decode()


def decode(values: list[str] | None) -> list[bytes]:
    return [base64.b64decode(value) for value in values or []]


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    if shutil.which("go") is None:
        missing("Go", "install it from https://go.dev/dl/")
    binary = tmp_path_factory.mktemp("tlog") / "tlogpeer"
    source = Path(__file__).parent / "tlog"
    built = subprocess.run(["go", "build", "-o", binary, "."], cwd=source, capture_output=True, text=True, check=False)
    if built.returncode:
        missing("the Go program of tests/servers/tlog", built.stderr.strip()[-500:])
    running = Peer(binary)
    yield running
    running.close()


def ed25519() -> Signer:
    return Ed25519Signer.from_private("shop.example/audit", Ed25519PrivateKey.generate())


def cosignature() -> Signer:
    return CosignatureSigner.from_private("witness.example/w1", Ed25519PrivateKey.generate())


def mldsa44() -> Signer:
    mldsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.mldsa")
    private = mldsa.MLDSA44PrivateKey.generate()
    return MLDSA44Signer("shop.example/audit", private.public_key().public_bytes_raw(), private.sign)


@pytest.mark.parametrize("make", [ed25519, cosignature, mldsa44])
def test_go_accepts_our_signatures_and_refuses_changed_ones(peer: Peer, make: Any) -> None:
    signer = make()
    note = sign_note(HEAD.encode(), [signer], time=int(time.time()))
    assert peer.ask("open", vkeys=[signer.vkey], note=note.encode()) == {"names": [signer.name]}
    (signature,) = note.signatures
    changed = Signature(signature.name, signature.key_id, bytes(each ^ 4 for each in signature.payload))
    for forged in (Note(HEAD.encode(), (changed,)), Note(HEAD.encode().replace("42", "43"), note.signatures)):
        assert "error" in peer.ask("open", vkeys=[signer.vkey], note=forged.encode())


@pytest.mark.parametrize("kind", ["ed25519", "cosignature", "ml-dsa-44"])
def test_we_accept_what_go_signs(peer: Peer, kind: str) -> None:
    if kind == "ml-dsa-44":
        pytest.importorskip("cryptography.hazmat.primitives.asymmetric.mldsa")
    answer = peer.ask("sign", kind=kind, name="peer.example/log", text=HEAD.encode())
    key = read_vkey(answer["vkey"])
    assert key.vkey == answer["vkey"]
    note = parse_note(answer["note"])
    (attestation,) = open_note(note, [key])
    assert note.encode() == answer["note"]
    assert Checkpoint.parse(note.text) == HEAD
    if kind != "ed25519":
        assert attestation.time is not None
        assert abs(attestation.time - time.time()) < 60


def test_a_checkpoint_with_several_signers_is_read_alike(peer: Peer) -> None:
    signers = [ed25519(), cosignature()]
    note = sign_note(HEAD.encode(), signers, time=int(time.time())).encode()
    for known in (signers, signers[:1], signers[1:]):
        vkeys = [each.vkey for each in known]
        ours = [each.key.name for each in open_note(parse_note(note), [read_vkey(vkey) for vkey in vkeys])]
        assert peer.ask("open", vkeys=vkeys, note=note) == {"names": ours}


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 33, 64, 70])
def test_roots_and_proofs_are_the_same_bytes(peer: Peer, size: int) -> None:
    packed = b"".join(LEAVES[:size])
    root = root_hash(packed)
    for index in range(size):
        theirs = peer.ask("tree", leaves=LEAVES[:size], index=index)
        assert decode([theirs["root"]]) == [root]
        path = inclusion_proof(packed, index, size)
        assert decode(theirs.get("path")) == path
    for old in range(1, size + 1):
        theirs = peer.ask("tree", leaves=LEAVES[:size], index=-1, old=old)
        assert decode(theirs.get("path")) == consistency_proof(packed, old, size)


def test_true_and_false_proofs_are_judged_alike(peer: Peer) -> None:
    luck, agreed = random.Random(6962), {True: 0, False: 0}
    for _ in range(600):
        size = luck.randrange(1, 70)
        packed, root = b"".join(LEAVES[:size]), root_hash(b"".join(LEAVES[:size]))
        index, old = luck.randrange(size), luck.randrange(1, size + 1)
        inclusion, consistency = inclusion_proof(packed, index, size), consistency_proof(packed, old, size)
        for path in (inclusion, consistency):
            spoil(path, luck)
        if luck.random() < 0.2:
            index = luck.randrange(size)
        ours = holds(verify_inclusion, LEAVES[index], index, size, inclusion, root)
        theirs = peer.ask("inclusion", path=inclusion, size=size, root=root, index=index, leaf=LEAVES[index])
        assert ours == ("error" not in theirs)
        agreed[ours] += 1
        old_root = root_hash(packed, 0, old)
        ours = holds(verify_consistency, old, old_root, size, root, consistency)
        theirs = peer.ask("consistency", path=consistency, size=size, root=root, old=old, oldRoot=old_root)
        assert ours == ("error" not in theirs)
        agreed[ours] += 1
    assert min(agreed.values()) > 200


def spoil(path: list[bytes], luck: random.Random) -> None:
    change = luck.randrange(8)
    if change == 0 and path:
        path.pop(luck.randrange(len(path)))
    elif change == 1:
        path.insert(luck.randrange(len(path) + 1), luck.choice(LEAVES))
    elif change == 2 and path:
        place = luck.randrange(len(path))
        path[place] = bytes([path[place][0] ^ 1 << luck.randrange(8)]) + path[place][1:]
    elif change == 3:
        luck.shuffle(path)


def holds(check: Any, *given: Any) -> bool:
    try:
        check(*given)
    except ProofError:
        return False
    return True
