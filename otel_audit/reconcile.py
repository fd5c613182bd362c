"""Which records are in which copy: a journal held against what its sinks have.

    with Reconciliation() as books:
        copy = books.read(["hits.ndjson"])
        journal = books.read(["/var/lib/shop/audit"])
        print(books.compare(journal, copy).missing)

Places and hashes go to a private file in the system's temporary directory and are sorted there: about 100 bytes for
each record of each side. Memory stays below 100 MiB however many there are.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, Literal, NamedTuple

from .errors import ConfigurationError
from .verify.places import Missing, Unreadable
from .verify.records import Damaged, read_records
from .verify.sources import find_sources

__all__ = ["Comparison", "Kind", "Range", "Reconciliation", "Side"]

Kind = Literal["missing", "extra", "different", "pruned"]

_MOST_LISTED: Final = 10_000
_CACHE_KIB: Final = 8 * 1024
_SORTED: Final = "SELECT DISTINCT stream, seq, hash FROM record WHERE side = ? ORDER BY stream, seq, hash"
"""A sort, not a table in memory: SQLite does it in files once the cache is full."""


class Range(NamedTuple):
    """Records of one stream without a hole between them."""

    stream: str
    first: int
    last: int

    @property
    def records(self) -> int:
        """How many."""
        return self.last - self.first + 1


@dataclass(slots=True)
class Side:
    """What was read of the journal, or of one copy."""

    number: int
    name: str
    records: int = 0
    """With those that stand there more than once."""
    damaged: int = 0
    places: list[Damaged] = field(default_factory=list)
    """Of the first damaged lines."""
    cuts: dict[str, int] = field(default_factory=dict)
    """Streams whose beginning was pruned, and the last record that was."""


@dataclass(slots=True)
class Ranges:
    """What is alike about some records: how many there are, and the first ranges of them."""

    records: int = 0
    listed: list[Range] = field(default_factory=list)
    unlisted: int = 0
    """Ranges beyond those."""

    def add(self, found: Range) -> None:
        """Count one more range."""
        self.records += found.records
        if len(self.listed) < _MOST_LISTED:
            self.listed.append(found)
        else:
            self.unlisted += 1


@dataclass(slots=True)
class Comparison:
    """A copy held against the journal."""

    journal: Side
    copy: Side
    same: int = 0
    missing: Ranges = field(default_factory=Ranges)
    """In the journal, and not in the copy."""
    extra: Ranges = field(default_factory=Ranges)
    """In the copy, and not in the journal."""
    different: Ranges = field(default_factory=Ranges)
    """In both, with another content."""
    pruned: Ranges = field(default_factory=Ranges)
    """In the copy, and removed from the journal by retention, which said so."""

    @property
    def exit_code(self) -> int:
        """0 the same, 1 different content, 3 missing or extra, 5 nothing on either side."""
        if self.different.records or self.copy.damaged or self.journal.damaged:
            return 1
        if self.missing.records or self.extra.records:
            return 3
        return 0 if self.same or self.pruned.records else 5


class Reconciliation:
    """The sides of one comparison. A context manager: its temporary file goes with it.

    Args:
        parsed_copy: lines may have been parsed and written again; their hashes are derived anew.
    """

    def __init__(self, *, parsed_copy: bool = False) -> None:
        self._parsed_copy = parsed_copy
        self._sides = 0
        self._database = sqlite3.connect("")  # a private file that the system removes
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._database.execute("CREATE TABLE record (side INTEGER, stream BLOB, seq INTEGER, hash BLOB)")

    def __enter__(self) -> Reconciliation:
        return self

    def __exit__(self, *exception: object) -> None:
        self._database.close()

    def read(self, paths: Sequence[str]) -> Side:
        """Read one side: files, directories, glob patterns or standard input (`-`).

        The copies are best read before a journal that is being written: what is shipped meanwhile is then in both.

        Raises:
            ConfigurationError: there is no such file, or it cannot be read.
        """
        side = Side(self._sides, ", ".join(paths))
        self._sides += 1
        for source in find_sources(paths):
            if isinstance(source, Missing):
                raise ConfigurationError(f"{source.path}: no such file, or no *.jsonl under it")
            try:
                for found in read_records(source, parsed_copy=self._parsed_copy):
                    if isinstance(found, Damaged):
                        side.damaged += 1
                        side.places = [*side.places, found][:100]
                        continue
                    stream = bytes.fromhex(found.stream)
                    side.records += len(found.hashes)
                    side.cuts.update((name, max(seq, side.cuts.get(name, 0))) for name, seq in found.cuts)
                    self._database.executemany(
                        "INSERT INTO record VALUES (?, ?, ?, ?)",
                        (
                            (side.number, stream, seq, bytes.fromhex(digest))
                            for seq, digest in enumerate(found.hashes, found.seq)
                        ),
                    )
            except Unreadable as error:
                raise ConfigurationError(f"{source.path}: {error}") from error
        return side

    def compare(self, journal: Side, copy: Side) -> Comparison:
        """Hold a copy against the journal."""
        result = Comparison(journal, copy)
        for kind, found in self._ranges(journal, copy):
            if kind is None:
                result.same += found.records
            else:
                getattr(result, kind).add(found)
        return result

    def missing(self, journal: Side, copy: Side) -> Iterator[Range]:
        """Yield all ranges that the copy lacks, by stream and number."""
        return (found for kind, found in self._ranges(journal, copy) if kind == "missing")

    def _ranges(self, journal: Side, copy: Side) -> Iterator[tuple[Kind | None, Range]]:
        """Yield ranges of records of one kind; None for those that are the same on both sides."""
        start: tuple[Kind | None, bytes, int] | None = None
        last = 0
        for kind, stream, seq in self._judge(journal, copy):
            if start is not None and (kind, stream, seq) == (start[0], start[1], last + 1):
                last = seq
                continue
            if start is not None:
                yield start[0], Range(start[1].hex(), start[2], last)
            start, last = (kind, stream, seq), seq
        if start is not None:
            yield start[0], Range(start[1].hex(), start[2], last)

    def _judge(self, journal: Side, copy: Side) -> Iterator[tuple[Kind | None, bytes, int]]:
        here, there = _Places(self._sorted(journal)), _Places(self._sorted(copy))
        while here.place is not None or there.place is not None:
            if there.place is None or (here.place is not None and here.place < there.place):
                assert here.place is not None
                yield "missing", *here.place
                here.move()
            elif here.place is None or there.place < here.place:
                stream, seq = there.place
                yield "pruned" if seq <= journal.cuts.get(stream.hex(), 0) else "extra", stream, seq
                there.move()
            else:
                yield None if here.hashes == there.hashes else "different", *here.place
                here.move()
                there.move()

    def _sorted(self, side: Side) -> Iterable[tuple[bytes, int, bytes]]:
        return self._database.execute(_SORTED, (side.number,))


class _Places:
    """Sorted rows, place by place: a place has more than one hash where two records claim it."""

    def __init__(self, rows: Iterable[tuple[bytes, int, bytes]]) -> None:
        self._groups = groupby(rows, lambda row: row[:2])
        self.place: tuple[bytes, int] | None = None
        self.hashes: list[bytes] = []
        self.move()

    def move(self) -> None:
        """Go to the next place; None behind the last."""
        self.place, rows = next(self._groups, (None, ()))
        self.hashes = [digest for _, _, digest in rows]
