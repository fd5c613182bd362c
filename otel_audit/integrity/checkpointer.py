"""The checkpointer: signs the head of a stream each second or each 1,024 records, in a thread of its own.

What the writer does for it is to put down the record's hash and to compare a number. Signing, keeping the state,
writing the checkpoint record and publishing it happen here. Hashing the tree is most of the work, and needs the
interpreter, so that whoever logs without a pause waits meanwhile: the trail's keeper does a little of it each time it
is awake. If the writer gets far ahead of both, it folds some of the tree itself rather than let the queue grow.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, Final, NamedTuple

from otel_audit.errors import AuditError
from otel_audit.integrity.checkpoint import WINDOW, Checkpoint, HeadFile, birth_of, stream_of
from otel_audit.integrity.epochs import EpochSigner
from otel_audit.integrity.growth import Growth
from otel_audit.integrity.note import NoteError
from otel_audit.integrity.packed import new_leaves
from otel_audit.integrity.publishing import Anchored, AnchorError, AnchorPlan, Publisher, SignedHead
from otel_audit.integrity.recordsign import RecordSigner
from otel_audit.integrity.signatures import Signer, sign_note

__all__ = ["Checkpointer"]

_log: Final = logging.getLogger("otel_audit.integrity")
_QUEUE_LIMIT: Final = 65_536
_LEAST_PAUSE: Final = 0.25
"""Seconds between checkpoints that only the number of records calls for: each one takes the interpreter from those who
log a dozen times for a moment, which at most one call in a hundred may notice."""
_MANY: Final = 16_384
"""Records behind a checkpoint, from which on the next one is due a second after it: who logs so much notices each."""
_LONGER_PAUSE: Final = 1.0
_LEAST_PATIENCE: Final = 0.5
"""Seconds that closing takes for the last signature, and for bringing it to the anchors, even if none are left."""
_live: Final[weakref.WeakSet[Checkpointer]] = weakref.WeakSet()


class _Present(NamedTuple):
    """How a tree stands at one moment."""

    size: int
    root: bytes
    epoch: int
    proofs: Mapping[int, list[bytes]] | None
    """From sizes that anchors may have, where one of them is due."""


class Checkpointer:
    """Signs one stream's checkpoints. `observe` belongs to the stream's writer, all else to anyone.

    A forked child does not inherit it: there `observe` does nothing, and the child's own stream takes a new
    one.
    """

    def __init__(
        self,
        signers: Sequence[Signer],
        origin: str,
        *,
        emit: Callable[[str, int], bool],
        anchors: Sequence[AnchorPlan] = (),
        keep: Callable[[Anchored], None] | None = None,
        record: Callable[[Anchored], bool] | None = None,
        prove: Callable[[int, Checkpoint], list[bytes]] | None = None,
        interval: float = 1.0,
        every: int = 1024,
        state_file: str | os.PathLike[str] | None = None,
        records: RecordSigner | None = None,
        report: Callable[[str], None] = _log.warning,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`origin` is `<key name>/<stream>`; `interval` is in seconds, `every` in records.

        `emit(note, size)` writes the `audit.checkpoint` record; False if the stream is over. `keep` puts down what an
        anchor gave in return, in that anchor's thread; `record` writes an `audit.anchor` record about it, and tells
        whether it could. `prove(old, head)` makes a consistency proof from what lies on disk, where a witness asks for
        one that is not at hand, or raises `AnchorError`. `state_file` is this stream's own: it holds the latest signed
        checkpoint, written before anyone sees that checkpoint. `report` is told, once each, what keeps checkpoints
        from being made and that they are made again. `records` signs each record as well, before the checkpoint over
        it.

        Raises:
            ValueError: no signer, or more than one with epochs.
        """
        epochs = [each for each in signers if isinstance(each, EpochSigner)]
        if not signers or len(epochs) > 1:
            raise ValueError("a stream needs at least one signer, and at most one with epochs")
        self.origin = origin
        self._signers = tuple(signers)
        self._epochs = epochs[0] if epochs else None
        self._emit = emit
        self._interval = interval
        self._every = every
        self._state = None if state_file is None else HeadFile(state_file)
        self._records = records
        self._report = report
        self._clock = clock
        self._keep = keep
        self._record = record
        self._prove = prove
        self._publishers = [Publisher(plan, report=report, kept=self._take_receipt) for plan in anchors]
        self._receipts: deque[Anchored] = deque()

        self._leaves = new_leaves()
        self._put: Callable[[str], None] = self._leaves.put
        self._moments: deque[float] = deque()
        """When each leaf came, where epochs end. They are put here first, and taken first."""
        self._seen = 0
        self._wake_at = every
        self._quiet = threading.Lock()
        """Held while nobody wants a checkpoint now. Unlike an Event, safe to tell from a signal handler."""
        self._quiet.acquire()
        self._asked: deque[threading.Event] = deque()
        self._rested = 0.0
        self._fold_lock = threading.Lock()
        self._growth = Growth()
        self._torn = False
        """Whether the tree is being folded, or an interrupt (or a lack of memory) left that half done."""
        self._ended: deque[tuple[int, int, bytes]] = deque()  # epoch, size and root of heads that need a final seal
        self._sealed = -1
        """The last epoch that has its final seal."""
        self._epoch, self._boundary = 0, math.inf
        if self._epochs is not None:
            stream = stream_of(origin)
            birth = clock() if stream is None else birth_of(stream)
            self._enter(max(self._epochs.epoch, self._epochs.schedule.epoch_at(birth)))

        self._sign_lock = threading.Lock()
        self._last: Checkpoint | None = None
        self._note = ""
        self._unsent: deque[tuple[str, int, bool]] = deque()
        """Notes that are not in the stream yet: their sizes, and whether they are final seals."""
        self._own = 0
        """Records behind the last head that are this one's own, and no news."""
        self._failing: str | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="otel-audit-checkpointer", daemon=True)
        _live.add(self)
        with contextlib.suppress(RuntimeError):  # the interpreter is going down: no new threads, `close` signs
            self._thread.start()

    def observe(self, seq: int, hash_hex: str) -> None:
        """Take a record that is written: its number and its hash. In order; one thread at a time."""
        if self._epochs is not None:
            self._moments.append(self._clock())
        self._put(hash_hex)
        self._seen = seq
        if seq >= self._wake_at:
            self._wake_at = seq + _QUEUE_LIMIT  # the thread lowers it again when it has caught up
            self._wake()
            if len(self._leaves) > _QUEUE_LIMIT:
                self._drain(self._clock())

    def fold(self) -> None:
        """Take what was observed into the tree now, so that the next checkpoint need not take all of it at once."""
        if self._leaves and not self._closed:
            self._drain(self._clock())

    def flush(self, timeout: float = 5.0) -> None:
        """Have what was observed checkpointed now; wait for it, `timeout` seconds at most. Call it without the
        writer's lock.

        Does not raise: what goes wrong is reported as in the background.
        """
        if self._closed:
            return
        if not self._thread.is_alive():
            self._try(self._checkpoint)
            return
        done = threading.Event()
        self._asked.append(done)
        self._wake()
        done.wait(timeout)

    def close(self, timeout: float = 5.0, *, ending: Callable[[], None] | None = None) -> None:
        """Write the last checkpoint into the stream, let `ending` write its closing record, and sign that as well.

        The checkpoint over the closing record is not written behind it: the state file and the anchors have it.
        Takes about `timeout` seconds at most, or `_LEAST_PATIENCE` if that is more, whatever a signer or an anchor
        does: sinks that are down may have left no time, and the last checkpoint belongs at the anchors all the same.
        """
        if self._closed:
            return
        timeout = max(timeout, _LEAST_PATIENCE)
        deadline = time.monotonic() + timeout
        self._closed = True
        _live.discard(self)
        self._wake()
        if self._thread.is_alive():
            self._thread.join(timeout)
        idle = not self._thread.is_alive()
        if idle:
            self._try(self._checkpoint)
        try:
            if ending is not None:
                ending()
        finally:
            if idle:
                self._try(self._checkpoint_last)
            else:
                self._fail("the signer did not answer in time")
            for publisher in self._publishers:
                publisher.close(max(0.0, deadline - time.monotonic()))

    @property
    def signed(self) -> int:
        """How many records, from the first on, the last signed checkpoint covers."""
        return 0 if self._last is None else self._last.size

    def troubles(self) -> dict[str, Mapping[str, Any]]:
        """Return what is wrong with anchors now: a key for each trouble -> cause and details."""
        found = {each.name: each.troubles() for each in self._publishers}
        return {f"anchor failing: {name}": trouble for name, trouble in found.items() if trouble is not None}

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # it is awake
            self._quiet.release()

    # The checkpointer's thread.

    def _run(self) -> None:
        while not self._closed:
            self._quiet.acquire(timeout=min(self._interval, threading.TIMEOUT_MAX))
            self._rest()
            asked = [self._asked.popleft() for _ in range(len(self._asked))]
            if not self._closed:
                self._try(self._checkpoint)
            for done in asked:
                done.set()
        while self._asked:
            self._asked.popleft().set()

    def _rest(self) -> None:
        """Wait until the last checkpoint is a moment ago, unless somebody asks for one."""
        pause = _LEAST_PAUSE
        while (rest := self._rested + pause - time.monotonic()) > 0 and not self._asked and not self._closed:
            self._wake_at = self._seen + _MANY
            if self._quiet.acquire(timeout=rest):
                self._drain(self._clock())
            if self._seen - self.signed > _MANY:
                pause = max(pause, min(self._interval, _LONGER_PAUSE))
        self._rested = time.monotonic()

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
        except (AuditError, OSError, NoteError) as error:
            self._fail(str(error))
        except Exception as error:  # noqa: BLE001 - a signer or the trail behind `emit` may raise anything
            self._fail(f"{type(error).__name__} while signing")
        else:
            if self._failing is not None:
                self._failing = None
                self._report(f"checkpoints of {self.origin} are made again")
        finally:
            self._wake_at = self._growth.frontier.size + self._every

    def _fail(self, why: str) -> None:
        if why != self._failing:
            self._failing = why
            self._report(f"no checkpoint of {self.origin} could be made: {why}")

    def _checkpoint(self) -> None:
        with self._sign_lock:
            now = self._clock()
            present = self._seal_ended(now)
            if present.size - (self._last.size if self._last else 0) > self._own:
                batches = 0 if self._records is None else self._records.sign(present.size)
                self._sign(present.size, present.root, now, final=False, proofs=present.proofs)
                self._own = batches
            self._send()

    def _checkpoint_last(self) -> None:
        with self._sign_lock:
            try:
                self._sign_end()
            finally:
                if self._last is not None:
                    self._offer(self._note, self._last)

    def _sign_end(self) -> None:
        # An epoch that ended since the last checkpoint ends here: its seal could not be written any more.
        now = self._clock()
        self._boundary = math.inf
        self._drain(now)
        if self._epochs is not None and self._epochs.epoch <= self._sealed:
            self._epochs.advance(self._sealed + 1)  # a second final seal would look like an erased key's
        size, root = self._head()
        if size and (self._last is None or size > self._last.size or self._epochs is not None):
            self._sign(size, root, now, final=True)

    def _seal_ended(self, now: float) -> _Present:
        """Sign a final seal for each epoch that is over, with its own key, and leave that key; return what is left."""
        self._drain(now)
        while (present := self._look()) is None:
            assert self._epochs is not None
            epoch, size, root = self._ended[0]
            self._epochs.advance(epoch)
            self._sign(size, root, now, final=True)
            self._sealed = epoch
            self._ended.popleft()
            self._send()  # before the state file forgets it
            self._drain(now)
        if self._epochs is not None:
            self._epochs.advance(present.epoch)
        return present

    def _sign(
        self, size: int, root: bytes, now: float, *, final: bool, proofs: Mapping[int, list[bytes]] | None = None
    ) -> None:
        head = Checkpoint(self.origin, size, root)

        def sign() -> str:
            return sign_note(head.encode(), self._signers, time=int(now), final=final).encode()

        if self._state is None or not size:  # seals over nothing wait for the stream's first record, which may not come
            self._note = sign()
        else:
            self._note = self._state.advance(head, self._last if self.signed else None, sign)
        self._last, self._own = head, 0
        self._unsent.append((self._note, size, final))
        self._offer(self._note, head, proofs)

    def _send(self) -> None:
        """Write the records about checkpoints that wait. None before the stream's first record."""
        while self._unsent and self._growth.frontier.size:
            note, size, final = self._unsent[0]
            if self._seen - size < WINDOW:  # a verifier cannot look back further; the next checkpoint covers it
                if self._emit(note, size):
                    self._own += 1
                elif final and self._state is not None:
                    self._state.keep_beside(note, size)  # no later epoch's seal stands for this one
            self._unsent.popleft()
        while self._receipts:
            behind = self._seen - self._receipts[0].head.checkpoint.size
            if self._record is not None and behind < WINDOW and self._record(self._receipts[0]):
                self._own += 1
            self._receipts.popleft()

    # Anchors.

    def _offer(self, note: str, head: Checkpoint, proofs: Mapping[int, list[bytes]] | None = None) -> None:
        """Give a checkpoint to the anchors whose turn it is; the last one to all that do not have it."""
        now = time.monotonic()
        due = self._due(head, now)
        if proofs is None and any(each.proves for each in due):
            with self._fold_lock:
                if self._growth.frontier.size == head.size and not self._torn:
                    proofs = self._prepare_proofs()
                else:  # the tree has grown past an epoch's end; the next checkpoint is theirs
                    due = [each for each in due if not each.proves]
        signed = SignedHead(note, head, partial(self._consistency, proofs or {}, head))
        for publisher in due:
            publisher.offer(signed, now)

    def _due(self, head: Checkpoint, now: float) -> list[Publisher]:
        return [each for each in self._publishers if each.wants(head, now, last=self._closed)]

    def _prepare_proofs(self) -> dict[int, list[bytes]]:
        """Return the proofs that anchors may ask for of the tree as it stands. Under its lock."""
        return self._growth.mark(chain.from_iterable(each.bases() for each in self._publishers if each.proves))

    def _consistency(self, proofs: Mapping[int, list[bytes]], head: Checkpoint, old: int) -> list[bytes]:
        if old in {0, head.size}:
            return []
        if old in proofs:
            return proofs[old]
        if self._prove is None:
            raise AnchorError(f"no proof from {old} to {head.size} records can be made")
        return self._prove(old, head)

    def _take_receipt(self, anchored: Anchored) -> None:
        """In an anchor's thread: keep what it gave in return, and have it recorded while the stream goes on."""
        if self._keep is not None:
            try:
                self._keep(anchored)
            except OSError as error:
                self._report(f"anchor {anchored.anchor}: its receipt cannot be kept: {error.strerror or error}")
        if anchored.recorded and self._record is not None and not self._closed:
            self._receipts.append(anchored)
            self._wake()

    # The tree.

    def _look(self) -> _Present | None:
        """Return how the tree stands; None while it has grown past an epoch that has no final seal yet.

        All of it at once: the next moment the keeper, or a writer that is ahead, may fold more, and find an epoch over.
        """
        with self._fold_lock:
            self._check()
            if self._ended:
                return None
            head = Checkpoint(self.origin, self._growth.frontier.size, self._growth.frontier.root())
            proofs = None
            if any(each.proves for each in self._due(head, time.monotonic())):
                proofs = self._prepare_proofs()
            return _Present(head.size, head.root, self._epoch, proofs)

    def _head(self) -> tuple[int, bytes]:
        with self._fold_lock:
            self._check()
            return self._growth.frontier.size, self._growth.frontier.root()

    def _check(self) -> None:
        if self._torn:
            raise AuditError("hashing was interrupted half-way; no more of this stream is signed")

    def _drain(self, now: float) -> None:
        """Fold what waits into the tree; at the end of an epoch, note how the tree stood there."""
        with self._fold_lock:
            count = len(self._leaves)
            if self._torn:
                self._leaves.take(count)
                self._moments.clear()
                return
            self._torn = True
            if self._epochs is not None:
                before = 0
                for place in range(count):
                    if (moment := self._moments.popleft()) >= self._boundary:
                        self._fold(place - before)
                        before = place
                        self._end_epochs(moment)
                count -= before
            self._fold(count)
            if now >= self._boundary:
                self._end_epochs(now)
            self._torn = False

    def _fold(self, count: int) -> None:
        packed = self._leaves.take(count)
        if self._records is not None:
            self._records.observe(self._growth.frontier.size + 1, packed)
        self._growth.extend(packed)

    def _end_epochs(self, now: float) -> None:
        assert self._epochs is not None
        present = self._epochs.schedule.epoch_at(now)
        size, root = self._growth.frontier.size, self._growth.frontier.root()
        self._ended.extend((epoch, size, root) for epoch in range(self._epoch, present))
        self._enter(present)

    def _enter(self, epoch: int) -> None:
        assert self._epochs is not None
        self._epoch = epoch
        self._boundary = self._epochs.schedule.end(epoch)

    def _abandon(self) -> None:
        """In a forked child: let go of a stream that is the parent's."""
        self._closed = True
        self._leaves, self._put = new_leaves(), _ignore
        self._moments = deque(maxlen=0)
        self._fold_lock = threading.Lock()
        for publisher in self._publishers:
            publisher.abandon()


def _ignore(hash_hex: str) -> None:
    """Take the hash of a record of a stream that is not this process's."""


def _abandon_all() -> None:
    for checkpointer in list(_live):
        checkpointer._abandon()
    _live.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
