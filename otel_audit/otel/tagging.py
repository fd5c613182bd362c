"""The attributes of a passing record whose event was sealed: what it had, the projection, and the sealed line."""

from __future__ import annotations

import threading
from collections.abc import Iterator, MutableMapping
from typing import Any, Final

import orjson

from .projection import project_attributes

__all__ = ["ORIGINAL", "Tagged"]

ORIGINAL: Final = "log.record.original"
"""The attribute that holds a record's sealed line (semantic conventions)."""

_filling: Final = threading.Lock()


class Tagged(MutableMapping[str, Any]):
    """A mapping of our own, so that the SDK's limits have no hold on it.

    The projection is made when somebody looks: most often an exporter's thread, and not the caller's.
    """

    __slots__ = ("_found", "_given", "_line")

    def __init__(self, given: dict[str, Any], line: bytes) -> None:
        self._given = given
        self._line = line
        self._found: dict[str, Any] | None = None

    def _all(self) -> dict[str, Any]:
        if self._found is None:
            with _filling:
                if self._found is None:
                    sealed = project_attributes(orjson.loads(self._line))
                    self._found = {**self._given, **sealed, ORIGINAL: self._line[:-1].decode()}
        return self._found

    def __getitem__(self, name: str) -> Any:
        return self._all()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._all()[name] = value

    def __delitem__(self, name: str) -> None:
        del self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._all()))

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return repr(self._all())

    def copy(self) -> dict[str, Any]:
        """Return them as a plain dict."""
        return dict(self._all())
