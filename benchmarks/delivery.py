"""From `logger.info` to the far end: events a second that arrive, over TCP and over OTLP/HTTP."""

from __future__ import annotations

import time
from itertools import cycle, islice
from pathlib import Path

from benchmarks.cases import DELIVERY_FAMILIES, SDK, SOCKET, Far, load_ways
from benchmarks.events import make_events
from benchmarks.harness import Harness, Sample, Task, medians, ratio
from benchmarks.receiver import run_receiver
from benchmarks.report import table

__all__ = ["as_table", "measure", "run"]

_WARM_UP = 200


def run(harness: Harness, rounds: int, effort: float) -> tuple[list[Sample], dict[str, str]]:
    """Measure every way that can run here; return the samples, and why the other families cannot."""
    tasks, missing = [], {}
    for family in DELIVERY_FAMILIES:
        try:
            ways = load_ways(family)
        except ImportError as error:
            missing[family] = str(error)
            continue
        for way in ways.values():
            arguments = {"family": family, "name": way.name, "events": max(1000, int(way.events * effort))}
            tasks.append(Task(way.name, "benchmarks.delivery:measure", arguments))
    return harness.rounds(tasks, rounds), missing


def measure(directory: Path, family: str, name: str, events: int) -> Sample:
    """Log the events in one thread; the clock stops when the last one arrives."""
    way = load_ways(family)[name]
    far = Far.make(directory)
    with run_receiver(way.receiver, far.certificate, far.key) as receiver:
        log = way.open(directory, far._replace(port=receiver.port))
        pool = make_events()
        for event in pool[:_WARM_UP]:
            log.write(event)
        before = receiver.await_events(_WARM_UP).events

        processor = time.process_time_ns()
        began = time.monotonic_ns()
        for event in islice(cycle(pool), events):
            log.write(event)
        logged = time.monotonic_ns()
        last = receiver.await_events(before + events)
        processor = time.process_time_ns() - processor
        log.close()
    arrived = last.events - before
    return {
        "events": events,
        "call_us": (logged - began) / events / 1e3,
        "cpu_us": processor / events / 1e3,
        "delivered_s": arrived / (last.at - began) * 1e9,
        "kept": arrived / events,
    }


def as_table(samples: list[Sample]) -> str:
    """Return the medians as Markdown, the fastest first."""
    rows = []
    for task in dict.fromkeys(sample["task"] for sample in samples):
        delivered, call, processor, kept = medians(samples, task, ("delivered_s", "call_us", "cpu_us", "kept"))
        if delivered is not None:
            ratios = [ratio(samples, task, other, "delivered_s") for other in (SOCKET, SDK)]
            rows.append((task, delivered, *ratios, call, processor, None if kept is None else f"{kept:.0%}"))
    rows.sort(key=lambda row: -row[1])
    return table(("way", "events/s", "× SocketHandler", "× SDK", "call µs", "CPU µs", "arrived"), rows)
