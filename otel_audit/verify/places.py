"""Where what is to be checked lies, or should: what all kinds of sources have in common."""

from __future__ import annotations

from typing import IO, Final, NamedTuple, Protocol

__all__ = ["ENDINGS", "Elsewhere", "Missing", "Reader", "Unreadable"]

ENDINGS: Final = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json", ".json.gz", ".json.zst")


class Unreadable(Exception):
    """A source cannot be read, or not to its end. The message says why."""


class Elsewhere(str):
    """The path of a source that lies in no file system, and the way to its bytes."""

    __slots__ = ()

    def open_bytes(self) -> tuple[IO[bytes], int]:
        """Return its bytes, to be read from the first on, and how many there are.

        Raises:
            Unreadable: it cannot be read; so may reading.
        """
        raise NotImplementedError


class Missing(NamedTuple):
    """A path under which there is nothing."""

    path: str
    detail: str = ""
    """Why, where that is known."""


class Reader(Protocol):
    """A binary input."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes, none at the end."""
