"""Ctrl-C, signal handlers, `__del__`: what comes in the middle of a write neither breaks the chain nor hangs."""

from __future__ import annotations

import dis
import functools
import gc
import itertools
import logging
import os
import sys
import threading
import time
import types
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from otel_audit import AuditHandler, native
from otel_audit.trail import AuditTrail
from tests.writer.trails import events, named, open_trail, records, run_python, signalled, verified

CHECKS = ("CALL", "RESUME", "JUMP_BACKWARD", "JUMP_ABSOLUTE")
"""Beginnings of the names of bytecodes behind which CPython looks for signals, and behind no other."""


@functools.cache
def places(code: types.CodeType) -> frozenset[int]:
    """Return the bytecodes in front of which a signal's handler can run."""
    steps = itertools.pairwise(dis.get_instructions(code))
    return frozenset(after.offset for before, after in steps if before.opname.startswith(CHECKS))


@contextmanager
def raising(error: BaseException, after: int) -> Iterator[list[bool]]:
    """Raise `error` at the given one of the places in the writer where a signal's handler could raise it."""

    def throw() -> None:
        raise error

    with handling(throw, after) as raised:
        yield raised


@contextmanager
def handling(handle: Callable[[], object], after: int) -> Iterator[list[bool]]:
    """Call `handle` at the given one of the places in the writer where a signal's handler can run."""
    left, handled = [after], [False]

    def trace(frame: Any, event: str, argument: object) -> Any:
        if f"{os.sep}otel_audit{os.sep}" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and frame.f_lasti in places(frame.f_code):
            left[0] -= 1
            if left[0] == 0:
                handled[0] = True
                handle()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield handled
    finally:
        sys.settrace(before)


def numbers(directory: Path) -> list[int]:
    return [record["data"]["n"] for record in records(directory) if record["event_name"] == "a.b"]


STORM = """
import os, random, signal, sys, threading, time
from pathlib import Path
from tests.writer.trails import open_trail

directory, durability, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
confirmed, interrupts = [], 0

def storm(stop):
    while not stop.wait(random.random() / 500):
        os.kill(os.getpid(), signal.SIGUSR1)

def interrupt(number, frame):
    raise KeyboardInterrupt

def others(trail, stop):
    while not stop.is_set():
        trail.record("a.other")

with open_trail(directory, durability=durability, segment_bytes=60_000) as trail:
    stop = threading.Event()
    threads = [threading.Thread(target=storm, args=(stop,)), threading.Thread(target=others, args=(trail, stop))]
    start, n = time.monotonic(), 0
    def goes_on():
        passed = time.monotonic() - start  # on a busy machine, until there is enough to judge by
        return passed < seconds or (passed < 30 and min(len(confirmed), interrupts) <= 20)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    for thread in threads:
        thread.start()
    armed = False
    while goes_on():
        try:
            if not armed:
                armed = True
                signal.signal(signal.SIGUSR1, interrupt)
            while goes_on():
                n += 1
                receipt = trail.record("a.b", {}, {"n": n})
                if receipt.seq is not None:
                    confirmed.append(n)
        except KeyboardInterrupt:
            interrupts += 1
    while True:
        try:
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            break
        except KeyboardInterrupt:
            pass
    stop.set()
    for thread in threads:
        thread.join()
print(interrupts, *confirmed)
"""


@pytest.mark.parametrize("durability", ["process", "relaxed", "always"])
def test_a_storm_of_ctrl_c_breaks_no_chain_and_loses_no_confirmed_record(tmp_path: Path, durability: str) -> None:
    interrupts, *confirmed = map(int, run_python(STORM, tmp_path, durability, 1).stdout.split())
    assert interrupts > 20
    assert len(confirmed) > 20
    kept = set(numbers(tmp_path))
    assert not set(confirmed) - kept
    report = verified(tmp_path)
    assert report.exit_code in {0, 3}, report.findings.listed[:3]


def test_ctrl_c_at_any_bytecode_of_a_record(tmp_path: Path) -> None:
    """One interrupt at each of the places where it can come; the next records are there, and nothing hangs."""
    confirmed: list[int] = []
    with open_trail(tmp_path) as trail:
        trail.record("a.b", {}, {"n": 0})
        for n in range(1, 400):
            with raising(KeyboardInterrupt(), n) as raised:
                try:
                    trail.record("a.b", {}, {"n": n})
                    confirmed.append(n)
                except KeyboardInterrupt:
                    pass
            if not raised[0]:
                break
        if n == 1:
            pytest.skip("this Python traces no bytecodes")
        assert n > 30, "the run was over before it began"
        trail.record("a.last")
    kept = numbers(tmp_path)
    assert set(confirmed) <= set(kept)
    report = verified(tmp_path)
    assert report.exit_code in {0, 3}, report.findings.listed[:3]


def within(seconds: float, work: Callable[[], object]) -> bool:
    """Tell whether something comes to an end; its thread is left behind if it does not."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


@pytest.mark.parametrize("durability", ["process", "relaxed", "always"])
@pytest.mark.parametrize("chain", ["C", "Python"])
def test_a_signal_handler_that_logs_at_any_bytecode_of_a_record_waits_for_nobody(
    tmp_path: Path, durability: Any, chain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if chain == "Python":
        monkeypatch.setattr(native, "Chain", None)
    heard: list[int] = []
    where: set[str] = set()

    def work() -> None:
        with open_trail(tmp_path, durability=durability) as trail:
            trail.record("a.b", {}, {"n": 0})

            def handle() -> None:
                where.add(sys._getframe(2).f_code.co_name)
                heard.append(n)
                trail.record("a.handler")

            for n in range(1, 400):
                with handling(handle, n) as handled:
                    trail.record("a.b", {}, {"n": n})
                if not handled[0]:
                    break

    assert within(20, work), f"it hangs at the {heard[-1]}th place"
    if not heard:
        pytest.skip("this Python traces no bytecodes")
    assert {"_append", "_take", "append", "admit"} <= where
    assert len(heard) > (30 if chain == "Python" else 20)
    assert events(tmp_path).count("a.handler") == len(heard)
    assert numbers(tmp_path) == list(range(len(heard) + 2))
    assert verified(tmp_path).exit_code == 0


def test_ctrl_c_while_closing_leaves_a_journal_that_goes_on(tmp_path: Path) -> None:
    for after in range(1, 200, 5):
        with open_trail(tmp_path) as trail:
            trail.record("a.b", {}, {"n": after})
            with raising(KeyboardInterrupt(), after), suppress(KeyboardInterrupt):
                trail.close()
            trail.record("a.b", {}, {"n": -after})
    kept = numbers(tmp_path)
    assert set(range(1, 200, 5)) <= set(kept)
    assert {-n for n in range(1, 200, 5)} <= set(kept)
    report = verified(tmp_path)
    assert report.exit_code in {0, 3}, report.findings.listed[:3]


@pytest.mark.parametrize("durability", ["process", "relaxed", "always"])
def test_records_from_a_signal_handler_are_kept(tmp_path: Path, durability: Any) -> None:
    heard = written = 0

    def log() -> None:
        nonlocal heard
        heard += 1
        trail.record("a.handler", {}, {"n": heard})

    with open_trail(tmp_path, durability=durability) as trail:
        start = time.monotonic()
        with signalled(log):
            while (passed := time.monotonic() - start) < 0.5 or (heard <= 20 and passed < 30):
                trail.record("a.b", {}, {"n": written})
                written += 1
    assert heard > 20
    assert len(named(tmp_path, "a.handler")) == heard
    assert len(numbers(tmp_path)) == written
    assert verified(tmp_path).exit_code == 0


def test_a_record_from_inside_a_write_is_there_without_a_further_record(tmp_path: Path) -> None:
    with open_trail(tmp_path, heartbeat=0) as trail:
        handler = AuditHandler(trail)
        logger = logging.Logger("inside")
        logger.addHandler(handler)
        logger.info("first")
        logger.info("second")
        inside = trail.stream.store.append

        def keep(lines: bytes) -> None:
            trail.stream.store.append = inside  # type: ignore[method-assign]
            logger.info("from inside")
            inside(lines)

        trail.stream.store.append = keep  # type: ignore[method-assign]
        logger.info("third")
        assert events(tmp_path).count("log.record") == 4
    assert [r["message"] for r in named(tmp_path, "log.record")] == ["first", "second", "third", "from inside"]
    assert verified(tmp_path).exit_code == 0


class Speaks:
    """Logs when it is collected."""

    def __init__(self, trail: AuditTrail) -> None:
        self.trail = trail
        self.itself = self

    def __del__(self) -> None:
        self.trail.record("a.del")


def test_records_from_del_during_garbage_collection_are_kept(tmp_path: Path) -> None:
    before = gc.get_threshold()
    made = 2000
    with open_trail(tmp_path) as trail:
        gc.set_threshold(5)
        try:
            for _ in range(made):
                Speaks(trail)
                trail.record("a.b", {}, {"n": 1, "more": [{}, {}, {}]})
        finally:
            gc.set_threshold(*before)
        gc.collect()
    assert events(tmp_path).count("a.del") == made
    assert events(tmp_path).count("a.b") == made
    assert verified(tmp_path).exit_code == 0


def test_records_from_weakref_callbacks_are_kept(tmp_path: Path) -> None:
    class Thing:
        pass

    with open_trail(tmp_path) as trail:
        for _ in range(200):
            thing = Thing()
            reference = weakref.ref(thing, lambda _: trail.record("a.gone"))
            trail.record("a.b", {}, {"thing": thing})
            del thing
        assert reference() is None
    assert events(tmp_path).count("a.gone") == 200
    assert verified(tmp_path).exit_code == 0


def test_an_object_whose_text_logs_is_recorded_with_what_it_logged(tmp_path: Path) -> None:
    class Chatty:
        def __init__(self, logger: logging.Logger, depth: int) -> None:
            self.logger, self.depth = logger, depth

        def __str__(self) -> str:
            if self.depth:
                self.logger.info("deeper: %s", Chatty(self.logger, self.depth - 1))
            return f"chatty {self.depth}"

    with open_trail(tmp_path) as trail:
        logger = logging.Logger("chatty")
        logger.addHandler(AuditHandler(trail))
        logger.info("outer", extra={"value": Chatty(logger, 5)})
    assert events(tmp_path).count("log.record") == 6
    assert verified(tmp_path).exit_code == 0


def test_an_object_that_logs_itself_for_ever_harms_only_itself(tmp_path: Path) -> None:
    class Endless:
        def __str__(self) -> str:
            logger.info("again", extra={"value": Endless()})
            return "endless"

    with open_trail(tmp_path) as trail:
        logger = logging.Logger("endless")
        logger.addHandler(AuditHandler(trail))
        with suppress(RecursionError):
            logger.info("outer", extra={"value": Endless()})
        logger.info("after")
        trail.record("a.last")
    assert events(tmp_path).count("a.last") == 1
    report = verified(tmp_path)
    assert report.exit_code in {0, 3}, report.findings.listed[:3]


def test_a_thread_whose_record_was_taken_along_by_an_interrupted_one_gets_its_place(tmp_path: Path) -> None:
    with open_trail(tmp_path) as trail:
        trail.record("a.b", {}, {"n": 0})
        keep = trail.stream.store.append
        written = threading.Event()
        receipts: list[Any] = []
        other = threading.Thread(target=lambda: receipts.append(trail.record("a.b", {}, {"n": 2})))

        def interrupted(lines: bytes) -> None:
            trail.stream.store.append = keep  # type: ignore[method-assign]
            other.start()
            while not trail.stream.waiting:
                time.sleep(0.001)
            keep(lines)
            written.set()
            raise KeyboardInterrupt

        trail.stream.store.append = interrupted  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            trail.record("a.b", {}, {"n": 1})
        other.join(5)
        assert not other.is_alive()
    assert receipts[0].seq is not None
    assert sorted(numbers(tmp_path)) == [0, 1, 1, 2]
    report = verified(tmp_path)
    assert report.exit_code == 3
    assert receipts[0].stream != records(tmp_path)[0]["stream"]
