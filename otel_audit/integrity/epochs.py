"""Forward-secure epochs: whoever takes the key today cannot re-sign yesterday.

Time is cut into epochs of one length. Each has its own Ed25519 key; all public keys are the leaves of one
Merkle tree whose root is in the verifier key; the seed of an epoch gives the next one's, and is overwritten
once its epoch is sealed (Krawczyk, CCS 2000). Checking needs the verifier key alone: no secret, no server.

    seed[i+1] = HMAC-SHA256(seed[i], "otel-audit epoch ratchet")
    key[i]    = Ed25519 of HMAC-SHA256(seed[i], "otel-audit epoch key")
    leaf[i]   = SHA-256(0x00 || public[i])

It is a signature type of notes (0xff, then a name of its own), so a checkpoint stays a plain C2SP checkpoint:

    vkey     = 0xff || "otel-audit.epochs/v1" || start, u64 || length, u32 || count, u32 || root, 32 bytes
    payload  = epoch, u32 || final, u8 || time, u64 || public, 32 bytes || path length, u8 || path ||
    signature, 64
    signed   = "otel-audit.epochs/v1\\nepoch <i>\\ntime <POSIX seconds>\\n<final or open>\\n" || the note's
    text

What a verifier must demand of a *series* of seals (one final seal an epoch, empty ones included; epochs
strictly rising; nothing missing) is in `seals`.
"""

from __future__ import annotations

import copy
import hmac
import struct
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar, Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from otel_audit.errors import AuditError, ConfigurationError
from otel_audit.integrity.merkle import ProofError, inclusion_proof, root_hash, verify_inclusion
from otel_audit.integrity.note import Attestation, NoteError, Signature
from otel_audit.integrity.signatures import KeySigner, PublicKey

__all__ = [
    "EpochAttestation",
    "EpochKey",
    "EpochSigner",
    "EpochsExhaustedError",
    "Schedule",
    "certify",
    "reads_as_seal",
]

ALGORITHM: Final = b"otel-audit.epochs/v1"
_HEAD: Final = struct.Struct(">IBQ32sB")
_SCHEDULE: Final = struct.Struct(">QII32s")
MAX_EPOCHS: Final = 2**24


class EpochsExhaustedError(AuditError):
    """No certified epoch is left for this moment: provision new epoch keys and list them in the policy."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How time is cut: `count` epochs of `length` seconds from `start` (POSIX seconds)."""

    start: int
    length: int
    count: int

    def epoch_at(self, time: float) -> int:
        """Return the number of the epoch that a moment lies in; it may be outside 0 .. count - 1."""
        return int((time - self.start) // self.length)

    def begin(self, epoch: int) -> int:
        """Return an epoch's first second."""
        return self.start + epoch * self.length

    def end(self, epoch: int) -> int:
        """Return the first second after an epoch."""
        return self.start + (epoch + 1) * self.length


@dataclass(frozen=True, slots=True)
class EpochAttestation(Attestation):
    """A valid seal: also the epoch it was made in, and whether it is that epoch's last."""

    epoch: int = 0
    final: bool = False


class EpochKey(PublicKey):
    """The public half: a schedule, and the root over all epochs' public keys."""

    type_byte = 0xFF
    length: ClassVar[int] = len(ALGORITHM) + _SCHEDULE.size

    def __init__(self, name: str, public: bytes) -> None:
        super().__init__(name, public)
        if not public.startswith(ALGORITHM):
            raise NoteError("vkey", f"the key of {name!r} is of an unknown type")
        start, length, count, self.root = _SCHEDULE.unpack(public[len(ALGORITHM) :])
        if not length or not 0 < count <= MAX_EPOCHS or start > 2**40:
            raise NoteError("vkey", f"the epochs of {name!r} make no sense")
        self.schedule = Schedule(start, length, count)

    @classmethod
    def of(cls, name: str, schedule: Schedule, root: bytes) -> EpochKey:
        """Return the key of a schedule and a root."""
        return cls(name, ALGORITHM + _SCHEDULE.pack(schedule.start, schedule.length, schedule.count, root))

    def verify(self, text: str, payload: bytes) -> EpochAttestation:  # noqa: D102 - as in the base
        if len(payload) < _HEAD.size:
            raise self._refuse("is too short")
        epoch, final, time, public, steps = _HEAD.unpack_from(payload)
        path_end = _HEAD.size + 32 * steps
        if len(payload) != path_end + 64 or final > 1:
            raise self._refuse("has another length than it says")
        path = [payload[place : place + 32] for place in range(_HEAD.size, path_end, 32)]
        try:
            verify_inclusion(_leaf(public), epoch, self.schedule.count, path, self.root)
        except ProofError as error:
            raise self._refuse(f"is of a key that is not certified for epoch {epoch}: {error}") from error
        try:
            message = _message(text, epoch, time, final=bool(final))
            Ed25519PublicKey.from_public_bytes(public).verify(payload[path_end:], message)
        except InvalidSignature as error:
            raise self._refuse("does not verify") from error
        if self.schedule.epoch_at(time) != epoch:
            raise self._refuse(f"states a time outside its epoch {epoch}")
        return EpochAttestation(self, time, epoch, bool(final))


def reads_as_seal(payload: bytes) -> bool:
    """Tell an epoch's seal from other signatures' payloads by its length, where the key is not known."""
    return len(payload) > _HEAD.size and len(payload) == _HEAD.size + 32 * payload[_HEAD.size - 1] + 64


class SeedStore(Protocol):
    """Where the present epoch's seed outlives the process; see `seedfile`."""

    def advance(self, epoch: int, seed: bytearray) -> None:
        """Keep this seed and erase the one before."""


class EpochSigner(KeySigner):
    """The private half, at one epoch. `advance` leaves it for good: the seed before is overwritten.

    CPython gives no promise that no copy of a secret stays in memory; what this object holds itself is
    overwritten in place. Where that is not enough, keep the key outside the process.
    """

    _key: EpochKey

    def __init__(
        self, key: EpochKey, publics: bytes, epoch: int, seed: bytearray, store: SeedStore | None = None
    ) -> None:
        """`publics` are all epochs' public keys, packed; `seed` is that of `epoch` and is overwritten in
        place.
        """
        if root_hash(_leaves(publics)) != key.root or len(publics) != 32 * key.schedule.count:
            raise ConfigurationError(f"the public epoch keys are not those that {key.name} certifies")
        self._key = key
        self._store = store
        self._publics = publics
        self._leaves = _leaves(publics)
        self._seed = seed
        self._path: tuple[int, list[bytes]] | None = None
        self.epoch = epoch

    @property
    def schedule(self) -> Schedule:
        """How time is cut into epochs."""
        return self._key.schedule

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}+{self._key.key_id.hex()} epoch {self.epoch}>"

    def twin(self) -> EpochSigner:
        """Return a signer at the same epoch that goes on by itself."""
        twin = copy.copy(self)
        twin._seed = bytearray(self._seed)
        return twin

    def erase(self) -> None:
        """Overwrite the seed: this signer signs nothing more."""
        self._seed[:] = bytes(len(self._seed))

    def advance(self, epoch: int) -> None:
        """Go to a later epoch and forget the seeds on the way. Going back is not possible; the same one is no
        step.

        Raises:
            EpochsExhaustedError: the schedule ends before that epoch.
        """
        if epoch >= self.schedule.count:
            raise EpochsExhaustedError(
                f"the epoch keys of {self.name} are used up: the last of {self.schedule.count} epochs is over; make "
                "new ones with `otel-audit keys epochs`, and put their verifier key into the policy beside the old one"
            )
        if epoch <= self.epoch:
            return
        while self.epoch < epoch:
            self._seed[:] = _next_seed(self._seed)
            self.epoch += 1
        if self._store is not None:
            self._store.advance(self.epoch, self._seed)

    def sign(self, text: str, *, time: int, final: bool = False) -> Signature:
        """Seal a note's text with this epoch's key. A time outside the epoch is stated as its nearest
        second.
        """
        begin, end = self.schedule.begin(self.epoch), self.schedule.end(self.epoch)
        time = min(max(time, begin), end - 1)
        public = self._publics[32 * self.epoch : 32 * self.epoch + 32]
        path = self._audit_path()
        signature = _epoch_key(self._seed).sign(_message(text, self.epoch, time, final=final))
        head = _HEAD.pack(self.epoch, final, time, public, len(path))
        return Signature(self.name, self._key.key_id, head + b"".join(path) + signature)

    def _audit_path(self) -> list[bytes]:
        if self._path is None or self._path[0] != self.epoch:
            self._path = self.epoch, inclusion_proof(self._leaves, self.epoch, self.schedule.count)
        return self._path[1]


def certify(name: str, schedule: Schedule, seed: bytes) -> tuple[EpochKey, bytes]:
    """Return the verifier key of a schedule and the packed public keys (32 bytes an epoch) that `seed` leads
    to.

    A year of hourly epochs takes about half a second.
    """
    if len(seed) != 32:
        raise ValueError("a seed takes 32 bytes")
    if not 0 < schedule.count <= MAX_EPOCHS:
        raise ValueError(f"between 1 and {MAX_EPOCHS} epochs, not {schedule.count}")
    publics = bytearray()
    current = bytearray(seed)
    for _ in range(schedule.count):
        publics += _epoch_key(current).public_key().public_bytes_raw()
        current[:] = _next_seed(current)
    return EpochKey.of(name, schedule, root_hash(_leaves(publics))), bytes(publics)


def _next_seed(seed: bytes | bytearray) -> bytes:
    return hmac.digest(seed, b"otel-audit epoch ratchet", "sha256")


def _epoch_key(seed: bytes | bytearray) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hmac.digest(seed, b"otel-audit epoch key", "sha256"))


def _leaf(public: bytes | bytearray) -> bytes:
    return sha256(b"\x00" + public).digest()


def _leaves(publics: bytes | bytearray) -> bytes:
    return b"".join([_leaf(publics[place : place + 32]) for place in range(0, len(publics), 32)])


def _message(text: str, epoch: int, time: int, *, final: bool) -> bytes:
    state = "final" if final else "open"
    return f"{ALGORITHM.decode()}\nepoch {epoch}\ntime {time}\n{state}\n{text}".encode()
