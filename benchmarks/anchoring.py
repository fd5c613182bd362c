"""Runs the far end of an anchor in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["run_anchor"]


@contextmanager
def run_anchor(kind: str, directory: Path) -> Iterator[str]:
    """Run a `tsa` or a `witness` with its files in a new directory; yields its URL.

    Raises:
        RuntimeError: it does not start; a time-stamping authority needs the command `openssl`.
    """
    command = [sys.executable, "-m", "benchmarks.authorities", kind, str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if not (url := process.stdout.readline().strip()):
                raise RuntimeError(f"the {kind} does not start")
            yield url
        finally:
            process.kill()
