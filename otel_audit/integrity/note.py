"""Signed notes and verifier keys (c2sp.org/signed-note): a text, and lines that say who signed it.

    <text, ending in a newline>
    <empty line>
    — <key name> base64(key id, 4 bytes || signature)

Reading is strict: what Go's `sumdb/note` refuses is refused here. Nothing in a note is to be believed before
`open_note` has found a signature of a trusted key on it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Protocol

from otel_audit.errors import AuditError

__all__ = [
    "MAX_NOTE",
    "MAX_SIGNATURES",
    "Attestation",
    "Note",
    "NoteError",
    "Signature",
    "VerifierKey",
    "check_name",
    "decode_base64",
    "key_id",
    "open_note",
    "parse_note",
    "short_vkey",
    "split_vkey",
]

MAX_NOTE: Final = 262_144
"""Largest note read, in bytes. Sixteen ML-DSA-44 signatures take 52 KB."""

MAX_SIGNATURES: Final = 64
_SIGNATURE_LINE: Final = re.compile("— ([^ ]+) ([A-Za-z0-9+/]+={0,2})")
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")


class NoteError(AuditError, ValueError):
    """A note, or something in it, is not what it must be. `code` is stable, the message is for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: whose it says it is, and the bytes behind the key id."""

    name: str
    key_id: bytes
    payload: bytes

    def encode(self) -> str:
        """Return the line, newline included."""
        return f"— {self.name} {base64.b64encode(self.key_id + self.payload).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A text and the signatures under it, none of them checked yet."""

    text: str
    signatures: tuple[Signature, ...]

    def encode(self) -> str:
        """Return the whole signed note."""
        return self.text + "\n" + "".join(each.encode() for each in self.signatures)

    def signed_also_by(self, signatures: Iterable[Signature]) -> Note:
        """Return this note with more signature lines (a witness's, say); lines it has already are not
        doubled.
        """
        more = [each for each in signatures if each not in self.signatures]
        return Note(self.text, (*self.signatures, *more))


@dataclass(frozen=True, slots=True)
class Attestation:
    """What one valid signature says: whose it is, and the time that it states (POSIX seconds), if it states
    one.
    """

    key: VerifierKey
    time: int | None = None


class VerifierKey(Protocol):
    """The public half of a key, by which signatures on notes are checked."""

    @property
    def name(self) -> str:
        """The key's name, as it stands in signature lines."""

    @property
    def key_id(self) -> bytes:
        """Four bytes that tell keys of one name apart."""

    @property
    def vkey(self) -> str:
        """The key as one line of text."""

    @property
    def public(self) -> bytes:
        """The underlying public key, whatever the name and the signature type around it."""

    def verify(self, text: str, payload: bytes) -> Attestation:
        """Check one signature over a note's text.

        Raises:
            NoteError: it does not verify.
        """


def parse_note(raw: str | bytes) -> Note:
    """Read a signed note.

    Raises:
        NoteError: these bytes are not one.
    """
    if len(raw) > MAX_NOTE:
        raise NoteError("note-too-large", f"a note of {len(raw)} bytes; at most {MAX_NOTE} are read")
    try:
        note = raw.decode() if isinstance(raw, bytes) else raw
        note.encode()
    except UnicodeError as error:
        raise NoteError("note-encoding", "the note is not valid UTF-8") from error
    if _CONTROL.search(note):
        raise NoteError("note-control-character", "the note holds a control character (a carriage return?)")
    text, blank, lines = note.rpartition("\n\n")
    if not blank or not lines:
        raise NoteError("note-unsigned", "the note has no signature lines")
    if not lines.endswith("\n"):
        raise NoteError("note-cut", "the note does not end in a newline")
    signed = lines[:-1].split("\n")
    if len(signed) > MAX_SIGNATURES:
        raise NoteError("note-signatures", f"{len(signed)} signatures; at most {MAX_SIGNATURES} are read")
    return Note(text + "\n", tuple(_parse_signature(line) for line in signed))


def _parse_signature(line: str) -> Signature:
    found = _SIGNATURE_LINE.fullmatch(line)
    if found is None:
        raise NoteError("note-signature-line", f"not a signature line: {line[:80]!r}")
    name, encoded = found.groups()
    check_name(name)
    raw = decode_base64(encoded)
    if len(raw) < 5:
        raise NoteError("note-signature-line", f"the signature of {name!r} is too short")
    return Signature(name, raw[:4], raw[4:])


def open_note(note: Note, keys: Sequence[VerifierKey]) -> list[Attestation]:
    """Check every signature that a known key should have made; return what they say, in the note's order.

    Signatures of unknown keys are ignored. A known key is one whose name and key id both match.

    Raises:
        NoteError: `note-bad-signature` where a known key's signature does not verify: the whole note is
        refused;
            `note-no-known-signature` where no known key signed it.
    """
    known: dict[tuple[str, bytes], VerifierKey] = {(key.name, key.key_id): key for key in keys}
    attestations = [
        known[each.name, each.key_id].verify(note.text, each.payload)
        for each in note.signatures
        if (each.name, each.key_id) in known
    ]
    if not attestations:
        signers = ", ".join(sorted({each.name for each in note.signatures}))
        raise NoteError("note-no-known-signature", f"signed by no trusted key (signatures say: {signers[:200]})")
    return attestations


def key_id(name: str, material: bytes) -> bytes:
    """Return the id of a key from its name and `signature type || public key`."""
    return sha256(name.encode() + b"\n" + material).digest()[:4]


def split_vkey(vkey: str) -> tuple[str, bytes]:
    """Return the name, and `signature type || public key`, of a verifier key in its text form.

    Raises:
        NoteError: it is not one, or its key id is not its own.
    """
    parts = vkey.split("+", 2)
    if len(parts) != 3 or not re.fullmatch("[0-9a-f]{8}", parts[1]):
        raise NoteError("vkey", "a verifier key reads <name>+<8 hex digits>+<base64>")
    name = check_name(parts[0])
    material = decode_base64(parts[2])
    if len(material) < 2:
        raise NoteError("vkey", f"the verifier key of {name!r} holds no key")
    if key_id(name, material).hex() != parts[1]:
        raise NoteError("vkey", f"the verifier key of {name!r} has another key id than its name and key give")
    return name, material


def short_vkey(vkey: str) -> str:
    """Return `<name>+<key id>`, which tells keys apart where the whole key need not stand."""
    return "+".join(vkey.split("+", 2)[:2])


def check_name(name: str) -> str:
    """Return a key name that may stand in a signature line.

    Raises:
        NoteError: it is empty, is no UTF-8, or holds a space, a plus or a control character.
    """
    if not name or "+" in name or any(char.isspace() or char < " " or "\ud800" <= char <= "\udfff" for char in name):
        raise NoteError("key-name", f"not a key name (no spaces, no plus): {name[:80]!r}")
    return name


def decode_base64(text: str) -> bytes:
    """Decode standard base64, padded, in its one canonical spelling.

    Raises:
        NoteError: it is not that.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteError("base64", f"not base64: {text[:80]!r}") from error
    if base64.b64encode(raw).decode() != text:
        raise NoteError("base64", f"not base64 in its canonical spelling: {text[:80]!r}")
    return raw
