"""The audit trail: the road from an event to its record, assembled, and what watches over it.

Its keeper makes the journal durable within its interval, writes heartbeats, looks whether somebody touched the journal
behind our back, and whether loggers that used to speak were silenced.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol

from . import __version__
from .canonical import parse
from .door import Door
from .durability import Durability, FailurePolicy, Receipt
from .errors import DeliveryTimeout
from .fields import as_members
from .journal.writer import JournalWriter
from .keeper import Duties, Intervals, Keeper, attempt
from .notices import notice
from .record import FORMAT, Control
from .store import Store
from .stream import Stream

__all__ = ["AuditTrail", "Companion", "Health", "Watch", "describe_process"]

_now: Final = time.monotonic
_FAREWELL: Final = 0.5
"""Seconds that a companion has to stop in, though the time for closing is up."""


class Health(NamedTuple):
    """How the trail is doing."""

    stream: str
    records: int
    lost: int
    waiting: int
    degraded: tuple[str, ...]
    sinks: Mapping[str, Any]

    @property
    def ok(self) -> bool:
        """Whether nothing was lost and nothing is degraded."""
        return self.lost == 0 and not self.degraded


class Watch(Protocol):
    """Something that the keeper asks, each tick, what is wrong: a key for each trouble -> cause and details."""

    def __call__(self) -> Mapping[str, Mapping[str, Any]]:
        """Return what is wrong now."""


class Companion(Protocol):
    """What runs beside the stream as long as the trail lives: a shipper, the checkpointer."""

    required: bool
    """Whether `durability="ack"` waits for it."""

    def start(self) -> None:
        """Begin work in this process; called again in a forked child, once it writes records."""

    def notify(self) -> None:
        """There may be something to do. Must cost next to nothing."""

    def finish(self) -> None:
        """The stream is about to be flushed or closed: add to it what should still stand in it."""

    def wait_for(self, stream: str, seq: int, deadline: float, *, fast_fail: bool = False) -> bool:
        """Wait until it has dealt with this record; False if that was not by the monotonic time `deadline`."""

    def forget(self) -> None:
        """In a forked child: drop everything that belongs to the parent."""

    def close(self, timeout: float) -> None:
        """Stop; return after `timeout` seconds at the latest. May be called again, to wait for longer."""


class AuditTrail:
    """Everything that one process records. Thread-safe; survives a fork; closing it is not final.

    Built by `otel_audit.configure`; built by hand in tests.
    """

    def __init__(
        self,
        store: Store,
        *,
        door: Door | None = None,
        durability: Durability = "process",
        policy: FailurePolicy | None = None,
        intervals: Intervals | None = None,
        service: Mapping[str, Any] | None = None,
        config_digest: str = "",
        ack_timeout: float = 10.0,
        fast_fail: bool = False,
    ) -> None:
        self.door = door or Door()
        self.durability: Durability = durability
        self.intervals = intervals or Intervals()
        self._service = dict(service or {})
        self._config_digest = config_digest
        self._companions: tuple[Companion, ...] = ()
        self._introduction: dict[str, Any] = {}
        self._attached: Callable[[str], Mapping[str, Any]] | None = None
        self._on_failure = (policy or FailurePolicy()).on_failure
        self._acks = durability == "ack"
        self.waits = durability in {"ack", "always"}
        """Whether a record just sealed is less safe than the durability level says, so that `settle` has to wait."""
        self._ack_timeout = ack_timeout
        self._fast_fail = fast_fail
        self._watches: tuple[Watch, ...] = ()
        self._degraded: dict[str, Mapping[str, Any]] = {}
        self._closes_in = 0
        self.stream = Stream(
            store,
            control=self._control,
            describe=self._describe,
            durability="process" if durability == "ack" else durability,
            policy=policy,
            warn=self._warn,
            forked=self._forget,
        )
        duties = Duties(
            prepare=self._prepare,
            begin=self._begin,
            sync=self.stream.sync,
            synced=self._notify,
            look=self._look,
            beat=self._beat,
        )
        self._keeper = Keeper(self.intervals, duties)

    def __repr__(self) -> str:
        return f"<AuditTrail stream={self.stream.id} records={self.stream.records}>"

    def record(
        self,
        event_name: str,
        audit: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        nanoseconds: int | None = None,
    ) -> Receipt:
        """Record one event; return where it stands.

        Args:
            event_name: what happened: low-cardinality, dotted, without the outcome.
            audit: who, on what, with which outcome: members as `otel_audit.record` takes them.
            data: anything else.
            nanoseconds: when it happened, Unix time in ns; now if None.

        Raises:
            RecordLost: it could not be kept, and the failure policy says to raise.
        """
        members = data if data is None or type(data) is dict else as_members(data)
        return self._append(self.door.admit(event_name, audit, members, nanoseconds))

    def record_control(self, event_name: str, data: dict[str, Any], *, action: str) -> Receipt:
        """Write a control record. It waits for no sink: the sink's own thread may be the one that writes it."""
        receipt = self.stream.append(self._control(event_name, data, action=action))
        if _now() > self._keeper.due:
            self._keeper.attend()
        return receipt

    def record_within(self, stream: str, event_name: str, data: dict[str, Any], *, action: str) -> bool:
        """Write a control record that is about one stream into that stream; False if it is over, or cannot be written.

        It waits for no sink.
        """
        written = self.stream.append_within(stream, self._control(event_name, data, action=action))
        if written and _now() > self._keeper.due:
            self._keeper.attend()
        return written

    def keep(self, head: bytes) -> None:
        """Seal and write a head that the door made; return when the durability level says so.

        Raises:
            RecordLost: it could not be kept, and the failure policy says to raise.
        """
        if self._acks:
            self._append(head)
            return
        try:
            self.stream.put(head)
        finally:  # what could not be kept is owed a gap record
            if _now() > self._keeper.due:
                self._keeper.attend()

    def seal(self, head: bytes) -> bytes | None:
        """Seal and write a head that the door made, and return its line; `settle` then waits as `keep` does.

        None if it was logged from inside the write of another record: it is kept, but has no place yet.

        Raises:
            RecordLost: it could not be kept, whatever the failure policy.
        """
        line = self.stream.seal(head)
        if _now() > self._keeper.due:
            self._keeper.attend()
        return line

    def settle(self, line: bytes) -> None:
        """Return when a sealed record is as safe as the durability level says.

        Raises:
            RecordLost: it is written but not durable, and the failure policy says to raise.
            DeliveryTimeout: a required sink did not confirm it in time, and the failure policy says to raise.
        """
        self.stream.settle()
        if self._acks:
            record = parse(line)
            self._await_delivery(record["stream"], record["seq"])

    def _append(self, head: bytes) -> Receipt:
        try:
            receipt = self.stream.append(head)
        finally:
            if _now() > self._keeper.due:
                self._keeper.attend()
        if self._acks and receipt.seq is not None:
            self._await_delivery(receipt.stream, receipt.seq)
        return receipt

    def _await_delivery(self, stream: str, seq: int) -> None:
        deadline = time.monotonic() + self._ack_timeout
        late = [
            companion
            for companion in self._companions
            if companion.required and not companion.wait_for(stream, seq, deadline, fast_fail=self._fast_fail)
        ]
        if not late:
            return
        message = f"{', '.join(map(str, late))} did not confirm record {stream}-{seq} within {self._ack_timeout:g} s"
        if self._on_failure == "warn":
            notice(f"{message}; it is in the journal and will be sent", subject="ack")
            return
        raise DeliveryTimeout(f"{message}. The record is in the journal and will be sent when the sink is back.")

    def accompany(self, companion: Companion) -> None:
        """Have something run beside the stream. To be called before the first record."""
        self._companions = (*self._companions, companion)
        serve: Callable[[Door], None] | None = getattr(companion, "serve", None)
        if serve is not None:
            serve(self.door)
        troubles: Watch | None = getattr(companion, "troubles", None)
        if troubles is not None:
            self.watch(troubles)

    def introduce(self, **facts: Any) -> None:
        """Have each stream's first record say more. To be called before the first record."""
        self._introduction.update(facts)

    def attach(self, attached: Callable[[str], Mapping[str, Any]]) -> None:
        """Have each control record's data say more: what `attached(event name)` returns when the record is made.

        To be called before the first record. For `audit.stream.open` it is called under the stream's lock.
        """
        self._attached = attached

    @property
    def companions(self) -> tuple[Companion, ...]:
        """What runs beside the stream."""
        return self._companions

    def watch(self, watch: Watch) -> None:
        """Have the keeper ask each second whether something is wrong; what is becomes a record, once."""
        self._watches = (*self._watches, watch)

    def health(self) -> Health:
        """Return how the trail is doing, without touching disk or network."""
        sinks: dict[str, Any] = {}
        for companion in self._companions:
            report: Callable[[], Mapping[str, Any]] | None = getattr(companion, "health", None)
            if report is not None:
                sinks.update(report())
        return Health(
            self.stream.id,
            self.stream.records,
            self.stream.lost,
            self.stream.waiting,
            tuple(self._degraded),
            sinks,
        )

    def flush(self, timeout: float = 10.0) -> bool:
        """Make everything durable and give the sinks `timeout` seconds to confirm it; False if some did not."""
        deadline = time.monotonic() + timeout
        self.stream.fill_gap()
        for companion in self._companions:
            companion.finish()
        self.stream.sync()
        return self._confirmed(self.stream.id, self.stream.records, deadline)

    def _confirmed(self, stream: str, seq: int, deadline: float) -> bool:
        if seq == 0:
            return True
        return all([companion.wait_for(stream, seq, deadline) for companion in self._companions])  # noqa: C419

    def close(self, timeout: float = 5.0) -> bool:
        """Close the stream, flush the sinks, stop the threads; False if a sink did not confirm in `timeout` seconds.

        By default half of what container runtimes give a process between SIGTERM and SIGKILL. What is not confirmed is
        in the journal, for the next process or `otel-audit ship`.

        A record that comes later opens a new stream.
        """
        deadline = time.monotonic() + timeout
        self._keeper.stop(timeout)
        attempt(self._look_after_the_journal)
        for companion in self._companions:
            companion.finish()
        stream, seq = self.stream.close()
        flushed = self._confirmed(stream, seq, deadline)
        for companion in self._companions:
            companion.close(0)  # all are told to stop before any is waited for
        deadline = max(deadline, time.monotonic() + _FAREWELL)
        for companion in self._companions:
            companion.close(max(0.0, deadline - time.monotonic()))
        self.stream.close()  # a companion may have had something to say after the first time
        if undeclared := self.stream.undeclared:
            notice(f"{undeclared} audit records were lost, and no audit.gap record could be written", subject="close")
        self._keeper.resume()
        return flushed

    def _describe(self) -> dict[str, Any]:
        own = {"config_digest": self._config_digest, "durability": self.durability, "service": self._service}
        return {**describe_process(), **own, **self._introduction}

    def _control(self, event_name: str, data: dict[str, Any], *, action: str) -> bytes:
        if self._attached is not None:
            data = {**data, **self._attached(event_name)}
        return self.door.control(event_name, data, action=action)

    def _warn(self, message: str) -> None:
        notice(message, subject="loss")

    def _prepare(self) -> None:
        if self._closes_in != os.getpid():
            self._closes_in = os.getpid()
            _close_at_exit(weakref.ref(self))

    def _begin(self) -> None:
        for companion in self._companions:
            companion.start()

    def _notify(self) -> None:
        for companion in self._companions:
            attempt(companion.notify)

    def _look(self) -> None:
        self.stream.fill_gap()
        self.stream.sync()  # what failed before, and what the trail wrote about itself
        self._look_after_the_journal()
        wrong: dict[str, Mapping[str, Any]] = {}
        for watch in self._watches:
            wrong.update(watch())
        for key in wrong.keys() - self._degraded.keys():
            self.record_control(Control.DEGRADED, dict(wrong[key]), action="DEGRADE")
        for key in self._degraded.keys() - wrong.keys():
            self.record_control(Control.RECOVERED, dict(self._degraded[key]), action="RECOVER")
        self._degraded = wrong

    def _look_after_the_journal(self) -> None:
        """Have it leave a segment that somebody removed, replaced or truncated; record why it did."""
        journal = self.stream.store
        if not isinstance(journal, JournalWriter):
            return
        try:
            if self.stream.exclusively(journal.inspect):
                self.stream.exclusively(journal.relocate)
        except OSError as error:
            notice(
                f"the audit journal was moved away and cannot be made again: {error.strerror or error}", subject="move"
            )
        for cause, saved in self.stream.exclusively(journal.take_moves):
            self.record_control(Control.DEGRADED, {"cause": cause, "bytes_saved": saved}, action="DEGRADE")

    def _beat(self) -> None:
        stream = self.stream
        data = {
            "interval": self.intervals.heartbeat,
            "lost": stream.lost,
            "monotonic": round(time.monotonic(), 3),
            "records": stream.records,
        }
        self.record_control(Control.HEARTBEAT, data, action="BEAT")

    def _forget(self) -> None:
        self._keeper.forget()
        self._degraded = {}
        for companion in self._companions:
            companion.forget()


def describe_process() -> dict[str, Any]:
    """Return what every stream's first record says: format, algorithms, and who writes it where."""
    return {
        "algorithms": {"canonical": "rfc8785", "hash": "sha256"},
        "format": FORMAT,
        "host": {"name": os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")},
        "package": {"name": "otel-audit", "version": __version__},
        "process": {"pid": os.getpid(), "python": ".".join(map(str, sys.version_info[:3]))},
    }


def _close_at_exit(reference: weakref.ref[AuditTrail]) -> None:
    def close() -> None:
        trail = reference()
        if trail is not None:
            attempt(trail.close)

    atexit.register(close)
    parents = sys.modules.get("multiprocessing.process")
    if parents is not None and parents.parent_process() is not None:
        # Its forked children end without `atexit`; they run its own finalizers, those of low priority last.
        from multiprocessing.util import Finalize

        Finalize(None, close, exitpriority=-100)
