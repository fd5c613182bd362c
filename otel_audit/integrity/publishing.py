"""Publishing checkpoints to anchors: one thread an anchor, the newest checkpoint only, for as long as it
takes.

A later checkpoint covers all that an earlier one does, so an anchor that is slow or down costs one note of
memory and gets the newest one when it is back.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from otel_audit.integrity.checkpoint import Checkpoint, stream_of
from otel_audit.integrity.durable import replace_file
from otel_audit.integrity.note import parse_note

__all__ = ["Anchor", "DirectoryAnchor", "Publisher"]

_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 60.0
_CLOSING_PAUSE: Final = 0.1


class Anchor(Protocol):
    """A place outside the log's reach that keeps checkpoints."""

    @property
    def name(self) -> str:
        """Short, for messages; holds no secret."""

    def publish(self, note: str) -> None:
        """Keep a signed checkpoint, or raise. Called in a thread of its own, never twice at a time."""


class DirectoryAnchor:
    """Keeps the newest checkpoint of each stream as `<directory>/<stream>.checkpoint`: on another disk,
    another host's share, wherever the log's own writer is not the owner.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = os.fspath(directory)
        self.name = f"directory {self._directory}"

    def publish(self, note: str) -> None:
        """Replace the stream's file, atomically; `OSError` if that fails."""
        origin = Checkpoint.parse(parse_note(note).text).origin
        stream = stream_of(origin)
        name = origin.replace("/", "_") if stream is None else stream
        replace_file(os.path.join(self._directory, f"{name}.checkpoint"), note.encode(), 0o644)


class Publisher:
    """Brings the newest checkpoint to one anchor."""

    def __init__(self, anchor: Anchor, report: Callable[[str], None]) -> None:
        self._anchor = anchor
        self._report = report
        self._changed = threading.Condition()
        self._note: str | None = None
        self._deadline: float | None = None
        self._thread: threading.Thread | None = None
        self._failing = False

    def offer(self, note: str) -> None:
        """Take a newer checkpoint; whatever was not published yet is replaced by it."""
        with self._changed:
            self._note = note
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=f"otel-audit-anchor-{self._anchor.name}", daemon=True)
                with contextlib.suppress(RuntimeError):  # the interpreter is going down: `close` publishes
                    thread.start()
                    self._thread = thread
            self._changed.notify_all()

    def close(self, timeout: float) -> None:
        """Give the last checkpoint `timeout` seconds to arrive, then stop."""
        if self._thread is None:
            if self._note is not None:
                self._publish(self._note)
            return
        with self._changed:
            self._deadline = time.monotonic() + timeout
            self._changed.notify_all()
        self._thread.join(timeout + _CLOSING_PAUSE)
        if self._thread.is_alive():
            self._report(f"{self._anchor.name} does not have the last checkpoint")

    def abandon(self) -> None:
        """In a forked child, where the thread does not exist: forget it."""
        self._thread, self._note = None, None
        self._changed = threading.Condition()

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._note is not None or self._deadline is not None)
                note = self._note
            if note is None:
                return
            if self._publish(note):
                pause = _FIRST_PAUSE
                with self._changed:
                    if self._note is note:
                        self._note = None
            elif self._gives_up_after(random.uniform(0, pause)):  # noqa: S311 - jitter, not a secret
                return
            else:
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _gives_up_after(self, pause: float) -> bool:
        """Wait before the next attempt; tell whether there will be none."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._deadline is not None, pause):
                return False
            self._changed.wait(_CLOSING_PAUSE)
            return self._deadline is not None and time.monotonic() >= self._deadline

    def _publish(self, note: str) -> bool:
        try:
            self._anchor.publish(note)
        except Exception as error:  # noqa: BLE001 - an anchor is someone else's code and network
            if not self._failing:
                self._failing = True
                self._report(f"{self._anchor.name} does not take checkpoints: {type(error).__name__}")
            return False
        if self._failing:
            self._failing = False
            self._report(f"{self._anchor.name} takes checkpoints again")
        return True
