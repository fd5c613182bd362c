"""What there is to check: files, directories, globs, standard input and archives in buckets.

Each is opened without trusting what it is. Nothing but a path that begins with `s3://` leads to a network.
"""

from __future__ import annotations

import contextlib
import glob
import gzip
import io
import os
import re
import stat
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, Final, NamedTuple, cast

from .places import ENDINGS, Elsewhere, Missing, Reader, Unreadable

__all__ = [
    "STDIN",
    "Source",
    "find_sources",
    "find_unread",
    "is_archive",
    "is_part",
    "open_source",
    "segments_beside",
]

STDIN: Final = "-"
_SEGMENT: Final = re.compile(r"([0-9a-f]{32})\.(0[0-9]{5}|[1-9][0-9]{5,8})\.jsonl(?:\.gz|\.zst)?")
_PART: Final = re.compile(r"[0-9]{16}-[0-9]{16}-[0-9a-f]{32}\.jsonl(?:\.gz|\.zst)?")
"""As the S3 sink names the objects of an archive."""
_LIKE_SEGMENT: Final = re.compile(r"[0-9a-f]{32}\.[0-9]+\.jsonl(?:\.gz|\.zst)?", re.IGNORECASE)
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_MAX_EXPANSION: Final = 200
_FREE_EXPANSION: Final = 256 * 1024 * 1024


class Source(NamedTuple):
    """One file, or standard input. `stream` and `number` are set if its name is that of a journal segment."""

    path: str
    stream: str | None = None
    number: int | None = None

    @property
    def name(self) -> str:
        """Its last path component; what a stream's declarations call a segment."""
        return re.sub(r"\.(gz|zst)$", "", os.path.basename(self.path))

    @property
    def is_misnamed(self) -> bool:
        """Whether its name is nearly that of a segment: another number of digits, a number 0, capitals."""
        return self.stream is None and _LIKE_SEGMENT.fullmatch(os.path.basename(self.path)) is not None

    @property
    def may_be_anything(self) -> bool:
        """Whether its name is one that exports have, and settings, and whatever else lies in directories."""
        return self.name.endswith(".json")


def find_sources(paths: Sequence[str | os.PathLike[str]]) -> Iterator[Source | Missing]:
    """Yield what the given paths hold: a directory's `*.jsonl` and `*.json` (gz, zst), segments in order.

    A directory is read at any depth, but not below one that holds segments: subdirectories are no part of a journal.
    A path with no file under it is tried as a glob pattern. A file that is named twice is checked once. The URL of an
    S3 sink, `s3://...`, is all that it stored.

    Raises:
        ConfigurationError: such a URL cannot be used.
    """
    seen: set[str] = set()
    for path in [os.fspath(each) for each in paths]:
        found = False
        for file in _expand(path):
            found = True
            if isinstance(file, Missing):
                yield file
            elif (key := _key(file)) not in seen:
                seen.add(key)
                yield _describe(file)
        if not found:
            yield Missing(path)


def is_archive(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path is the URL of a bucket."""
    return not isinstance(path, Elsewhere) and os.fspath(path)[:5].lower() == "s3://"


def _key(path: str) -> str:
    return path if path == STDIN or isinstance(path, Elsewhere) else os.path.realpath(path)


def _expand(path: str) -> Iterator[str | Missing]:
    if path == STDIN or isinstance(path, Elsewhere):
        yield path
    elif is_archive(path):
        from .archive import Archive

        yield from Archive(path).parts()
    elif os.path.isdir(path):
        for directory, subdirectories, names in os.walk(path):
            subdirectories.sort()
            if _is_journal(names):
                subdirectories.clear()
            for name in sorted(names):
                if name.endswith(ENDINGS):
                    yield os.path.join(directory, name)
    elif os.path.lexists(path):
        yield path
    elif glob.has_magic(path):
        for match in sorted(glob.iglob(path, recursive=True)):
            yield from _expand(match)


def _is_journal(names: Sequence[str]) -> bool:
    return any(map(_SEGMENT.fullmatch, names))


def find_unread(paths: Sequence[str | os.PathLike[str]], sources: Sequence[Source]) -> Iterator[str]:
    """Yield the directories below journals of the given directories that hold files like theirs which were not read."""
    read = {os.path.realpath(source.path) for source in sources}
    journals = {os.path.dirname(source.path) for source in sources if source.stream is not None}
    given = [os.path.join(each, "") for path in paths for each in _directories(os.fspath(path))]
    for journal in sorted(journals):
        if not os.path.join(journal, "").startswith(tuple(given)):
            continue  # only some of its files are asked about
        for directory, subdirectories, names in os.walk(journal):
            subdirectories.sort()
            like = [os.path.join(directory, name) for name in names if name.endswith(ENDINGS)]
            if directory != journal and not read.issuperset(map(os.path.realpath, like)):
                yield directory


def _directories(path: str) -> list[str]:
    matches = [path] if os.path.lexists(path) or not glob.has_magic(path) else glob.glob(path, recursive=True)
    return list(filter(os.path.isdir, matches))


def _describe(path: str) -> Source:
    if (named := _SEGMENT.fullmatch(os.path.basename(path))) and int(named[2]):
        return Source(path, named[1], int(named[2]))
    return Source(path)


def is_part(path: str) -> bool:
    """Tell whether a file's name is that of an archive's object, which is written at least once, in parts."""
    return _PART.fullmatch(os.path.basename(path)) is not None


def segments_beside(path: str, stream: str) -> Iterator[Source]:
    """Yield the segments of a stream that lie in a file's directory. Only regular files are."""
    directory = os.path.dirname(path)
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(directory or os.curdir)):
            source = _describe(os.path.join(directory, name))
            if source.stream == stream and os.path.isfile(source.path):
                yield source


@contextlib.contextmanager
def open_source(source: Source, watch: Callable[[bytes], object] | None = None) -> Iterator[Reader]:
    """Open a source for reading, decompressed if it is gzip or zstd, up to the size it has now.

    `watch` is shown the bytes as they lie in the source, each once and in order.

    Raises:
        Unreadable: it is not a regular file, or the system refuses.
    """
    try:
        with contextlib.ExitStack() as stack:
            raw = _open_raw(source.path, stack)
            raw.watch = watch
            yield _decompress(raw, stack)
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise Unreadable(reason or str(error)) from error


def _open_raw(path: str, stack: contextlib.ExitStack) -> _Bounded:
    if isinstance(path, Elsewhere):
        return _Bounded(*path.open_bytes())
    return _Bounded(sys.stdin.buffer, None) if path == STDIN else _open_file(path, stack)


def _open_file(path: str, stack: contextlib.ExitStack) -> _Bounded:
    # O_NONBLOCK: opening a FIFO that nobody writes to must not hang.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    file = stack.enter_context(io.FileIO(descriptor))
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise Unreadable("not a regular file; pipe it in and name it `-`")
    return _Bounded(file, status.st_size)


class _Bounded:
    """A file up to the size it had when it was opened: one that grows while it is read would else never end."""

    def __init__(self, file: IO[bytes], size: int | None) -> None:
        self._file = file
        self._left = size
        self._start = b""
        self.taken = 0
        self.watch: Callable[[bytes], object] | None = None

    def peek(self, size: int) -> bytes:
        """Return the first bytes without taking them."""
        while len(self._start) < size and (more := self._read(size - len(self._start))):
            self._start += more
        return self._start

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes, none at the end."""
        chunk, self._start = self._start[:size], self._start[size:]
        if not chunk:
            chunk = self._read(size)
        self.taken += len(chunk)
        return chunk

    def _read(self, size: int) -> bytes:
        chunk = self._file.read(size if self._left is None else min(size, self._left))
        if self._left is not None:
            self._left -= len(chunk)
        if self.watch is not None:
            self.watch(chunk)
        return chunk


def _decompress(raw: _Bounded, stack: contextlib.ExitStack) -> Reader:
    start = raw.peek(4)
    if start.startswith(_GZIP):
        plain = gzip.GzipFile(mode="rb", fileobj=cast("IO[bytes]", raw))
        return _Expanding(stack.enter_context(contextlib.closing(plain)), raw)
    if start.startswith(_ZSTD):
        return _Expanding(stack.enter_context(_open_zstd(raw)), raw)
    return raw


def _open_zstd(raw: _Bounded) -> Any:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        try:
            from backports import zstd  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            raise Unreadable("zstd: install `backports.zstd`, or pipe `zstd -dc` into `-`") from None
    return zstd.ZstdFile(raw)


class _Expanding:
    """What a decompressor gives, refused once it grows out of all proportion to what went in."""

    def __init__(self, file: Reader, raw: _Bounded) -> None:
        self._file = file
        self._raw = raw
        self._given = 0

    def read(self, size: int, /) -> bytes:
        chunk = self._file.read(size)
        self._given += len(chunk)
        if self._given > _FREE_EXPANSION and self._given > _MAX_EXPANSION * self._raw.taken:
            raise Unreadable(f"it expands to more than {_MAX_EXPANSION} times its size; decompress it yourself")
        return chunk
