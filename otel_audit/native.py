"""What is written in C for speed (`csrc`), and None where that was not built (see `setup.py`).

Each has its twin in Python: `redaction.finding`; `is_plain` with `canonicalize_plain`; `sealing.Chain`;
`integrity.packed`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._native import Chain, Encoder, PackedLeaves, Words
else:
    try:
        from ._native import Chain, Encoder, PackedLeaves, Words
    except ImportError:
        Chain = Encoder = PackedLeaves = Words = None

__all__ = ["Chain", "Encoder", "PackedLeaves", "Words"]
