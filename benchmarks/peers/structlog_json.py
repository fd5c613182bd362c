"""structlog as its performance guide sets it up: BytesLogger and orjson."""

from __future__ import annotations

import logging
from pathlib import Path

import orjson
import structlog

from benchmarks.cases import Case, Log


def _open(directory: Path) -> Log:
    file = (directory / "log.jsonl").open("ab")
    structlog.configure(
        cache_logger_on_first_use=True,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ],
        logger_factory=structlog.BytesLoggerFactory(file),
    )
    logger = structlog.get_logger()
    return Log(lambda event: logger.info("document read", **event), file.flush, file.close)


CASES = (Case("structlog BytesLogger + orjson", _open),)
