"""Small files that are either as they were or as they should be, whatever happens in between."""

from __future__ import annotations

import os

__all__ = ["create_file", "replace_file", "sync_directory_of"]


def replace_file(path: str, content: bytes, mode: int = 0o600) -> None:
    """Put `content` at `path` atomically and durably: temporary file, fsync, rename, fsync of the directory.

    Raises:
        OSError: the file is as it was.
    """
    temporary = f"{path}.{os.getpid()}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
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
        with open(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        os.unlink(path)
        raise
    sync_directory_of(path)


def sync_directory_of(path: str) -> None:
    """Make durable which names a file's directory holds."""
    descriptor = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
