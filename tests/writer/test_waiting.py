"""Threads that log while another one writes: their records are taken along, and they hear of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from otel_audit import AuditHandler
from otel_audit.trail import AuditTrail
from tests.writer.trails import named, open_trail, records, verified


class Slow:
    """A store whose appends wait, each, until they are let go."""

    def __init__(self, trail: AuditTrail) -> None:
        self._append = trail.stream.store.append
        self._go = threading.Semaphore(0)
        self._entered = threading.Semaphore(0)
        self.writes: list[int] = []
        trail.stream.store.append = self.append  # type: ignore[method-assign]

    def append(self, lines: bytes) -> None:
        self.writes.append(lines.count(b"\n"))
        self._entered.release()
        assert self._go.acquire(timeout=30)
        self._append(lines)

    def await_write(self) -> None:
        assert self._entered.acquire(timeout=30)

    def let_go(self) -> None:
        self._go.release()


def in_threads(count: int, work: Callable[[int], Any]) -> list[threading.Thread]:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    return threads


def await_waiting(trail: AuditTrail, count: int) -> None:
    while trail.stream.waiting < count:
        threading.Event().wait(0.001)


def test_records_that_wait_for_a_writer_are_written_together_and_each_thread_gets_its_place(tmp_path: Path) -> None:
    with open_trail(tmp_path, heartbeat=0) as trail:
        trail.record("a.first")
        slow = Slow(trail)
        receipts = {}
        writer = in_threads(1, lambda _: trail.record("a.writer"))
        slow.await_write()
        others = in_threads(5, lambda n: receipts.update({n: trail.record("a.other", {}, {"n": n})}))
        await_waiting(trail, 5)
        slow.let_go()
        slow.await_write()
        threading.Event().wait(0.05)  # time to be told too early
        assert not receipts, "they have their numbers, but are not written yet"
        slow.let_go()
        for thread in [*writer, *others]:
            thread.join(30)
        assert slow.writes == [1, 5]
        slow.let_go()  # the closing record
    kept = {record["seq"]: record["hash"] for record in records(tmp_path)}
    assert len(receipts) == 5
    assert all(kept[receipt.seq] == receipt.hash for receipt in receipts.values())
    assert verified(tmp_path).exit_code == 0


def test_a_record_that_comes_during_other_work_on_the_stream_is_written_right_behind_it(tmp_path: Path) -> None:
    with open_trail(tmp_path, heartbeat=0) as trail:
        trail.record("a.first")
        working, done = threading.Event(), threading.Event()

        def work() -> None:
            working.set()
            assert done.wait(30)

        worker = in_threads(1, lambda _: trail.stream.exclusively(work))
        assert working.wait(30)
        other = in_threads(1, lambda _: trail.record("a.other"))
        await_waiting(trail, 1)
        done.set()
        worker[0].join(30)
        assert trail.stream.records == 3, "by the thread that did the other work, before it went on"
        other[0].join(30)
    assert verified(tmp_path).exit_code == 0


def test_what_relaxed_leaves_to_a_write_that_does_not_end_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otel_audit.stream._MOST_WAITING", 20)
    done = 0

    def log(_: int) -> None:
        nonlocal done
        for _ in range(50):
            logger.info("a")
            done += 1

    with open_trail(tmp_path, durability="relaxed", heartbeat=0) as trail:
        logger = logging.Logger("busy")
        logger.addHandler(AuditHandler(trail))
        logger.info("first")
        slow = Slow(trail)
        threads = in_threads(1, lambda _: logger.info("writer"))
        slow.await_write()
        threads += in_threads(1, log)
        await_waiting(trail, 21)
        threading.Event().wait(0.05)  # time to leave more
        left, waiting = done, trail.stream.waiting
        for _ in range(100):
            slow.let_go()
        for thread in threads:
            thread.join(30)
    assert (left, waiting) == (20, 21)
    assert len(named(tmp_path, "log.record")) == 52
    assert verified(tmp_path).exit_code == 0


def test_a_caller_pauses_once_for_a_keeper_that_wants_the_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    with open_trail(tmp_path, heartbeat=0, sync=1.0) as trail:
        trail.record("a.first")  # which wakes the keeper: it waits for a second now
        while trail._keeper.due < 0:
            threading.Event().wait(0.001)
        monkeypatch.setattr("time.sleep", pauses.append)
        trail.record("a.second")
        assert pauses == []
        trail._keeper.due = 0.0  # its time has come
        for _ in range(3):
            trail.record("a.third")
        assert len(pauses) == 1
        monkeypatch.undo()
    assert verified(tmp_path).exit_code == 0
