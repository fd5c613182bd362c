"""Keyed pseudonyms: the same value gives the same name, and nobody without the key can tell whose it is.

    hmac-sha256:<key id>:<HMAC-SHA-256 of the value's UTF-8 bytes, 64 hex digits>          (RFC 2104, FIPS 198-1)

A key file holds one key a line, 64 hex digits, and whatever follows a `#`; the last one makes new pseudonyms, all of
them answer look-ups. The key id is the beginning of SHA-256("otel-audit pseudonym key 1" || 0x00 || key), so that a
change of keys can be seen in the records. Without a key, guessing the value is no use; with it, a short list of
possible values is tried in no time: whoever keeps the key file can undo pseudonyms.
"""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from hashlib import sha256
from typing import Any, Final, NamedTuple

from otel_audit.canonical import jcs
from otel_audit.errors import ConfigurationError

from .names import MASK

__all__ = ["PSEUDONYM", "PseudonymKey", "Pseudonyms", "add_key", "as_text", "read_keys"]

PSEUDONYM: Final = re.compile(r"hmac-sha256:([0-9a-f]{16}):([0-9a-f]{64})")
_ID_DOMAIN: Final = b"otel-audit pseudonym key 1\0"
_KEY: Final = re.compile(r"[0-9a-f]{64}")


class PseudonymKey(NamedTuple):
    """One key and the id under which its pseudonyms go."""

    id: str
    secret: bytes

    def __repr__(self) -> str:
        return f"<PseudonymKey {self.id}>"

    @classmethod
    def of(cls, secret: bytes) -> PseudonymKey:
        """Return the key with these 32 bytes."""
        return cls(sha256(_ID_DOMAIN + secret).hexdigest()[:16], secret)

    def name(self, value: str) -> str:
        """Return the pseudonym of a value."""
        return (
            f"hmac-sha256:{self.id}:{hmac.digest(self.secret, value.encode('utf-8', 'surrogatepass'), 'sha256').hex()}"
        )


def as_text(value: Any) -> str:
    """Return what a pseudonym is made of: text as it is, another value in RFC 8785 form."""
    return value if isinstance(value, str) else jcs(value).decode()


def read_keys(path: str | os.PathLike[str]) -> tuple[PseudonymKey, ...]:
    """Return the keys of a file, the newest last.

    Raises:
        ConfigurationError: the file is readable by others, or holds no usable key. OSError: it cannot be read.
    """
    from otel_audit.integrity.keys import read_private_file

    place = os.fspath(path)
    keys: list[PseudonymKey] = []
    for number, line in enumerate(read_private_file(place).decode("utf-8", "replace").splitlines(), 1):
        if text := line.partition("#")[0].strip():
            if _KEY.fullmatch(text) is None:
                raise ConfigurationError(f"{place}, line {number}: a pseudonym key is 64 lower-case hex digits")
            keys.append(PseudonymKey.of(bytes.fromhex(text)))
    if not keys:
        raise ConfigurationError(f"{place} holds no pseudonym key; `otel-audit keys pseudonym {place}` makes one")
    return tuple(keys)


def add_key(path: str | os.PathLike[str]) -> PseudonymKey:
    """Make a key and put it behind those of a file, which is made if it is not there; it names values from now on.

    Raises:
        ConfigurationError: there is a file, and it is no file of pseudonym keys. OSError: it cannot be written.
    """
    from otel_audit.integrity.durable import create_file, replace_file
    from otel_audit.integrity.keys import read_private_file

    place = os.fspath(path)
    key = PseudonymKey.of(os.urandom(32))
    line = f"{key.secret.hex()}  # {key.id} {datetime.now(timezone.utc):%Y-%m-%d}\n".encode()
    if os.path.exists(place):
        read_keys(place)
        before = read_private_file(place)
        replace_file(place, before + (b"" if before.endswith(b"\n") else b"\n") + line)
    else:
        create_file(place, line, 0o600)
    return key


class Pseudonyms:
    """The change that puts pseudonyms in the place of values; follows its key file as that changes.

    Raises:
        ConfigurationError, OSError: as `read_keys`.
    """

    whole = False

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._seen = self._look()
        self._keys = read_keys(self._path)
        self._trouble: str | None = None

    def fit(self, value: Any, most: int) -> Any:
        """Return the value: pseudonyms are all of one length."""
        return value

    def __call__(self, value: Any, place: str, record: Mapping[str, Any]) -> tuple[str, str]:
        """Return the value's pseudonym under the newest key."""
        if value in ("", MASK):
            return value, "redacted"
        self._follow()
        return self._keys[-1].name(as_text(value)), "pseudonym"

    def troubles(self) -> Mapping[str, Mapping[str, Any]]:
        """Return what is wrong with the key file, for the trail to record."""
        if self._trouble is None:
            return {}
        return {"pseudonym keys": {"cause": "pseudonym keys unavailable", "reason": self._trouble}}

    def _look(self) -> tuple[int, ...] | None:
        try:
            status = os.stat(self._path)
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size, status.st_mode

    def _follow(self) -> None:
        """Read the file again if it changed; what cannot be read leaves the keys as they are."""
        if (seen := self._look()) == self._seen:
            return
        self._seen = seen
        try:
            self._keys, self._trouble = read_keys(self._path), None
        except OSError as error:
            self._trouble = f"{self._path}: {error.strerror or error}"
        except ConfigurationError as error:
            self._trouble = str(error)
