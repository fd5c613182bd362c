"""Measure otel-audit beside its peers: Markdown on stdout, progress on stderr, samples in a JSON file."""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from benchmarks import calls, delivery, growth, importing, integrity, targets, troubles, verifying
from benchmarks.cases import PROCESSOR_FAMILIES, SDK_ALONE
from benchmarks.harness import Harness, Sample
from benchmarks.report import table

_SECTIONS = ("calls", "processor", "delivery", "troubles", "append", "reopen", "verify", "integrity", "import")
_PACKAGES = (
    "otel-audit",
    "orjson",
    "python-json-logger",
    "structlog",
    "loguru",
    "auditchain",
    "python-logstash-async",
    "opentelemetry-sdk",
)


class Scale(NamedTuple):
    """How much to measure."""

    rounds: int
    effort: float
    """Share of a case's events that one run logs."""
    lengths: Sequence[int]
    """Records of the logs that grow."""
    verify_mb: int
    large_mb: int


_FULL = Scale(7, 1, (10_000, 100_000, 1_000_000, 10_000_000), 200, 1000)
_QUICK = Scale(2, 0.25, (10_000, 100_000), 40, 160)


def main() -> None:
    """Run the sections, write their samples, print their tables and the targets."""
    options = _options()
    scale = _scale(options)
    results: dict[str, list[Sample]] = {}
    missing: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="benchmarks-", dir=options.scratch) as scratch:
        harness = Harness(Path(scratch))
        for section in options.only:
            harness.say(section)
            match section:
                case "calls":
                    results[section], absent = calls.run(harness, scale.rounds, scale.effort)
                    missing.update(absent)
                case "processor":
                    results[section], absent = calls.run(harness, scale.rounds, scale.effort, PROCESSOR_FAMILIES)
                    missing.update(absent)
                case "delivery":
                    results[section], absent = delivery.run(harness, scale.rounds, scale.effort)
                    missing.update(absent)
                case "troubles":
                    results[section] = troubles.run(harness, scale.rounds, scale.effort)
                case "append":
                    results[section] = growth.run_append(harness, 1, scale.lengths)
                case "reopen":
                    results[section] = growth.run_reopen(harness, scale.rounds, (10, 1_000, *scale.lengths))
                case "verify":
                    results[section] = verifying.run(harness, scale.rounds, scale.verify_mb, scale.large_mb)
                case "integrity":
                    results[section] = integrity.run(harness, scale.rounds, scale.effort, scale.verify_mb)
                case "import":
                    results[section] = importing.run(harness, scale.rounds)
    machine = _machine()
    options.json.write_text(json.dumps({"machine": machine, "missing": missing, "samples": results}, indent=1))
    print(table(("machine", ""), machine.items()))
    for family, reason in missing.items():
        print(f"\nMissing: {family}: {reason}. Install with `pip install --group bench`.")
    for title, text in _tables(results):
        print(f"\n## {title}\n\n{text}")
    print(f"\n## Must reach\n\n{targets.as_table(targets.compare(results))}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute or two: fewer rounds, shorter logs")
    parser.add_argument("--only", nargs="+", choices=_SECTIONS, default=_SECTIONS, help="these sections")
    parser.add_argument(
        "--rounds", type=int, help=f"rounds of each measurement ({_FULL.rounds}, quick {_QUICK.rounds})"
    )
    parser.add_argument("--grow-to", type=int, metavar="N", help=f"records of the longest log ({_FULL.lengths[-1]})")
    parser.add_argument("--large-mb", type=int, metavar="MB", help=f"journal to measure memory with ({_FULL.large_mb})")
    parser.add_argument("--scratch", type=Path, help="directory on the disk to measure (the temporary one)")
    parser.add_argument("--json", type=Path, default=Path("benchmarks.json"), help="file for the samples (%(default)s)")
    return parser.parse_args()


def _scale(options: argparse.Namespace) -> Scale:
    scale = _QUICK if options.quick else _FULL
    if options.rounds:
        scale = scale._replace(rounds=options.rounds)
    if options.grow_to:
        scale = scale._replace(lengths=[length for length in _FULL.lengths if length <= options.grow_to])
    if options.large_mb:
        scale = scale._replace(large_mb=options.large_mb)
    return scale


def _tables(results: dict[str, list[Sample]]) -> list[tuple[str, str]]:
    tables = [
        (f"A call with 15 fields, {threads} thread(s)", calls.as_table(results["calls"], threads))
        for threads in calls.THREADS
        if "calls" in results
    ]
    tables += [
        (
            f"The OpenTelemetry processor, {threads} thread(s)",
            calls.as_table(results["processor"], threads, {SDK_ALONE: "× LoggingHandler"}),
        )
        for threads in calls.THREADS
        if "processor" in results
    ]
    rest = {
        "delivery": ("From the call to the far end", delivery.as_table),
        "troubles": ("A call beside a sink in trouble", troubles.as_table),
        "append": ("A record as its stream grows", growth.append_table),
        "reopen": ("Opening a journal", growth.reopen_table),
        "verify": ("Verifying", verifying.as_table),
        "integrity": ("Signatures, anchors, marks and proofs", integrity.as_table),
        "import": ("Importing", importing.as_table),
    }
    return tables + [(title, render(results[name])) for name, (title, render) in rest.items() if name in results]


def _machine() -> dict[str, str]:
    """Return what the figures depend on."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    versions = {found.name: found.version for found in metadata.distributions() if found.name in _PACKAGES}
    return {
        "Python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": str(os.cpu_count()),
        "load at the end": load,
        **{package: versions.get(package, "missing") for package in _PACKAGES},
    }


if __name__ == "__main__":
    main()
