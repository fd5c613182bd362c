"""A python-json-logger formatter that seals, so that any standard handler can print audit lines."""

from __future__ import annotations

import logging
import threading
import weakref
from typing import Any

from pythonjsonlogger.core import BaseJsonFormatter

from .door import Door
from .logrecord import admit
from .notices import notice
from .stream import Stream
from .trail import describe_process

__all__ = ["AuditFormatter"]


class AuditFormatter(BaseJsonFormatter):
    """Seals each record that it formats, so that any standard handler prints an audit trail.

    A python-json-logger formatter: `defaults`, `static_fields`, `rename_fields` and `process_log_record` apply to the
    record's `data`. It writes a stream of its own, opened by the first record (that call returns two lines). Give each
    handler a formatter of its own: lines must be written in the order in which they were formatted. A handler that
    formats a record twice (`RotatingFileHandler` does) gets the same line. Nothing is kept here, so a handler that
    drops a line breaks the chain, and `verify` says so; `AuditHandler` has no such gap.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._door = Door()
        self._lines = _Lines()
        self._formatting = threading.RLock()  # a signal handler may log in the middle of this
        self._last = _Last()
        self._stream = Stream(
            self._lines,
            control=self._door.control,
            describe=describe_process,
            warn=notice,
            forked=self._forget_lock,
        )

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's sealed line (two, the first time), without the newline that the handler adds."""
        last = self._last
        if last.record is not None and last.record() is record:
            return last.line
        head = admit(self._door, record, self._shape)
        with self._formatting:
            self._stream.append(head)
            line = self._lines.take()
        last.record, last.line = weakref.ref(record), line
        return line

    def _shape(self, data: dict[str, Any]) -> dict[str, Any]:
        shaped = {**self.defaults, **data, **self.static_fields}
        for old, new in self.rename_fields.items():
            if old in shaped:
                shaped[new] = shaped.pop(old)
        return self.process_log_record(shaped)

    def _forget_lock(self) -> None:
        self._formatting = threading.RLock()


class _Last(threading.local):
    """What this thread formatted last."""

    record: weakref.ref[logging.LogRecord] | None = None
    line: str = ""


class _Lines:
    """A store that hands each line back. Implements `store.Store`."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.written = self.durable = 0
        self._kept = b""

    def begin(self, stream: str) -> list[Any]:
        return []

    def declared(self, endings: list[Any]) -> None:
        pass

    def append(self, lines: bytes) -> None:
        self._kept += lines

    def take(self) -> str:
        lines, self._kept = self._kept, b""
        return lines.decode().removesuffix("\n")

    def sync(self, upto: int | None = None) -> None:
        pass

    def repair(self) -> None:
        pass

    def end(self) -> None:
        pass

    def forget(self) -> None:
        self.lock = threading.Lock()
        self._kept = b""
