"""Records without an order: an export is sorted on disk first, then followed like any other stream.

Delivery is at least once, so identical copies are no fault; two different records in one place are.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any, Final

from .content import Entry
from .findings import Finding, Findings
from .pieces import Pieces
from .span import Rules, Shared, Span

__all__ = ["Index"]

_BATCH: Final = 1000
_TABLE: Final = """CREATE TABLE record
    (stream TEXT, seq INTEGER, prev TEXT, hash TEXT, time TEXT, event TEXT, data TEXT, file TEXT, line INTEGER)"""
_SORTED: Final = "SELECT * FROM record ORDER BY stream, seq, hash"


class Index:
    """The places of records in temporary storage: memory stays flat however many there are."""

    def __init__(self) -> None:
        self._database: sqlite3.Connection | None = None
        self._waiting: list[tuple[Any, ...]] = []
        self.pieces = Pieces()
        """Beginnings of lines among them."""

    def add(self, entry: Entry, file: str, line: int) -> None:
        """Keep one sound record's place."""
        data = None if entry.data is None else json.dumps(entry.data)
        row = (entry.stream, entry.seq, entry.prev, entry.hash, entry.time, entry.event, data, file, line)
        self._waiting.append(row)
        if len(self._waiting) == _BATCH:
            self._flush()

    def spans(self, rules: Rules, findings: Findings) -> Iterator[Span]:
        """Follow every stream in its order; report what does not fit."""
        if self._waiting:
            self._flush()
        shared = Shared(findings)
        span: Span | None = None
        copies = 0
        last: Entry | None = None
        for entry, file, line in self._sorted():
            if span is None or span.stream != entry.stream:
                if span is not None:
                    span.finish()
                    yield span
                span, last = Span(entry.stream, file, None, rules, shared), None
                span.exported = True
            span.file = file
            if last is not None and last.seq == entry.seq:
                if last.hash == entry.hash:
                    copies += 1
                else:
                    span.report("FORK", line, entry.seq, expected=last.hash, actual=entry.hash)
            else:
                span.take(entry, line)
            last = entry
        if span is not None:
            span.finish()
            yield span
        if copies:
            findings.add(Finding("IDENTICAL_COPIES", count=copies))

    def close(self) -> None:
        """Give the storage back."""
        if self._database is not None:
            self._database.close()

    def _flush(self) -> None:
        if self._database is None:
            self._database = sqlite3.connect("")  # a private file that the system removes
            self._database.execute("PRAGMA journal_mode = OFF")
            self._database.execute(_TABLE)
        self._database.executemany("INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", self._waiting)
        self._waiting.clear()

    def _sorted(self) -> Iterator[tuple[Entry, str, int]]:
        rows = () if self._database is None else self._database.execute(_SORTED)
        for stream, seq, prev, digest, time, event, data, file, line in rows:
            said = None if data is None else json.loads(data)
            yield Entry(stream, seq, prev, digest, digest, time, event, said), file, line
