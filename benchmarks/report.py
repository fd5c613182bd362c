"""Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["Row", "table"]

Row = tuple[Any, ...]


def table(head: Sequence[str], rows: Iterable[Row]) -> str:
    """Return a Markdown table: the first column is text, the others stand right; None is a dash."""
    lines = [head, ["---", *("---:" for _ in head[1:])], *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)
