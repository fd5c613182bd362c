"""What the integrity checks need of a span: the hashes of its records, and the control records that speak of keys.

It is made while a source is read, in whichever process reads it, and costs 32 bytes a record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from otel_audit.record import Control

from .content import Entry

__all__ = ["MARK", "MOST_SAID", "Statement", "Trace"]

MOST_SAID: Final = 64 * 1024 * 1024
"""Most characters of signed notes that are kept of one source: some 200,000 checkpoints."""

_MEMBERS: Final = {
    Control.STREAM_OPEN: ("keys",),
    Control.CHECKPOINT: ("note",),
    Control.ANCHOR: ("note", "stamp", "bucket", "key", "version", "lock", "retain_until"),
    Control.KEY_ROTATE: ("statement",),
    Control.STREAM_CLOSE: ("records",),
}
"""Of which control records what is kept."""
_SIGNATURES: Final = ("first", "signatures", "signer")
"""... and of those with records' own signatures, where these are checked."""

_LONGEST: Final = 262_145
"""One more than the longest note that is read."""
_MOST_KEYS: Final = 64
_LONGEST_KEY: Final = 4096

MARK: Final = "mac"
"""What a control record states of the evolving MAC, whatever else it says."""
_LONGEST_MARK: Final = 300


class Statement(NamedTuple):
    """A control record, as far as the integrity checks want it."""

    seq: int
    time: str
    event: str
    data: dict[str, Any]


class Trace:
    """A span's records without a hole, from the first on."""

    def __init__(self, start: int, *, times: bool, each_record: bool = False) -> None:
        """`times`: the records' times are wanted; `each_record`: so are their own signatures."""
        self.start = start
        """Number of the first record."""
        self.packed = bytearray()
        self.times: list[str] | None = [] if times else None
        self.statements: list[Statement] = []
        self.overflowed = False
        """Whether there were more signed notes than are kept."""
        self.signs_records = False
        """Whether there are signatures of single records, kept or not."""
        self._each_record = each_record
        self._said = 0

    @property
    def end(self) -> int:
        """Number of the last record; `start - 1` if there is none."""
        return self.start + len(self.packed) // 32 - 1

    @property
    def keys(self) -> list[str]:
        """The verifier keys that the stream's first record names."""
        named = self.statements[0].data.get("keys") if self.statements and self.statements[0].seq == 1 else None
        return named if isinstance(named, list) else []

    def add(self, entry: Entry) -> None:
        """Take one record; one that does not follow the last one is passed over, and all behind it."""
        if entry.seq != self.end + 1:
            return
        self.packed += bytes.fromhex(entry.hash)
        if self.times is not None:
            self.times.append(entry.time)
        if entry.data is not None:
            self._keep(entry, _MEMBERS.get(entry.event, ()), entry.data)

    def extend(self, seq: int, hashes: Sequence[str], times: Sequence[str]) -> None:
        """Take records that are no control records, from this number on."""
        if seq != self.end + 1:
            return
        self.packed += bytes.fromhex("".join(hashes))
        if self.times is not None:
            self.times.extend(times)

    def _keep(self, entry: Entry, members: Sequence[str], given: dict[str, Any]) -> None:
        if entry.event == Control.SIGNATURES:
            self.signs_records = True
            members = _SIGNATURES if self._each_record else ()
        data: dict[str, Any] = {member: _cut(given.get(member)) for member in members}
        self._said += sum(len(value) for value in data.values() if isinstance(value, str))
        if (mark := given.get(MARK)) is not None:
            data[MARK] = mark if len(str(mark)) <= _LONGEST_MARK else None
            self._said += _LONGEST_MARK
        if self._said > MOST_SAID:
            self.overflowed = True
        elif data:
            self.statements.append(Statement(entry.seq, entry.time, entry.event, data))


def _cut(value: object) -> list[str] | str | int | None:
    if isinstance(value, list):
        return [key for key in value[:_MOST_KEYS] if isinstance(key, str) and len(key) <= _LONGEST_KEY]
    if isinstance(value, str):
        return value[:_LONGEST]
    return value if isinstance(value, int) else None
