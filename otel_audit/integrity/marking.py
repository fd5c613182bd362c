"""Checking the marks of an evolving MAC (`mac`, `mackey`): the sums that a stream's control records state.

A sum is over the records up to a number that it states, and stands some records behind it: other threads may have
recorded between. The sums over the last records are therefore kept for a while. A sum that comes later than that proves
nothing, and contradicts nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from otel_audit.integrity.findings import Finding
from otel_audit.integrity.mac import EvolvingMac
from otel_audit.integrity.mackey import MacKey

__all__ = ["StreamMarks", "find_gaps"]

_KEPT: Final = 8192
_HASH_SIZE: Final = 32


@dataclass(frozen=True, slots=True)
class _Statement:
    number: int
    records: int
    stream: str
    sum: bytes

    @classmethod
    def read(cls, given: Any) -> _Statement:
        number, records, stream, total = (given[name] for name in ("number", "records", "stream", "sum"))
        if type(number) is not int or type(records) is not int or type(stream) is not str or type(total) is not str:
            raise TypeError("a statement of marks has members of other types")
        return cls(number, records, stream, bytes.fromhex(total))


class StreamMarks:
    """The marks of one stream. Feed it its records in order, and each statement behind the records before it."""

    def __init__(self, stream: str, key: MacKey) -> None:
        self.number: int | None = None
        """The stream's number, once a sum has held: nobody without its seed could have named it."""
        self.marked = 0
        """Records, from the first on, that a sum covers which holds."""
        self._stream = stream
        self._key = key
        self._mac: EvolvingMac | None = None
        self._claimed: int | None = None
        self._sums: deque[bytes] = deque(maxlen=_KEPT)
        self._findings: list[Finding] = []
        self._size = 0
        self._early = bytearray()
        """What came before the stream's number was known: the first record."""

    def extend_packed(self, packed: bytes) -> None:
        """Take the hashes of the next records, 32 bytes each."""
        self._size += len(packed) // _HASH_SIZE
        if self._mac is None:
            if not self._findings and len(self._early) < _KEPT * _HASH_SIZE:
                self._early += packed
            return
        add, keep, total = self._mac.add, self._sums.append, self._mac.sum
        for place in range(0, len(packed), _HASH_SIZE):
            add(packed[place : place + _HASH_SIZE])
            keep(total())

    def take(self, given: Any, seq: int) -> None:
        """Take what the control record with this number states; `given` is its member `mac`."""
        try:
            said = _Statement.read(given)
            if said.stream != self._stream:
                return  # made as another stream ended, and written into this one
            if self._claimed is None and 0 <= said.number < self._key.number:
                self._miss(said.number)
                return
            if self._claimed is None:
                self._begin(said.number)
        except (KeyError, TypeError, ValueError) as error:
            self._find(f"what it states cannot be read: {type(error).__name__}: {error}", seq)
            return
        if said.number != self._claimed:
            self._find(f"it states number {said.number}, those before {self._claimed}", seq)
        elif not 0 <= said.records < seq:
            self._find(f"it states a sum over {said.records} records", seq)
        elif (total := self._sum_over(said.records)) is not None:
            if total != said.sum:
                self._find(f"over the first {said.records} records", seq, total.hex(), said.sum.hex())
            else:
                self.number = said.number
                self.marked = max(self.marked, said.records)

    def finish(self, closed_at: int | None) -> list[Finding]:
        """Return what was found. `closed_at` is the number of the closing record, which no sum covers."""
        if self._findings:
            return self._findings
        if self._claimed is None:
            return [Finding("NOT_MARKED", "no control record of it states a sum")]
        end = self._size if closed_at is None else closed_at - 1
        if self.marked < end:
            detail = f"the last {self._size - self.marked} of {self._size} records"
            return [Finding("UNMARKED_TAIL", detail, self.marked + 1)]
        return []

    def _begin(self, number: int) -> None:
        key = self._key.of(number)
        self._claimed = number
        self._mac = EvolvingMac(key.first_key(self._stream))
        self._sums.append(self._mac.sum())
        early, self._early = bytes(self._early), bytearray()
        self._size -= len(early) // _HASH_SIZE
        self.extend_packed(early)

    def _sum_over(self, records: int) -> bytes | None:
        behind = self._size - records
        return self._sums[-1 - behind] if 0 <= behind < len(self._sums) else None

    def _miss(self, number: int) -> None:
        detail = f"its number is {number}, and this key begins with {self._key.number}: it is no copy made before that"
        if not self._findings:
            self._findings.append(Finding("NOT_MARKED", detail))

    def _find(self, detail: str, seq: int, expected: str | None = None, actual: str | None = None) -> None:
        if not self._findings:
            self._findings.append(Finding("MAC_MISMATCH", detail, seq, expected, actual))


def find_gaps(key: MacKey, marks: Iterable[tuple[str, StreamMarks]]) -> tuple[set[str], list[tuple[str, Finding]]]:
    """Return which streams' marks count for nothing because numbers before theirs are missing, and the findings.

    Whoever holds a later seed can mark an older stream anew, but only under a later number. That leaves a hole.
    """
    numbered = sorted((each.number, stream) for stream, each in marks if each.number is not None)
    doubtful: set[str] = set()
    found: list[tuple[str, Finding]] = []
    due = key.number
    for number, stream in numbered:
        if number < due:
            detail = f"number {number} belongs to stream {_owner(numbered, number, stream)} as well"
            found.append((stream, Finding("MAC_NUMBER_TWICE", detail)))
        elif number > due:
            if not doubtful:
                missing = f"number {due} is" if number == due + 1 else f"numbers {due} to {number - 1} are"
                detail = f"its number is {number}, and {missing} not here"
                found.append((stream, Finding("MARKED_STREAM_MISSING", detail)))
            doubtful.add(stream)
        elif doubtful:
            doubtful.add(stream)
        due = max(due, number + 1)
    return doubtful, found


def _owner(numbered: Sequence[tuple[int, str]], number: int, stream: str) -> str:
    return next(other for each, other in numbered if each == number and other != stream)
