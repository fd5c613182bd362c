"""Keys: who may read them, what names them, and that nothing repeats them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from otel_audit.errors import ConfigurationError
from otel_audit.integrity import keys
from otel_audit.integrity.note import NoteError, open_note
from otel_audit.integrity.policy import read_vkey
from otel_audit.integrity.signatures import sign_note
from otel_audit.integrity.statements import Revocation, Rotation

TEXT = "shop.example/audit\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"


@pytest.mark.parametrize("algorithm", ["ed25519", "cosignature", "ml-dsa-44"])
def test_a_generated_key_signs_what_its_verifier_key_checks(tmp_path: Path, algorithm: keys.Algorithm) -> None:
    if algorithm == "ml-dsa-44":
        pytest.importorskip("cryptography.hazmat.primitives.asymmetric.mldsa")
    path = tmp_path / "key.pem"
    vkey = keys.generate(path, "shop.example/audit", algorithm=algorithm)
    assert (path.stat().st_mode & 0o777, (tmp_path / "key.pem.vkey").stat().st_mode & 0o777) == (0o600, 0o644)
    signer = keys.load(path)
    assert signer.vkey == vkey
    assert open_note(sign_note(TEXT, [signer], time=5), [read_vkey(vkey)])


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    keys.generate(tmp_path / "k", "n")
    before = (tmp_path / "k").read_bytes()
    with pytest.raises(FileExistsError):
        keys.generate(tmp_path / "k", "n")
    assert (tmp_path / "k").read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610, 0o602])
def test_a_key_file_that_others_have_any_right_to_is_refused(tmp_path: Path, mode: int) -> None:
    keys.generate(tmp_path / "k", "n")
    (tmp_path / "k").chmod(mode)
    with pytest.raises(ConfigurationError, match=f"mode {mode:04o}.*chmod 600"):
        keys.load(tmp_path / "k")


def test_a_fifo_or_a_directory_is_no_key_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(ConfigurationError, match="regular file"):
        keys.load(tmp_path / "fifo", "n")


def test_an_encrypted_key_needs_its_password(tmp_path: Path) -> None:
    keys.generate(tmp_path / "k", "n", password=b"correct horse")
    assert keys.load(tmp_path / "k", password=b"correct horse").name == "n"
    with pytest.raises(ConfigurationError, match="encrypted"):
        keys.load(tmp_path / "k")
    with pytest.raises(ConfigurationError) as caught:
        keys.load(tmp_path / "k", password=b"wrong horse")
    assert "horse" not in str(caught.value)


def test_a_key_without_a_name_says_where_to_put_one(tmp_path: Path) -> None:
    keys.generate(tmp_path / "k", "n")
    (tmp_path / "k.vkey").unlink()
    with pytest.raises(ConfigurationError, match=r"k\.vkey"):
        keys.load(tmp_path / "k")
    assert keys.load(tmp_path / "k", "other.example/name").name == "other.example/name"


def test_the_verifier_key_beside_a_key_must_be_its_own(tmp_path: Path) -> None:
    keys.generate(tmp_path / "a", "n")
    keys.generate(tmp_path / "b", "n")
    (tmp_path / "a.vkey").write_bytes((tmp_path / "b.vkey").read_bytes())
    with pytest.raises(ConfigurationError, match="not the verifier key"):
        keys.load(tmp_path / "a")


def pem_of(private: Ed25519PrivateKey) -> bytes:
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.mark.parametrize("escaped", [False, True])
def test_a_key_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, escaped: bool) -> None:
    pem = pem_of(Ed25519PrivateKey.generate()).decode()
    monkeypatch.setenv("AUDIT_KEY", pem.replace("\n", "\\n") if escaped else pem)
    assert keys.from_environment("AUDIT_KEY", "n").name == "n"
    monkeypatch.delenv("AUDIT_KEY")
    with pytest.raises(ConfigurationError, match="AUDIT_KEY is not set"):
        keys.from_environment("AUDIT_KEY", "n")


def test_what_is_no_key_is_refused_without_repeating_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pem = pem_of(Ed25519PrivateKey.generate()).decode()
    broken = pem.replace("MC4", "XX4")
    monkeypatch.setenv("AUDIT_KEY", broken)
    with pytest.raises(ConfigurationError) as caught:
        keys.from_environment("AUDIT_KEY", "n")
    assert broken.split("\n")[1] not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("private", [ec.generate_private_key(ec.SECP256R1()), x25519.X25519PrivateKey.generate()])
def test_a_key_of_another_kind_is_refused(private: Ed25519PrivateKey) -> None:
    with pytest.raises(ConfigurationError, match="Ed25519 and ML-DSA-44"):
        keys.from_pem("n", pem_of(private))


def test_a_key_may_stay_in_a_service() -> None:
    private = Ed25519PrivateKey.generate()
    asked: list[bytes] = []

    def service(message: bytes) -> bytes:
        asked.append(message)
        return private.sign(message)

    signer = keys.from_callable("n", private.public_key().public_bytes_raw(), service)
    assert open_note(sign_note(TEXT, [signer], time=0), [read_vkey(signer.vkey)])
    assert asked == [TEXT.encode()]


def test_statements_about_keys_come_back_as_they_were_signed(tmp_path: Path) -> None:
    old, new = (read_vkey(keys.generate(tmp_path / name, "n")) for name in "ab")
    rotation = Rotation("n/x", old.vkey, new.vkey, 7)
    signed = sign_note(rotation.encode(), [keys.load(tmp_path / "a")], time=0).encode()
    assert Rotation.open(signed, [old, new]) == rotation
    by_new = sign_note(rotation.encode(), [keys.load(tmp_path / "b")], time=0).encode()
    with pytest.raises(NoteError):
        Rotation.open(by_new, [old, new])
    revocation = Revocation(old.vkey, 5, "left on a train", {"n/x": 7, "n/y": 0})
    signed = sign_note(revocation.encode(), [keys.load(tmp_path / "b")], time=0).encode()
    assert Revocation.open(signed, [new]) == revocation
    with pytest.raises(NoteError):
        Revocation.open(signed, [old])
    assert revocation.covers(old, "n/x", 8)
    assert not revocation.covers(old, "n/x", 7)
    assert revocation.covers(old, "n/z", 1)
    assert not revocation.covers(new, "n/z", 1)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("v1", "v2"),
        lambda text: text.replace("size 7", "size 07"),
        lambda text: text.replace("origin ", "from "),
        lambda text: text + "more\n",
        lambda text: text.replace("size 7\n", ""),
    ],
)
def test_a_rotation_that_is_not_written_as_it_must_be_is_refused(tmp_path: Path, change: object) -> None:
    old, new = (read_vkey(keys.generate(tmp_path / name, "n")) for name in "ab")
    text = change(Rotation("n/x", old.vkey, new.vkey, 7).encode())  # type: ignore[operator]
    with pytest.raises(NoteError):
        Rotation.open(sign_note(text, [keys.load(tmp_path / "a")], time=0).encode(), [old, new])
