"""loguru with `serialize=True`."""

from __future__ import annotations

from pathlib import Path

from loguru import logger

from benchmarks.cases import Case, Log


def _open(directory: Path) -> Log:
    logger.remove()
    logger.add(directory / "log.jsonl", serialize=True)
    return Log(lambda event: logger.bind(**event).info("document read"), logger.complete, logger.remove)


CASES = (Case("loguru serialize=True", _open, events=10_000),)
