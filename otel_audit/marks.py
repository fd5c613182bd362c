"""Marks beside the trail: an evolving MAC over every record of a stream, made in the call that records it.

A companion of the trail (`trail.Companion`). The running sum stands, as the member `mac`, in whatever control record
is written: the opening and the closing one, heartbeats, checkpoints. The key of a record is gone before its logging
call returns (KennyLoggings, CCS 2020: what is protected later can be changed before). That is why it costs the caller
some microseconds a record; without a key nothing of this is there.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .errors import AuditError
from .integrity.mac import EvolvingMac
from .integrity.mackey import load_mac_key, take_seed
from .notices import notice
from .record import Control

if TYPE_CHECKING:
    from .trail import AuditTrail

__all__ = ["Marks"]


class Marks:
    """Marks the streams of one trail.

    Args:
        trail: whose streams; has to be told to `accompany` this.
        path: the key file (`integrity.mackey`), from which each stream takes a seed.

    Raises:
        ConfigurationError: others can read it, or it is no key file. OSError: it cannot be read.
    """

    required = False

    def __init__(self, trail: AuditTrail, path: str | os.PathLike[str]) -> None:
        load_mac_key(path)
        self._trail = trail
        self._path = path
        self._current: _Marked | None = None
        trail.attach(self._state)
        trail.stream.follow(self._follow)

    def __str__(self) -> str:
        return "the evolving MAC"

    def start(self) -> None:
        """Nothing: there is no thread."""

    def notify(self) -> None:
        """Nothing."""

    def finish(self) -> None:
        """Nothing: the closing record holds the sum."""

    def wait_for(self, stream: str, seq: int, deadline: float, *, fast_fail: bool = False) -> bool:
        """Nothing to wait for."""
        return True

    def forget(self) -> None:
        """In a forked child: overwrite the copy of the parent's key."""
        self._leave()

    def close(self, timeout: float = 0.0) -> None:
        """Nothing: the key went with the closing record."""

    def _state(self, event_name: str) -> dict[str, Any]:
        """Return what a control record of this name holds of the marks, for the stream that is now open."""
        if event_name == Control.STREAM_OPEN:
            self._begin(self._trail.stream.id)
        current = self._current
        if current is None:
            return {}
        if event_name == Control.STREAM_CLOSE:
            self._leave()
        return {"mac": current.statement()}

    def _begin(self, stream: str) -> None:
        if self._current is not None and self._current.stream == stream:
            return  # its first record could not be written, and is tried again
        self._leave()
        try:
            seed = take_seed(self._path)
        except (AuditError, OSError) as error:
            notice(f"stream {stream} goes without an evolving MAC: {error}", subject="mac")
            return
        self._current = _Marked(stream, seed.number, EvolvingMac(seed.first_key(stream)))

    def _leave(self) -> None:
        current, self._current = self._current, None
        if current is not None:
            current.erase()

    def _follow(self, stream: str) -> Callable[[int, str], None]:
        current = self._current
        return _ignore if current is None or current.stream != stream else current.observe


class _Marked:
    """One stream, and the sum over its records so far."""

    def __init__(self, stream: str, number: int, mac: EvolvingMac) -> None:
        self.stream = stream
        self._number = number
        self._mac = mac
        self._said = (0, mac.sum())
        """Records and sum, in one value: other threads read it."""

    def observe(self, seq: int, digest: str) -> None:
        mac = self._mac
        mac.add(bytes.fromhex(digest))
        self._said = (seq, mac.sum())

    def statement(self) -> dict[str, Any]:
        records, total = self._said
        return {"number": self._number, "records": records, "stream": self.stream, "sum": total.hex()}

    def erase(self) -> None:
        self._mac.erase()


def _ignore(seq: int, digest: str) -> None:
    """Take a record of a stream that goes without."""
