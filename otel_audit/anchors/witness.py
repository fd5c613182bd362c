"""A C2SP witness (c2sp.org/tlog-witness): `witness+https://witness.example/?vkey=witness.example/w1+...`.

    POST <prefix>/add-checkpoint
    old <size of the last checkpoint that it cosigned>
    <consistency proof, a hash in base64 a line>

    <signed note>

A witness cosigns only what extends what it cosigned before, so that nobody is shown another history. It knows a log by
its origin; ours has one for each stream, `<key name>/<stream>`: the witness must be told of each, or that the key may
sign for every origin below its name.
"""

from __future__ import annotations

import base64
from typing import Final

from otel_audit.anchors.http import HttpAnchor
from otel_audit.errors import ConfigurationError
from otel_audit.integrity.note import Note, NoteError, Signature, open_note, parse_note
from otel_audit.integrity.policy import read_vkey
from otel_audit.integrity.publishing import AnchorError, AnchorRefused, Receipt, SignedHead
from otel_audit.integrity.signatures import CosignatureKey, MLDSA44Key
from otel_audit.sinks.http import Answer
from otel_audit.sinks.posting import HttpSettings

__all__ = ["WitnessAnchor"]

_MOST_HASHES: Final = 63
_SIZE: Final = "text/x.tlog.size"


class WitnessAnchor(HttpAnchor):
    """Has checkpoints cosigned.

    Args:
        vkey: the witness's verifier key; a cosignature of another key does not count.
        http, name: see `HttpAnchor`; `http.target` is the witness's submission prefix.
    """

    kind = "witness"

    def __init__(
        self,
        *,
        vkey: str,
        http: HttpSettings,
        name: str | None = None,
    ) -> None:
        super().__init__(http=http, name=name)
        try:
            self._key = read_vkey(vkey)
        except NoteError as error:
            raise ConfigurationError(f"anchor {self.name}: vkey: {error}") from error
        if not isinstance(self._key, (CosignatureKey, MLDSA44Key)):
            raise ConfigurationError(f"anchor {self.name}: vkey: a witness signs cosignatures: type 0x04 or 0x06")
        self._known = 0
        """How many records the witness has seen of this stream."""

    def publish(self, head: SignedHead) -> Receipt:
        """Have a checkpoint cosigned.

        Raises:
            AnchorRefused: the witness does not know the log or its key, or has seen another history.
            AnchorError: no answer, no valid cosignature, or no proof can be made.
        """
        answer = self._add(head, self._known)
        if answer.status == 409 and answer.content_type == _SIZE:
            self._known = self._read_size(answer, head)
            answer = self._add(head, self._known)
        if answer.status != 200:
            raise self._refusal(answer)
        cosigned, moment = self._check(head, answer.body)
        self._known = head.checkpoint.size
        note = cosigned.encode()
        facts = {"note": note, "time": moment, "witness": self._key.name}
        return Receipt(facts, {"checkpoint": note.encode()})

    def _add(self, head: SignedHead, old: int) -> Answer:
        proof = head.prove(old)
        if len(proof) > _MOST_HASHES:
            raise AnchorError(f"a consistency proof of {len(proof)} hashes; a witness takes {_MOST_HASHES}")
        lines = [f"old {old}", *(base64.b64encode(each).decode() for each in proof), "", head.note]
        return self._post("\n".join(lines).encode(), {"Content-Type": "text/plain"}, below="add-checkpoint")

    def _read_size(self, answer: Answer, head: SignedHead) -> int:
        text = answer.body.strip()
        if not text.isdigit() or len(text) > 19:
            raise AnchorError(f"{self._poster} answered 409 without a size")
        size, own = int(text), head.checkpoint.size
        if size > own:
            raise AnchorRefused(
                f"{self._poster} has seen {size} records of this stream, and this checkpoint covers {own}: "
                "two writers, or a restored copy?"
            )
        return size

    def _check(self, head: SignedHead, body: bytes) -> tuple[Note, int]:
        """Return the note with the witness's signature under it, and the time that it states."""
        note = parse_note(head.note)
        try:
            text = body.decode()
            lines = parse_note(f"{note.text}\n{text}").signatures
            own = [each for each in lines if (each.name, each.key_id) == (self._key.name, self._key.key_id)]
            (attestation, *_) = open_note(Note(note.text, tuple(own)), [self._key])
        except (NoteError, UnicodeDecodeError) as error:
            raise AnchorError(f"{self._poster} answered without a valid cosignature of {self._key.name}") from error
        return note.signed_also_by(_distinct(own)), attestation.time or 0


def _distinct(signatures: list[Signature]) -> list[Signature]:
    return list(dict.fromkeys(signatures))
