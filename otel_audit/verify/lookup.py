"""A second look: the hash of a record in the middle of a source, and the bytes at a source's end.

Most links name a record at the end of something, whose hash is at hand. For the others the sources concerned are read
once more, each once, however many links point into it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

from .content import examine
from .lines import BLOCK_BYTES, Block, read_blocks
from .places import Unreadable
from .sources import STDIN, Source, find_sources, open_source
from .span import Span

__all__ = ["Lookup", "digest_behind", "find_lines", "holds"]

_TAIL: Final = re.compile(rb'"seq":([0-9]{1,16}),"stream":"([0-9a-f]{32})","hash":"([0-9a-f]{64})"\}')
_LONGEST_TAIL: Final = 160

Answer = Callable[[str | None], None]


class Lookup:
    """Collects questions for hashes in the middle of sources, then answers them all."""

    def __init__(self) -> None:
        self._questions: dict[str, dict[tuple[str, int], list[Answer]]] = {}

    def ask(self, span: Span, seq: int, answer: Answer) -> None:
        """Have `answer` called with the hash of a record of this span; None if it cannot be found again."""
        if seq == span.seq:
            answer(span.hash)
        elif span.first is not None and seq == span.first.seq:
            answer(span.first.hash)
        else:
            self._questions.setdefault(span.file, {}).setdefault((span.stream, seq), []).append(answer)

    def run(self) -> None:
        """Read what is needed and answer."""
        while self._questions:
            path, wanted = self._questions.popitem()
            found = _find(Source(path), wanted) if path != STDIN else {}
            for place, answers in wanted.items():
                for answer in answers:
                    answer(found.get(place))


def _find(source: Source, wanted: Collection[tuple[str, int]]) -> dict[tuple[str, int], str]:
    return {place: digest for place, digest, _ in _scan(source, wanted)}


def find_lines(paths: Sequence[str], wanted: Collection[tuple[str, int]]) -> dict[tuple[str, int], bytes]:
    """Return the lines of the records with these places (stream, seq), as far as these paths hold them."""
    lines: dict[tuple[str, int], bytes] = {}
    for source in find_sources(paths):
        if isinstance(source, Source):
            for place, _, line in _scan(source, wanted):
                lines.setdefault(place, line)
    return lines


def holds(source: Source, stream: str, seq: int, digest: str | None) -> bool:
    """Tell whether a source holds the record with this place and hash, and that is the hash of its bytes."""
    for _, _, line in _scan(source, [(stream, seq)]):
        entry, fault = examine(line)
        if fault is None and entry is not None and entry.hash == digest:
            return True
    return False


def _scan(source: Source, wanted: Collection[tuple[str, int]]) -> Iterator[tuple[tuple[str, int], str, bytes]]:
    try:
        with open_source(source) as file:
            for part in read_blocks(file.read):
                for line in part.lines if isinstance(part, Block) else ():
                    tail = _TAIL.search(line, max(0, len(line) - _LONGEST_TAIL))
                    if tail is not None and (place := (tail[2].decode(), int(tail[1]))) in wanted:
                        yield place, tail[3].decode(), line
    except Unreadable:
        pass  # the check itself says so


def digest_behind(source: Source, offset: int) -> tuple[int, str]:
    """Return the length and the SHA-256 of what stands in a source from a byte offset to its end.

    Raises:
        Unreadable: as `open_source`.
    """
    digest = hashlib.sha256()
    length = place = 0
    with open_source(source) as file:
        while chunk := file.read(BLOCK_BYTES):
            part = chunk[max(0, offset - place) :]
            digest.update(part)
            length += len(part)
            place += len(chunk)
    return length, digest.hexdigest()
