"""Trails over a journal directory, and what lies there afterwards."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from otel_audit.durability import FailurePolicy
from otel_audit.journal.files import list_streams
from otel_audit.journal.writer import JournalWriter
from otel_audit.keeper import Intervals
from otel_audit.trail import AuditTrail
from otel_audit.verify import Report, verify

__all__ = [
    "codes",
    "data_of",
    "events",
    "eventually",
    "named",
    "open_trail",
    "records",
    "run_python",
    "signalled",
    "verified",
]

ROOT = str(Path(__file__).parents[2])


@contextmanager
def open_trail(
    directory: Path,
    *,
    on_failure: Any = "warn",
    block_timeout: float = 10.0,
    heartbeat: float = 0.0,
    sync: float = 0.02,
    segment_bytes: int = 1 << 26,
    quota: int | None = None,
    **settings: Any,
) -> Iterator[AuditTrail]:
    """Open a trail on a journal, and close it at the end."""
    store = JournalWriter(directory, segment_bytes=segment_bytes, quota=quota)
    trail = AuditTrail(
        store,
        policy=FailurePolicy(on_failure, block_timeout),
        intervals=Intervals(sync=sync, heartbeat=heartbeat),
        **settings,
    )
    try:
        yield trail
    finally:
        trail.close()


def records(directory: Path) -> list[dict[str, Any]]:
    """Return every record of a journal, stream by stream, each once; torn tails left out."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for segments in list_streams(directory).values():
        for segment in segments:
            for line in segment.path.read_bytes().split(b"\n")[:-1]:
                record = json.loads(line)
                found.setdefault((record["stream"], record["seq"]), record)
    # Two streams of one millisecond have no order among their names.
    begun = {record["stream"]: record["@timestamp"] for record in reversed(found.values())}
    return sorted(found.values(), key=lambda record: (begun[record["stream"]], record["stream"], record["seq"]))


def events(directory: Path) -> list[str]:
    """Return the event names of a journal's records."""
    return [record["event_name"] for record in records(directory)]


def named(directory: Path, event_name: str) -> list[dict[str, Any]]:
    """Return the records with this event name."""
    return [record for record in records(directory) if record["event_name"] == event_name]


def data_of(directory: Path, event_name: str) -> list[dict[str, Any]]:
    """Return the data of the records with this event name."""
    return [record["data"] for record in named(directory, event_name)]


def verified(*sources: Path) -> Report:
    """Check what lies there."""
    return verify(list(sources))


def codes(report: Report) -> set[str]:
    """Return the codes of what was found."""
    return set(report.findings.counts())


def eventually(condition: Callable[[], Any], within: float = 5.0) -> Any:
    """Wait until a condition holds; return what it returned, or fail after `within` seconds."""
    deadline = time.monotonic() + within
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {within} s"
        time.sleep(0.01)
    return found


@contextmanager
def signalled(handle: Callable[[], Any], every: float = 0.001) -> Iterator[None]:
    """Have the main thread interrupted again and again by a signal whose handler calls `handle`, once at a time."""
    main, stop, busy = threading.get_ident(), threading.Event(), [False]

    def handler(number: int, frame: object) -> None:
        if not busy[0]:
            busy[0] = True
            handle()
            busy[0] = False

    def send() -> None:
        while not stop.wait(random.random() * 2 * every):
            signal.pthread_kill(main, signal.SIGUSR2)

    before = signal.signal(signal.SIGUSR2, handler)
    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        stop.set()
        sender.join()
        signal.signal(signal.SIGUSR2, before)


def run_python(
    code: str, *args: object, env: dict[str, str] | None = None, check: bool = True, under: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a program in an interpreter of its own, with a deadline."""
    done = subprocess.run(
        [*under, sys.executable, "-c", code, *map(str, args)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": ROOT, **(env or {})},
        check=False,
    )
    assert not check or done.returncode == 0, done.stderr
    return done
