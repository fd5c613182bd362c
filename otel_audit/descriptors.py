"""File descriptors 0 to 2 are the program's, also where it was started with one of them closed.

What somebody prints goes there by number, whatever lies behind it: never may that be a file of ours, nor may our own
lines go to a file that took such a number.
"""

from __future__ import annotations

import os
import sys
from typing import Final

__all__ = ["is_closed", "open_apart"]

_FIRST_OF_OURS: Final = 3


def open_apart(path: str | os.PathLike[str], flags: int, mode: int) -> int:
    """Open a file as `os.open` does, at a descriptor that is none of the standard ones; it is not inherited.

    Raises:
        OSError: the file cannot be opened.
    """
    descriptor = os.open(path, flags, mode)
    if descriptor >= _FIRST_OF_OURS:
        return descriptor
    import fcntl  # Windows has none, and does not write

    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST_OF_OURS)
    finally:
        os.close(descriptor)


def is_closed(name: str) -> bool:
    """Tell whether the program was started without this one of `stdout` and `stderr`."""
    return getattr(sys, f"__{name}__") is None  # what the interpreter found, whatever became of `sys.stdout`
