"""What a call costs while its sink is well, is gone, or takes connections and reads nothing."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from benchmarks import ours
from benchmarks.calls import time_calls
from benchmarks.events import make_events
from benchmarks.harness import Harness, Sample, Task, medians
from benchmarks.receiver import run_receiver
from benchmarks.report import table

__all__ = ["DEAD", "HEALTHY", "STUCK", "as_table", "measure", "run"]

HEALTHY = "a sink that is well"
DEAD = "a sink that is gone"
STUCK = "a sink that never reads"
_STATES = (HEALTHY, DEAD, STUCK)
_CALLS = 60_000
_WARM_UP = 500


def run(harness: Harness, rounds: int, effort: float) -> list[Sample]:
    """Log as fast as one thread can, beside each of these sinks."""
    calls = max(5_000, int(_CALLS * effort))
    tasks = [Task(state, "benchmarks.troubles:measure", {"state": state, "calls": calls}) for state in _STATES]
    return harness.rounds(tasks, rounds)


def measure(directory: Path, state: str, calls: int) -> Sample:
    """Time so many calls one by one, once the sink has been tried."""
    pool = make_events()
    with _far_end(state) as port:
        log = ours.open_beside(port, directory)
        time_calls(log, pool[:_WARM_UP])
        timed = time_calls(log, [pool[number % len(pool)] for number in range(calls)])
        log.close()
    return {"p50_us": timed[calls // 2] / 1e3, "p99_us": timed[calls * 99 // 100] / 1e3}


@contextlib.contextmanager
def _far_end(state: str) -> Iterator[int]:
    """Yield the port of a receiver, of nothing at all, or of a socket that nobody reads from."""
    if state == HEALTHY:
        with run_receiver("tcp") as receiver:
            yield receiver.port
        return
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        if state == DEAD:
            listener.close()
        yield port


def as_table(samples: list[Sample]) -> str:
    """Return the medians as Markdown."""
    rows = [(state, *medians(samples, state, ("p50_us", "p99_us"))) for state in _STATES]
    return table(("beside", "p50 µs", "p99 µs"), rows)
