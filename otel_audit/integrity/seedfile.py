"""The file that holds an epoch signer's secret: one seed, the present epoch's, and no way back.

    offset 0      the verifier key, one line, padded with NUL to 1024 bytes
    offset 1024   slot A     epoch (u64) || seed (32 bytes) || SHA-256 of both       padded to 512 bytes
    offset 1536   slot B     the same
    offset 2048   all epochs' public keys, 32 bytes each

To move on, the new seed goes into the free slot and is synced; then the old slot is overwritten with zeros
and synced. A crash in between leaves two seeds, of which the next opening erases the older. Overwriting in
place reaches the medium only where the filesystem writes in place: copy-on-write filesystems, snapshots and
SSDs keep copies.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Final

from otel_audit.errors import ConfigurationError
from otel_audit.integrity.durable import create_file
from otel_audit.integrity.epochs import EpochKey, EpochSigner, Schedule, certify
from otel_audit.integrity.keys import read_private_file
from otel_audit.integrity.note import split_vkey

__all__ = ["SeedFile", "is_seed_file", "lay_out", "open_epochs", "provision"]

_HEAD: Final = 1024
_SLOT: Final = 512
_SLOTS: Final = (_HEAD, _HEAD + _SLOT)
_PUBLICS: Final = _HEAD + 2 * _SLOT
_SEED: Final = struct.Struct(">Q32s32s")
_MARK: Final = b"otel-audit epochs 1\n"


def provision(path: str | os.PathLike[str], name: str, schedule: Schedule) -> str:
    """Make the epoch keys of a schedule, write them to `path` (new, mode 0600) and the verifier key to
    `<path>.vkey`; return the latter.

    Raises:
        FileExistsError: there is a file already.
    """
    seed = bytearray(os.urandom(32))
    key, publics = certify(name, schedule, bytes(seed))
    head = _MARK + key.vkey.encode() + b"\n"
    if len(head) > _HEAD:
        raise ConfigurationError(f"the key name is too long: {len(name)} characters")
    content = lay_out(head, 0, seed) + publics
    create_file(os.fspath(path), content, 0o600)
    create_file(f"{os.fspath(path)}.vkey", f"{key.vkey}\n".encode(), 0o644)
    seed[:] = bytes(32)
    return key.vkey


def lay_out(head: bytes, number: int, seed: bytes | bytearray) -> bytes:
    """Return the beginning of a seed file: its head, and one slot filled."""
    return head.ljust(_HEAD, b"\0") + _slot(number, seed).ljust(2 * _SLOT, b"\0")


def is_seed_file(path: str | os.PathLike[str]) -> bool:
    """Tell an epoch signer's file from a PKCS#8 one."""
    with open(path, "rb") as file:
        return file.read(len(_MARK)) == _MARK


def open_epochs(path: str | os.PathLike[str], *, now: float | None = None) -> EpochSigner:
    """Return the signer of a seed file, at the epoch of `now` (POSIX seconds; the present) or later.

    Raises:
        ConfigurationError: the file is readable by others or is not a whole seed file.
        EpochsExhaustedError: the schedule is over.
    """
    place = os.fspath(path)
    raw = read_private_file(place)
    if not raw.startswith(_MARK):
        raise ConfigurationError(f"{place} holds no epoch keys; `otel-audit keys epochs` makes them")
    name, material = split_vkey(raw[len(_MARK) : _HEAD].split(b"\n", 1)[0].decode())
    key = EpochKey(name, material[1:])
    store = SeedFile(place)
    epoch, seed = store.read()
    with open(place, "rb") as file:
        file.seek(_PUBLICS)
        publics = file.read(32 * key.schedule.count)
    signer = EpochSigner(key, publics, epoch, seed, store)
    signer.advance(max(epoch, key.schedule.epoch_at(time.time() if now is None else now)))
    return signer


class SeedFile:
    """Keeps the seed of the latest epoch that any process on this file has reached."""

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self) -> tuple[int, bytearray]:
        """Return the epoch and its seed; erase an older seed that a crash left.

        Raises:
            ConfigurationError: no slot is whole.
        """
        with _Locked(self.path) as descriptor:
            return self._read(descriptor)

    def advance(self, epoch: int, seed: bytearray) -> None:
        """Keep this seed and erase the one before, unless another process is as far already."""
        with _Locked(self.path) as descriptor:
            kept, _ = self._read(descriptor)
            if kept < epoch:
                _replace(descriptor, epoch, seed)

    def take(self, ratchet: Callable[[bytes], bytes]) -> tuple[int, bytearray]:
        """Return the number and its seed, and keep only the next one, which `ratchet` makes of it.

        Raises:
            ConfigurationError: no slot is whole. OSError: the file could not be written; the seed is not taken.
        """
        with _Locked(self.path) as descriptor:
            number, seed = self._read(descriptor)
            _replace(descriptor, number + 1, ratchet(bytes(seed)))
            return number, seed

    def _read(self, descriptor: int) -> tuple[int, bytearray]:
        found = [(slot, place) for place in _SLOTS if (slot := _read_slot(descriptor, place)) is not None]
        if not found:
            raise ConfigurationError(f"{self.path} holds no whole seed: its keys must be made anew")
        found.sort(key=lambda each: each[0][0])
        for _, place in found[:-1]:
            _erase(descriptor, place)
        return found[-1][0]


class _Locked:
    """The file, open and locked against other processes, for the length of a `with` block."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> int:
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _replace(descriptor: int, epoch: int, seed: bytes | bytearray) -> None:
    """Put a seed into the free slot, durably, and erase the one before it."""
    old = 0 if _read_slot(descriptor, _SLOTS[0]) is not None else 1
    os.pwrite(descriptor, _slot(epoch, seed), _SLOTS[1 - old])
    os.fsync(descriptor)
    _erase(descriptor, _SLOTS[old])


def _slot(epoch: int, seed: bytes | bytearray) -> bytes:
    return _SEED.pack(epoch, bytes(seed), _check(epoch, seed))


def _check(epoch: int, seed: bytes | bytearray) -> bytes:
    return sha256(struct.pack(">Q", epoch) + seed).digest()


def _read_slot(descriptor: int, place: int) -> tuple[int, bytearray] | None:
    raw = os.pread(descriptor, _SEED.size, place)
    if len(raw) != _SEED.size:
        return None
    epoch, seed, check = _SEED.unpack(raw)
    return (epoch, bytearray(seed)) if check == _check(epoch, seed) else None


def _erase(descriptor: int, place: int) -> None:
    os.pwrite(descriptor, bytes(_SLOT), place)
    os.fsync(descriptor)
