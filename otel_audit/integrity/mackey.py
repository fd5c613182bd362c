"""The key file of evolving MACs: one seed, for the stream that begins next, and no way back.

    seed[n+1] = SHA-256("otel-audit mac next" || seed[n])
    a stream's first key (`mac`) = HMAC-SHA256(seed[n], "otel-audit mac stream" || stream id)

Streams are numbered in the order in which they took their seed; whoever breaks in later finds the seed of a stream
that has not begun. The file is laid out as that of epoch keys (`seedfile`), without public keys. A copy made before
the first stream is the verification key: it gives every later seed, so that its holder can check, and could forge.
"""

from __future__ import annotations

import hmac
import os
from functools import lru_cache
from hashlib import sha256
from typing import Final, NamedTuple

from otel_audit.errors import ConfigurationError
from otel_audit.integrity.durable import create_file
from otel_audit.integrity.keys import read_private_file
from otel_audit.integrity.seedfile import SeedFile, lay_out

__all__ = ["MOST_STREAMS", "MacKey", "load_mac_key", "provision_mac_key", "take_seed"]

MOST_STREAMS: Final = 10_000_000
"""Numbers beyond which no stream's seed is looked for: that many steps take some seconds."""

_MARK: Final = b"otel-audit mac 1\n"
_NEXT: Final = b"otel-audit mac next"
_STREAM: Final = b"otel-audit mac stream"


_LEAP: Final = 8192


def _advance(seed: bytes, steps: int) -> bytes:
    for _ in range(steps):
        seed = sha256(_NEXT + seed).digest()
    return seed


@lru_cache(maxsize=2 * MOST_STREAMS // _LEAP)
def _leap(seed: bytes) -> bytes:
    """Return the seed that follows many steps later. Kept: a log of many streams that all claim a late number must not
    take some seconds for each.
    """
    return _advance(seed, _LEAP)


class MacKey(NamedTuple):
    """The seed of the stream with this number, from which those of all later ones follow."""

    number: int
    seed: bytes

    def of(self, number: int) -> MacKey:
        """Return the seed of a later stream.

        Raises:
            ValueError: it is an earlier one, or too many steps away.
        """
        if not self.number <= number <= self.number + MOST_STREAMS:
            raise ValueError(f"no seed of stream {number} follows from that of stream {self.number}")
        leaps, steps = divmod(number - self.number, _LEAP)
        seed = self.seed
        for _ in range(leaps):
            seed = _leap(seed)
        return MacKey(number, _advance(seed, steps))

    def first_key(self, stream: str) -> bytes:
        """Return the first key of the MAC over the stream that has this number."""
        return hmac.digest(self.seed, _STREAM + stream.encode(), "sha256")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.number}>"


def provision_mac_key(path: str | os.PathLike[str], copy: str | os.PathLike[str]) -> None:
    """Make a key; write it to `path` and to `copy`, both new and of mode 0600. The copy is the verification key.

    Raises:
        FileExistsError: one of them is there already; the other one may then have been written.
    """
    content = lay_out(_MARK, 0, os.urandom(32))
    create_file(os.fspath(copy), content, 0o600)
    create_file(os.fspath(path), content, 0o600)


def load_mac_key(path: str | os.PathLike[str]) -> MacKey:
    """Read a key file, or a copy of one, and leave it as it is.

    Raises:
        ConfigurationError: others can read it, or it is no such file.
        OSError: it cannot be read.
    """
    place = os.fspath(path)
    if not read_private_file(place).startswith(_MARK):
        raise ConfigurationError(f"{place} holds no MAC key; `otel-audit keys mac` makes one")
    number, seed = SeedFile(place).read()
    return MacKey(number, bytes(seed))


def take_seed(path: str | os.PathLike[str]) -> MacKey:
    """Take the seed of the next stream out of a key file, which then holds only the one after it.

    Raises:
        ConfigurationError, OSError: as `load_mac_key`; or the file cannot be written.
    """
    place = os.fspath(path)
    read_private_file(place)
    number, seed = SeedFile(place).take(lambda each: sha256(_NEXT + each).digest())
    return MacKey(number, bytes(seed))
