"""What must be reached, beside what this run measured. Printed, never asserted."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from benchmarks import integrity, ours, troubles
from benchmarks.calls import task_name
from benchmarks.cases import LOGSTASH, SDK, SDK_ALONE, SDK_MAPPING, SOCKET
from benchmarks.growth import tasks_by_length
from benchmarks.harness import Sample, median, ratio
from benchmarks.importing import MODULES
from benchmarks.peers.floor import FLOOR, NOTHING
from benchmarks.peers.standard import JSON_FORMATTER
from benchmarks.processors import AUDIT, NO_AUDIT, PLAIN, added
from benchmarks.report import table
from benchmarks.verifying import LARGE, rate_name

__all__ = ["Target", "as_table", "compare"]

_FLAT = 1.2
"""Up to here a cost counts as flat: two runs of the same code differ as much."""

_PROCESS = ours.HANDLER.format("process")
_RELAXED = ours.HANDLER.format("relaxed")


class Target(NamedTuple):
    """A bound and the figure that was measured; None if this run did not measure it."""

    what: str
    at_most: bool
    bound: float
    measured: float | None

    @property
    def met(self) -> bool | None:
        """Whether the figure keeps the bound."""
        if self.measured is None:
            return None
        return self.measured <= self.bound if self.at_most else self.measured >= self.bound


def compare(results: Mapping[str, list[Sample]]) -> list[Target]:
    """Read every target's figure from the samples of a run."""
    return [
        *_calls(results.get("calls", [])),
        *_processor(results.get("processor", [])),
        *_delivery(results.get("delivery", [])),
        *_troubles(results.get("troubles", [])),
        _longest("record at the longest log / at the shortest", results.get("append", []), "x_floor"),
        _longest("opening the longest journal / the shortest", results.get("reopen", []), "open_ms"),
        *_verifying(results.get("verify", [])),
        *_integrity(results.get("integrity", [])),
        Target("import otel_audit, ms", True, 60, median(results.get("import", []), MODULES[0], "import_ms")),
    ]


def _calls(samples: list[Sample]) -> list[Target]:
    one, four = partial(task_name, threads=1), partial(task_name, threads=4)
    pairs = (
        ("handler, process / JsonFormatter", True, 0.9, one(_PROCESS), one(JSON_FORMATTER), "call_us"),
        ("the same in processor time", True, 0.9, one(_PROCESS), one(JSON_FORMATTER), "cpu_us"),
        ("handler, process / handler that does nothing", True, 2.2, one(_PROCESS), one(NOTHING), "call_us"),
        ("the same in processor time", True, 2.2, one(_PROCESS), one(NOTHING), "cpu_us"),
        ("relaxed, rate of 4 threads / of 1", False, 0.9, four(_RELAXED), one(_RELAXED), "calls_s"),
        ("relaxed, p99 of 4 threads / of 1", True, 10, four(_RELAXED), one(_RELAXED), "p99_us"),
        ("4 threads, rate, process / JsonFormatter", False, 1, four(_PROCESS), four(JSON_FORMATTER), "calls_s"),
        ("4 threads, p99, process / JsonFormatter", True, 1, four(_PROCESS), four(JSON_FORMATTER), "p99_us"),
        ("otel_audit.record / floor, rate", False, 0.5, one(ours.RECORD), one(FLOOR), "calls_s"),
    )
    return [
        Target(what, at_most, bound, ratio(samples, task, other, key))
        for what, at_most, bound, task, other, key in pairs
    ]


def _processor(samples: list[Sample]) -> list[Target]:
    alone = task_name(SDK_ALONE, 1)
    cases = (
        ("processor adds, of LoggingHandler's cost", PLAIN, SDK_ALONE),
        ("the same, with an `audit` mapping", AUDIT, SDK_MAPPING),
    )
    return [
        *(
            Target(what, True, 0.8, added(samples, task_name(case, 1), task_name(other, 1)))
            for what, case, other in cases
        ),
        Target("processor / none, for records that are no audit", True, 1.05, _no_audit(samples, alone)),
    ]


def _no_audit(samples: list[Sample], alone: str) -> float | None:
    return ratio(samples, task_name(NO_AUDIT, 1), alone, "call_us")


def _delivery(samples: list[Sample]) -> list[Target]:
    pairs = (
        ("events that arrive over TLS / SocketHandler in the clear", 1, ours.TLS, SOCKET),
        ("the same / python-logstash-async", 20, ours.TLS, LOGSTASH),
        ("events that arrive over OTLP/HTTP / SDK", 2, ours.OTLP, SDK),
    )
    return [
        Target(what, False, bound, ratio(samples, task, other, "delivered_s")) for what, bound, task, other in pairs
    ]


def _troubles(samples: list[Sample]) -> list[Target]:
    pairs = (("p99 of a call, sink gone / well", troubles.DEAD), ("the same, sink never reads / well", troubles.STUCK))
    return [Target(what, True, 1.2, ratio(samples, state, troubles.HEALTHY, "p99_us")) for what, state in pairs]


def _longest(what: str, samples: list[Sample], key: str) -> Target:
    tasks = tasks_by_length(samples)
    return Target(what, True, _FLAT, ratio(samples, tasks[-1], tasks[0], key) if len(tasks) > 1 else None)


def _verifying(samples: list[Sample]) -> list[Target]:
    one, cores = rate_name(1), os.cpu_count() or 1
    faster = ratio(samples, rate_name(cores), one, "records_s") if cores > 1 else None
    return [
        Target("verify, records per core second", False, 300_000, median(samples, one, "records_core_s")),
        Target("verify, rate a core with all cores / with one", False, 0.75, faster and faster / cores),
        Target(
            "verify, peak memory of the large journal / the small",
            True,
            _FLAT,
            ratio(samples, LARGE, one, "peak_mb"),
        ),
    ]


def _integrity(samples: list[Sample]) -> list[Target]:
    signed, unsigned = task_name(ours.SIGNED, 1), task_name(_PROCESS, 1)
    return [
        Target("signed / unsigned, p99 of a call", True, 1.1, ratio(samples, signed, unsigned, "p99_us")),
        Target("signed / unsigned, p50 of a call", True, 1.1, ratio(samples, signed, unsigned, "p50_us")),
        Target("anchored / signed, p50 of a call, the dearest anchor", True, 1.1, _dearest(samples, signed)),
        Target(
            "verify, signed and anchored, records per core second",
            False,
            250_000,
            median(samples, integrity.VERIFY_SIGNED, "records_core_s"),
        ),
        Target("proof of one record in 10^6, bytes", True, 2000, median(samples, integrity.PROOF, "proof_bytes")),
        Target("the same, ms to check", True, 1, median(samples, integrity.PROOF, "check_ms")),
    ]


def _dearest(samples: list[Sample], signed: str) -> float | None:
    ratios = (ratio(samples, task_name(case, 1), signed, "p50_us") for case in ours.ANCHORED.values())
    return max((each for each in ratios if each is not None), default=None)


def as_table(targets: list[Target]) -> str:
    """Return the targets as Markdown."""
    words = {True: "met", False: "**missed**", None: "not measured"}
    rows = [
        (
            target.what,
            f"{'≤' if target.at_most else '≥'} {target.bound:,g}",
            target.measured,
            words[target.met],
        )
        for target in targets
    ]
    return table(("target", "wanted", "measured", ""), rows)
