"""The keeper: the one thread of a trail that makes its records durable and looks after it, time and again.

It needs the interpreter for moments only, but at the right ones. CPython wakes whoever waits for that each time it is
let go of, as at every write; beside a thread that logs without a pause the wake comes too late most times, and costs
that thread a multiple of the write. So the keeper says when it wants to go on (`due`), and a caller who logs after
that lets it in.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from .notices import notice

__all__ = ["Duties", "Intervals", "Keeper", "attempt"]

_TICK: Final = 1.0
_now: Final = time.monotonic
_AT_REST: Final = float("-inf")
"""Of a time: that of a keeper who sleeps until it is woken."""
_NEVER: Final = float("inf")
_WAKE_TIME: Final = 50e-6
"""Seconds: more than a waiting thread takes to be awake."""
_PAUSE_INTERVAL: Final = 0.005


class Intervals(NamedTuple):
    """How often the keeper does what, in seconds."""

    sync: float = 0.02
    """Longest time from a write to the fdatasync behind it."""
    heartbeat: float = 60.0
    """From one `audit.heartbeat` to the next; 0 for none."""


class Duties(NamedTuple):
    """What the keeper does. Whatever goes wrong in one of these is said, and the keeper lives on."""

    prepare: Callable[[], object]
    """Before its thread begins; in the thread that begins it."""
    begin: Callable[[], object]
    """Once it has begun, in the same thread."""
    sync: Callable[[], object]
    """Soon after something was written."""
    synced: Callable[[], object]
    """After that."""
    look: Callable[[], object]
    """Each second."""
    beat: Callable[[], object]
    """Each `Intervals.heartbeat`."""


class Keeper:
    """Does its duties in a thread that begins with the first record, and again in a forked child."""

    def __init__(self, intervals: Intervals, duties: Duties) -> None:
        self.due = _AT_REST
        """When `attend` is due, on the monotonic clock: when the keeper wants the interpreter, or now if it rests."""
        self._intervals = intervals
        self._duties = duties
        self._reset()

    def _reset(self) -> None:
        self._thread: threading.Thread | None = None
        self._starting = threading.RLock()  # a signal handler may log in the middle of a start
        self._stop = threading.Event()
        self._quiet = threading.Lock()
        """Held while there is nothing new for the keeper. Unlike an Event, safe to tell from a signal handler."""
        self._quiet.acquire()
        self._rest()
        self._next_pause = _AT_REST
        """When a caller may pause for the keeper again. It leaves `due` as it is: the keeper may just go to rest."""

    def _rest(self) -> None:
        self.due = _AT_REST
        self._back_at = _NEVER
        """What `due` will be while the keeper waits for the disk."""

    def attend(self) -> None:
        """Tell the keeper that there is something to make durable, or let it in. To be called once `due` is over."""
        if self.due == _AT_REST:
            if self._thread is None or not self._thread.is_alive():
                self._start()
            self.due = self._back_at
            self._wake()
        elif (now := _now()) > self._next_pause:  # it may be that the disk is slower than it was
            self._next_pause = now + _PAUSE_INTERVAL
            time.sleep(_WAKE_TIME)

    def stop(self, timeout: float) -> None:
        """End the thread; wait for that, `timeout` seconds at most. Until `resume` none begins."""
        self._stop.set()
        self._wake()  # it would otherwise see it only at its next tick
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread() and thread.is_alive():
            thread.join(timeout)

    def resume(self) -> None:
        """After `stop`: let the next record begin a thread."""
        self._stop.clear()
        self._rest()

    def forget(self) -> None:
        """In a forked child: the thread is the parent's."""
        self._reset()

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # it is awake
            self._quiet.release()

    def _start(self) -> None:
        if sys.is_finalizing():
            return  # logged by a destructor at the very end: a thread that starts now would never run
        with self._starting:
            thread = threading.Thread(target=self._run, name="otel-audit-keeper", daemon=True)
            if (self._thread is not None and self._thread.is_alive()) or self._stop.is_set():
                return
            self._thread = thread
            self._duties.prepare()
            try:
                thread.start()
            except RuntimeError:  # the interpreter is going down: no new threads; the record itself is written
                self._thread = None
                return
            self._duties.begin()

    def _run(self) -> None:
        duties, interval, sync_time = self._duties, min(self._intervals.sync, _TICK), 0.0
        next_tick = _now() + _TICK
        next_beat = _now() + (self._intervals.heartbeat or _NEVER)
        while not self._stop.is_set():
            if self._quiet.acquire(timeout=max(0.0, min(next_tick, next_beat) - _now())):
                self.due = _now() + interval
                self._stop.wait(interval)
                self._quiet.acquire(blocking=False)
                began = _now()
                self.due, self._back_at = _AT_REST, began + sync_time
                attempt(duties.sync)
                self._back_at, sync_time = _NEVER, _now() - began
                attempt(duties.synced)
            now = _now()
            if now >= next_tick:
                next_tick = now + _TICK
                attempt(duties.look)
            if now >= next_beat:
                next_beat = now + self._intervals.heartbeat
                attempt(duties.beat)


def attempt(duty: Callable[[], object]) -> None:
    """Do something that must not end whoever does it: what goes wrong is said, and that is all."""
    try:
        duty()
    except Exception as error:  # noqa: BLE001 - the thread that watches must outlive what it finds
        notice(f"the audit trail's keeper: {type(error).__name__}: {error}", subject="keeper")
