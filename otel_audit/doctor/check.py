"""What one check of `otel-audit doctor` comes to."""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["Check", "Status"]

Status = Literal["ok", "unknown", "warn", "fail"]


class Check(NamedTuple):
    """One thing that was looked at."""

    name: str
    status: Status
    what: str
    """What was found."""
    todo: str = ""
    """What to do about it."""
