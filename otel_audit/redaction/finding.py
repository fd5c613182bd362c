"""Is one of many words in some bytes? In one pass where there is C (`native`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from otel_audit.native import Words

__all__ = ["compile_words", "finder"]


def compile_words(words: Iterable[str]) -> Words | None:
    """Return what C finds these words with; None without C."""
    return None if Words is None else Words(_encode(words))


def finder(words: Iterable[str]) -> Callable[[bytes], object]:
    """Return what tells whether one of these words is in some bytes."""
    if (compiled := compile_words(words)) is not None:
        return compiled.found_in
    return re.compile(b"|".join(map(re.escape, _encode(words)))).search


def _encode(words: Iterable[str]) -> list[bytes]:
    return sorted({word.encode() for word in words})
