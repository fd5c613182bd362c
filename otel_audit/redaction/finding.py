"""Is one of many words in some bytes? In one pass where there is C (`native`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from otel_audit.native import Words

__all__ = ["compile_words", "finder"]


def compile_words(words: Iterable[str]) -> Words | None:
    """Return what C finds these words with; None without C."""
    # The shortest first: these are the last to share a mark with another, which would be looked for wherever they are.
    return None if Words is None else Words(sorted(sorted({word.encode() for word in words}), key=len))


def finder(words: Iterable[str], compiled: Words | None = None) -> Callable[[bytes], bool]:
    """Return what tells whether one of these words is in some bytes, compiled before or not."""
    words = sorted(set(words))
    if (compiled := compiled or compile_words(words)) is not None:
        return compiled.found_in
    # CPython looks for text in text faster than for bytes in bytes, and than `re` looks for any of so many.
    spelled = [word.encode().decode("latin-1") for word in words]
    return lambda raw: any(map(raw.decode("latin-1").__contains__, spelled))
