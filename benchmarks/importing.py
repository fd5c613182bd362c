"""How long `import otel_audit` takes in a fresh interpreter, and what comes with it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.harness import Harness, Sample, Task, medians
from benchmarks.report import table

__all__ = ["MODULES", "as_table", "run"]

MODULES = (
    "otel_audit",
    "logging",
    "pythonjsonlogger.json",
    "structlog",
    "loguru",
    "auditchain",
    "opentelemetry.sdk._logs",
)

_SCRIPT = """
import sys, time
before, began = len(sys.modules), time.perf_counter_ns()
__import__(sys.argv[1])
took, brought = time.perf_counter_ns() - began, len(sys.modules) - before
telemetry = sum(name.split(".")[0] == "opentelemetry" for name in sys.modules)
print('{"import_ms": %f, "modules": %d, "opentelemetry": %d}' % (took / 1e6, brought, telemetry))
"""


def run(harness: Harness, rounds: int) -> list[Sample]:
    """Import each module, alone in its interpreter."""
    return harness.rounds([Task(name, "benchmarks.importing:measure", {"module": name}) for name in MODULES], rounds)


def measure(_: Path, module: str) -> Sample:
    """Import a module in an interpreter that has imported nothing else; return milliseconds and modules."""
    done = subprocess.run([sys.executable, "-c", _SCRIPT, module], capture_output=True, check=True)
    sample: Sample = json.loads(done.stdout)
    return sample


def as_table(samples: list[Sample]) -> str:
    """Return the medians as Markdown."""
    rows = [(module, *medians(samples, module, ("import_ms", "modules", "opentelemetry"))) for module in MODULES]
    return table(("import", "ms", "modules", "of OpenTelemetry"), rows)
