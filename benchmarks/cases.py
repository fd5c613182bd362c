"""What a case is, and which cases there are: ways of logging into files, and ways to a far end."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.events import Event
from tests.certificates import make_certificates

__all__ = [
    "DELIVERY_FAMILIES",
    "FAMILIES",
    "LOGSTASH",
    "PROCESSOR_FAMILIES",
    "SDK",
    "SDK_ALONE",
    "SDK_MAPPING",
    "SOCKET",
    "Case",
    "Far",
    "Log",
    "Way",
    "load_family",
    "load_ways",
]

FAMILIES = (
    "benchmarks.peers.floor",
    "benchmarks.peers.standard",
    "benchmarks.peers.structlog_json",
    "benchmarks.peers.loguru_json",
    "benchmarks.peers.auditchain_handler",
    "benchmarks.ours",
)

SOCKET = "SocketHandler, JSON lines in the clear"
LOGSTASH = "python-logstash-async, TLS"
SDK = "SDK handler, batch processor with room for all, OTLP/HTTP"
"""Ways that ours are compared with, whether or not their packages are here."""

SDK_ALONE = "SDK LoggingHandler, processor that does nothing"
SDK_MAPPING = "the same, records with an `audit` mapping"

PROCESSOR_FAMILIES = ("benchmarks.peers.otel_sdk", "benchmarks.processors")

DELIVERY_FAMILIES = (
    "benchmarks.peers.standard",
    "benchmarks.peers.logstash_async",
    "benchmarks.peers.otel_sdk",
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


class Far(NamedTuple):
    """Where the far end is, on the loopback interface, and the files for TLS with it."""

    port: int
    authority: Path
    certificate: Path
    key: Path

    @classmethod
    def make(cls, directory: Path) -> Far:
        """Make the files; the port is not known yet."""
        made = make_certificates(directory)
        return cls(0, Path(made.ca), Path(made.server.cert), Path(made.server.key))


class Way(NamedTuple):
    """A way to log to a far end."""

    name: str
    receiver: str
    """What it speaks to: `tcp`, `tls` or `http`."""
    open: Callable[[Path, Far], Log]
    """Set it up, with an empty directory of its own."""
    events: int = 50_000
    """Events in one run: fewer for what is slow."""


def load_ways(module: str) -> dict[str, Way]:
    """Return a family's ways to a far end by name.

    Raises:
        ImportError: a package that the family needs is not installed.
    """
    return {way.name: way for way in importlib.import_module(module).WAYS}


def load_family(module: str) -> dict[str, Case]:
    """Return a family's cases by name.

    Raises:
        ImportError: a package that the family needs is not installed.
    """
    return {case.name: case for case in importlib.import_module(module).CASES}
