"""Small files that are either as they were or as they should be, whatever happens in between."""

from __future__ import annotations

import os
from typing import Final

__all__ = ["create_file", "read_file", "replace_file", "sync_directory_of"]

_CHUNK: Final = 4096


def read_file(path: str, most: int) -> bytes:
    """Return what a file holds, and no more than so many bytes of it.

    Raises:
        OSError: it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = b""
        while len(content) < most and (more := os.read(descriptor, min(most - len(content), _CHUNK))):
            content += more
        return content
    finally:
        os.close(descriptor)


def replace_file(path: str, content: bytes, mode: int = 0o600) -> None:
    """Put `content` at `path` atomically and durably: temporary file, fsync, rename, fsync of the directory.

    Raises:
        OSError: the file is as it was.
    """
    temporary = f"{path}.{os.getpid()}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        _write(descriptor, content)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    sync_directory_of(path)


def create_file(path: str, content: bytes, mode: int) -> None:
    """Write a new file durably. An existing one is never touched.

    Raises:
        FileExistsError: there is one already.
        OSError: it could not be written; nothing is left.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        _write(descriptor, content, mode)
    except BaseException:
        os.unlink(path)
        raise
    sync_directory_of(path)


def _write(descriptor: int, content: bytes, mode: int | None = None) -> None:
    """Write durably, and close. With no more system calls than that takes: at each, other threads may go first."""
    try:
        if mode is not None:
            os.fchmod(descriptor, mode)
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory_of(path: str) -> None:
    """Make durable which names a file's directory holds."""
    descriptor = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
