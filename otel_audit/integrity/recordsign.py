"""A signature for each record: what lets one line be checked by itself, without the tree, the log or a proof.

Signed is the text of a note (c2sp.org/signed-note), by the key that signs checkpoints:

    otel-audit.record/v1
    record <key name>/<stream>-<seq>
    hash <64 hex digits>

The signatures of up to 64 records stand together in an `audit.signatures` record behind them. Beyond what
checkpoints show of a log, they show nothing of it: not that a record's neighbours are there. They cost fifty times as
much to check.
"""

from __future__ import annotations

import base64
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from otel_audit.errors import ConfigurationError
from otel_audit.integrity.checkpoint import Checkpoint, origin_of
from otel_audit.integrity.findings import Finding
from otel_audit.integrity.note import (
    Note,
    NoteError,
    Signature,
    VerifierKey,
    decode_base64,
    open_note,
    parse_note,
    short_vkey,
)
from otel_audit.integrity.signatures import Ed25519Key, Ed25519Signer, Signer
from otel_audit.integrity.statements import Revocation

__all__ = ["HEADER", "RecordSigner", "SignedRecords", "check_record", "note_of", "record_text"]

HEADER: Final = "otel-audit.record/v1"
_SIZE: Final = 64
_HASH_SIZE: Final = 32
_BATCH: Final = 64
"""Signatures in one record, which then takes 6 KB: what syslog daemons take as they come (8 KB)."""
_MOST_WAITING: Final = 65_536
_KEPT: Final = 2 * _MOST_WAITING
_MOST_BAD: Final = 100


def record_text(name: str, stream: str, seq: int, digest: str) -> str:
    """Return what a key of this name signs for a record with this hash (64 hex digits)."""
    return f"{HEADER}\nrecord {origin_of(name, stream)}-{seq}\nhash {digest}\n"


class RecordSigner:
    """Signs the records of one stream, in the thread that asks for it; `observe` takes them in any."""

    def __init__(self, signer: Signer, stream: str, *, emit: Callable[[dict[str, Any]], object]) -> None:
        """`emit(data)` writes an `audit.signatures` record.

        Raises:
            ConfigurationError: the key is none of plain Ed25519.
        """
        if not isinstance(signer, Ed25519Signer) or signer.type_byte != Ed25519Key.type_byte:
            raise ConfigurationError(
                "record_signatures takes an Ed25519 key as signing_key_file: epoch keys and ML-DSA-44 sign checkpoints "
                "only"
            )
        self._signer = signer
        self._stream = stream
        self._emit = emit
        self._lock = threading.Lock()
        self._waiting: deque[tuple[int, str]] = deque(maxlen=_MOST_WAITING)
        """Where the process logs faster than this signs, the oldest go without; the verifier says which."""

    def observe(self, first: int, packed: bytes) -> None:
        """Take the hashes of records from this number on, 32 bytes each."""
        digests = (packed[place : place + _HASH_SIZE].hex() for place in range(0, len(packed), _HASH_SIZE))
        with self._lock:
            self._waiting.extend(enumerate(digests, first))

    def sign(self, upto: int) -> int:
        """Sign what waits, up to this record; return how many records were written for it."""
        written = 0
        while batch := self._take(upto):
            texts = [record_text(self._signer.name, self._stream, seq, digest) for seq, digest in batch]
            packed = b"".join(self._signer.sign_batch(texts))
            self._emit(
                {
                    "first": batch[0][0],
                    "signatures": base64.b64encode(packed).decode(),
                    "signer": short_vkey(self._signer.vkey),
                }
            )
            written += 1
        return written

    def _take(self, upto: int) -> list[tuple[int, str]]:
        batch: list[tuple[int, str]] = []
        with self._lock:
            waiting = self._waiting
            while waiting and len(batch) < _BATCH and waiting[0][0] <= upto:
                if batch and waiting[0][0] != batch[-1][0] + 1:
                    break
                batch.append(waiting.popleft())
        return batch


class SignedRecords:
    """Checks the record signatures of one stream. Feed it the records in order, and what `audit.signatures` hold."""

    def __init__(self, stream: str, keys: Sequence[VerifierKey], revocations: Sequence[Revocation] = ()) -> None:
        self.checked = 0
        """Records whose signature is there and good."""
        self._stream = stream
        self._keys = {short_vkey(key.vkey): key for key in keys if isinstance(key, Ed25519Key)}
        self._revocations = revocations
        self._hashes = bytearray()
        self._start = 1
        """Number of the first record whose hash is kept."""
        self._next = 1
        self._own = 0
        """Number of the last record with the signatures of those right before it: no writer signs it with them."""
        self._covered = 0
        self._findings: list[Finding] = []

    def extend_packed(self, packed: bytes) -> None:
        """Take the hashes of the next records, 32 bytes each."""
        self._hashes += packed
        beyond = len(self._hashes) // _HASH_SIZE - 2 * _KEPT
        if beyond > 0:
            del self._hashes[: (beyond + _KEPT) * _HASH_SIZE]
            self._start += beyond + _KEPT

    def take(self, data: Any, seq: int) -> None:
        """Take the data of the `audit.signatures` record with this number."""
        try:
            first, signer = data["first"], data["signer"]
            packed = decode_base64(data["signatures"])
            if type(first) is not int or type(signer) is not str or len(packed) % _SIZE or not packed:
                raise TypeError("its members are of other types or lengths")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self._find("BAD_SIGNATURE", f"record signatures that cannot be read: {error}", seq)
            return
        count = len(packed) // _SIZE
        if not self._next <= first <= first + count <= seq or first < self._start:
            self._find("BAD_SIGNATURE", f"signatures of records {first} to {first + count - 1} stand here", seq)
            return
        key = self._keys.get(signer)
        if key is None:
            self._find("UNKNOWN_SIGNER", f"record signatures of {signer[:200]!r}", seq)
            return
        if first > self._next:
            self._miss(first)
        self._next = first + count
        if seq == max(self._next, self._own + 1):
            self._own = seq
        for place in range(count):
            self._check(key, first + place, packed[place * _SIZE : (place + 1) * _SIZE])

    def cover(self, data: Any) -> None:
        """Take the data of an `audit.checkpoint` record: what it covers was signed record by record before it."""
        try:
            size = Checkpoint.parse(parse_note(data["note"]).text).size
        except (KeyError, TypeError, AttributeError, NoteError):
            return  # what is wrong with checkpoints is said elsewhere
        self._covered = max(self._covered, min(size, self._start - 1 + len(self._hashes) // _HASH_SIZE))

    def finish(self) -> list[Finding]:
        """Return what was found."""
        if not self._findings and not self.checked:
            return [Finding("RECORDS_NOT_SIGNED", "no record of it has a signature of its own")]
        if not self._findings and self._covered > max(self._own, self._next - 1):
            detail = f"records {self._next} to {self._covered} have none, though a checkpoint behind them covers them"
            self._find("RECORDS_NOT_SIGNED", detail, self._next)
        return self._findings

    def _check(self, key: VerifierKey, seq: int, signature: bytes) -> None:
        place = (seq - self._start) * _HASH_SIZE
        digest = self._hashes[place : place + _HASH_SIZE].hex()
        if any(each.covers(key, origin_of(key.name, self._stream), seq) for each in self._revocations):
            self._find("KEY_REVOKED", "a record's own signature", seq)
            return
        try:
            key.verify(record_text(key.name, self._stream, seq, digest), signature)
        except NoteError as error:
            self._find("BAD_SIGNATURE", f"of the record itself: {error}", seq)
        else:
            self.checked += 1

    def _miss(self, upto: int) -> None:
        detail = f"records {self._next} to {upto - 1} have none, those around them do"
        self._find("RECORDS_NOT_SIGNED", detail, self._next)

    def _find(self, code: str, detail: str, seq: int) -> None:
        if len(self._findings) < _MOST_BAD:
            self._findings.append(Finding(code, detail, seq))


def note_of(data: dict[str, Any], stream: str, seq: int, digest: str) -> str | None:
    """Return a record's own signature, out of an `audit.signatures` record's data, as a signed note; None if not there.

    Raises:
        NoteError, KeyError, TypeError: it is no such data.
    """
    packed, place = decode_base64(data["signatures"]), seq - data["first"]
    if not 0 <= place < len(packed) // _SIZE:
        return None
    name, _, key_id = data["signer"].rpartition("+")
    signature = Signature(name, bytes.fromhex(key_id), packed[place * _SIZE : (place + 1) * _SIZE])
    return Note(record_text(name, stream, seq, digest), (signature,)).encode()


def check_record(raw: bytes, stream: str, seq: int, digest: str, keys: Sequence[VerifierKey]) -> list[str]:
    """Return the names of those whose signature a record's note holds.

    Raises:
        NoteError: it is the note of another record, or no key among `keys` signed it.
    """
    note = parse_note(raw)
    usable = [key for key in keys if isinstance(key, Ed25519Key)]
    found = open_note(note, usable)
    if any(note.text != record_text(each.key.name, stream, seq, digest) for each in found):
        raise NoteError("record", "this is the signature of another record")
    return sorted({each.key.name for each in found})
