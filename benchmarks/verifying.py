"""How fast a journal is verified, whether more processes help, and how much memory it takes."""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path

from benchmarks import ours
from benchmarks.harness import Harness, Sample, Task, medians, ratio
from benchmarks.journals import make_journal
from benchmarks.report import table

__all__ = ["LARGE", "as_table", "measure", "rate_name", "run"]

LARGE = "large journal, jobs=1"
_STREAMS = 4
_WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


def run(harness: Harness, rounds: int, megabytes: int, large_megabytes: int) -> list[Sample]:
    """Verify one journal with one job and with one a core, and a large one for the memory it takes."""
    journal = make_journal(harness, "verify", megabytes * 1_000_000 // ours.SHORT_LINE, _STREAMS)
    tasks = [_task(rate_name(jobs), journal, jobs) for jobs in sorted({1, os.cpu_count() or 1})]
    samples = harness.rounds(tasks, rounds)
    large = make_journal(harness, "verify-large", large_megabytes * 1_000_000 // ours.SHORT_LINE, _STREAMS)
    return samples + harness.rounds([_task(LARGE, large, 1)], 1)


def rate_name(jobs: int) -> str:
    """Return the name under which the samples with so many jobs are kept."""
    return f"jobs={jobs}"


def _task(name: str, journal: Path, jobs: int) -> Task:
    return Task(name, "benchmarks.verifying:measure", {"journal": str(journal), "jobs": jobs})


def measure(_: Path, journal: str, jobs: int) -> Sample:
    """Verify a journal; the processor time is that of all processes, the memory that of the largest one."""
    size = sum(path.stat().st_size for path in Path(journal).glob("*.jsonl"))
    processor, began = _processor_seconds(), time.perf_counter()
    records = ours.verify(Path(journal), jobs)
    seconds, processor = time.perf_counter() - began, _processor_seconds() - processor
    largest = max(resource.getrusage(who).ru_maxrss for who in _WHO)
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "records": records,
        "bytes": size,
        "line": size / records,
        "records_s": records / seconds,
        "mb_s": size / seconds / 1e6,
        "records_core_s": records / processor,
        "peak_mb": largest * unit / 1e6,
    }


def _processor_seconds() -> float:
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, _WHO))


def as_table(samples: list[Sample]) -> str:
    """Return rates and memory as Markdown."""
    keys = ("records", "line", "records_s", "mb_s", "records_core_s", "peak_mb")
    rows = [
        (task, *medians(samples, task, keys), ratio(samples, task, rate_name(1), "records_s"))
        for task in sorted({sample["task"] for sample in samples})
    ]
    head = (
        "verify",
        "records",
        "bytes a record",
        "records/s",
        "MB/s",
        "records per core second",
        "peak MB",
        "× jobs=1",
    )
    return table(head, rows)
