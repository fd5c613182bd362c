"""The keys of persons: a directory with one file for each, made when first needed and destroyed to erase.

    <directory>                           mode 0700
    <directory>/names                     32 bytes, mode 0600: what file names are made with
    <directory>/<name>.key                a person's key, 32 bytes, mode 0600
    <directory>/<name>.erasing.<key id>   the same, taken out of use, on its way to be destroyed

    <name>   HMAC-SHA-256(names, subject's UTF-8 bytes), the first 32 hex digits: no file says whose key it holds
    key id   SHA-256("otel-audit subject key 1" || 0x00 || key), the first 40 hex digits. AES-GCM does not commit to its
             key; the id does: nobody can later present another key under which a field says something else.

Files appear whole or not at all, and each is there for all processes as soon as one has made it. A process asks for a
key's file each time it uses the key, so that it uses none that another process has taken away.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import stat
import threading
from collections.abc import Iterator
from hashlib import sha256
from typing import Final, NamedTuple

from otel_audit.errors import ConfigurationError
from otel_audit.integrity.durable import sync_directory_of
from otel_audit.integrity.keys import read_private_file

__all__ = ["SubjectKey", "SubjectKeys"]

_NAMES: Final = "names"
_LENGTH: Final = 32
_ID_DOMAIN: Final = b"otel-audit subject key 1\0"
_MOST_CACHED: Final = 1024


class SubjectKey(NamedTuple):
    """A person's key and its id."""

    id: str
    secret: bytes

    def __repr__(self) -> str:
        return f"<SubjectKey {self.id}>"

    @classmethod
    def of(cls, secret: bytes) -> SubjectKey:
        """Return the key with these 32 bytes."""
        return cls(sha256(_ID_DOMAIN + secret).hexdigest()[:40], secret)


class SubjectKeys:
    """The keys in one directory. Safe for several threads and processes."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = os.fspath(directory)
        self._naming: bytes | None = None
        self._cached: dict[str, tuple[tuple[int, int], SubjectKey]] = {}

    def __repr__(self) -> str:
        return f"<SubjectKeys {self.directory}>"

    def check(self) -> None:
        """See whether the directory, if it is there, is closed to others.

        Raises:
            ConfigurationError: it is not. OSError: it cannot be looked at.
        """
        with contextlib.suppress(FileNotFoundError):
            _check_directory(self.directory)

    def get(self, subject: str) -> SubjectKey:
        """Return a person's key; make it if there is none.

        Raises:
            ConfigurationError: directory or file are open to others, or the file holds no key.
            OSError: it cannot be read or made.
        """
        path = self._path(subject, make=True)
        assert path is not None
        key = self._read(path)
        if key is None:
            _publish(path, os.urandom(_LENGTH))
            key = self._read(path)
        if key is None:
            raise ConfigurationError(f"{path} was removed while it was made")
        return key

    def find(self, subject: str) -> SubjectKey | None:
        """Return a person's key if there is one.

        Raises:
            ConfigurationError, OSError: as `get`.
        """
        path = self._path(subject, make=False)
        return None if path is None else self._read(path)

    def is_erasing(self, subject: str) -> bool:
        """Tell whether an erasure of this person was begun and not ended.

        Raises:
            ConfigurationError, OSError: as `get`.
        """
        path = self._path(subject, make=False)
        return path is not None and bool(self._leaving(path))

    @contextlib.contextmanager
    def erasing(self, subject: str) -> Iterator[list[str]]:
        """Take a person's keys out of use, give their ids, and destroy them at the end unless something is raised.

        What an erasure that was interrupted left comes along. A key taken out of use stays so.

        Raises:
            ConfigurationError, OSError: as `get`.
        """
        path = self._path(subject, make=False)
        if path is None:
            yield []
            return
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, f"{_leaving_name(path)}{SubjectKey.of(_read_key(path)).id}")
        sync_directory_of(path)
        places = self._leaving(path)
        self._cached.pop(path, None)
        yield [place.rpartition(".")[2] for place in places]
        for place in places:
            _destroy(place)
        sync_directory_of(path)

    def _leaving(self, path: str) -> list[str]:
        """Return the files of a person's keys that were taken out of use."""
        return sorted(each.path for each in os.scandir(self.directory) if each.path.startswith(_leaving_name(path)))

    def _path(self, subject: str, *, make: bool) -> str | None:
        if self._naming is None:
            place = os.path.join(self.directory, _NAMES)
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(self.directory, 0o700)
            elif not os.path.exists(place):
                return None
            _check_directory(self.directory)
            if make and not os.path.exists(place):
                _publish(place, os.urandom(_LENGTH))
            self._naming = _read_key(place)
        digest = hmac.digest(self._naming, subject.encode("utf-8", "surrogatepass"), "sha256").hex()
        return os.path.join(self.directory, f"{digest[:32]}.key")

    def _read(self, path: str) -> SubjectKey | None:
        """Return the key of a file; None if it is not there. One that was read before is only looked at."""
        try:
            status = os.stat(path)
        except FileNotFoundError:
            self._cached.pop(path, None)
            return None
        mark = status.st_ino, status.st_mtime_ns
        cached = self._cached.get(path)
        if cached is not None and cached[0] == mark:
            return cached[1]
        try:
            key = SubjectKey.of(_read_key(path))
        except FileNotFoundError:
            return None
        if len(self._cached) >= _MOST_CACHED:
            self._cached.clear()
        self._cached[path] = mark, key
        return key


def _leaving_name(path: str) -> str:
    return f"{path.removesuffix('.key')}.erasing."


def _check_directory(path: str) -> None:
    status = os.stat(path)
    if not stat.S_ISDIR(status.st_mode):
        raise ConfigurationError(f"{path} is not a directory; subject_keys must be one")
    if status.st_mode & 0o077:
        raise ConfigurationError(
            f"{path} has mode {stat.S_IMODE(status.st_mode):04o}: others may see or change its keys; "
            "run `chmod 700` on it"
        )
    if status.st_uid not in {0, os.geteuid()}:
        raise ConfigurationError(f"{path} belongs to user {status.st_uid}, not to this process's user")


def _read_key(path: str) -> bytes:
    raw = read_private_file(path)
    if len(raw) != _LENGTH or not any(raw):
        raise ConfigurationError(f"{path} holds no key: {_LENGTH} bytes are expected")
    return raw


def _publish(path: str, content: bytes) -> None:
    """Put a file in its place, whole, unless another process was first: temporary file, fsync, link, fsync."""
    temporary = f"{path}.{os.getpid()}.{threading.get_ident()}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        os.unlink(temporary)
    sync_directory_of(path)


def _destroy(path: str) -> None:
    """Overwrite a file and remove it. Where the medium keeps old blocks, the overwriting reaches only the new ones."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(descriptor, bytes(_LENGTH), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.unlink(path)
