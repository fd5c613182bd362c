"""A shipper: takes lines from the journal to one sink, in order, at least once, for as long as it takes.

Each stream has a lane. Only what the far end has confirmed moves a cursor. A sink without acknowledgements
(`Sink.window`) leaves its last bytes unconfirmed; after a broken connection every lane goes back to what is confirmed,
and the far end gets some lines twice rather than not at all.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Final, NamedTuple

from ..context import deliver_for
from ..journal.reader import Position, Stretch
from ..notices import notice
from ..redaction.text import mask_text
from ..sinks.base import Archive, Batch, SealedLine, Sink, SinkUnavailable
from .backoff import Backoff
from .lanes import Lane, Unconfirmed
from .refusals import Refusals
from .source import Source

__all__ = ["Shipper", "SinkHealth"]

_ADOPT_INTERVAL: Final = 5.0
_MOST_LANES: Final = 64
"""Streams on their way at the same time; each holds a file open."""
_PROBE_RECORDS: Final = 16
_SETTLE_INTERVAL: Final = 0.02
_LOOK_INTERVAL: Final = 0.5
"""Seconds between looks at a batch that waits for more."""
_DEGRADED_AFTER: Final = 3.0
_TIMESTAMP: Final = slice(15, 45)
"""Where a line holds its time: `{"@timestamp":"` comes before it."""


class SinkHealth(NamedTuple):
    """How one sink is doing."""

    required: bool
    delivered: int
    """Records confirmed by this process."""
    refused: int
    """Records that the sink refuses for what they are, now in quarantine."""
    failing_since: float | None
    """Unix time of the first failure since data was last confirmed, if it fails."""
    error: str | None
    oldest_unsent: str | None
    """Time of the oldest record that is known not to be confirmed."""
    confirmed: int = 0
    """Number of the last confirmed record of the stream that this process writes; 0 for none."""
    left_out: int = 0
    """Logging calls from inside the sink's own delivery, of which no record was made."""


class Shipper:
    """Ships one journal to one sink, in a thread of its own. Implements `trail.Companion`.

    Args:
        source: where lines come from.
        make_sink: makes the sink; called in the process, and after a fork in the child, that ships.
        required: whether `durability="ack"` waits for this sink.
        route: which records this sink gets, by their lines; all if None. Control records always pass.
        own: returns the id of the stream that this process writes now; None for a shipper beside the writers
            (`otel-audit ship`), which takes live streams too.
        linger: seconds to wait for more records before a batch that is not full is sent; None for what the sink is
            made for.
        poll: seconds between looks at a journal that nobody gives notice of.
        backoff: waits between tries.
        report: told of records put into quarantine: (event name, data).
    """

    def __init__(
        self,
        source: Source,
        make_sink: Callable[[], Sink],
        *,
        name: str,
        required: bool = False,
        route: Callable[[bytes], bool] | None = None,
        own: Callable[[], str] | None = None,
        linger: float | None = None,
        poll: float = 0.2,
        backoff: Backoff | None = None,
        report: Callable[[str, dict[str, Any]], object] | None = None,
    ) -> None:
        self.name = name
        self.required = required
        self._source = source
        self._make_sink = make_sink
        self._route = route
        self._own = own
        self._asked_linger = linger
        self._poll = poll
        self._backoff = backoff or Backoff()
        self._report = report
        self._door: object = None
        self._abandoned: list[Sink | None] = []
        self.timed: Callable[[float], object] | None = None
        """Told, in this shipper's thread, how many seconds each batch took that the sink did not fail at."""
        self._reset()

    def _reset(self) -> None:
        self._sink: Sink | None = None
        self._linger = 0.0
        self._keeps_batches = False
        self._thread: threading.Thread | None = None
        self._starting = threading.RLock()
        self._stop = threading.Event()
        # Unlike an Event, it can be told from a signal handler that came in the middle of telling it.
        self._news: SimpleQueue[None] = SimpleQueue()
        self._urgent: SimpleQueue[None] = SimpleQueue()
        self._waiting = 0
        self._changed = threading.Condition()
        self._lanes: dict[str, Lane] = {}
        self._done: set[str] = set()
        self._unconfirmed = Unconfirmed()
        self._refusals = Refusals(self._source, self.name, self._report)
        self._adopt_at = float("-inf")
        self._probing = False
        self._noted = False
        self._failing_since: float | None = None
        self._error: str | None = None
        self._oldest: str | None = None
        self._delivered = 0
        self._left_out = 0

    def serve(self, door: object) -> None:
        """Be told which door the records come through: what the sink logs while it delivers them is none of them."""
        self._door = door

    def __repr__(self) -> str:
        return f"<Shipper {self.name}>"

    def __str__(self) -> str:
        """Return what a message calls it: the sink, and what it last failed of."""
        return f"sink {self.name}{f' ({self._error})' if self._error else ''}"

    def start(self) -> None:
        """Start the thread, if it does not run."""
        with self._starting:
            if self._stop.is_set():  # else an Event's lock is left alone: a signal handler may come here in the middle
                self._stop.clear()
            if self._thread is not None and self._thread.is_alive():
                return
            thread = threading.Thread(target=self._run, name=f"otel-audit-{self.name}", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is going down: what is in the journal is for the next process
                return
            self._thread = thread

    def notify(self) -> None:
        """Say that there may be something to ship."""
        if self._news.empty():
            self._news.put(None)

    def finish(self) -> None:
        """Look for what there is to ship."""
        self.notify()

    def _hurry(self) -> None:
        """Say that what waits for more records is to wait no longer."""
        self.notify()
        if self._urgent.empty():
            self._urgent.put(None)

    def forget(self) -> None:
        """In a forked child: leave the parent's connection and cursors alone, and start anew when asked to."""
        self._abandoned.append(self._sink)  # kept from the garbage collector: its destructor might say goodbye
        for lane in self._lanes.values():
            lane.cursor.close()
        self._reset()

    def wait_for(self, stream: str, seq: int, deadline: float, *, fast_fail: bool = False) -> bool:
        """Wait until the sink has confirmed a record, at most until the monotonic time `deadline`.

        With `fast_fail`, do not wait for a sink that is known to be down.
        """
        self.start()
        if stream not in self._lanes:
            self._adopt_at = float("-inf")
        with self._changed:
            self._waiting += 1
            self._hurry()
            try:
                while not self._has(stream, seq):
                    left = deadline - time.monotonic()
                    if left <= 0 or self._thread is None or (fast_fail and self._failing_since is not None):
                        return False
                    self._changed.wait(left)
            finally:
                self._waiting -= 1
        return True

    def close(self, timeout: float = 5.0) -> None:
        """Stop, keeping the place where the sink stands; return after `timeout` seconds at the latest.

        A thread that is stuck in its sink ends once it gets out of there; until then it holds its streams' cursors.
        """
        self._stop.set()
        self._hurry()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(0.0, timeout))

    def health(self) -> Mapping[str, SinkHealth]:
        """Return how the sink is doing, under its name."""
        return {self.name: self._health()}

    def troubles(self) -> Mapping[str, Mapping[str, Any]]:
        """Return what the trail should record: a sink that has been failing for some seconds."""
        since = self._failing_since
        if since is None or time.time() - since < _DEGRADED_AFTER:
            return {}
        return {f"sink failing: {self.name}": {"cause": "sink failing", "sink": self.name, "error": self._error}}

    def _health(self) -> SinkHealth:
        refused = self._refusals.count
        lane = None if self._own is None else self._lanes.get(self._own())
        confirmed = 0 if lane is None else lane.confirmed.seq
        return SinkHealth(
            self.required,
            self._delivered,
            refused,
            self._failing_since,
            self._error,
            self._oldest,
            confirmed,
            self._left_out,
        )

    def _has(self, stream: str, seq: int) -> bool:
        lane = self._lanes.get(stream)
        return stream in self._done or (lane is not None and lane.confirmed.seq >= seq)

    def _leave_out(self) -> None:
        self._left_out += 1
        if self._left_out == 1:
            notice(
                f"sink {self.name} logs into the trail that it delivers: no record is made of that, for each batch "
                "would make the next one",
                subject=f"{self.name} logs",
            )

    def _run(self) -> None:
        if self._door is not None:
            deliver_for(self._door, self._leave_out)
        while True:
            while not self._stop.is_set():
                if not self._try_to_ship():
                    self._pause()
            self._leave()
            with self._starting:
                if self._stop.is_set():  # else it was started again in the meantime
                    self._thread = None
                    return

    def _try_to_ship(self) -> bool:
        """Do one round; tell whether there may be more to do at once."""
        try:
            return self._ship_once()
        except SinkUnavailable as error:
            self._rest(error)
        except Exception as error:  # noqa: BLE001 - a sink may raise anything; nothing may stop the shipper
            self._rest(SinkUnavailable(f"{type(error).__name__}: {error}"))
        return True

    def _ship_once(self) -> bool:
        """Send one batch of each stream that has any; tell whether there was anything."""
        self._find_lanes()
        busy = False
        for lane in list(self._lanes.values()):
            busy = self._ship_batch(lane) or busy
            if self._stop.is_set():
                break
        if not busy:
            self._settle()
        return busy

    def _find_lanes(self) -> None:
        own = self._own() if self._own is not None else None
        if own is not None and own not in self._lanes and own not in self._done and own in self._source.streams():
            self._take(own, own=True)
        now = time.monotonic()
        if now < self._adopt_at:
            return
        self._adopt_at = now + _ADOPT_INTERVAL
        streams = self._source.streams()
        self._done.intersection_update(streams)
        for stream in streams:
            if len(self._lanes) >= _MOST_LANES:
                break
            if stream in self._lanes or stream in self._done:
                continue
            if own is None or not self._source.is_live(stream):
                self._take(stream)

    def _take(self, stream: str, *, own: bool = False) -> None:
        cursor = self._source.cursor(self.name, stream)
        if not cursor.acquire():
            return
        if cursor.finished and not own:
            self._done.add(stream)
            cursor.close()
            with self._changed:  # somebody may be waiting for this very stream
                self._changed.notify_all()
        else:
            self._lanes[stream] = Lane(stream, cursor)

    def _ship_batch(self, lane: Lane) -> bool:
        if time.monotonic() < lane.look_at and not self._is_hurried():
            return False
        sink = self._open_sink()
        probes = self._probing and not self._keeps_batches
        most = min(sink.max_records, _PROBE_RECORDS) if probes else sink.max_records  # is it back?
        stretch = self._read(lane, most, sink.max_bytes)
        if stretch is None:
            return self._finish_if_over(lane)
        if self._lingers(lane, stretch, most):
            return False
        batch = Batch(lane.stream, stretch.seqs, stretch.data)
        chosen, size = self._choose(batch)
        self._oldest = oldest = self._unconfirmed.oldest or stretch.data[_TIMESTAMP].decode("ascii", "replace")
        refused = self._refusals.count
        if chosen:
            if self._keeps_batches:
                self._begin(lane, stretch.after.seq)
            began = time.monotonic()
            self._refusals.send(sink, chosen)
            if self.timed is not None:
                self.timed(time.monotonic() - began)
            self._probing = False
        records = len(chosen) - (self._refusals.count - refused)
        self._unconfirmed.add(lane, stretch.after, records, size, oldest)
        self._confirm(sink.window)
        self._save_if_due(lane)
        return True

    def _choose(self, batch: Batch) -> tuple[Sequence[SealedLine], int]:
        """Return the records that this sink gets, and how many bytes they have."""
        if self._route is None:
            return batch, len(batch.data)
        chosen = [one for one in batch if self._route(one.line)]
        return chosen, sum([len(one.line) for one in chosen])

    def _read(self, lane: Lane, most: int, size: int) -> Stretch | None:
        """Return the next lines, or those of the batch that was begun before."""
        if lane.sent == lane.end:
            return None
        if not self._has_begun(lane):
            return self._source.read_stretch(lane.stream, lane.sent, max_records=most, max_bytes=size)
        found: list[Stretch] = []
        at = lane.sent
        while (left := lane.begun - at.seq) > 0:
            stretch = self._source.read_stretch(lane.stream, at, max_records=left, max_bytes=size)
            if stretch is None:
                break
            found.append(stretch)
            at = stretch.after
        if len(found) < 2:
            return found[0] if found else None
        return Stretch(b"".join([one.data for one in found]), [seq for one in found for seq in one.seqs], at)

    def _has_begun(self, lane: Lane) -> bool:
        return self._keeps_batches and lane.begun > lane.sent.seq

    def _begin(self, lane: Lane, last: int) -> None:
        """Note that a batch is on its way. Where that fails, and only after a kill, some lines arrive twice."""
        try:
            lane.begin(last)
        except OSError as error:
            notice(f"sink {self.name}: its place was not kept: {error.strerror or error}", subject="cursor")

    def _lingers(self, lane: Lane, stretch: Stretch, most: int) -> bool:
        """Tell whether a batch waits for more records, and note when to look at it again."""
        now = time.monotonic()
        if self._linger and not self._is_ready(lane, stretch, most):
            lane.due = lane.due or now + self._linger
            if now < lane.due:
                lane.look_at = min(lane.due, now + _LOOK_INTERVAL)
                return True
        lane.due, lane.look_at = None, float("-inf")
        return False

    def _is_ready(self, lane: Lane, stretch: Stretch, most: int) -> bool:
        return (
            self._is_hurried()
            or len(stretch.seqs) == most
            or self._has_begun(lane)
            or self._has_more(lane, stretch.after)  # full by its bytes
            or not self._is_written(lane.stream)
        )

    def _is_hurried(self) -> bool:
        return self._waiting > 0 or self._stop.is_set()

    def _is_written(self, stream: str) -> bool:
        return (self._own is not None and stream == self._own()) or self._source.is_live(stream)

    def _has_more(self, lane: Lane, after: Position) -> bool:
        return self._source.read_stretch(lane.stream, after, max_records=1, max_bytes=1) is not None

    def _finish_if_over(self, lane: Lane) -> bool:
        """Be done with a stream that nobody writes any more, once all of it is confirmed.

        Tells whether it was written to after all, before its writer left.
        """
        if lane.sent != lane.end:
            if self._is_written(lane.stream):
                return False
            if self._has_more(lane, lane.sent):
                return True
            lane.end = lane.sent
        if lane.confirmed == lane.end and self._save(lane, finished=True):
            lane.cursor.close()
            if len(self._lanes) == _MOST_LANES:
                self._adopt_at = float("-inf")
            self._done.add(lane.stream)
            del self._lanes[lane.stream]
            self._tell()
        return False

    def _confirm(self, window: int) -> None:
        confirmed = self._unconfirmed.confirm(window)
        self._oldest = self._unconfirmed.oldest
        self._delivered += confirmed.records
        if confirmed.size:
            self._backoff.reset()
            if self._failing_since is not None or not self._noted:  # a process before may have left bad news
                self._failing_since = self._error = None
                self._note_state()
        self._tell()

    def _settle(self) -> None:
        """Everything is sent: see whether it may be taken for delivered, and keep the place."""
        if self._unconfirmed:
            if not self._open_sink().settled():
                return
            self._confirm(0)
        for lane in self._lanes.values():
            self._save_if_due(lane)

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _save_if_due(self, lane: Lane) -> None:
        if lane.is_due():
            self._save(lane)

    def _save(self, lane: Lane, *, finished: bool = False) -> bool:
        """Keep a lane's place. Where that fails the sink is not to blame: lines would be sent again, no more."""
        try:
            lane.save(finished=finished)
        except OSError as error:
            notice(f"sink {self.name}: its place was not kept: {error.strerror or error}", subject="cursor")
            return False
        return True

    def _pause(self) -> None:
        """Wait for news; while a batch lingers, only until it is time to look at it, for each record is news."""
        looks = [lane.look_at for lane in self._lanes.values() if lane.due is not None]
        lingers = bool(looks) and not self._unconfirmed
        seconds = max(0.0, min(looks) - time.monotonic()) if lingers else self._poll
        with contextlib.suppress(Empty):
            queue = self._urgent if lingers else self._news
            queue.get(timeout=_SETTLE_INTERVAL if self._unconfirmed else seconds)

    def _rest(self, error: SinkUnavailable) -> None:
        """The sink is down: go back to what is confirmed, and wait, longer each time."""
        self._unconfirmed.go_back(self._lanes.values())
        self._close_sink()
        self._probing = True
        said = mask_text(str(error))
        news = said != self._error
        self._error = said
        if self._failing_since is None:
            self._failing_since = time.time()
            notice(f"sink {self.name} is down: {error}; records wait in the journal", subject=self.name)
        if news:
            self._note_state()
        self._tell()
        self._stop.wait(self._backoff.next(error.retry_after))

    def _note_state(self) -> None:
        self._noted = True
        try:
            self._source.note_state(self.name, self._health()._asdict())
        except OSError as error:
            notice(f"the state of sink {self.name} cannot be noted: {error.strerror or error}", subject="state")

    def _open_sink(self) -> Sink:
        if self._sink is None:
            self._sink = sink = self._make_sink()
            self._keeps_batches = isinstance(sink, Archive)
            usual = sink.linger if isinstance(sink, Archive) else 0.0
            self._linger = usual if self._asked_linger is None else self._asked_linger
        return self._sink

    def _close_sink(self) -> None:
        try:
            if self._sink is not None:
                self._sink.close()
        except Exception as error:  # noqa: BLE001 - as for every call of a sink
            notice(f"sink {self.name} was not closed: {type(error).__name__}: {error}", subject=self.name)

    def _leave(self) -> None:
        """Let go of everything: another process, or the next start, takes it up where it is confirmed."""
        self._unconfirmed.go_back(self._lanes.values())
        for lane in self._lanes.values():
            self._save(lane)
            lane.cursor.close()
        self._lanes.clear()
        self._adopt_at = float("-inf")
        self._close_sink()
