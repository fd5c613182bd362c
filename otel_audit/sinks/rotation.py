"""Full files: renamed, then compressed in a thread of their own, then counted.

The directory is the queue: whatever a crash leaves is a full file not yet compressed, a temporary file, or
both forms of one file, and each of them is simply compressed again. The only lock is on the temporary file,
between compressors of several processes; a writer never waits for it.
"""

from __future__ import annotations

import fcntl
import gzip
import os
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import IO, Any, Final, Literal, TypeAlias

from otel_audit.errors import ConfigurationError
from otel_audit.notices import notice

__all__ = ["Archive", "Compression", "sync_directory"]

Compression: TypeAlias = Literal["none", "gzip", "zstd"]

_SUFFIX: Final = {"none": "", "gzip": ".gz", "zstd": ".zst"}
_CHUNK: Final = 1 << 20


class Archive:
    """The full files of one path: `audit.jsonl` becomes `audit-20261121T223000.123456789Z.jsonl`, then `.gz`.

    Raises:
        ConfigurationError: `keep` is below 1, or the compression is not available here.
    """

    def __init__(self, path: str, compression: Compression, keep: int | None) -> None:
        if keep is not None and keep < 1:
            raise ConfigurationError(f"file sink {path}: keep is below 1; leave it out to keep all files")
        if compression == "zstd":
            _open_zstd()
        self._directory = os.path.dirname(path)
        self._stem, self._ending = os.path.splitext(os.path.basename(path))
        self._compression = compression
        self._keep = keep
        self._name = re.compile(
            rf"{re.escape(self._stem)}-\d{{8}}T\d{{6}}\.\d{{9}}Z{re.escape(self._ending)}(\.gz|\.zst)?"
        )
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._looked = False

    def rename(self, path: str) -> None:
        """Give the full file its lasting name. The caller holds the file's lock."""
        seconds, fraction = divmod(time.time_ns(), 1_000_000_000)
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))
        full = os.path.join(self._directory, f"{self._stem}-{stamp}.{fraction:09d}Z{self._ending}")
        if os.path.lexists(full):
            raise FileExistsError(None, "a file with this second's name exists", full)
        os.rename(path, full)
        sync_directory(path)
        self._looked = False

    def start(self) -> None:
        """Have what is full compressed and what is too much deleted; leftovers of a crash too. Returns at
        once."""
        if self._looked or (self._thread is not None and self._thread.is_alive()):
            return
        self._looked = True
        if self._compression == "none" and self._keep is None:
            return
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, args=(self._stop,), name="otel-audit-rotation", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop at the next megabyte. What is unfinished is done again at the next start."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._looked = False

    def _work(self, stop: threading.Event) -> None:
        try:
            for name in self._full():
                if self._compression != "none" and not name.endswith((".gz", ".zst")):
                    self._compress(os.path.join(self._directory, name), stop)
                if stop.is_set():
                    return
            self._prune()
        except OSError as error:
            notice(f"full files of {self._stem}{self._ending} stay as they are: {error}", subject=self._stem)

    def _full(self) -> list[str]:
        return sorted(name for name in os.listdir(self._directory) if self._name.fullmatch(name))

    def _compress(self, full: str, stop: threading.Event) -> None:
        packed = full + _SUFFIX[self._compression]
        temporary = f"{packed}.tmp"
        with open(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600), "r+b") as target:
            try:
                fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # another process is at it
            if not _names(temporary, target):
                return  # another process has just done it
            try:
                with open(full, "rb") as source:
                    target.truncate(0)
                    if not _copy(source, target, self._compression, stop):
                        return
            except FileNotFoundError:  # another process has done it before we looked
                os.unlink(temporary)
                return
            os.fsync(target.fileno())
            os.rename(temporary, packed)
            sync_directory(packed)
        os.unlink(full)

    def _prune(self) -> None:
        if self._keep is None:
            return
        both = {name.removesuffix(".gz").removesuffix(".zst") for name in self._full()}
        for name in sorted(both)[: -self._keep]:
            for suffix in _SUFFIX.values():
                with suppress(FileNotFoundError):
                    os.unlink(os.path.join(self._directory, name + suffix))


def sync_directory(path: str) -> None:
    """Make durable that a name in this file's directory was made, changed or removed."""
    directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _names(path: str, file: IO[bytes]) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _copy(source: IO[bytes], target: IO[bytes], compression: Compression, stop: threading.Event) -> bool:
    """Compress one file into another; return False if told to stop on the way."""
    writer = _open_zstd()(target) if compression == "zstd" else gzip.GzipFile("", "wb", 6, target, mtime=0)
    with writer as packer:
        while chunk := source.read(_CHUNK):
            if stop.is_set():
                return False
            packer.write(chunk)
    target.flush()
    return True


def _open_zstd() -> Callable[[IO[bytes]], Any]:
    """Return what makes a compressing writer of a file: from Python 3.14 on the library's own."""
    for module, make in (
        ("compression.zstd", lambda zstd, file: zstd.ZstdFile(file, "w")),
        ("zstandard", lambda zstd, file: zstd.ZstdCompressor().stream_writer(file, closefd=False)),
    ):
        with suppress(ImportError):
            return partial(make, import_module(module))
    raise ConfigurationError(
        "compress=zstd needs Python 3.14 or the zstandard package; use gzip, or pip install zstandard"
    )
