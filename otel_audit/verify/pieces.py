"""Beginnings of lines that broken connections left at a receiver, beside the whole lines that were sent again.

A line cut short is a destroyed record, until the whole line is found: what repeats the beginning of a line that is
here, sound and whole, tells nothing that the line does not tell. Only that is believed, and only of exports.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from .content import examine
from .envelopes import Envelope, choose_envelope
from .findings import Finding, Findings
from .lines import Block, Remainder, read_blocks
from .places import Unreadable
from .sources import STDIN, Source, open_source

__all__ = ["Pieces", "split_pieces"]

_START: Final = b'{"@timestamp":"'
_SPLIT: Final = re.compile(rb'(?=\{"@timestamp":")')
_KEY: Final = len(_START) + 30
"""Bytes up to the end of a record's time: few lines begin with the same."""
_MOST: Final = 10_000
_MOST_BYTES: Final = 64 * 1024 * 1024
_MOST_ALIKE: Final = 100
"""Pieces that every line, or every line of one moment, is compared with."""


class _Held(NamedTuple):
    """A line of pieces, and what it is until all of them are explained."""

    found: Finding
    waiting: set[bytes]


def split_pieces(line: bytes) -> list[bytes]:
    """Return the pieces of lines in a line, one behind the other as a file keeps what several connections left."""
    return [piece for piece in _SPLIT.split(line) if piece]


class Pieces:
    """Pieces that wait for their whole lines."""

    def __init__(self) -> None:
        self._held: list[_Held] = []
        self._waiting: dict[bytes, dict[bytes, list[_Held]]] = {}
        """By what a whole line must begin with at least (nothing, of short ones), then by the piece."""
        self._bytes = 0

    @property
    def are_waiting(self) -> bool:
        """Whether any piece waits."""
        return bool(self._waiting)

    def hold(self, pieces: Sequence[bytes], found: Finding) -> None:
        """Keep the pieces of one line; beyond what is kept, they stay what was found."""
        self._bytes += sum(map(len, pieces))
        could_be = all(piece.startswith(_START[: len(piece)]) for piece in pieces)
        if not could_be or len(self._held) >= _MOST or self._bytes > _MOST_BYTES:
            return
        held = _Held(found, set(pieces))
        self._held.append(held)
        for piece in held.waiting:
            alike = self._waiting.setdefault(_key(piece), {})
            if piece in alike or len(alike) < _MOST_ALIKE:
                alike.setdefault(piece, []).append(held)

    def see(self, line: bytes) -> None:
        """Take in a whole line that is sound."""
        for piece in self._fitting(line):
            alike = self._waiting[_key(piece)]
            for held in alike.pop(piece):
                held.waiting.discard(piece)
            if not alike:
                del self._waiting[_key(piece)]

    def settle(self, sources: Iterable[Source], findings: Findings, *, parsed_copy: bool) -> None:
        """Look once more for lines that came before their pieces, and take back what was found of the explained."""
        for source in sources:
            if self.are_waiting and source.path != STDIN:
                self._look_into(source, parsed_copy=parsed_copy)
        firsts: dict[str, Finding] = {}
        counts: Counter[str] = Counter()
        for found in (held.found for held in self._held if not held.waiting):
            findings.take_back(found)
            firsts.setdefault(found.file, found)
            counts[found.file] += 1
        for file, count in counts.items():
            findings.add(Finding("TORN_REPEAT", file, firsts[file].line, count=count))

    def _fitting(self, line: bytes) -> list[bytes]:
        alike = (*self._waiting.get(line[:_KEY], ()), *self._waiting.get(b"", ()))
        return [piece for piece in alike if line.startswith(piece)]

    def _look_into(self, source: Source, *, parsed_copy: bool) -> None:
        envelope: Envelope | None = None
        sniffed = False
        try:
            with open_source(source) as file:
                for part in read_blocks(file.read):
                    lines = (
                        part.lines if isinstance(part, Block) else [part.data] if isinstance(part, Remainder) else []
                    )
                    if not sniffed:
                        sniffed, envelope = True, choose_envelope(lines)
                    if envelope is not None:
                        lines, _ = envelope.open(lines, range(len(lines)))
                    elif isinstance(part, Remainder):
                        continue  # without its newline it is no whole line
                    for line in lines:
                        if self._fitting(line) and examine(line, parsed_copy=parsed_copy)[1] is None:
                            self.see(line)
        except Unreadable:
            pass  # the check itself says so


def _key(piece: bytes) -> bytes:
    return piece[:_KEY] if len(piece) >= _KEY else b""
