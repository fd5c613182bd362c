"""The records in a source, whatever they are wrapped in, each by its place and the hash of what it holds now.

For those who compare copies. Whether the records follow one another is what `verify` says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from otel_audit.record import Control

from .bulk import read_runs, stream_of
from .content import Entry, behind_other_text, examine, looks_like_record
from .envelopes import Envelope, choose_envelope
from .lines import Block, Remainder, read_blocks
from .sources import Source, open_source

__all__ = ["Damaged", "Piece", "read_lines", "read_records"]


class Piece(NamedTuple):
    """Records of one stream that stand one behind the other."""

    stream: str
    seq: int
    """Of the first."""
    hashes: Sequence[str]
    cuts: Sequence[tuple[str, int]]
    """From `audit.prune` records among them: stream, and its last record that was removed."""


class Damaged(NamedTuple):
    """A line that is no record as it was sealed."""

    file: str
    line: int
    code: str


def read_records(source: Source, *, parsed_copy: bool = False) -> Iterator[Piece | Damaged]:
    """Yield what one source holds, in the order of the source; other lines between records are passed over.

    With `parsed_copy`, lines may have been parsed and written again.

    Raises:
        Unreadable: the source cannot be read, or not to its end.
    """
    for lines in read_lines(source, parsed_copy=parsed_copy):
        yield from _read(source.path, lines, parsed_copy=parsed_copy)


def read_lines(source: Source, *, parsed_copy: bool = False) -> Iterator[list[tuple[bytes, int]]]:
    """Yield the lines of a source that are records by their look, whatever they are wrapped in, and their numbers.

    With `parsed_copy`, all lines.

    Raises:
        Unreadable: the source cannot be read, or not to its end.
    """
    envelope: Envelope | None = None
    sniffed = False
    with open_source(source) as file:
        for part in read_blocks(file.read):
            if isinstance(part, Block):
                lines = part.lines
            elif isinstance(part, Remainder) and part.data:
                lines = [part.data]
            else:
                continue
            numbers: Sequence[int] = range(part.number, part.number + len(lines))
            if not sniffed:
                sniffed, envelope = True, choose_envelope(lines)
            if envelope is not None:
                lines, numbers = envelope.open(lines, numbers)
            elif isinstance(part, Remainder) and examine(lines[0])[1] is not None:
                continue  # a torn tail, and not a line that only lost its newline
            found = list(zip(lines, numbers, strict=True))
            yield (
                found
                if parsed_copy
                else [(behind_other_text(line), at) for line, at in found if looks_like_record(line)]
            )


def _read(path: str, lines: Sequence[tuple[bytes, int]], *, parsed_copy: bool) -> Iterator[Piece | Damaged]:
    for _, group in groupby(lines, lambda one: stream_of(one[0])):
        alike = list(group)
        runs = None if parsed_copy else read_runs([line for line, _ in alike])
        if runs is None:
            for line, number in alike:
                entry, fault = examine(line, parsed_copy=parsed_copy)
                if fault is not None and looks_like_record(line):
                    yield Damaged(path, number, fault.code)
                if entry is not None:
                    yield Piece(entry.stream, entry.seq, [entry.computed], list(_cuts([entry])))
        else:
            for run in runs:
                yield Piece(run.stream, run.seq, run.hashes, list(_cuts(map(run.entry, run.controls))))


def _cuts(entries: Iterator[Entry] | Sequence[Entry]) -> Iterator[tuple[str, int]]:
    for entry in entries:
        data = entry.data
        if entry.event == Control.PRUNE and data is not None:
            stream, seq = data.get("stream"), data.get("last_seq")
            if isinstance(stream, str) and isinstance(seq, int):
                yield stream, seq
