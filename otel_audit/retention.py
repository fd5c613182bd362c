"""Retention: once a minute, what is old or too much leaves the journal, and a durable record says so before.

Where the stream is signed, so is that record by then: a verifier that asks for signatures believes no other.

A companion of the trail (`trail.Companion`) with a thread of its own: it asks nothing of those who write. A process
that dies at any moment leaves a journal that verifies: each segment has a record of its own, and a segment that a
record names and that is still there is only kept for longer.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .errors import AuditError
from .integrity import CHECKPOINTS
from .integrity.pruning import tree_up_to
from .journal.cursor import CURSORS
from .journal.files import list_streams, lock, sync_directory
from .journal.recovery import ENDED
from .journal.retention import Limits, Removal, find_due, find_needed_cuts
from .notices import notice
from .record import Control

if TYPE_CHECKING:
    from .durability import Receipt
    from .journal.writer import JournalWriter
    from .trail import AuditTrail

__all__ = ["UNSIGNED", "Retention"]

UNSIGNED: Final = "retention held: unsigned"
"""The trouble of a removal whose record could not be signed."""

_MOST_AT_ONCE: Final = 256
_RESERVE: Final = 1 << 20
_ENDINGS: Final = frozenset({"", ".lock", ".new", ".checkpoint", ".checkpoint.lock", ".pruned"})


class Retention:
    """Keeps the journal of one trail within its limits.

    Args:
        trail: whose journal; it writes the records. Has to be told to `accompany` this.
        store: the trail's store.
        limits: what the journal may hold.
        sinks: names of the sinks that must have a record before it goes, beside those with cursors in the journal.
        interval: seconds from one look to the next.
        opens: whether a stream is opened only to record what is removed.
    """

    required = False

    def __init__(
        self,
        trail: AuditTrail,
        store: JournalWriter,
        limits: Limits,
        *,
        sinks: Sequence[str] = (),
        interval: float = 60.0,
        opens: bool = False,
    ) -> None:
        self._trail = trail
        self._store = store
        self._directory = store.directory
        self._limits = limits
        self._sinks = tuple(sinks)
        self._interval = interval
        self._opens = opens
        self._troubles: dict[str, dict[str, Any]] = {}
        self._last: Receipt | None = None
        self.forget()

    def forget(self) -> None:
        """In a forked child: the thread is the parent's."""
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def start(self) -> None:
        """Look now, and then once an interval."""
        self._stop.clear()
        if self._thread is None or not self._thread.is_alive():
            thread = threading.Thread(target=self._run, name="otel-audit-retention", daemon=True)
            with contextlib.suppress(RuntimeError):  # the interpreter is going down: the next process looks
                thread.start()
                self._thread = thread

    def notify(self) -> None:
        """Nothing: retention keeps its own time."""

    def finish(self) -> None:
        """Nothing: what is due now is due the next time too."""

    def wait_for(self, stream: str, seq: int, deadline: float, *, fast_fail: bool = False) -> bool:
        """Say at once that no record waits for this."""
        return True

    def close(self, timeout: float = 5.0) -> None:
        """Stop; return after `timeout` seconds at the latest."""
        self._stop.set()
        thread = self._thread
        if thread is not None:
            thread.join(timeout)

    def troubles(self) -> Mapping[str, Mapping[str, Any]]:
        """Return what keeps the journal from staying within its limits, for the trail to record."""
        return self._troubles

    def prune(self) -> int:
        """Remove what is due; return how many segments that were.

        Raises:
            OSError: a file cannot be read or removed.
        """
        with _alone(self._directory) as alone:
            if not alone:
                return 0  # another process on this journal does it
            due = find_due(
                self._directory, self._limits, sinks=self._sinks, own=self._trail.stream.id, most=_MOST_AT_ONCE
            )
            troubles = {f"retention held: {sink}": _held_by(sink) for sink in due.held}
            removed = self._remove(due.removals) if self._may_record() else 0
            if not self._may_record():
                troubles[UNSIGNED] = {"cause": "retention held back", "reason": "the record of it could not be signed"}
            self._troubles = troubles
            _sweep(self._directory)
        return removed

    def _remove(self, removals: Sequence[Removal]) -> int:
        records = [*find_needed_cuts(self._directory, removals)]
        records += [self._describe(removal) for removal in removals if removal.last_seq]
        if not removals or (records and not (self._record(records) and self._is_signed(self._last))):
            return 0
        for removal in removals:  # in order: what is left of a stream is always its end
            with contextlib.suppress(FileNotFoundError):
                os.unlink(removal.segment.path)
        sync_directory(self._directory)
        return len(removals)

    def _describe(self, removal: Removal) -> dict[str, Any]:
        segment = removal.segment
        tree = tree_up_to(str(self._directory), segment.stream, str(segment.path), removal.last_seq)
        return {**removal.as_json(), "tree": tree} if tree else removal.as_json()

    def _may_record(self) -> bool:
        """Tell whether a record would be of use: as long as a signer owes its signature to one, it would not."""
        return self._last is None or self._last.stream != self._trail.stream.id or self._is_signed(self._last)

    def _is_signed(self, last: Receipt | None) -> bool:
        """Have a record signed, if anybody signs this trail; False if that fails."""
        if last is None:
            return False
        covers = [cover for each in self._trail.companions if (cover := getattr(each, "cover", None)) is not None]
        return all(cover(last.stream, last.seq) for cover in covers)

    def _record(self, cuts: Sequence[dict[str, Any]]) -> bool:
        """Write `audit.prune` records, beyond the quota if need be; tell whether all are durable, in one stream."""
        trail, store = self._trail, self._store
        if trail.stream.records == 0 and not self._opens:
            return False  # no stream is open; for this alone none is opened
        store.reserve = _RESERVE
        try:
            receipts = [trail.record_control(Control.PRUNE, cut, action="PRUNE") for cut in cuts]
            written = store.written
            trail.stream.sync()
        finally:
            store.reserve = 0
        self._last = receipts[-1]
        kept = all(each.seq is not None and each.stream == self._last.stream for each in receipts)
        return kept and store.durable >= written

    def _run(self) -> None:
        while True:
            try:
                self.prune()
            except (OSError, AuditError) as error:
                self._troubles = {"retention failed": {"cause": "retention failed", "reason": str(error)[:512]}}
                notice(f"retention: {error}", subject="retention")
            if self._stop.wait(self._interval):
                return


def _held_by(sink: str) -> dict[str, Any]:
    return {"cause": "retention held back", "sink": sink}


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[bool]:
    """Hold the journal's directory against other processes' retention; False if one of them has it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield lock(descriptor)
    finally:
        os.close(descriptor)


def _sweep(directory: Path) -> None:
    """Remove what is kept of streams that are gone: cursors, checkpoints, and the note that their end was declared."""
    kept = [*_files_about_streams(directory)]
    streams = list_streams(directory)  # read last: a stream is there before anything is kept about it
    for path, stream in kept:
        if stream not in streams:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _files_about_streams(directory: Path) -> Iterator[tuple[Path, str]]:
    rooms = [
        directory / ENDED,
        directory / CHECKPOINTS,
        *(each for each in _entries(directory / CURSORS) if each.is_dir()),
    ]
    for room in rooms:
        for path in _entries(room):
            if len(stream := path.name[:32]) == 32 and path.name[32:] in _ENDINGS:
                yield path, stream


def _entries(directory: Path) -> Iterable[Path]:
    try:
        return [*directory.iterdir()]
    except FileNotFoundError:
        return []
