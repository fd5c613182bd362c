"""The floor: what chained JSON lines cost with nothing around them, and a logging call that does nothing."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import orjson

from benchmarks.cases import Case, Log
from benchmarks.events import Event

FLOOR = "floor: orjson + SHA-256 + write"
NOTHING = "logger.info, handler that does nothing"


def open_floor(directory: Path, sync: Callable[[int], None] | None = None) -> Log:
    """Open a chained file. It has no lock: several threads would fork the chain, but cost the least."""
    descriptor = os.open(directory / "floor.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    previous = b"0" * 64

    def write(event: Event) -> None:
        nonlocal previous
        body = orjson.dumps(event)
        digest = sha256(previous + body).hexdigest().encode()
        os.write(descriptor, b'%b,"prev_hash":"%b","hash":"%b"}\n' % (body[:-1], previous, digest))
        if sync is not None:
            sync(descriptor)
        previous = digest

    return Log(write, close=lambda: os.close(descriptor))


def _open_synced(directory: Path) -> Log:
    return open_floor(directory, os.fdatasync)


def _open_nothing(_: Path) -> Log:
    logger = logging.getLogger("benchmark")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    return Log(lambda event: logger.info("document read", extra=event))


CASES = (
    Case(FLOOR, open_floor, events=40_000),
    Case("floor + fdatasync", _open_synced, events=2_000),
    Case(NOTHING, _open_nothing, events=40_000, keeps=False),
)
