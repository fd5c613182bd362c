"""What is written in C for speed (`_native.c`), and None where that was not built (see `setup.py`).

Each has a twin in Python that does the same, and more: `redaction.finding`, and `is_plain` with `canonicalize_plain`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._native import Encoder, Words
else:
    try:
        from ._native import Encoder, Words
    except ImportError:
        Encoder = Words = None

__all__ = ["Encoder", "Words"]
