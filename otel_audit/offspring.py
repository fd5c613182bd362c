"""What became of a stream's forked children: whether they opened the stream that was announced, and whether they live.

A child says so in a page of memory that it shares with its parent. Nobody who removes a file changes that: a child
whose stream was removed did open it.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from mmap import mmap

__all__ = ["Birth", "Offspring"]

_SLOT: Final = struct.Struct("<QQQ")
"""Process id, its namespace, and whether it opened its stream."""
_OPENED: Final = 16
_MOST_PAGES: Final = 16
_MOST_SILENT: Final = 500
"""Children that one closing record names: more would not fit into a record whose size was set low."""
_NAMESPACE: Final = "/proc/self/ns/pid"


class Birth(NamedTuple):
    """A child's place in the memory that it shares with its parent."""

    page: mmap
    offset: int

    def enter(self) -> None:
        """In the child: say which process it is."""
        _SLOT.pack_into(self.page, self.offset, os.getpid(), _namespace(), 0)

    def open(self) -> None:
        """In the child: say that it opens its stream. To be called before the first byte of it is written."""
        self.page[self.offset + _OPENED] = 1

    def clear(self) -> None:
        """In the parent: make room for another child."""
        _SLOT.pack_into(self.page, self.offset, 0, 0, 0)

    def has_opened(self) -> bool:
        """In the parent: tell whether the child opened its stream."""
        return self.page[self.offset + _OPENED] == 1

    def has_ended(self) -> bool:
        """In the parent: tell whether the child is known to be gone; False where that cannot be known."""
        pid, namespace, _ = _SLOT.unpack_from(self.page, self.offset)
        return bool(pid) and namespace == _namespace() and _is_gone(pid)


class Offspring:
    """The children of one stream. To be used under that stream's lock."""

    def __init__(self) -> None:
        self._pages = 0
        self._free: list[Birth] = []
        self._expected: dict[str, Birth] = {}
        self._silent: list[str] = []

    def reserve(self) -> Birth | None:
        """Before a fork: return a place for the child; None where there is none, and nothing will be known of it."""
        if not self._free:
            self._look()
        if not self._free and self._pages < _MOST_PAGES:
            from mmap import PAGESIZE, mmap  # most programs never fork

            try:
                page = mmap(-1, PAGESIZE)
            except OSError:  # no memory: a fork must not fail of this
                return None
            self._pages += 1
            self._free = [Birth(page, offset) for offset in range(0, PAGESIZE - _SLOT.size + 1, _SLOT.size)]
        return self._free.pop() if self._free else None

    def expect(self, child: str, birth: Birth) -> None:
        """Behind the fork, in the parent: note that this child was announced."""
        self._expected[child] = birth

    def silent(self) -> list[str]:
        """Return the children that ended without opening the stream that was announced: there is none to be found."""
        self._look()
        return self._silent

    def _look(self) -> None:
        for child, birth in list(self._expected.items()):
            if not birth.has_ended():
                continue
            if not birth.has_opened() and len(self._silent) < _MOST_SILENT:
                self._silent.append(child)
            del self._expected[child]
            birth.clear()
            self._free.append(birth)


def _is_gone(pid: int) -> bool:
    try:
        if hasattr(os, "waitid"):
            return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # somebody has waited for it already
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _namespace() -> int:
    """Return what tells apart the spaces that process ids are counted in; 0 where there is only one."""
    try:
        return os.stat(_NAMESPACE).st_ino
    except OSError:
        return 0
