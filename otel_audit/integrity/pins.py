"""What a verifier has seen: for each log the size and root of the longest tree that it checked.

With a pin, a rollback or another version of the log is a contradiction and not just a gap. A pin is made only
when told (`trust_first_use`), moves only forward along a log that extends it, and is never set anew by
itself.
"""

from __future__ import annotations

import base64
import json
import os
from typing import Any, Final, NamedTuple

from otel_audit.errors import ConfigurationError
from otel_audit.integrity.checkpoint import MAX_SIZE
from otel_audit.integrity.durable import replace_file
from otel_audit.integrity.merkle import HASH_SIZE
from otel_audit.integrity.note import NoteError, decode_base64

__all__ = ["Pin", "Pins"]

_FORMAT: Final = "otel-audit.pins/1"


class Pin(NamedTuple):
    """The longest tree seen of one log."""

    size: int
    root: bytes


class Pins:
    """The pins of one verifier, in one file: `{"format": ..., "pins": {origin: {"size": n, "root":
    base64}}}`.

    An origin is what checkpoints of the log say; a log without checkpoints is pinned by its stream id.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, trust_first_use: bool = False) -> None:
        """Read the file, if there is one. Without a path, pins live as long as this object.

        Raises:
            ConfigurationError: the file is damaged; a verifier must not quietly forget what it has seen.
            OSError: it cannot be read.
        """
        self._path = None if path is None else os.fspath(path)
        self.trust_first_use = trust_first_use
        self._pins: dict[str, Pin] = {}
        if self._path is not None and os.path.exists(self._path):
            with open(self._path, "rb") as file:
                self._pins = _parse(file.read(), self._path)

    def __iter__(self) -> Any:
        return iter(self._pins)

    def get(self, origin: str) -> Pin | None:
        """Return a log's pin, or None where it was never seen."""
        return self._pins.get(origin)

    def advance(self, origin: str, size: int, root: bytes) -> None:
        """Move a log's pin forward. The caller has checked that this tree extends the pinned one.

        Raises:
            ValueError: it cannot: it is shorter, or as long with another root.
        """
        pin = self._pins.get(origin)
        if pin is not None and (size < pin.size or (size == pin.size and root != pin.root)):
            raise ValueError(f"the pin of {origin} stands at {pin.size} records and does not go back")
        if pin is not None or self.trust_first_use:
            self._pins[origin] = Pin(size, root)

    def save(self) -> None:
        """Write the file, atomically.

        Raises:
            OSError: it could not be written and is as it was.
        """
        if self._path is None:
            return
        pins = {
            origin: {"size": pin.size, "root": base64.b64encode(pin.root).decode()}
            for origin, pin in sorted(self._pins.items())
        }
        content = json.dumps({"format": _FORMAT, "pins": pins}, ensure_ascii=False, indent=1) + "\n"
        replace_file(self._path, content.encode())


def _parse(raw: bytes, path: str) -> dict[str, Pin]:
    try:
        document = json.loads(raw)
        if document["format"] != _FORMAT:
            raise ValueError(f"format {document['format']!r}")
        pins = {origin: Pin(pin["size"], decode_base64(pin["root"])) for origin, pin in document["pins"].items()}
        for origin, pin in pins.items():
            if type(pin.size) is not int or not 0 <= pin.size <= MAX_SIZE or len(pin.root) != HASH_SIZE:
                raise ValueError(f"the pin of {origin}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, NoteError) as error:
        raise ConfigurationError(
            f"{path} is not a whole pin file ({error}); restore it from a backup: to start anew is to forget "
            "every log that was ever seen"
        ) from error
    return pins
