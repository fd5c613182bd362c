"""What signatures, anchors, marks and proofs cost: the caller, who verifies, and who checks one record."""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path

from benchmarks import ours
from benchmarks.calls import task_name
from benchmarks.harness import Harness, Sample, Task, median, medians
from benchmarks.journals import make_journal
from benchmarks.report import Row, table

__all__ = ["CASES", "PROOF", "VERIFY_SIGNED", "as_table", "prove", "run", "verify"]

CASES = ours.INTEGRITY_CASES

VERIFY = "verify, unsigned"
VERIFY_SIGNED = "verify, signed and anchored"
PROOF = "proof of one record in 10^6, one witness"
_LEAVES = 1_000_000
_CHECKS = 500
_SECONDS_WORTH = 100_000
"""Calls that take about a second, so that each run has its share of checkpoints and no more."""


def run(harness: Harness, rounds: int, effort: float, megabytes: int) -> list[Sample]:
    """Log with and without, verify one journal signed and one unsigned, and prove one record in a million."""
    records = megabytes * 1_000_000 // ours.SHORT_LINE
    tasks = [Task(PROOF, "benchmarks.integrity:prove", {})]
    for name, signed in ((VERIFY, False), (VERIFY_SIGNED, True)):
        journal = make_journal(harness, f"integrity-{signed}", records, signed=signed)
        tasks.append(Task(name, "benchmarks.integrity:verify", {"journal": str(journal), "signed": signed}))
    for case in CASES:
        arguments = {
            "family": "benchmarks.integrity",
            "name": case.name,
            "threads": 1,
            "events": max(_SECONDS_WORTH, int(case.events * effort)),
        }
        tasks.append(Task(task_name(case.name, 1), "benchmarks.calls:measure", arguments))
    return harness.rounds(tasks, rounds)


def verify(_: Path, journal: str, *, signed: bool) -> Sample:
    """Verify a journal in this process; the time is the processor's."""
    gc.disable()  # as the command does
    began = time.process_time()
    records = ours.verify_signed(Path(journal)) if signed else ours.verify(Path(journal), 1)
    return {"records": records, "records_core_s": records / (time.process_time() - began)}


def prove(_: Path) -> Sample:
    """Make a proof of one leaf in a million; the time is the median of many checks, reading it included."""
    proof = ours.Proof.make(os.urandom(32 * _LEAVES), _LEAVES // 3)
    taken = []
    for _check in range(_CHECKS):
        began = time.perf_counter_ns()
        proof.check()
        taken.append(time.perf_counter_ns() - began)
    return {"proof_bytes": len(proof.encoded.encode()), "check_ms": sorted(taken)[_CHECKS // 2] / 1e6}


def as_table(samples: list[Sample]) -> str:
    """Return what a call costs, and the rest, as Markdown."""
    keys = ("call_us", "p50_us", "p99_us", "cpu_us")
    calls: list[Row] = [(case.name, *medians(samples, task_name(case.name, 1), keys)) for case in CASES]
    rates: list[Row] = [(name, median(samples, name, "records_core_s")) for name in (VERIFY, VERIFY_SIGNED)]
    proof: list[Row] = [(PROOF, *medians(samples, PROOF, ("proof_bytes", "check_ms")))]
    return "\n\n".join(
        (
            table(("call with 15 fields", "call µs", "p50 µs", "p99 µs", "CPU µs"), calls),
            table(("verify, one process", "records per core second"), rates),
            table(("proof", "bytes", "ms to check"), proof),
        )
    )
