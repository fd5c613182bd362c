"""Signed notes: the published examples verify, and nothing that is almost a note does."""

from __future__ import annotations

import base64
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from otel_audit.integrity.checkpoint import Checkpoint
from otel_audit.integrity.note import (
    MAX_NOTE,
    Note,
    NoteError,
    Signature,
    check_name,
    key_id,
    open_note,
    parse_note,
    short_vkey,
    split_vkey,
)
from otel_audit.integrity.policy import read_vkey
from otel_audit.integrity.signatures import CosignatureSigner, Ed25519Key, Ed25519Signer, MLDSA44Signer, sign_note

# c2sp.org/signed-note, "Example".
C2SP_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
C2SP_NOTE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
# The example of Go's golang.org/x/mod/sumdb/note.
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
SALVATORE = (
    "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n"
    "— quasimodo.example/salvatore "
    "NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
)


@pytest.mark.parametrize(("vkey", "note"), [(C2SP_VKEY, C2SP_NOTE), (GO_VKEY, GO_NOTE)])
def test_published_notes_verify_with_their_published_keys(vkey: str, note: str) -> None:
    key = read_vkey(vkey)
    assert key.vkey == vkey
    (attestation,) = open_note(parse_note(note), [key])
    assert attestation.key is key
    assert parse_note(note).encode() == note


def test_a_text_may_hold_empty_lines() -> None:
    note = parse_note(SALVATORE)
    assert note.text.endswith("sole:\n\ned è subito sera.\n")
    assert note.signatures[0].name == "quasimodo.example/salvatore"


def code(raw: str | bytes) -> str:
    with pytest.raises(NoteError) as caught:
        parse_note(raw)
    return caught.value.code


LINE = C2SP_NOTE.split("\n\n")[1]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("text\n", "note-unsigned"),
        ("", "note-unsigned"),
        ("text\n\n", "note-unsigned"),
        ("text\n" + LINE, "note-unsigned"),
        (C2SP_NOTE[:-1], "note-cut"),
        (C2SP_NOTE.replace("\n", "\r\n"), "note-control-character"),
        ("a\tb\n\n" + LINE, "note-control-character"),
        ("a\x00b\n\n" + LINE, "note-control-character"),
        (C2SP_NOTE.encode() + b"\xff", "note-encoding"),
        ("\ud800" + C2SP_NOTE, "note-encoding"),
        ("text\n\n- name AAAA\n", "note-signature-line"),
        ("text\n\n— name\n", "note-signature-line"),
        ("text\n\n—  AAAAAAAA\n", "note-signature-line"),
        ("text\n\n— name AAAAAAAA extra\n", "note-signature-line"),
        ("text\n\n— name AAAA\n", "note-signature-line"),
        ("text\n\n— na+me AAAAAAAA\n", "key-name"),
        ("text\n\n— na\u00a0me AAAAAAAA\n", "key-name"),
        ("text\n\n— name AAAAAA=\n", "base64"),
        ("text\n\n— name AAAAAAB=\n", "base64"),
        ("text\n\n" + LINE * 65, "note-signatures"),
        ("x" * (MAX_NOTE + 1), "note-too-large"),
    ],
)
def test_what_is_almost_a_note_is_refused_and_says_why(raw: str | bytes, expected: str) -> None:
    assert code(raw) == expected


def test_sixteen_signatures_are_accepted() -> None:
    assert len(parse_note("text\n\n" + LINE * 16).signatures) == 16


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name",
        "name+530d903a",
        C2SP_VKEY.replace("530d903a", "530D903A"),
        C2SP_VKEY.replace("530d903a", "530d903b"),
        C2SP_VKEY.replace("example", "elpmaxe"),
        C2SP_VKEY[:-4],
        C2SP_VKEY + "=",
        "+" + C2SP_VKEY.split("+", 1)[1],
        "a b+" + C2SP_VKEY.split("+", 1)[1],
    ],
)
def test_a_changed_verifier_key_is_refused(vkey: str) -> None:
    with pytest.raises(NoteError):
        split_vkey(vkey)


def test_a_key_of_unknown_type_is_refused() -> None:
    key = Ed25519Key("name", read_vkey(C2SP_VKEY).public)
    key.type_byte = 0x02  # type: ignore[misc]
    with pytest.raises(NoteError, match="another key id"):
        read_vkey(key.vkey)


def test_signatures_of_unknown_keys_are_ignored() -> None:
    """Also one with a known key's name, and one with a known key's id: both together make a key known."""
    known = parse_note(C2SP_NOTE).signatures[0]
    other_id = Signature(known.name, b"\0\0\0\0", b"garbage")
    other_name = Signature("example.com/bar", known.key_id, b"garbage")
    note = Note("This is an example message.\n", (other_id, known, other_name))
    assert len(open_note(note, [read_vkey(C2SP_VKEY)])) == 1
    with pytest.raises(NoteError) as caught:
        open_note(Note(note.text, (other_id, other_name)), [read_vkey(C2SP_VKEY)])
    assert caught.value.code == "note-no-known-signature"


def test_one_bad_signature_of_a_known_key_spoils_the_note() -> None:
    good = parse_note(C2SP_NOTE).signatures[0]
    bad = Signature(good.name, good.key_id, bytes(64))
    with pytest.raises(NoteError) as caught:
        open_note(Note("This is an example message.\n", (good, bad)), [read_vkey(C2SP_VKEY)])
    assert caught.value.code == "note-bad-signature"


def test_a_colliding_key_id_gains_nothing() -> None:
    """Key ids are short on purpose: what counts is the key in the policy."""
    forger = Ed25519PrivateKey.generate()
    text = "This is an example message.\n"
    forged = Signature("example.com/foo", bytes.fromhex("530d903a"), forger.sign(text.encode()))
    with pytest.raises(NoteError) as caught:
        open_note(Note(text, (forged,)), [read_vkey(C2SP_VKEY)])
    assert caught.value.code == "note-bad-signature"


def test_no_bit_of_a_signed_note_can_be_changed() -> None:
    """Every single bit: refused, or (in a part that nobody signed: another key's name) known to nobody."""
    raw = C2SP_NOTE.encode()
    key = read_vkey(C2SP_VKEY)
    for place in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[place // 8] ^= 1 << place % 8
        with pytest.raises(NoteError):
            open_note(parse_note(bytes(changed)), [key])


@given(st.binary(max_size=300))
def test_no_bytes_make_the_reader_raise_anything_else(raw: bytes) -> None:
    for each in (raw, b"a\n\n" + raw, b"a\n\n\xe2\x80\x94 n " + base64.b64encode(raw) + b"\n"):
        with suppress(NoteError):
            parse_note(each)


CHECKPOINT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"


def test_a_cosignature_states_its_time_and_signs_it() -> None:
    witness = CosignatureSigner.from_private("witness.example.com/w1", Ed25519PrivateKey.generate())
    note = sign_note(CHECKPOINT, [witness], time=1_679_315_147)
    (attestation,) = open_note(note, [read_vkey(witness.vkey)])
    assert attestation.time == 1_679_315_147
    (signature,) = note.signatures
    assert signature.payload[:8] == (1_679_315_147).to_bytes(8, "big")
    later = Signature(signature.name, signature.key_id, bytes(7) + b"\x01" + signature.payload[8:])
    with pytest.raises(NoteError):
        open_note(Note(note.text, (later,)), [read_vkey(witness.vkey)])
    cut = Signature(signature.name, signature.key_id, signature.payload[:-1])
    with pytest.raises(NoteError):
        open_note(Note(note.text, (cut,)), [read_vkey(witness.vkey)])


def test_a_cosignature_is_not_a_plain_signature_of_the_same_key() -> None:
    private = Ed25519PrivateKey.generate()
    plain, cosigner = (kind.from_private("n", private) for kind in (Ed25519Signer, CosignatureSigner))
    assert plain.vkey != cosigner.vkey
    note = sign_note(CHECKPOINT, [cosigner], time=1)
    with pytest.raises(NoteError, match="no trusted key"):
        open_note(note, [read_vkey(plain.vkey)])


def test_ml_dsa_44_signs_origin_size_root_and_name() -> None:
    mldsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.mldsa")
    private = mldsa.MLDSA44PrivateKey.generate()
    signer = MLDSA44Signer("log.example/a", private.public_key().public_bytes_raw(), private.sign)
    note = sign_note(CHECKPOINT, [signer], time=7)
    key = read_vkey(signer.vkey)
    assert [each.time for each in open_note(parse_note(note.encode()), [key])] == [7]
    renamed = MLDSA44Signer("log.example/b", private.public_key().public_bytes_raw(), private.sign)
    moved = Signature(renamed.name, read_vkey(renamed.vkey).key_id, note.signatures[0].payload)
    with pytest.raises(NoteError):
        open_note(Note(note.text, (moved,)), [read_vkey(renamed.vkey)])
    with pytest.raises(NoteError):
        open_note(Note(CHECKPOINT.replace("20852163", "20852164"), note.signatures), [key])


def test_a_signing_service_with_another_key_is_found_out_at_once() -> None:
    public = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    signer = Ed25519Signer("n", public, Ed25519PrivateKey.generate().sign)
    with pytest.raises(NoteError, match="does not verify"):
        sign_note(CHECKPOINT, [signer], time=0)


def test_a_key_shows_its_public_half_only() -> None:
    private = Ed25519PrivateKey.generate()
    signer = Ed25519Signer.from_private("n", private)
    secret = private.private_bytes_raw()
    for text in (repr(signer), signer.vkey, repr(read_vkey(signer.vkey))):
        assert secret.hex() not in text
        assert base64.b64encode(secret).decode() not in text


def test_a_witness_adds_its_line_once() -> None:
    witness = CosignatureSigner.from_private("w", Ed25519PrivateKey.generate())
    log = Ed25519Signer.from_private("n", Ed25519PrivateKey.generate())
    note = sign_note(CHECKPOINT, [log], time=0)
    cosignature = witness.sign(note.text, time=9)
    both = note.signed_also_by([cosignature]).signed_also_by([cosignature, *note.signatures])
    assert [each.name for each in both.signatures] == ["n", "w"]
    assert len(open_note(parse_note(both.encode()), [read_vkey(log.vkey), read_vkey(witness.vkey)])) == 2


def test_a_verifier_key_without_a_key_is_refused() -> None:
    vkey = f"n+{key_id('n', bytes([1])).hex()}+AQ=="
    with pytest.raises(NoteError, match="holds no key"):
        split_vkey(vkey)


def test_a_short_key_is_the_name_and_the_id_whatever_the_key_itself_holds() -> None:
    assert short_vkey("shop.example/audit+530d903a+Ae+y/+rr+m5=") == "shop.example/audit+530d903a"


@pytest.mark.parametrize("char", ["", *" +\x00\x1f\u2028", chr(0xD800), chr(0xDBFF), chr(0xDFFF)])
def test_what_no_name_may_hold(char: str) -> None:
    with pytest.raises(NoteError, match="not a key name"):
        check_name(char and f"shop{char}example")


@pytest.mark.parametrize("name", ["a", "shop.example/audit", "größer", "\ud7ff", "\ue000", "!~"])
def test_what_a_name_may_be(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(("size", "is_one"), [(0, True), (9, True), (2**63 - 1, True), (2**63, False), (10**19, False)])
def test_a_tree_size_has_63_bits(size: int, is_one: bool) -> None:
    text = Checkpoint("shop.example/audit", size, bytes(32)).encode()
    if is_one:
        assert Checkpoint.parse(text).size == size
    else:
        with pytest.raises(NoteError, match="not a tree size"):
            Checkpoint.parse(text)
