"""The signature types of notes: what each one signs, how it is checked, and who makes it.

    0x01  Ed25519 over the note's text                                   (c2sp.org/signed-note)
    0x04  Ed25519 over a time and the text: a witness's cosignature/v1   (c2sp.org/tlog-cosignature)
    0x06  ML-DSA-44 over time, origin, size and root: subtree/v1         (c2sp.org/tlog-cosignature)

A fourth type, forward-secure epoch keys, is in `epochs`.
"""

from __future__ import annotations

import base64
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from time import sleep
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from otel_audit.errors import ConfigurationError
from otel_audit.integrity.checkpoint import Checkpoint
from otel_audit.integrity.note import Attestation, Note, NoteError, Signature, check_name, key_id

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

__all__ = [
    "CosignatureKey",
    "CosignatureSigner",
    "Ed25519Key",
    "Ed25519Signer",
    "KeySigner",
    "MLDSA44Key",
    "MLDSA44Signer",
    "PublicKey",
    "Signer",
    "sign_note",
]

MAX_TIME: Final = 2**63 - 1


class Signer(Protocol):
    """The private half of a key: something that signs checkpoints."""

    @property
    def name(self) -> str:
        """The key's name."""

    @property
    def vkey(self) -> str:
        """The public half, as one line of text."""

    def sign(self, text: str, *, time: int, final: bool = False) -> Signature:
        """Sign a note's text at a time (POSIX seconds). `final` marks the last seal of an epoch; see
        `epochs`.
        """


def sign_note(text: str, signers: Iterable[Signer], *, time: int, final: bool = False) -> Note:
    """Return the text as a note with one signature of each signer."""
    return Note(text, tuple(signer.sign(text, time=time, final=final) for signer in signers))


class PublicKey(ABC):
    """A named public key of one signature type."""

    type_byte: ClassVar[int]
    length: ClassVar[int]

    def __init__(self, name: str, public: bytes) -> None:
        if len(public) != self.length:
            raise NoteError("vkey", f"the key of {name!r} takes {self.length} bytes, not {len(public)}")
        self.name = check_name(name)
        self.public = public
        self.key_id = key_id(name, self._material)

    @property
    def _material(self) -> bytes:
        return bytes([self.type_byte]) + self.public

    @property
    def vkey(self) -> str:
        """The key as one line of text (c2sp.org/signed-note, "Verifier keys")."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(self._material).decode()}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}+{self.key_id.hex()}>"

    @abstractmethod
    def verify(self, text: str, payload: bytes) -> Attestation:
        """Check one signature over a note's text; `NoteError` if it does not verify."""

    def _refuse(self, why: str) -> NoteError:
        return NoteError("note-bad-signature", f"the signature of {self.name}+{self.key_id.hex()} {why}")


class _Ed25519(PublicKey):
    length = 32

    def __init__(self, name: str, public: bytes) -> None:
        super().__init__(name, public)
        self._key = Ed25519PublicKey.from_public_bytes(public)

    def _check(self, signature: bytes, message: bytes) -> None:
        try:
            self._key.verify(signature, message)
        except InvalidSignature as error:
            raise self._refuse("does not verify") from error


class Ed25519Key(_Ed25519):
    """Type 0x01: Ed25519 over the note's text."""

    type_byte = 0x01

    def verify(self, text: str, payload: bytes) -> Attestation:  # noqa: D102 - as in the base
        self._check(payload, text.encode())
        return Attestation(self)


class CosignatureKey(_Ed25519):
    """Type 0x04: a witness's timestamped Ed25519 cosignature."""

    type_byte = 0x04

    def verify(self, text: str, payload: bytes) -> Attestation:  # noqa: D102 - as in the base
        time, signature = split_time(self, payload, 64)
        self._check(signature, cosigned_text(text, time))
        return Attestation(self, time)


class MLDSA44Key(PublicKey):
    """Type 0x06: a timestamped ML-DSA-44 cosignature, by a log or by a witness."""

    type_byte = 0x06
    length = 1312

    def __init__(self, name: str, public: bytes) -> None:
        super().__init__(name, public)
        self._key = _mldsa44_public(public)

    def verify(self, text: str, payload: bytes) -> Attestation:  # noqa: D102 - as in the base
        time, signature = split_time(self, payload, 2420)
        message = subtree_message(self.name, time, Checkpoint.parse(text))
        try:
            self._key.verify(signature, message)
        except InvalidSignature as error:
            raise self._refuse("does not verify") from error
        return Attestation(self, time or None)


def split_time(key: PublicKey, payload: bytes, length: int) -> tuple[int, bytes]:
    """Split a `timestamped_signature` into its time and its signature of `length` bytes."""
    if len(payload) != 8 + length:
        raise key._refuse(f"takes {8 + length} bytes, not {len(payload)}")
    time = int.from_bytes(payload[:8], "big")
    if time > MAX_TIME:
        raise key._refuse("states a time beyond 2^63 - 1")
    return time, payload[8:]


def cosigned_text(text: str, time: int) -> bytes:
    """Return what an Ed25519 cosignature signs (c2sp.org/tlog-cosignature, "Ed25519 signed message")."""
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def subtree_message(name: str, time: int, head: Checkpoint) -> bytes:
    """Return what an ML-DSA-44 cosignature signs (c2sp.org/tlog-cosignature, "ML-DSA-44 signed message")."""
    cosigner, origin = name.encode(), head.origin.encode()
    if max(len(cosigner), len(origin)) > 255:
        raise NoteError("key-name", "an ML-DSA-44 signature takes names of at most 255 bytes")
    return b"".join(
        (
            b"subtree/v1\n\0",
            bytes([len(cosigner)]),
            cosigner,
            struct.pack(">Q", time),
            bytes([len(origin)]),
            origin,
            struct.pack(">QQ", 0, head.size),
            head.root,
        )
    )


def _mldsa44_public(public: bytes) -> MLDSA44PublicKey:
    try:
        from cryptography.hazmat.primitives.asymmetric import mldsa

        return mldsa.MLDSA44PublicKey.from_public_bytes(public)
    except (ImportError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(
            "ML-DSA-44 needs a `cryptography` that has it (48 or later, as its wheels are built)"
        ) from error


class KeySigner:
    """What signers have in common: what their key's public half says."""

    _key: PublicKey

    @property
    def name(self) -> str:
        """The key's name."""
        return self._key.name

    @property
    def vkey(self) -> str:
        """The public half, as one line of text."""
        return self._key.vkey

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}+{self._key.key_id.hex()}>"


class Ed25519Signer(KeySigner):
    """Signs with Ed25519 (type 0x01). `sign` is any callable: a local key's, or a key management service's.

    What a callable returns is checked with the public key before it is used, so that a wrong key in a service
    is found by the signer and not, months later, by the auditor.
    """

    _key: _Ed25519

    def __init__(self, name: str, public: bytes, sign: Callable[[bytes], bytes]) -> None:
        self._key = Ed25519Key(name, public)
        self._sign = sign

    @classmethod
    def from_private(cls, name: str, private: Ed25519PrivateKey) -> Ed25519Signer:
        """Return the signer of a private key that this process holds."""
        return cls(name, private.public_key().public_bytes_raw(), private.sign)

    def sign(self, text: str, *, time: int, final: bool = False) -> Signature:
        """Sign a note's text. The signature states no time, so `time` and `final` are not used."""
        del time, final
        return Signature(self.name, self._key.key_id, self._signed(text.encode()))

    @property
    def type_byte(self) -> int:
        """The signature type."""
        return self._key.type_byte

    def sign_batch(self, texts: Sequence[str]) -> list[bytes]:
        """Sign the texts of many notes; return the bare signatures. Only the first one is checked.

        Other threads get their turn behind each of them.
        """
        made: list[bytes] = []
        for text in texts:
            made.append(self._sign(text.encode()) if made else self._signed(text.encode()))
            sleep(0)
        return made

    def _signed(self, message: bytes) -> bytes:
        signature = self._sign(message)
        self._key._check(signature, message)
        return signature


class CosignatureSigner(Ed25519Signer):
    """Signs as a witness does (type 0x04). A key used here must not be used for another signature type."""

    def __init__(self, name: str, public: bytes, sign: Callable[[bytes], bytes]) -> None:
        super().__init__(name, public, sign)
        self._key = CosignatureKey(name, public)

    def sign(self, text: str, *, time: int, final: bool = False) -> Signature:
        """Cosign a checkpoint's text as seen at `time`."""
        del final
        payload = struct.pack(">Q", time) + self._signed(cosigned_text(text, time))
        return Signature(self.name, self._key.key_id, payload)


class MLDSA44Signer(KeySigner):
    """Signs checkpoints with ML-DSA-44 (type 0x06): beside Ed25519, against a later quantum computer."""

    def __init__(self, name: str, public: bytes, sign: Callable[[bytes], bytes]) -> None:
        self._key = MLDSA44Key(name, public)
        self._sign = sign

    def sign(self, text: str, *, time: int, final: bool = False) -> Signature:
        """Sign a checkpoint's origin, size and root as seen at `time`."""
        del final
        signature = self._sign(subtree_message(self.name, time, Checkpoint.parse(text)))
        made = Signature(self.name, self._key.key_id, struct.pack(">Q", time) + signature)
        self._key.verify(text, made.payload)
        return made
