"""Signed statements about keys: that one follows another, and that one must no longer be believed.

Both are signed notes. A rotation is signed by the key that ends, and stands in the stream
(`audit.key.rotate`):

    otel-audit.key-rotation/v1
    origin <origin of the stream>
    from <vkey>
    to <vkey>
    size <records after which the new key signs>

A revocation is signed by a key that the policy names as `revoker`, and reaches the verifier with the policy:

    otel-audit.key-revocation/v1
    key <vkey>
    time <POSIX seconds>
    reason <words>
    good <origin> <size>             (any number: what the key signed up to there stays believed)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from otel_audit.integrity.note import Note, NoteError, VerifierKey, open_note, parse_note, split_vkey

__all__ = ["Revocation", "Rotation"]

_ROTATION: Final = "otel-audit.key-rotation/v1"
_REVOCATION: Final = "otel-audit.key-revocation/v1"
_SIZE: Final = re.compile("0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Rotation:
    """In this stream, `old` signs up to `size` records, and `new` from there on."""

    origin: str
    old: str
    new: str
    size: int

    def encode(self) -> str:
        """Return the note text to sign."""
        return f"{_ROTATION}\norigin {self.origin}\nfrom {self.old}\nto {self.new}\nsize {self.size}\n"

    @classmethod
    def open(cls, raw: str | bytes, keys: Sequence[VerifierKey]) -> Rotation:
        """Read a rotation and check that the key that it ends has signed it.

        Raises:
            NoteError: it has not, is not among `keys`, or this is no rotation.
        """
        note = parse_note(raw)
        lines = _lines(note, _ROTATION)
        values = [_value(line, word) for line, word in zip(lines, ("origin", "from", "to", "size"), strict=False)]
        if len(lines) != 4 or not _SIZE.fullmatch(values[3]):
            raise NoteError("statement", "not a key rotation: lines are missing, too many, or out of order")
        origin, old, new, size = values
        split_vkey(new)
        open_note(note, [key for key in keys if key.vkey == old])
        return cls(origin, old, new, int(size))


@dataclass(frozen=True, slots=True)
class Revocation:
    """`key` is not believed any more, but for what it signed up to `good[origin]` records."""

    key: str
    time: int
    reason: str
    good: dict[str, int] = field(default_factory=dict)

    def encode(self) -> str:
        """Return the note text to sign."""
        good = "".join(f"good {origin} {size}\n" for origin, size in sorted(self.good.items()))
        return f"{_REVOCATION}\nkey {self.key}\ntime {self.time}\nreason {self.reason}\n{good}"

    @classmethod
    def open(cls, raw: str | bytes, revokers: Sequence[VerifierKey]) -> Revocation:
        """Read a revocation and check that a key that may revoke has signed it.

        Raises:
            NoteError: none has, or this is no revocation.
        """
        note = parse_note(raw)
        open_note(note, revokers)
        lines = _lines(note, _REVOCATION)
        if len(lines) < 3 or not _SIZE.fullmatch(_value(lines[1], "time")):
            raise NoteError("statement", "not a key revocation: lines are missing or out of order")
        good: dict[str, int] = {}
        for line in lines[3:]:
            origin, _, size = _value(line, "good").rpartition(" ")
            if not origin or origin in good or not _SIZE.fullmatch(size):
                raise NoteError("statement", f"not a `good <origin> <size>` line: {line[:80]!r}")
            good[origin] = int(size)
        key = _value(lines[0], "key")
        split_vkey(key)
        return cls(key, int(_value(lines[1], "time")), _value(lines[2], "reason"), good)

    def covers(self, key: VerifierKey, origin: str, size: int) -> bool:
        """Tell whether a checkpoint of this key, origin and size is not to be believed."""
        return key.vkey == self.key and size > self.good.get(origin, 0)


def _lines(note: Note, header: str) -> list[str]:
    lines = note.text.split("\n")
    if lines[0] != header or lines.pop() != "":
        raise NoteError("statement", f"this note is no {header}")
    return lines[1:]


def _value(line: str, word: str) -> str:
    if not line.startswith(word + " "):
        raise NoteError("statement", f"a line `{word} ...` is expected, not {line[:80]!r}")
    return line[len(word) + 1 :]
