"""A shipper: takes lines from the journal to one sink, in order, at least once, for as long as it takes.

For each stream it has a *lane*: what was sent, and what is confirmed. Only what is confirmed moves the cursor. A sink
without acknowledgements (`Sink.window`) leaves its last bytes unconfirmed; after a broken connection every lane goes
back to what is confirmed, and the far end gets some lines twice rather than not at all.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from ..journal.reader import Position, StoredLine
from ..notices import notice
from ..record import Control
from ..sinks.base import RecordsRefused, SealedLine, Sink, SinkUnavailable
from .backoff import Backoff
from .source import CursorLike, Source

__all__ = ["Shipper", "SinkHealth"]

_ADOPT_INTERVAL: Final = 5.0
_SAVE_INTERVAL: Final = 0.5
_PROBE_RECORDS: Final = 16
_SETTLE_INTERVAL: Final = 0.02
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
    """Unix time of the first failure since data was last accepted, if it fails."""
    error: str | None
    oldest_unsent: str | None
    """Time of the oldest record that is known not to be confirmed."""


class _Lane:
    """One stream on its way to the sink."""

    __slots__ = ("confirmed", "cursor", "saved_at", "sent", "unconfirmed", "unconfirmed_bytes")

    def __init__(self, cursor: CursorLike) -> None:
        self.cursor = cursor
        self.sent = self.confirmed = cursor.position
        self.unconfirmed: deque[tuple[Position, int, int]] = deque()
        self.unconfirmed_bytes = 0
        self.saved_at = time.monotonic()

    def confirm(self) -> int:
        """Take all that was sent for delivered; return how many records that were."""
        count = sum(records for _, records, _ in self.unconfirmed)
        self.unconfirmed.clear()
        self.unconfirmed_bytes = 0
        self.confirmed = self.sent
        return count

    def confirm_beyond(self, window: int) -> int:
        """Take for delivered what lies more than `window` bytes behind the last one sent."""
        count = 0
        while self.unconfirmed and self.unconfirmed_bytes - self.unconfirmed[0][2] >= window:
            self.confirmed, records, size = self.unconfirmed.popleft()
            self.unconfirmed_bytes -= size
            count += records
        return count

    def go_back(self) -> None:
        """Send again what is not confirmed."""
        self.sent = self.confirmed
        self.unconfirmed.clear()
        self.unconfirmed_bytes = 0

    def save(self, *, finished: bool = False) -> None:
        """Make the cursor stand at what is confirmed."""
        if self.cursor.position != self.confirmed or finished:
            self.cursor.move(self.confirmed, finished=finished)
        self.saved_at = time.monotonic()


class Shipper:
    """Ships one journal to one sink, in a thread of its own. Implements `trail.Companion`.

    Args:
        source: where lines come from.
        make_sink: makes the sink; called in the process, and after a fork in the child, that ships.
        required: whether `durability="ack"` waits for this sink.
        route: which records this sink gets, by their parsed form; all if None. Control records always pass.
        own: returns the id of the stream that this process writes now; None for a shipper beside the writers
            (`otel-audit ship`), which takes live streams too.
        fast_fail: let callers under `ack` fail at once while the sink is known to be down.
        linger: seconds to wait for more records before a batch that is not full is sent.
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
        fast_fail: bool = False,
        linger: float = 0.0,
        poll: float = 0.2,
        backoff: Backoff | None = None,
        report: Callable[[str, dict[str, Any]], object] | None = None,
    ) -> None:
        self.name = name
        self.required = required
        self.fast_fail = fast_fail
        self._source = source
        self._make_sink = make_sink
        self._route = route
        self._own = own
        self._linger = linger
        self._poll = poll
        self._backoff = backoff or Backoff()
        self._report = report
        self._abandoned: list[Sink | None] = []
        self._reset()

    def _reset(self) -> None:
        self._sink: Sink | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._news = threading.Event()
        self._changed = threading.Condition()
        self._lanes: dict[str, _Lane] = {}
        self._done: set[str] = set()
        self._adopted_at = float("-inf")
        self._failing_since: float | None = None
        self._error: str | None = None
        self._delivered = self._refused = 0

    def __repr__(self) -> str:
        return f"<Shipper {self.name}>"

    def start(self) -> None:
        """Start the thread, if it does not run."""
        if self._thread is None or not self._thread.is_alive():
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name=f"otel-audit-{self.name}", daemon=True)
            self._thread.start()

    def notify(self) -> None:
        """Say that there may be something to ship."""
        self._news.set()

    def finish(self) -> None:
        """Look for what there is to ship."""
        self._news.set()

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
        self._news.set()
        with self._changed:
            while not self._has(stream, seq):
                left = deadline - time.monotonic()
                if left <= 0 or (fast_fail and self._failing_since is not None):
                    return False
                self._changed.wait(left)
        return True

    def close(self) -> None:
        """Stop the thread; keep the place where the sink stands."""
        self._stop.set()
        self._news.set()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(15.0)

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
        oldest = min((when for lane in list(self._lanes.values()) if (when := self._oldest(lane))), default=None)
        return SinkHealth(self.required, self._delivered, self._refused, self._failing_since, self._error, oldest)

    def _oldest(self, lane: _Lane) -> str | None:
        for stream, known in list(self._lanes.items()):
            if known is lane:
                lines = self._source.read(stream, lane.confirmed, max_records=1, max_bytes=1)
                return lines[0].line[_TIMESTAMP].decode("ascii", "replace") if lines else None
        return None

    def _has(self, stream: str, seq: int) -> bool:
        lane = self._lanes.get(stream)
        return stream in self._done or (lane is not None and lane.confirmed.seq >= seq)

    def _run(self) -> None:
        while not self._stop.is_set():
            if not self._try_to_ship():
                self._wait_for_news()
        self._leave()

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
        for stream, lane in list(self._lanes.items()):
            busy = self._ship_batch(stream, lane) or busy
            if self._stop.is_set():
                break
        if not busy:
            self._settle()
        return busy

    def _find_lanes(self) -> None:
        own = self._own() if self._own is not None else None
        if own is not None and own not in self._lanes and own not in self._done and own in self._source.streams():
            self._take(own)
        now = time.monotonic()
        if now - self._adopted_at < _ADOPT_INTERVAL:
            return
        self._adopted_at = now
        for stream in self._source.streams():
            if stream in self._lanes or stream in self._done:
                continue
            if own is None or not self._source.is_live(stream):
                self._take(stream)

    def _take(self, stream: str) -> None:
        cursor = self._source.cursor(self.name, stream)
        if not cursor.acquire():
            return
        if cursor.finished:
            self._done.add(stream)
            cursor.close()
        else:
            self._lanes[stream] = _Lane(cursor)

    def _ship_batch(self, stream: str, lane: _Lane) -> bool:
        sink = self._open_sink()
        most = sink.max_records if self._failing_since is None else min(sink.max_records, _PROBE_RECORDS)
        over = not self._is_live(stream)  # asked before reading: what a dead writer wrote is all there now
        lines = self._source.read(stream, lane.sent, max_records=most, max_bytes=sink.max_bytes)
        if not lines:
            if over and lane.confirmed == lane.sent:
                self._finish(stream, lane)
            return False
        if self._linger and len(lines) < most and self._stop.wait(self._linger):
            return True
        chosen = [SealedLine(stream, one.seq, one.line) for one in lines if self._passes(one)]
        if chosen:
            self._deliver(sink, chosen)
        self._advance(lane, lines, sink.window)
        return True

    def _is_live(self, stream: str) -> bool:
        return (self._own is not None and stream == self._own()) or self._source.is_live(stream)

    def _passes(self, one: StoredLine) -> bool:
        return self._route is None or self._route(one.line)

    def _deliver(self, sink: Sink, batch: list[SealedLine]) -> None:
        """Send a batch; where records are refused for what they are, put those aside and send the rest."""
        try:
            sink.send(batch)
        except RecordsRefused as refusal:
            if refusal.ids is not None:
                for one in batch:
                    if one.id in refusal.ids:
                        self._put_aside(one, refusal)
            elif len(batch) == 1:
                self._put_aside(batch[0], refusal)
            else:
                middle = len(batch) // 2
                self._deliver(sink, batch[:middle])
                self._deliver(sink, batch[middle:])

    def _put_aside(self, one: SealedLine, refusal: RecordsRefused) -> None:
        self._source.quarantine(self.name, one.line, str(refusal))
        self._refused += 1
        notice(f"sink {self.name} refuses record {one.id}: {refusal}; it is in quarantine", subject=self.name)
        if self._report is not None:
            details = {"cause": "record refused", "sink": self.name, "record": one.id, "reason": str(refusal)[:512]}
            self._report(Control.DEGRADED, details)

    def _advance(self, lane: _Lane, lines: list[StoredLine], window: int) -> None:
        lane.sent = lines[-1].after
        size = sum(len(one.line) for one in lines)
        lane.unconfirmed.append((lane.sent, len(lines), size))
        lane.unconfirmed_bytes += size
        self._delivered += lane.confirm_beyond(window) if window else lane.confirm()
        self._accepted()
        if time.monotonic() - lane.saved_at > _SAVE_INTERVAL:
            lane.save()

    def _accepted(self) -> None:
        if self._failing_since is not None:
            self._failing_since = self._error = None
            self._note_state()
        self._backoff.reset()
        with self._changed:
            self._changed.notify_all()

    def _settle(self) -> None:
        """Everything is sent: see whether it may be taken for delivered, and keep the place."""
        sink = self._sink
        if sink is not None and sink.window and any(lane.unconfirmed for lane in self._lanes.values()):
            if not sink.settled():
                return
            for lane in self._lanes.values():
                self._delivered += lane.confirm()
        for lane in self._lanes.values():
            lane.save()
        with self._changed:
            self._changed.notify_all()

    def _finish(self, stream: str, lane: _Lane) -> None:
        lane.save(finished=True)
        lane.cursor.close()
        del self._lanes[stream]
        self._done.add(stream)
        with self._changed:
            self._changed.notify_all()

    def _wait_for_news(self) -> None:
        waiting = any(lane.unconfirmed for lane in self._lanes.values())
        self._news.wait(_SETTLE_INTERVAL if waiting else self._poll)
        self._news.clear()

    def _rest(self, error: SinkUnavailable) -> None:
        """The sink is down: go back to what is confirmed, and wait, longer each time."""
        for lane in self._lanes.values():
            lane.go_back()
        if self._sink is not None:
            self._sink.close()
        self._error = str(error)
        if self._failing_since is None:
            self._failing_since = time.time()
            notice(f"sink {self.name} is down: {error}; records wait in the journal", subject=self.name)
        self._note_state()
        with self._changed:
            self._changed.notify_all()
        self._stop.wait(self._backoff.next(error.retry_after))

    def _note_state(self) -> None:
        try:
            self._source.note_state(self.name, self._health()._asdict())
        except OSError as error:
            notice(f"the state of sink {self.name} cannot be noted: {error.strerror or error}", subject="state")

    def _open_sink(self) -> Sink:
        if self._sink is None:
            self._sink = self._make_sink()
        return self._sink

    def _leave(self) -> None:
        try:
            for lane in self._lanes.values():
                lane.save()
                lane.cursor.close()
        except OSError as error:
            notice(f"sink {self.name}: its place was not kept: {error.strerror or error}", subject="cursor")
        self._lanes.clear()
        if self._sink is not None:
            self._sink.close()
