"""Run measurements: each in a fresh interpreter, rounds interleaved and shuffled, ratios within a round."""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Harness", "Sample", "Task", "median", "medians", "ratio"]

Sample = dict[str, Any]
"""What one run of a task returned, with its `task` and `round`; or, with these, an `error`."""


class Task(NamedTuple):
    """One measurement: a function of this package, `module:function`, and its keyword arguments."""

    name: str
    function: str
    arguments: dict[str, Any]


class Harness:
    """Runs tasks in child processes below one scratch directory."""

    def __init__(self, scratch: Path, timeout: float = 1800) -> None:
        self.scratch = scratch
        self.timeout = timeout

    def rounds(self, tasks: Sequence[Task], rounds: int) -> list[Sample]:
        """Run every task once a round, each round in another order: a noisy minute hurts all alike."""
        samples = []
        for number in range(rounds):
            started = time.monotonic()
            order = list(tasks)
            random.Random(number).shuffle(order)
            for task in order:
                sample = self.run(task)
                samples.append({"task": task.name, "round": number, **sample})
                if "error" in sample:
                    self.say(f"{task.name}: {sample['error']}")
            self.say(f"round {number + 1} of {rounds}: {len(order)} runs, {time.monotonic() - started:.0f} s")
        return samples

    def run(self, task: Task) -> Sample:
        """Run one task in a fresh interpreter; what goes wrong there comes back as `error`."""
        with tempfile.TemporaryDirectory(dir=self.scratch) as directory:
            answer = Path(directory, "answer.json")
            command = [
                sys.executable,
                "-m",
                "benchmarks.child",
                task.function,
                json.dumps(task.arguments),
                directory,
            ]
            try:
                done = subprocess.run(
                    command,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    timeout=self.timeout,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                return {"error": f"not done after {self.timeout:.0f} s"}
            if done.returncode != 0:
                words = done.stderr.decode(errors="replace").strip().splitlines()
                return {"error": words[-1] if words else f"exit code {done.returncode}"}
            result: Sample = json.loads(answer.read_bytes())
            return result

    def must(self, task: Task) -> Sample:
        """Run one task that others build on.

        Raises:
            RuntimeError: it went wrong.
        """
        sample = self.run(task)
        if "error" in sample:
            raise RuntimeError(f"{task.name}: {sample['error']}")
        return sample

    def say(self, message: str) -> None:
        """Report progress on stderr."""
        print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)


def median(samples: Sequence[Sample], task: str, key: str) -> float | None:
    """Return the median of one figure of one task over the rounds; None if it was never measured."""
    values = [sample[key] for sample in samples if sample["task"] == task and sample.get(key) is not None]
    return statistics.median(values) if values else None


def medians(samples: Sequence[Sample], task: str, keys: Sequence[str]) -> list[float | None]:
    """Return the medians of several figures of one task."""
    return [median(samples, task, key) for key in keys]


def ratio(samples: Sequence[Sample], task: str, other: str, key: str) -> float | None:
    """Return the median over the rounds of `task`'s figure by `other`'s figure of the same round."""
    by_round = {
        name: {sample["round"]: sample[key] for sample in samples if sample["task"] == name and sample.get(key)}
        for name in (task, other)
    }
    both = by_round[task].keys() & by_round[other].keys()
    return statistics.median(by_round[task][number] / by_round[other][number] for number in both) if both else None
