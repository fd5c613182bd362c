"""What a case is, and which cases there are."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.events import Event

__all__ = ["FAMILIES", "Case", "Log", "load_family"]

FAMILIES = (
    "benchmarks.peers.floor",
    "benchmarks.peers.standard",
    "benchmarks.peers.structlog_json",
    "benchmarks.peers.loguru_json",
    "benchmarks.peers.auditchain_handler",
    "benchmarks.ours",
)


def _nothing() -> None:
    pass


class Log(NamedTuple):
    """One configured way of logging: write an event, push out what waits, shut down."""

    write: Callable[[Event], object]
    flush: Callable[[], object] = _nothing
    close: Callable[[], object] = _nothing


class Case(NamedTuple):
    """A way of logging, as its own documentation shows it."""

    name: str
    open: Callable[[Path], Log]
    """Set it up to write files in the given empty directory."""
    events: int = 20_000
    """Calls in one run: fewer for what is slow."""
    keeps: bool = True
    """Whether anything is written at all."""


def load_family(module: str) -> dict[str, Case]:
    """Return a family's cases by name.

    Raises:
        ImportError: a package that the family needs is not installed.
    """
    return {case.name: case for case in importlib.import_module(module).CASES}
