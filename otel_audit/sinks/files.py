"""Lines into a file: `file:///var/log/shop/audit.jsonl?rotate_bytes=...&compress=gzip&keep=30`.

The file is appended to, whole lines in one write, and renamed when it is full. Writers of several processes
may share it: each holds the file's own lock while it appends or renames, and looks first whether the path
still names the file that it has open.

A crash between the write and the shipper's cursor makes the shipper send the batch again. Lines that the end
of the file already holds, byte for byte, are not written twice. A line that a crash left torn at the end was
never confirmed: it is finished if it is the next one, and cut off if it is not, as it comes again whole.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from otel_audit.descriptors import open_apart
from otel_audit.errors import ConfigurationError
from otel_audit.record import MAX_LINE

from .base import AnsweredSink, SealedLine, SinkUnavailable
from .rotation import Archive, Compression, sync_directory
from .urls import read_options, split_url

__all__ = ["FileSink"]

_TAIL = 8 * MAX_LINE
"""How far back a re-sent line is looked for: some batches. One further back is written again, identically."""
_MAX_STREAMS = 4096
_BEGINNING = b'{"@timestamp":"'
"""What every record's line begins with."""


class FileSink(AnsweredSink):
    """Appends sealed lines to a file of mode 0600.

    Args:
        path: the file; its directory must exist.
        fsync: `batch` returns from a send when the disk has it, `none` when the kernel has it.
        rotate_bytes: start a new file before this one grows beyond so many bytes; None: never.
        rotate_seconds: start a new file when a period of this length begins, counted from 1970 (86400: at
            midnight UTC); None: never.
        compress: what becomes of full files: `gzip`, `zstd` (Python 3.14, or the zstandard package) or
        `none`. keep: delete all but so many of the full files; None keeps all. name: the sink's name; by
        default made of the path.

    Raises:
        ConfigurationError: an option is out of range, or the compression is not available here.
    """

    max_records = 1000
    max_bytes = MAX_LINE

    def __init__(
        self,
        *,
        path: str,
        fsync: Literal["batch", "none"] = "batch",
        rotate_bytes: int | None = None,
        rotate_seconds: float | None = None,
        compress: Compression = "none",
        keep: int | None = None,
        name: str | None = None,
    ) -> None:
        if not os.path.isabs(path):
            raise ConfigurationError(f"file sink: the path {path!r} is not absolute; write file:///dir/name")
        if rotate_bytes is not None and rotate_bytes < MAX_LINE:
            raise ConfigurationError(f"file sink {path}: rotate_bytes is below {MAX_LINE}, the size of one line")
        if rotate_seconds is not None and rotate_seconds <= 0:
            raise ConfigurationError(f"file sink {path}: rotate_seconds is not positive")
        self.name = name or f"file:{path}"
        self._path = path
        self._sync = fsync == "batch"
        self._rotate_bytes = rotate_bytes
        self._rotate_seconds = rotate_seconds
        self._archive = Archive(path, compress, keep)
        self._file: int | None = None
        self._owner = os.getpid()
        self._caught_up: set[str] = set()
        self._distrusted = False

    @classmethod
    def from_url(cls, url: str) -> FileSink:
        """Build the sink from `file:///path?option=value`.

        Raises:
            ConfigurationError: the URL is not of this form, or an option is wrong.
        """
        parts = split_url(url)
        if parts.authority:
            raise ConfigurationError(
                f"sink {parts}: a file URL has no host; write file:///{parts.authority}{parts.path}"
            )
        return cls(**read_options(parts.options, cls.__init__, parts, given={"path": parts.path}))

    def send(self, batch: Sequence[SealedLine]) -> None:
        """Append a batch; return when it is as safe as `fsync` says.

        Raises:
            SinkUnavailable: the file cannot be opened or written (the disk is full, say).
        """
        try:
            with self._locked() as file:
                if not self._distrusted:
                    batch = self._resume(file, batch)
                data = b"".join([sealed.line for sealed in batch])
                full = self._distrusted or (bool(data) and self._is_full(file, len(data)))
                if full:
                    self._archive.rename(self._path)
                else:
                    self._write(file, data)
            if full:
                with self._locked() as file:
                    self._distrusted = False
                    self._write(file, data)
        except OSError as error:
            self._release()
            raise SinkUnavailable(f"{self._path}: {error.strerror or error}") from error
        self._archive.start()

    def close(self) -> None:
        """Close the file, and stop a compression at work; the next start finishes it."""
        self._release()
        self._archive.close()

    def _release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._caught_up.clear()

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Hold the lock of the file that the path names now."""
        if self._owner != os.getpid():
            self._release()  # the parent's open file has the parent's lock
            self._owner = os.getpid()
        while True:
            file = self._file = self._open() if self._file is None else self._file
            fcntl.flock(file, fcntl.LOCK_EX)
            if self._is_current(file):
                break
            os.close(file)  # renamed by another process; closing gives the lock up
            self._file = None
        try:
            yield file
        finally:
            if self._file is not None:
                fcntl.flock(file, fcntl.LOCK_UN)

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            file = open_apart(self._path, flags, 0o600)
        except FileNotFoundError:
            file = open_apart(self._path, flags | os.O_CREAT, 0o600)
            sync_directory(self._path)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise OSError(None, "is not a regular file")
        return file

    def _is_current(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), os.stat(self._path))
        except FileNotFoundError:
            return False

    def _resume(self, file: int, batch: Sequence[SealedLine]) -> Sequence[SealedLine]:
        """Put right what a crash left at the end; return the lines of the batch that the file does not
        hold."""
        size = os.fstat(file).st_size
        torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
        if not torn and self._caught_up.issuperset({sealed.stream for sealed in batch}):
            return batch
        *held, fragment = _pread(file, _TAIL, max(0, size - _TAIL)).split(b"\n")
        known = set(held)
        batch = [sealed for sealed in batch if sealed.line[:-1] not in known]
        # Once a line of a stream is missing, the lines after it are, too.
        if len(self._caught_up) > _MAX_STREAMS:
            self._caught_up.clear()
        self._caught_up.update(sealed.stream for sealed in batch)
        if torn and batch and batch[0].line.startswith(fragment):
            self._write(file, batch[0].line[len(fragment) :])
            return batch[1:]
        if torn:
            self._remove(file, fragment, size)
        return batch

    def _remove(self, file: int, fragment: bytes, size: int) -> None:
        """Part a torn line from what follows; cut it off if it is a record's, which then comes again whole."""
        if len(fragment) < MAX_LINE and _BEGINNING.startswith(fragment[: len(_BEGINNING)]):
            try:
                os.ftruncate(file, size - len(fragment))
            except PermissionError:  # the file may only be appended to: chattr +a
                self._write(file, b"\n")
        else:
            self._write(file, b"\n")

    def _is_full(self, file: int, more: int) -> bool:
        status = os.fstat(file)
        if status.st_size == 0:
            return False
        if self._rotate_bytes is not None and status.st_size + more > self._rotate_bytes:
            return True
        period = self._rotate_seconds
        return period is not None and time.time() // period != status.st_mtime // period

    def _write(self, file: int, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(file, rest) :]
        if self._sync:
            try:
                _fdatasync(file)
            except OSError:
                # The kernel may have dropped the pages and says so once: this file's end is not to be
                # believed.
                self._distrusted = True
                raise


def _pread(file: int, length: int, offset: int) -> bytes:
    parts = []
    while length and (part := os.pread(file, length, offset)):
        parts.append(part)
        length -= len(part)
        offset += len(part)
    return b"".join(parts)


_fdatasync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync
