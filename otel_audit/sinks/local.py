"""Sinks of this machine, written in the call: stdout, stderr, a file. Without a journal they stand in its place.

A line is one write(2), so that lines of several writers on one pipe or O_APPEND file do not mix (up to PIPE_BUF
bytes, 4096 on Linux, on a pipe; any length on a file).
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from otel_audit.descriptors import is_closed, open_apart
from otel_audit.errors import ConfigurationError

from .base import AnsweredSink, SealedLine, SinkUnavailable
from .urls import read_options, split_url

__all__ = ["FileTarget", "LocalSink", "LocalStore", "StandardTarget"]

_WRITE_DEADLINE: Final = 10.0
_MOST_OWED: Final = 1 << 20


class StandardTarget:
    """Standard output or standard error, at the level of file descriptors."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._descriptor = {"stdout": 1, "stderr": 2}[name]

    def open(self) -> int:
        """Return the descriptor, once what the program printed before is out.

        Raises:
            OSError: the program was started without it.
        """
        if is_closed(self.name):
            raise OSError(errno.EBADF, f"the program was started with {self.name} closed")
        stream = getattr(sys, self.name)
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):  # closed or broken: not ours to report
                stream.flush()
        return self._descriptor

    def sync(self) -> None:
        """Nothing: what is behind a pipe or terminal is not ours to make durable."""

    def close(self) -> None:
        """Nothing: the descriptor is the program's."""


class FileTarget:
    """A file that lines are appended to; made with mode 0600. A file that was moved away is made again."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._descriptor = -1

    def open(self) -> int:
        """Return a descriptor for the file that has the name now."""
        if self._descriptor >= 0 and not self._is_current():
            self.close()
        if self._descriptor < 0:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = open_apart(self._path, flags, 0o600)
        return self._descriptor

    def sync(self) -> None:
        """Make durable what was written."""
        if self._descriptor >= 0:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Let the file go."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False


class _Line:
    """Writes whole lines to one target. A line of which a part was taken is finished before anything else."""

    def __init__(self, target: StandardTarget | FileTarget) -> None:
        self.target = target
        self.owed = b""

    def write(self, lines: bytes) -> None:
        """Write lines, each in one write(2).

        Raises:
            OSError: not a byte of them was taken. Once one was, what is missing is owed.
        """
        self.settle()
        descriptor = self.target.open()
        rest = lines
        try:
            for line in _split(lines):
                left = line
                while left:
                    taken = _write_some(descriptor, left)
                    left, rest = left[taken:], rest[taken:]
        except OSError:
            if len(rest) == len(lines):
                raise
            self.owed = rest

    def offer(self, lines: bytes) -> OSError | None:
        """Write lines; return what went wrong if not a byte of them was taken."""
        try:
            self.write(lines)
        except OSError as error:
            return error
        return None

    def settle(self) -> None:
        """Write what is owed.

        Raises:
            OSError: some of it still is.
        """
        while self.owed:
            self.owed = self.owed[_write_some(self.target.open(), self.owed) :]


def _split(lines: bytes) -> Sequence[bytes]:
    return lines.splitlines(keepends=True) if lines.count(b"\n") > 1 else (lines,)


def _write_some(descriptor: int, data: bytes) -> int:
    try:
        return os.write(descriptor, data)
    except BlockingIOError:  # somebody made the descriptor non-blocking; it is shared with our parent
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        if not poll.poll(_WRITE_DEADLINE * 1000):
            raise
        return 0


class LocalStore:
    """A stream's lines on local sinks, written in the call. Implements `store.Store`."""

    def __init__(self, targets: Sequence[StandardTarget | FileTarget]) -> None:
        self._lines = [_Line(target) for target in targets]
        self.lock = threading.Lock()
        self.written = 0
        self.durable = 0

    def begin(self, stream: str) -> list[Any]:
        """Return no endings: what was printed before is out of reach."""
        return []

    def declared(self, endings: list[Any]) -> None:
        """Nothing to note."""

    def append(self, lines: bytes) -> None:
        """Write lines to each target. A target that does not take them is owed them, if another one has them.

        Raises:
            OSError: no target took a byte, or one of them has been owed a lot for so long that its copy would
                otherwise get a hole which no record declares.
        """
        for line in self._lines:
            if len(line.owed) > _MOST_OWED:
                line.settle()
        failures = {line: failure for line in self._lines if (failure := line.offer(lines)) is not None}
        if failures and len(failures) == len(self._lines):
            raise next(iter(failures.values()))
        for line in failures:
            line.owed += lines
        self.written += len(lines)

    def sync(self, upto: int | None = None) -> None:
        """Make files durable.

        Raises:
            OSError: one of them cannot be. That is said once: what a file lost is not kept here to be written again.
        """
        if self.durable >= (written := self.written):
            return
        self.durable = written
        for line in self._lines:
            line.target.sync()

    def repair(self) -> None:
        """Nothing to write again."""

    def end(self) -> None:
        """Finish what is owed, make files durable, let them go.

        Raises:
            OSError: some of it is still owed, or not durable.
        """
        try:
            for line in self._lines:
                line.settle()
            self.sync()
        finally:
            self._close()

    def forget(self) -> None:
        """Let files go, in a forked child."""
        self.lock = threading.Lock()
        self.written = self.durable = 0
        for line in self._lines:
            line.owed = b""
        self._close()

    def _close(self) -> None:
        for line in self._lines:
            line.target.close()


class LocalSink(AnsweredSink):
    """The same targets behind a journal: a sink like any other. Implements `base.Sink`."""

    max_records = 512
    max_bytes = 1 << 20

    def __init__(self, target: StandardTarget | FileTarget, name: str) -> None:
        self.name = name
        self._line = _Line(target)

    @classmethod
    def from_url(cls, url: str) -> LocalSink:
        """Return the sink of `stdout:` or `stderr:`.

        Raises:
            ConfigurationError: the URL holds anything but the option `name`.
        """
        parts = split_url(url)
        if parts.authority or parts.path:
            raise ConfigurationError(f"sink {parts}: write {parts.scheme}: and nothing behind it")
        return cls.from_settings(
            **read_options(parts.options, cls.from_settings, parts, given={"target": parts.scheme})
        )

    @classmethod
    def from_settings(cls, *, target: str, name: str | None = None) -> LocalSink:
        """Return a sink for `stdout` or `stderr`, called `name` or the same."""
        return cls(StandardTarget(target), name or target)

    def send(self, batch: Sequence[SealedLine]) -> None:
        """Write each line.

        Raises:
            SinkUnavailable: the target did not take a line.
        """
        try:
            for one in batch:
                self._line.write(one.line)
            self._line.settle()
        except OSError as error:
            raise SinkUnavailable(f"{self._line.target.name}: {error.strerror or error}") from error

    def close(self) -> None:
        """Let a file go."""
        self._line.target.close()
