"""What one logging call with 15 extra fields costs its caller, with one thread and with four."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.cases import FAMILIES, Case, Log, load_family
from benchmarks.events import MARK, Event, make_events
from benchmarks.harness import Harness, Sample, Task, medians, ratio
from benchmarks.peers.floor import FLOOR, NOTHING
from benchmarks.peers.standard import JSON_FORMATTER
from benchmarks.report import Row, table

__all__ = ["THREADS", "as_table", "measure", "run", "task_name", "time_calls"]

THREADS = (1, 4)
_WARM_UP = 500


class Share(NamedTuple):
    """What one thread did: when it began and ended, and the nanoseconds of each call if they were taken."""

    began: int
    ended: int
    calls: list[int]


def run(
    harness: Harness, rounds: int, effort: float, families: Sequence[str] = FAMILIES
) -> tuple[list[Sample], dict[str, str]]:
    """Measure every case that can run here; return the samples, and why the other families cannot."""
    tasks, missing = [], {}
    for family in families:
        try:
            cases = load_family(family)
        except ImportError as error:
            missing[family] = str(error)
            continue
        for case in cases.values():
            for threads in THREADS:
                arguments = {
                    "family": family,
                    "name": case.name,
                    "threads": threads,
                    "events": max(400, int(case.events * effort)),
                }
                tasks.append(Task(task_name(case.name, threads), "benchmarks.calls:measure", arguments))
    return harness.rounds(tasks, rounds), missing


def task_name(case: str, threads: int) -> str:
    """Return the name under which a case's samples with so many threads are kept."""
    return f"{case} [{threads}]"


def measure(directory: Path, family: str, name: str, threads: int, events: int) -> Sample:
    """Log the events twice: untimed for the rate, then each call timed for the caller's latency."""
    case: Case = load_family(family)[name]
    log = case.open(directory)
    _write(log, make_events(_WARM_UP, seed=99))
    log.flush()

    each = events // threads
    processor = time.process_time_ns()
    shares = _in_threads(threads, log, each, _write)
    log.flush()
    delivered = time.perf_counter_ns()
    processor = time.process_time_ns() - processor
    began, ended = min(share.began for share in shares), max(share.ended for share in shares)

    timed = sorted(call for share in _in_threads(threads, log, each, _write_timed) for call in share.calls)
    log.flush()
    log.close()
    total = each * threads
    return {
        "events": total,
        "call_us": (ended - began) / total / 1e3,
        "calls_s": total / (ended - began) * 1e9,
        "cpu_us": processor / total / 1e3,
        "p50_us": timed[len(timed) // 2] / 1e3,
        "p99_us": timed[len(timed) * 99 // 100] / 1e3,
        "delivered_s": total / (delivered - began) * 1e9 if case.keeps else None,
        "kept": _count_lines(directory) / (_WARM_UP + 2 * total) if case.keeps else None,
    }


def _in_threads(threads: int, log: Log, each: int, write: Callable[[Log, list[Event]], Share]) -> list[Share]:
    """Let every thread write its own events; all start together."""
    pools = [make_events(seed=seed) for seed in range(threads)]
    work = [[pool[number % len(pool)] for number in range(each)] for pool in pools]
    if threads == 1:
        return [write(log, work[0])]
    shares: list[Share] = []
    barrier = threading.Barrier(threads)

    def body(events: list[Event]) -> None:
        barrier.wait()
        shares.append(write(log, events))

    workers = [threading.Thread(target=body, args=(events,)) for events in work]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return shares


def _write(log: Log, events: list[Event]) -> Share:
    write = log.write
    began = time.perf_counter_ns()
    for event in events:
        write(event)
    return Share(began, time.perf_counter_ns(), [])


def _write_timed(log: Log, events: list[Event]) -> Share:
    write, clock = log.write, time.perf_counter_ns
    calls = []
    began = clock()
    for event in events:
        start = clock()
        write(event)
        calls.append(clock() - start)
    return Share(began, clock(), calls)


def time_calls(log: Log, events: list[Event]) -> list[int]:
    """Log in this thread; return how long each call took, in ns, the shortest first."""
    return sorted(_write_timed(log, events).calls)


def _count_lines(directory: Path) -> int:
    """Count the lines that hold an event, in all files below the directory."""
    found = 0
    for path in directory.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                found += sum(MARK in line for line in file)
    return found


_REFERENCES = {FLOOR: "× floor", NOTHING: "× nothing", JSON_FORMATTER: "× JsonFormatter"}


def as_table(samples: list[Sample], threads: int, compared: Mapping[str, str] = _REFERENCES) -> str:
    """Return the medians and the ratios as Markdown, cheapest call first."""
    ours_and_theirs = dict.fromkeys(sample["task"] for sample in samples if sample["task"].endswith(f"[{threads}]"))
    references = [task_name(case, threads) for case in compared]
    rows: list[Row] = []
    for task in ours_and_theirs:
        call, p50, p99, processor, delivered, kept = medians(
            samples, task, ("call_us", "p50_us", "p99_us", "cpu_us", "delivered_s", "kept")
        )
        if call is None:
            continue
        ratios = [ratio(samples, task, other, "call_us") for other in references]
        cells: list[Any] = [
            call,
            *ratios,
            p50,
            p99,
            processor,
            delivered,
            None if kept is None else f"{kept:.0%}",
        ]
        rows.append((task.rpartition(" [")[0], *cells))
    rows.sort(key=lambda row: row[1])
    head = (
        "case",
        "call µs",
        *compared.values(),
        "p50 µs",
        "p99 µs",
        "CPU µs",
        "events/s",
        "kept",
    )
    return table(head, rows)
