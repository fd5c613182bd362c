"""Characters that act on a screen instead of being seen on it, spelled out: audit data is written by anybody."""

from __future__ import annotations

import unicodedata
from typing import Final

__all__ = ["spell_out"]

_ACTIVE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories of characters that move the cursor, turn the writing direction, or cannot be seen."""


def spell_out(text: str) -> str:
    """Return the text with every character that could act on a screen written as its escape (`\\x1b`, `\\u202e`)."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_spell(each) if unicodedata.category(each) in _ACTIVE else each for each in text)


def _spell(character: str) -> str:
    return character.encode("unicode_escape", "backslashreplace").decode()
