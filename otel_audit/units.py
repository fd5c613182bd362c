"""Amounts as people write them: `20ms`, `5s`, `10m`; `4096`, `64MiB`, `1GB`."""

from __future__ import annotations

import math
import re
from typing import Final

__all__ = ["parse_bytes", "parse_seconds"]

_AMOUNT: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z]*)", re.ASCII)
_SECONDS: Final = {"": 1.0, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES: Final[dict[str, int]] = {
    "": 1,
    "b": 1,
    **{f"{prefix}b": 1000**power for power, prefix in enumerate("kmgt", 1)},
    **{f"{prefix}ib": 1024**power for power, prefix in enumerate("kmgt", 1)},
}


def parse_seconds(value: object) -> float | None:
    """Return a duration in seconds: a number, or text with `us`, `ms`, `s`, `m`, `h` or `d`; None if it is neither."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) if math.isfinite(value) and value >= 0 else None
    amount = _split(value)
    if amount is None or amount[1] not in _SECONDS:
        return None
    seconds = float(amount[0]) * _SECONDS[amount[1]]
    return seconds if math.isfinite(seconds) else None


def parse_bytes(value: object) -> int | None:
    """Return a size in bytes: a whole number, or text with `KiB`, `MiB`, `GiB`, `TiB` (1024) or `KB`, `MB`, `GB`, `TB`
    (1000); None if it is neither.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value >= 0 else None
    amount = _split(value)
    if amount is None or amount[1].lower() not in _BYTES:
        return None
    number, factor = amount[0], _BYTES[amount[1].lower()]
    if number.isdigit():
        return int(number) * factor
    size = float(number) * factor
    return int(size) if size.is_integer() else None


def _split(value: object) -> tuple[str, str] | None:
    match = _AMOUNT.fullmatch(value.strip()) if isinstance(value, str) and len(value) <= 64 else None
    return (match[1], match[2]) if match else None
