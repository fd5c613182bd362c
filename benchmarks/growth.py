"""Whether a record's cost, and the time to open a journal, depend on how long the log already is."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path

from benchmarks import ours
from benchmarks.events import Event, make_short_events
from benchmarks.harness import Harness, Sample, Task, median, ratio
from benchmarks.journals import make_journal
from benchmarks.peers.floor import open_floor
from benchmarks.report import table

__all__ = ["append_table", "reopen_table", "run_append", "run_reopen", "tasks_by_length"]

_BLOCK = 500
_BLOCKS = 20


def run_append(harness: Harness, rounds: int, lengths: Sequence[int]) -> list[Sample]:
    """Measure the cost of a record at these lengths of one stream."""
    runs = harness.rounds([Task("grow", "benchmarks.growth:grow", {"lengths": list(lengths)})], rounds)
    return [
        {"task": _name(length), "round": run["round"], **run[str(length)]}
        for run in runs
        if "error" not in run
        for length in lengths
    ]


def grow(directory: Path, lengths: Sequence[int]) -> Sample:
    """Let one stream grow; at each length write blocks of records, in turn with the floor's."""
    log, floor = ours.open_short(directory), open_floor(directory)
    events = make_short_events()
    written = 0
    result: Sample = {}
    for length in lengths:
        for event in islice(cycle(events), max(0, length - written)):
            log.write(event)
        written = max(length, written) + _BLOCK * _BLOCKS
        blocks = [(_time_block(log.write, events), _time_block(floor.write, events)) for _ in range(_BLOCKS)]
        result[str(length)] = {
            "length": length,
            "record_us": statistics.median(record for record, _ in blocks),
            "x_floor": statistics.median(record / write for record, write in blocks),
        }
    log.close()
    return result


def _time_block(write: Callable[[Event], object], events: list[Event]) -> float:
    """Return the microseconds of one call, as the mean of a block."""
    began = time.perf_counter_ns()
    for event in events[:_BLOCK]:
        write(event)
    return (time.perf_counter_ns() - began) / _BLOCK / 1e3


def run_reopen(harness: Harness, rounds: int, lengths: Sequence[int]) -> list[Sample]:
    """Measure opening a journal that holds so many records, and the first record after it."""
    tasks = []
    for length in lengths:
        journal = make_journal(harness, f"reopen-{length}", length)
        tasks.append(Task(_name(length), "benchmarks.growth:reopen", {"journal": str(journal), "length": length}))
    return harness.rounds(tasks, rounds)


def reopen(_: Path, journal: str, length: int) -> Sample:
    """Open a journal of this length and write one record; return the milliseconds until it was kept."""
    event = make_short_events(1)[0]
    began = time.perf_counter_ns()
    log = ours.open_short(Path(journal))
    log.write(event)
    ended = time.perf_counter_ns()
    log.close()
    return {"length": length, "open_ms": (ended - began) / 1e6}


def _name(length: int) -> str:
    return f"{length:,} records"


def tasks_by_length(samples: list[Sample]) -> list[str]:
    """Return the names of the tasks that were measured, the shortest log first."""
    lengths = {sample["length"] for sample in samples if "length" in sample}
    return [_name(length) for length in sorted(lengths)]


def append_table(samples: list[Sample]) -> str:
    """Return the cost of a record by the stream's length, as Markdown."""
    tasks = tasks_by_length(samples)
    rows = [
        (
            task,
            median(samples, task, "record_us"),
            median(samples, task, "x_floor"),
            ratio(samples, task, tasks[0], "x_floor"),
        )
        for task in tasks
    ]
    return table(("stream holds", "record µs", "× floor at that moment", "× shortest"), rows)


def reopen_table(samples: list[Sample]) -> str:
    """Return the time to open a journal by its length, as Markdown."""
    tasks = tasks_by_length(samples)
    rows = [(task, median(samples, task, "open_ms"), ratio(samples, task, tasks[0], "open_ms")) for task in tasks]
    return table(("journal holds", "open and first record ms", "× shortest"), rows)
