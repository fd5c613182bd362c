"""One process's stream: records take their place in order of arrival, are sealed and written.

Encoding happens before, in the caller's thread and outside any lock. Here a caller appends its record to a deque;
whoever gets the lock seals and writes all that waits. `relaxed` only tries the lock: the thread that holds it takes
the record along on its way out. The other levels wait until their own line is written, `always` until it is durable.

A write can be cut short anywhere, by Ctrl-C for one. Nothing is mended on the way out, where the next Ctrl-C would
cut that short as well: what is under way is noted before, and whoever comes next leaves the stream that is in doubt.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from itertools import repeat
from typing import Any, Final, TypeAlias, TypeVar

from .chain import new_stream_id
from .door import timestamp
from .durability import Durability, FailurePolicy, Receipt
from .errors import RecordLost
from .forking import survive_forks
from .offspring import Birth, Offspring
from .record import Control
from .sealing import new_chain
from .store import Store
from .waiting import Bound, Gap, Waiting

__all__ = ["Stream"]

T = TypeVar("T")

_MOST_PER_WRITE: Final = 512
_MOST_WAITING: Final = 16_384
"""Records that `relaxed` leaves to a thread whose write does not come to an end; what comes then waits for it."""
_get_ident = threading.get_ident

_RETRY_INTERVAL: Final = 0.05
_SHORTEST_PAUSE: Final = 0.0003
_LONGEST_PAUSE: Final = 0.01


_Written: TypeAlias = tuple[Receipt, bytes]
"""Where a record stands, and its line."""


class Stream:
    """Appends records to one stream after another: a new one per process, and after each `close`.

    Args:
        store: where lines go.
        control: encodes a control record: (event name, data, action) -> head.
        describe: returns the data of `audit.stream.open`, but for what the stream itself knows.
        durability: when `append` returns.
        policy: what a caller sees of a failure.
        warn: told, in words, of each loss under the policy `warn`.
        forked: called in a forked child, once the stream there is a new one.
    """

    def __init__(
        self,
        store: Store,
        *,
        control: Callable[..., bytes],
        describe: Callable[[], dict[str, Any]],
        durability: Durability = "process",
        policy: FailurePolicy | None = None,
        warn: Callable[[str], None],
        forked: Callable[[], None] | None = None,
    ) -> None:
        self.store = store
        self.durability = durability
        self.lost = 0
        self._control = control
        self._describe = describe
        self._policy = policy or FailurePolicy()
        self._warn = warn
        self._forked = forked
        # `block` promises an answer, so that it has to wait for one.
        self._waits = durability != "relaxed" or self._policy.on_failure == "block"
        self._syncs = durability == "always"
        self._parent: dict[str, Any] | None = None
        self._birth: Birth | None = None
        self._follow: Callable[[str], Callable[[int, str], None]] | None = None
        self._observe: Callable[[int, str], None] | None = None
        self._reset(new_stream_id())
        survive_forks(self)

    def _reset(self, stream: str) -> None:
        self._chain = new_chain(stream)
        self._opened = False
        self._plain = False
        self._waiting: deque[Waiting] = deque()
        self._under_way: list[Waiting] = []
        self._head: bytes | None = None
        self._in_doubt = False
        self._lock = threading.Lock()
        self._holder = 0
        self._stillness: Generator[None, None, None] | None = None
        self._gap = Gap()
        self._offspring = Offspring()
        self._expected: Birth | None = None

    @property
    def id(self) -> str:
        """The id of the stream that the next record goes to."""
        return self._chain.stream

    @property
    def records(self) -> int:
        """How many records the stream holds: the last one's `seq`."""
        return self._chain.seq

    @property
    def last_hash(self) -> str | None:
        """The last record's hash."""
        return self._chain.last_hash

    @property
    def undeclared(self) -> int:
        """How many records were lost that no gap record tells of yet."""
        return self._gap.count

    @property
    def waiting(self) -> int:
        """How many records wait to be written."""
        return len(self._waiting)

    def follow(self, follow: Callable[[str], Callable[[int, str], None]]) -> None:
        """Have each new stream's records told, in order: `follow(stream)` returns what takes (seq, hash) of each.

        Both are called under the stream's lock: they must do next to nothing, and not raise. Called again, it has
        the records told to both.
        """
        before = self._follow
        self._follow = follow if before is None else lambda stream: _both(before(stream), follow(stream))

    def append(self, head: bytes) -> Receipt:
        """Give a record its place and write it, even under `relaxed`; return where it stands.

        Raises:
            RecordLost: it could not be kept, and the policy is `raise`, or `block` and the time is up.
        """
        done = self._take(head)
        if not isinstance(done, Waiting):
            receipt = done[0]
        else:
            if done.error is not None:
                self._answer_for(done)
            receipt = done.place or Receipt(self._chain.stream, None, None)
        if self._syncs and receipt.seq is not None:
            self._make_durable()
        return receipt

    def append_within(self, stream: str, head: bytes) -> bool:
        """Write a record into this stream; False, and nothing written, if it is over or the write failed.

        Raises:
            RuntimeError: as `exclusively`.
        """
        return self.exclusively(lambda: self._append_within(stream, head))

    def _append_within(self, stream: str, head: bytes) -> bool:
        self._drain()
        if not self._opened or self._chain.stream != stream:
            return False
        record = Bound(head)
        self._under_way.append(record)
        self._write()
        return record.place is not None

    def seal(self, head: bytes) -> bytes | None:
        """Give a record its place, write it, even under `relaxed`, and return its line; `settle` waits for the disk.

        Two steps, so that a caller who orders what it does with the line need not hold its lock over an fsync. None
        if the record has no place yet (see `Receipt`).

        Raises:
            RecordLost: it could not be kept, whatever the policy.
        """
        done = self._take(head)
        if not isinstance(done, Waiting):
            return done[1]
        if done.error is not None:
            self._answer_for(done, demanded=True)
        return done.line if done.place is not None else None

    def settle(self) -> None:
        """Return when what was sealed is as durable as the durability level says.

        Raises:
            RecordLost: it is written but not durable, and the policy says to raise.
        """
        if self._syncs and not self._is_inside():
            self._make_durable()

    def put(self, head: bytes) -> None:
        """Have a record written; return when the durability level says so.

        Raises:
            RecordLost: as for `append`; never under `relaxed` while another thread writes.
        """
        done = self._take(head, waits=self._waits)
        if isinstance(done, Waiting) and done.error is not None:
            self._answer_for(done)
        if self._syncs and not self._is_inside():
            self._make_durable()

    def _take(self, head: bytes, *, waits: bool = True) -> _Written | Waiting:
        """Write one record if nothing else is to be done, or hand it over; return what became of it."""
        done: _Written | Waiting
        if not self._plain or self._waiting or self._lock.locked():
            done = self._hand_over(head, waits=waits)
        else:
            thread = _get_ident()  # before: a signal handler can come behind a call, and must find who holds the lock
            with self._lock:  # unlike `acquire`, nothing can come between taking it and the promise to release it
                try:
                    self._holder = thread
                    if self._plain and self._head is None:
                        self._head = head
                        chain = self._chain
                        before = chain.last
                        try:
                            line = chain.seal(head)
                            self.store.append(line)
                        except OSError as error:
                            done = Waiting(head)
                            self._undo([done], before, error)
                        else:
                            if self._observe is not None:
                                self._observe(chain.seq, chain.last_hash or "")
                            done = chain.last, line
                            self._head = None
                    else:
                        done = Waiting(head)
                        self._waiting.append(done)
                        self._drain()
                finally:
                    self._holder = 0
        if self._waiting:
            self._drain_unless_held()
        return done

    def _hand_over(self, head: bytes, *, waits: bool) -> Waiting:
        """Leave a record to whoever writes, this thread if there is no other; wait until it is dealt with, if asked.

        A thread that finds another one writing does not wait for the lock: that would be handed to it asleep, and
        every record after that would cost a change of threads. It sleeps, long enough for the other one to get on
        without it: each thread that is awake wants the interpreter at each write.
        """
        waiting = Waiting(head)
        self._waiting.append(waiting)
        pause = _SHORTEST_PAUSE
        while (waits or len(self._waiting) > _MOST_WAITING) and not waiting.is_over and not self._is_inside():
            if self._lock.locked():
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._drain_waiting()
        return waiting

    def _is_inside(self) -> bool:
        """Tell whether this thread is in the middle of a write, and a signal handler or `__del__` came here."""
        return self._holder == _get_ident() and self._lock.locked()

    def _drain_waiting(self) -> None:
        if self._is_inside():
            return  # called from inside our own write, by a signal handler or __del__: it is taken along
        thread = _get_ident()
        with self._lock:
            try:
                self._holder = thread
                self._drain()
            finally:
                self._holder = 0

    def _drain_unless_held(self) -> None:
        # Looked at again after each release: what came while we held the lock was left to us.
        while self._waiting and not self._lock.locked():
            self._drain_waiting()

    def _drain(self) -> None:
        if self._in_doubt or self._head is not None:
            self._leave()
        waiting = self._waiting
        while waiting or self._under_way:
            if not self._under_way:
                count = min(len(waiting), _MOST_PER_WRITE)
                # In one step: no signal handler runs between taking records from one place and having them in another.
                self._under_way.extend(map(deque.popleft, repeat(waiting, count)))
            self._write()

    def _write(self) -> None:
        """Write what is under way, behind the gap record that is owed."""
        self._in_doubt, self._plain = True, False
        batch, chain = self._under_way, self._chain
        before = chain.last
        try:
            if not self._opened:
                self._open()
                before = chain.last
            lines = []
            if self._gap.count:
                lines.append(chain.seal(self._gap_head()))
            seal = chain.seal
            for one in batch:
                one.line = seal(one.head)
                lines.append(one.line)
                one.place = chain.last
            self.store.append(lines[0] if len(lines) == 1 else b"".join(lines))
        except OSError as error:
            self._undo(batch, before, error)
            return
        for one in batch:
            one.is_over = True
        if self._observe is not None:
            self._tell(self._observe, before.seq or 0, lines)
        self._gap.count = self._gap.first = 0
        self._under_way, self._in_doubt, self._plain = [], False, self._opened

    def _undo(self, batch: list[Waiting], before: Receipt, error: OSError) -> None:
        """Take back what was sealed and could not be written. To be called with `_in_doubt` or `_head` still set."""
        self._chain.rewind(before)
        for one in batch:
            one.place, one.error = None, error
            self._count_loss(error)
            one.is_over = True
        self._under_way, self._head, self._in_doubt, self._plain = [], None, False, False

    def _leave(self) -> None:
        """Leave a stream whose end is in doubt: the next one reads where it ended, and takes along what was under way.

        What was under way may have been written after all; then it is recorded twice, rather than not at all.
        """
        with contextlib.suppress(OSError):
            self.store.end()
        if self._head is not None:
            self._under_way = [Waiting(self._head)]
        self._under_way = [one for one in self._under_way if not isinstance(one, Bound)]
        for one in self._under_way:
            one.place = None
        self._opened = self._plain = False
        self._chain, self._head, self._in_doubt = new_chain(new_stream_id()), None, False
        self._offspring = Offspring()

    @staticmethod
    def _tell(observe: Callable[[int, str], None], seq: int, lines: list[bytes]) -> None:
        for line in lines:
            seq += 1
            digest = line[-67:-3].decode()
            observe(seq, digest)

    def _open(self) -> None:
        chain = self._chain
        if self._birth is not None:
            self._birth.open()
        endings = self.store.begin(chain.stream)
        data = {**self._describe(), "previous": [ending.as_json() for ending in endings]}
        if self._parent is not None:
            data["parent"] = self._parent
        before = chain.last
        line = chain.seal(self._control(Control.STREAM_OPEN, data, action="OPEN"))
        try:
            self.store.append(line)
        except OSError:
            chain.rewind(before)
            raise
        self._opened = True
        if self._follow is not None:
            self._observe = self._follow(chain.stream)
            self._tell(self._observe, 0, [line])
        with contextlib.suppress(OSError):  # then the next stream declares them too, which does no harm
            self.store.declared(endings)

    def _gap_head(self) -> bytes:
        gap = self._gap
        data = {
            "count": gap.count,
            "from": timestamp(gap.first),
            "to": timestamp(gap.last),
            "reason": gap.reason,
        }
        return self._control(Control.GAP, data, action="LOSE")

    def _count_loss(self, error: OSError) -> None:
        if self._policy.on_failure != "block":
            self._note_loss(error)

    def _note_loss(self, error: OSError) -> None:
        self.lost += 1
        self._gap.note(error)

    def _answer_for(self, waiting: Waiting, *, demanded: bool = False) -> None:
        """Do what the policy says about a record that was not kept; if its line is demanded, raise at any rate."""
        if self._policy.on_failure == "block" and self._retry(waiting):
            return
        error = waiting.error
        reason = _say(error)
        if self._policy.on_failure == "block":
            self.exclusively(lambda: self._note_loss(error or OSError(reason)))
        if self._policy.on_failure == "warn" and not demanded:
            self._warn(f"an audit record was lost: {reason}; the loss will stand in an audit.gap record")
            return
        raise RecordLost(
            f"an audit record was lost: {reason}. The loss is counted and will stand in an audit.gap record "
            "once the journal can be written again."
        ) from error

    def _retry(self, waiting: Waiting) -> bool:
        deadline = time.monotonic() + self._policy.block_timeout
        pause = threading.Event()  # never set: a wait that holds no lock
        while waiting.error is not None and time.monotonic() < deadline:
            pause.wait(_RETRY_INTERVAL)
            waiting.error, waiting.is_over = None, False
            self._waiting.append(waiting)
            self._drain_waiting()
        return waiting.error is None

    def _make_durable(self) -> None:
        try:
            self.store.sync(self.store.written)
        except OSError as error:
            self._repair(error)

    def sync(self) -> None:
        """Make everything written durable; a file that fails at this is left behind, and a record says so."""
        try:
            self.store.sync()
        except OSError as error:
            self._repair(error)

    def _repair(self, failure: OSError) -> None:
        try:
            self.exclusively(self.store.repair)
        except OSError as error:
            self._warn(f"the audit journal cannot be made durable: {error.strerror or error}; it will be retried")
            if self._policy.on_failure != "warn" and self._syncs:
                raise RecordLost(f"the record is written but not durable: {error.strerror or error}") from error
            return
        self.append(self._sync_failure(failure))

    def _sync_failure(self, failure: OSError) -> bytes:
        data = {"cause": "sync failed", "reason": failure.strerror or str(failure)}
        return self._control(Control.DEGRADED, data, action="DEGRADE")

    def fill_gap(self) -> None:
        """Try to write what is owed: records left behind, and the gap record of a loss that is over."""
        self.exclusively(self._fill_gap)

    def _fill_gap(self) -> None:
        self._drain()
        if self._gap.count:
            self._write()

    def exclusively(self, work: Callable[[], T]) -> T:
        """Run something while no record can be written. It must not append.

        Raises:
            RuntimeError: this thread is in the middle of a write, and a signal handler or `__del__` came here.
        """
        if self._is_inside():
            raise RuntimeError("the audit trail is in the middle of a write; do this from outside of it")
        thread = _get_ident()
        try:
            with self._lock:
                try:
                    self._holder = thread
                    return work()
                finally:
                    self._holder = 0
        finally:
            if self._waiting:  # who came in the meantime has left its record to us
                self._drain_unless_held()

    def close(self) -> tuple[str, int]:
        """Write what waits, say how many records there are, make it durable; return the stream and its last number.

        The next record opens a new stream.
        """
        return self.exclusively(self._close)

    def _close(self) -> tuple[str, int]:
        try:
            self._drain()
            if self._opened:
                self._write_the_end()
                self._end()
            return self._chain.stream, self._chain.seq
        finally:
            self._chain = new_chain(new_stream_id())
            self._opened = self._plain = False
            self._parent = self._birth = None
            self._offspring = Offspring()

    def _write_the_end(self) -> None:
        try:
            try:
                self.store.sync()
            except OSError as error:  # `end` repairs it; said before the last record, while it can be said
                self._under_way = [Waiting(self._sync_failure(error))]
                self._write()
            owed = 1 if self._gap.count else 0  # a gap record goes before this one, in the same write
            data: dict[str, Any] = {"records": self._chain.seq + owed + 1, "lost": self.lost}
            if silent := self._offspring.silent():
                data["never_opened"] = silent
            self._under_way = [Waiting(self._control(Control.STREAM_CLOSE, data, action="CLOSE"))]
            self._write()
        except BaseException:
            self._under_way = []  # no stream but this one can be closed by that record
            raise

    def _end(self) -> None:
        try:
            self.store.end()
        except OSError as error:
            self._warn(f"the end of the audit journal could not be made durable: {error.strerror or error}")

    def stand_still(self) -> None:
        """Before a fork: let no thread be in the middle of a record."""
        if not self._is_inside():
            stillness = self._keep_still()
            next(stillness)
            self._stillness = stillness  # not before: until now it may be another thread that forks
            self._expected = self._offspring.reserve() if self._opened else None

    def _keep_still(self) -> Generator[None, None, None]:
        thread = _get_ident()
        with self._lock:
            try:
                self._holder = thread  # so that what a signal handler of this thread records is taken along by `go_on`
                with self.store.lock:
                    yield
            finally:
                self._holder = 0

    def go_on(self, child: str) -> None:
        """In the parent: note that a child was made, whose stream will be `child`."""
        stillness, self._stillness = self._stillness, None
        birth, self._expected = self._expected, None
        if birth is not None:
            self._offspring.expect(child, birth)
        if stillness is not None:
            next(stillness, None)
        if self._waiting:
            self._drain_unless_held()
        if self._opened:
            self.append(self._control(Control.STREAM_FORK, {"child": child}, action="FORK"))

    def start_anew(self, child: str) -> None:
        """In the child: a stream of its own, opened with its first record, that names its parent."""
        if self._opened:
            self._parent = {
                "stream": self._chain.stream,
                "seq": self._chain.seq,
                "hash": self._chain.last_hash,
            }
        self._birth = self._expected
        if self._birth is not None:
            self._birth.enter()
        for one in (*self._waiting, *self._under_way):
            one.is_over = True  # the parent writes it; here nobody is to wait for it
        self.lost = 0
        self.store.forget()
        self._reset(child)
        if self._forked is not None:
            self._forked()


def _say(error: OSError | None) -> str:
    """Say what went wrong, and with which file if it is one that could not be made or opened."""
    said = getattr(error, "strerror", None) or str(error)
    return f"{error.filename}: {said}" if error is not None and error.filename else said


def _both(one: Callable[[int, str], None], other: Callable[[int, str], None]) -> Callable[[int, str], None]:
    def observe(seq: int, digest: str) -> None:
        one(seq, digest)
        other(seq, digest)

    return observe
