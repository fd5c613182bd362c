"""The standard library's FileHandler with python-json-logger's formatters."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pythonjsonlogger.json import JsonFormatter
from pythonjsonlogger.orjson import OrjsonFormatter

from benchmarks.cases import Case, Log

JSON_FORMATTER = "FileHandler + python-json-logger JsonFormatter"


def open_file(formatter: Callable[[], logging.Formatter], directory: Path) -> Log:
    """Open a FileHandler that this formatter formats for."""
    handler = logging.FileHandler(directory / "log.jsonl")
    handler.setFormatter(formatter())
    return attach(handler)


def attach(handler: logging.Handler) -> Log:
    """Make the handler the only one of a logger, and log the event as `extra`."""
    logger = logging.getLogger("benchmark")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    return Log(lambda event: logger.info("document read", extra=event), handler.flush, handler.close)


CASES = (
    Case(JSON_FORMATTER, partial(open_file, JsonFormatter)),
    Case("FileHandler + python-json-logger OrjsonFormatter", partial(open_file, OrjsonFormatter)),
)
