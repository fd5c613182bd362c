"""Journals of a wanted length, to be verified or opened again."""

from __future__ import annotations

from itertools import cycle, islice
from pathlib import Path

from benchmarks import ours
from benchmarks.events import make_short_events
from benchmarks.harness import Harness, Sample, Task

__all__ = ["make_journal"]


def make_journal(harness: Harness, name: str, records: int, streams: int = 1, *, signed: bool = False) -> Path:
    """Write a journal of short records below the scratch directory, each stream by a process of its own.

    A signed one is anchored too.
    """
    journal = harness.scratch / name
    harness.say(f"writing {records:,} records into {streams} stream(s)")
    for number in range(streams):
        arguments = {"journal": str(journal), "records": records // streams, "seed": number, "signed": signed}
        harness.must(Task(name, "benchmarks.journals:write_stream", arguments))
    return journal


def write_stream(_: Path, journal: str, records: int, seed: int, *, signed: bool) -> Sample:
    """Write one stream of so many short records."""
    log = ours.open_short(Path(journal), "relaxed", signed=signed)
    for event in islice(cycle(make_short_events(seed=seed)), records):
        log.write(event)
    log.close()
    return {}
