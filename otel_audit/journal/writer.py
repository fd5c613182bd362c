"""Appending to a stream's files: whole lines or nothing, durable when said so, never trusting a file that failed.

The writer is told what to append and when to sync; who may append when is the business of `stream`. `sync` may run
in another thread than `append`: a segment is closed, and the list of what is not yet durable is cut, only under
`_syncing`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from otel_audit.descriptors import open_apart

from .files import list_segments, lock, make_durable, segment_name, sync_directory
from .recovery import Ending, find_endings, mark_declared

__all__ = ["JournalWriter"]

DEFAULT_SEGMENT_BYTES: Final = 64 * 1024 * 1024
_MOST_NOT_DURABLE: Final = 32 * 1024 * 1024
_COPY_CHUNK: Final = 1 << 20
_MEASURE_INTERVAL: Final = 1.0
_LONGEST_PAUSE: Final = 60.0


class JournalWriter:
    """Writes one stream at a time into a journal directory. Implements `store.Store`.

    Args:
        directory: made with mode 0700 if it is not there.
        segment_bytes: a segment that would grow beyond this is followed by a new one.
        quota: most bytes of segments in the directory that `append` adds to; None for no limit.
    """

    def __init__(
        self, directory: Path, *, segment_bytes: int = DEFAULT_SEGMENT_BYTES, quota: int | None = None
    ) -> None:
        self.directory = directory
        self.written = 0
        self.durable = 0
        self.reserve = 0
        """Bytes beyond the quota that may be appended while this is set: for the records that make room."""
        self._segment_bytes = segment_bytes
        self._quota = quota
        self._used = 0
        self._measured_at = 0.0
        self._stream = ""
        self._number = 0
        self._size = 0
        self._limit = 0
        self._descriptor = -1
        self._torn = False
        self._failure: OSError | None = None
        self._pause = self._retry_at = 0.0
        self._not_durable: list[bytes] = []
        self._displaced = False
        self._moves: list[tuple[str, int]] = []
        self._syncing = threading.RLock()

    def begin(self, stream: str) -> list[Ending]:
        """Start a stream; return how the streams before it ended, for its first record to declare."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        endings = find_endings(self.directory, stream)
        if stream == self._stream and self._descriptor >= 0:
            return endings  # its first record could not be written before; its file is still empty
        self._close()
        self._stream, self._number = stream, 0
        self._torn, self._failure, self._displaced = False, None, False
        self._size = self._limit = 0
        self._not_durable.clear()
        self._used = self._measure() if self._quota is not None else 0
        return endings

    def declared(self, endings: list[Ending]) -> None:
        """Note that the endings which `begin` returned now stand in the stream."""
        mark_declared(self.directory, endings)

    def append(self, lines: bytes) -> None:
        """Append whole lines, all of them or none.

        Raises:
            OSError: nothing was kept.
        """
        length = len(lines)
        if self._size + length > self._limit:
            self._make_room(length)
        if (done := os.write(self._descriptor, lines)) != length:  # a full disk, or a signal
            self._write_rest(lines, done)
        self._size += length
        self.written += length
        self._not_durable.append(lines)

    def _make_room(self, length: int) -> None:
        """See to it that `length` bytes may be appended to the open segment: the next one, if need be."""
        if self._displaced:
            self.relocate()
        if self._quota is not None and self._is_used_up(self._quota + self.reserve, length):
            raise OSError(errno.EDQUOT, f"the journal's quota of {self._quota} bytes is used up")
        full = self._size and self._size + length > self._segment_bytes
        if full or self.written - self.durable > _MOST_NOT_DURABLE:
            self._try_sync()
        if self._failure is not None:
            # The segment grows on, for `repair` to write again elsewhere; but memory is not without end.
            if self.written - self.durable > _MOST_NOT_DURABLE:
                raise OSError(self._failure.errno, f"not durable: {self._failure.strerror}")
        elif full and not self._torn:
            self._open_next()
        if self._torn:
            self._start_over()
        if self._descriptor < 0:
            self._open_next()
        self._limit = self._size + length
        if self._failure is None:
            self._limit = max(self._limit, self._next_stop())

    def _is_used_up(self, quota: int, length: int) -> bool:
        """Tell whether the quota has no room for this much. What others removed is looked for once a second."""
        if self._used + self._size + length <= quota:
            return False
        now = time.monotonic()
        if now - self._measured_at >= _MEASURE_INTERVAL:
            self._measured_at = now
            self._used = self._measure() - self._size
        return self._used + self._size + length > quota

    def _next_stop(self) -> int:
        """Return the size of the segment at which `append` has to look again."""
        stop = min(self._segment_bytes, self._size + _MOST_NOT_DURABLE // 2)
        return stop if self._quota is None else min(stop, self._quota - self._used)

    def sync(self, upto: int | None = None) -> None:
        """Return once what was written before the call (or up to the byte `upto`) survives a power cut.

        Callers that wait for each other share one fdatasync.

        Raises:
            OSError: it cannot be made durable in this file, which is never trusted again; `append` writes what is
                not durable once more, into a new segment.
        """
        with self._syncing:
            if self._descriptor < 0 or self.durable >= (self.written if upto is None else upto):
                return
            if self._failure is not None:
                raise OSError(self._failure.errno, self._failure.strerror)
            written, count = self.written, len(self._not_durable)
            try:
                make_durable(self._descriptor)
            except OSError as error:
                self._failure, self._limit = error, 0
                self._put_off()
                raise
            self._pause = 0.0
            self._settle(written, count)

    def repair(self) -> None:
        """After a failed `sync`: write what is not durable into a new segment, and make it durable there.

        Where this fails as well, the next attempt waits a second, then two, up to a minute: each writes all of it.

        Raises:
            OSError: it is not durable yet; what is not stays in memory.
        """
        if (failure := self._failure) is not None:
            if time.monotonic() < self._retry_at:
                raise OSError(failure.errno, failure.strerror)
            try:
                self._start_over()
            except OSError:
                self._put_off()
                raise
            self.sync()

    def _put_off(self) -> None:
        self._retry_at = time.monotonic() + self._pause
        self._pause = min(max(1.0, 2 * self._pause), _LONGEST_PAUSE)

    def inspect(self) -> str | None:
        """Say what somebody did to the open segment behind the writer's back: None, or a cause."""
        if self._descriptor < 0:
            return None
        mine = os.fstat(self._descriptor)
        try:
            named = os.stat(self._path())
        except (FileNotFoundError, NotADirectoryError):
            return "segment removed"
        if (named.st_dev, named.st_ino) != (mine.st_dev, mine.st_ino):
            return "segment replaced"
        return "segment truncated" if mine.st_size < self._size else None

    def relocate(self) -> None:
        """Leave a segment that `inspect` complains of. Until that has succeeded, nothing more can be appended.

        The open descriptor still reaches a removed or renamed file: its lines go into the next segment, so that
        nothing is lost with the name. Of a truncated file, what was not durable yet is still in memory.

        Raises:
            OSError: there is no place for the next segment.
        """
        with self._syncing:
            if (cause := self.inspect()) is None:
                self._displaced = False
                return
            self._displaced, self._limit = True, 0
            size = min(self._size, os.fstat(self._descriptor).st_size)
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._moving_on() as lost:
                if cause == "segment truncated":
                    self._copy(b"".join(self._not_durable))
                else:
                    for offset in range(0, size, _COPY_CHUNK):
                        self._copy(os.pread(lost, min(_COPY_CHUNK, size - offset), offset))
                make_durable(self._descriptor)
            self._settle(self.written, len(self._not_durable))
            self._displaced = False
            self._moves.append((cause, self._size))

    def take_moves(self) -> list[tuple[str, int]]:
        """Return, once, why segments were left since this was last asked, and how many bytes were written again."""
        moves, self._moves = self._moves, []
        return moves

    def end(self) -> None:
        """Make the stream durable and let its file go."""
        try:
            self.sync()
        except OSError:
            self._retry_at = 0.0  # the last chance
            self.repair()
        finally:
            self._close()

    def forget(self) -> None:
        """In a forked child: leave the parent's file alone. The parent's lock on it is not released by this."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor, self._limit = -1, 0
        self._torn, self._failure, self._displaced = False, None, False
        self._syncing = threading.RLock()
        self._not_durable.clear()
        self.written = self.durable = 0

    @property
    def lock(self) -> threading.RLock:
        """Held while a sync is under way; a fork takes it first. Reentrant: a signal handler may log inside a sync."""
        return self._syncing

    def _path(self) -> Path:
        return self.directory / segment_name(self._stream, self._number)

    def _write_rest(self, data: bytes, done: int) -> None:
        try:
            while done < len(data):
                done += os.write(self._descriptor, data[done:])
        except OSError:
            self._cut_back()
            raise

    def _copy(self, data: bytes) -> None:
        self._write_rest(data, 0)
        self._size += len(data)

    def _cut_back(self) -> None:
        """Take back a part of a line that was just written.

        Where that is refused (an append-only file), the half line stays as a torn tail, and the next segment
        repeats what is not known to be durable.
        """
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError:
            self._torn, self._limit = True, 0

    def _try_sync(self) -> None:
        with contextlib.suppress(OSError):  # `_failure` says so, and the next `sync` raises it
            self.sync()

    def _open_next(self) -> None:
        with self._syncing, self._moving_on():
            pass

    def _start_over(self) -> None:
        """Write what is not durable into a new segment: the old file may have lost it without a word."""
        with self._syncing:
            with self._moving_on():
                self._copy(b"".join(self._not_durable))
            self._torn, self._failure = False, None

    @contextlib.contextmanager
    def _moving_on(self) -> Iterator[int]:
        """Move to the next segment; back to the one before if what happens inside fails. Yields the old descriptor."""
        old, number, size, used = self._descriptor, self._number, self._size, self._used
        self._create_next()
        try:
            yield old
        except BaseException:
            os.close(self._descriptor)
            with contextlib.suppress(OSError):  # the directory may be gone
                os.unlink(self._path())
            self._descriptor, self._number, self._size, self._used = old, number, size, used
            raise
        if old >= 0:
            os.close(old)

    def _create_next(self) -> None:
        number = self._number + 1
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        while True:
            path = self.directory / segment_name(self._stream, number)
            try:
                descriptor = open_apart(path, flags, 0o600)
            except FileExistsError:  # not ours: leave it alone
                number += 1
            else:
                break
        try:
            if not lock(descriptor):
                raise OSError(errno.EBUSY, f"another process has locked {path.name}")
            sync_directory(self.directory)
        except OSError:
            os.close(descriptor)
            os.unlink(path)
            raise
        self._used += self._size
        self._descriptor, self._number, self._size, self._limit = descriptor, number, 0, 0

    def _settle(self, written: int, count: int) -> None:
        if written > self.durable:  # else a sync inside this one, in a signal handler, was here first
            del self._not_durable[:count]
            self.durable = written

    def _close(self) -> None:
        with self._syncing:
            descriptor, self._descriptor, self._limit = self._descriptor, -1, 0
            if descriptor >= 0:
                os.close(descriptor)

    def _measure(self) -> int:
        total = 0
        for segment in list_segments(self.directory):
            with contextlib.suppress(FileNotFoundError):  # removed while we look
                total += os.stat(segment.path).st_size
        return total
