"""The standard library's handlers: FileHandler with python-json-logger's formatters, SocketHandler with JSON lines."""

from __future__ import annotations

import json
import logging
import logging.handlers
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pythonjsonlogger.json import JsonFormatter
from pythonjsonlogger.orjson import OrjsonFormatter

from benchmarks.cases import SOCKET, Case, Far, Log, Way

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


class _JsonLines(logging.handlers.SocketHandler):
    def makePickle(self, record: logging.LogRecord) -> bytes:  # noqa: N802 - the name is the standard library's
        return self.format(record).encode() + b"\n"


class _Json(logging.Formatter):
    """The formatter that everybody writes: the event's own fields, and when, how bad and by whom."""

    def format(self, record: logging.LogRecord) -> str:
        line = {name: value for name, value in record.__dict__.items() if name not in _ORDINARY}
        line["message"] = record.getMessage()
        line["time"], line["level"], line["logger"] = record.created, record.levelname, record.name
        return json.dumps(line)


_ORDINARY = frozenset(logging.makeLogRecord({}).__dict__)


def _open_socket(formatter: Callable[[], logging.Formatter], _: Path, far: Far) -> Log:
    handler = _JsonLines("127.0.0.1", far.port)
    handler.setFormatter(formatter())
    return attach(handler)


WAYS = (
    Way(SOCKET, "tcp", partial(_open_socket, _Json)),
    Way("SocketHandler + python-json-logger JsonFormatter, in the clear", "tcp", partial(_open_socket, JsonFormatter)),
    Way(
        "SocketHandler + python-json-logger OrjsonFormatter, in the clear",
        "tcp",
        partial(_open_socket, OrjsonFormatter),
    ),
)

CASES = (
    Case(JSON_FORMATTER, partial(open_file, JsonFormatter)),
    Case("FileHandler + python-json-logger OrjsonFormatter", partial(open_file, OrjsonFormatter)),
)
