"""Checkpoints beside the trail: each stream's head, signed each second or 1,024 records, off the caller's thread.

A companion of the trail (`trail.Companion`): it follows each stream with a checkpointer of its own, writes what that
signs into the stream, and hands it to the anchors.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .integrity.checkpoint import origin_of
from .integrity.checkpointer import Checkpointer
from .integrity.publishing import Anchor
from .notices import notice
from .record import Control

if TYPE_CHECKING:
    from .integrity.signatures import Signer
    from .trail import AuditTrail

__all__ = ["Checkpoints"]


class Checkpoints:
    """Signs the streams of one trail.

    Args:
        trail: whose streams; has to be told to `accompany` this.
        signers: who signs; the first one's name is the log's name in checkpoints' origins.
        directory: where each stream's last signed head is kept, so that no signer ever signs two histories; None
            where there is no disk.
        anchors: places outside the log's reach that get each checkpoint.
        interval: seconds between checkpoints.
        every: records between checkpoints.
    """

    required = False

    def __init__(
        self,
        trail: AuditTrail,
        signers: Sequence[Signer],
        *,
        directory: Path | None,
        anchors: Sequence[Anchor] = (),
        interval: float = 1.0,
        every: int = 1024,
    ) -> None:
        self._trail = trail
        self._signers = tuple(signers)
        self._directory = directory
        self._anchors = tuple(anchors)
        self._interval = interval
        self._every = every
        self._emitting = threading.Lock()
        self._current: Checkpointer | None = None
        self._stream = ""
        trail.introduce(keys=[signer.vkey for signer in self._signers])
        trail.stream.follow(self._follow)

    def start(self) -> None:
        """Nothing: a checkpointer starts with its stream."""

    def notify(self) -> None:
        """Nothing: checkpointers keep their own time."""

    def finish(self) -> None:
        """Write a checkpoint of what the stream holds now, as its last but one record."""
        if self._current is not None:
            self._current.flush()

    def wait_for(self, stream: str, seq: int, deadline: float, *, fast_fail: bool = False) -> bool:
        """Sign what there is to sign of a stream that is over; a stream that goes on is signed in its time."""
        with self._emitting:
            ended = stream == self._stream and self._trail.stream.id != stream
            current = self._current if ended else None
            if ended:
                self._current, self._stream = None, ""
        if current is not None:
            current.close()
        return True

    def forget(self) -> None:
        """In a forked child: the parent's stream is the parent's to sign."""
        self._emitting = threading.Lock()
        self._current, self._stream = None, ""

    def close(self, timeout: float = 0.0) -> None:
        """Stop, with a last signature over whatever is not signed yet."""
        current, self._current = self._current, None
        if current is not None:
            current.close()

    def _follow(self, stream: str) -> Callable[[int, str], None]:
        before = self._current
        if before is not None:  # a stream that was left in doubt: what it holds is signed in the background
            threading.Thread(target=before.close, name="otel-audit-last-checkpoint", daemon=True).start()
        if self._directory is not None:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._stream = stream
        self._current = Checkpointer(
            self._signers,
            origin_of(self._signers[0].name, stream),
            emit=lambda note, size: self._emit(stream, note),
            anchors=self._anchors,
            interval=self._interval,
            every=self._every,
            state_file=None if self._directory is None else self._directory / f"{stream}.checkpoint",
            report=_report,
        )
        return self._current.observe

    def _emit(self, stream: str, note: str) -> None:
        with self._emitting:
            if self._trail.stream.id == stream == self._stream:
                self._trail.record_control(Control.CHECKPOINT, {"note": note}, action="CHECKPOINT")


def _report(message: str) -> None:
    notice(message, subject="checkpoints")
