"""Checkpoints beside the trail: each stream's head, signed each second or 1,024 records, off the caller's thread.

A companion of the trail (`trail.Companion`): it follows each stream with a checkpointer of its own, writes what that
signs into the stream, and hands it to the anchors. The last checkpoint in a stream stands before its closing record;
the signature over that one as well is in the state file and at the anchors.
"""

from __future__ import annotations

import base64
import contextlib
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .errors import FormatError
from .integrity.checkpoint import Checkpoint, origin_of
from .integrity.checkpointer import Checkpointer
from .integrity.durable import replace_file
from .integrity.epochs import EpochSigner
from .integrity.publishing import Anchored, AnchorError, AnchorPlan
from .integrity.recordsign import RecordSigner
from .notices import notice
from .record import Control

if TYPE_CHECKING:
    from .integrity.signatures import Signer
    from .trail import AuditTrail

__all__ = ["Checkpoints"]

_PATIENCE: Final = 2.0
"""Seconds that a flush waits for a signature."""


class Checkpoints:
    """Signs the streams of one trail.

    Args:
        trail: whose streams; has to be told to `accompany` this.
        signers: who signs, made before the trail was, so that none of them has left the epoch that a stream begins in;
            the first one's name is the log's name in checkpoints' origins.
        directory: where each stream's last signed head is kept, so that no signer ever signs two histories; None
            where there is no disk.
        anchors: places outside the log's reach that get checkpoints, each at its own pace.
        interval: seconds between checkpoints.
        every: records between checkpoints.
        each_record: whether each record gets a signature of its own as well.

    Raises:
        ConfigurationError: the first signer cannot sign single records.
    """

    required = False

    def __init__(
        self,
        trail: AuditTrail,
        signers: Sequence[Signer],
        *,
        directory: Path | None,
        anchors: Sequence[AnchorPlan] = (),
        interval: float = 1.0,
        every: int = 1024,
        each_record: bool = False,
    ) -> None:
        self._trail = trail
        self._signers = tuple(signers)
        self._directory = directory
        self._anchors = tuple(anchors)
        self._interval = interval
        self._every = every
        self._each_record = each_record
        if each_record:
            RecordSigner(self._signers[0], "", emit=_forget)
        self._changing = threading.Lock()
        self._current: Checkpointer | None = None
        self._stream = ""
        trail.introduce(keys=[signer.vkey for signer in self._signers])
        trail.stream.follow(self._follow)

    def __str__(self) -> str:
        return "the signer of checkpoints"

    def start(self) -> None:
        """Nothing: a checkpointer starts with its stream."""

    def notify(self) -> None:
        """Have what came since the last sync taken into the tree, where the one who syncs is at work anyway."""
        if (current := self._current) is not None:
            current.fold()

    def finish(self) -> None:
        """Have a checkpoint of what the stream holds now written into it."""
        if (current := self._current) is not None:
            current.flush(_PATIENCE)

    def cover(self, stream: str, seq: int) -> bool:
        """Have this stream signed up to this record, now; tell whether it is."""
        with self._changing:
            current = self._current if self._stream == stream else None
        if current is not None and current.signed < seq:
            current.flush(_PATIENCE)
        return current is not None and current.signed >= seq

    def wait_for(self, stream: str, seq: int, deadline: float, *, fast_fail: bool = False) -> bool:
        """Sign what there is to sign of a stream that is over; a stream that goes on is signed in its time."""
        with self._changing:
            ended = stream == self._stream and self._trail.stream.id != stream
            current = self._current if ended else None
            if ended:
                self._current, self._stream = None, ""
        if current is not None:
            current.close(max(0.0, deadline - time.monotonic()))
        return True

    def forget(self) -> None:
        """In a forked child: the parent's stream is the parent's to sign."""
        self._changing = threading.Lock()
        self._current, self._stream = None, ""

    def close(self, timeout: float = 0.0) -> None:
        """Stop, with a last signature over whatever is not signed yet."""
        with self._changing:
            current, self._current = self._current, None
        if current is not None:
            current.close(timeout)

    def troubles(self) -> Mapping[str, Mapping[str, Any]]:
        """Return what the trail should record: anchors that do not have what they should have."""
        current = self._current
        return {} if current is None else current.troubles()

    def _follow(self, stream: str) -> Callable[[int, str], None]:
        if sys.is_finalizing():
            return _ignore  # logged by a destructor at the very end: a thread that starts now would never run
        signers = tuple(map(_part, self._signers))
        directory = self._directory
        if directory is not None:
            with contextlib.suppress(OSError):  # the checkpointer says what it cannot write, and goes on trying
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        current = Checkpointer(
            signers,
            origin_of(signers[0].name, stream),
            emit=lambda note, size: self._emit(stream, note, signers),
            anchors=self._anchors,
            keep=None if directory is None else lambda anchored: _keep(directory, stream, anchored),
            record=lambda anchored: self._record(stream, anchored),
            prove=None if directory is None else lambda old, head: _prove(directory.parent, stream, old, head),
            interval=self._interval,
            every=self._every,
            state_file=None if directory is None else directory / f"{stream}.checkpoint",
            records=self._record_signer(stream) if self._each_record else None,
            report=_report,
        )
        with self._changing:
            before, self._current, self._stream = self._current, current, stream
        if before is not None:  # a stream that was left in doubt: what it holds is signed in the background
            with contextlib.suppress(RuntimeError):  # the interpreter is going down: no new threads
                threading.Thread(target=before.close, name="otel-audit-last-checkpoint", daemon=True).start()
        return current.observe

    def _record_signer(self, stream: str) -> RecordSigner:
        def emit(data: dict[str, Any]) -> None:
            self._trail.record_within(stream, Control.SIGNATURES, data, action="SIGN")

        return RecordSigner(self._signers[0], stream, emit=emit)

    def _emit(self, stream: str, note: str, signers: tuple[Signer, ...]) -> bool:
        if self._trail.record_within(stream, Control.CHECKPOINT, {"note": note}, action="CHECKPOINT"):
            # This stream still goes on, so the next one is born no earlier than now: it needs no older epoch's seed.
            before, self._signers = self._signers, tuple(map(_part, signers))
            for each in before:
                if isinstance(each, EpochSigner):
                    each.erase()
            return True
        return False

    def _record(self, stream: str, anchored: Anchored) -> bool:
        head = anchored.head.checkpoint
        facts = {"anchor": anchored.anchor, "root": base64.b64encode(head.root).decode(), "size": head.size}
        return self._trail.record_within(stream, Control.ANCHOR, {**anchored.receipt.facts, **facts}, action="ANCHOR")


def _keep(directory: Path, stream: str, anchored: Anchored) -> None:
    """Put down beside the stream's checkpoint what an anchor gave in return."""
    for ending, content in anchored.receipt.files.items():
        replace_file(str(directory / f"{stream}.{anchored.anchor}.{ending}"), content, 0o644)


def _prove(journal: Path, stream: str, old: int, head: Checkpoint) -> list[bytes]:
    """Make a consistency proof from what lies in the journal."""
    from .integrity.leaves import read_extension

    try:
        return read_extension(journal, stream, old, head.size)
    except (FormatError, OSError) as error:
        raise AnchorError(f"no proof from {old} to {head.size} records can be made: {error}") from error


def _part(signer: Signer) -> Signer:
    """Return a signer that goes its own way: streams that overlap may stand in different epochs."""
    return signer.twin() if isinstance(signer, EpochSigner) else signer


def _report(message: str) -> None:
    notice(message, subject="checkpoints")


def _forget(data: dict[str, Any]) -> None:
    """Write nothing."""


def _ignore(seq: int, digest: str) -> None:
    """Take a record of a stream that nobody will sign."""
