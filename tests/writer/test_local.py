"""Local sinks in a journal's place: whole lines, one copy like the other, whatever a target does."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from otel_audit.durability import FailurePolicy
from otel_audit.errors import RecordLost
from otel_audit.keeper import Intervals
from otel_audit.sinks import local
from otel_audit.sinks.base import SealedLine, SinkUnavailable
from otel_audit.sinks.local import FileTarget, LocalSink, LocalStore
from otel_audit.trail import AuditTrail
from tests.writer.trails import ROOT, codes, verified


@contextmanager
def printing(*paths: Path, on_failure: Any = "warn") -> Iterator[AuditTrail]:
    store = LocalStore([FileTarget(path) for path in paths])
    trail = AuditTrail(store, policy=FailurePolicy(on_failure), intervals=Intervals(heartbeat=0))
    try:
        yield trail
    finally:
        trail.close()


def names(path: Path) -> list[str]:
    return [json.loads(line)["event_name"] for line in path.read_text().splitlines()]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Callable[[int, bytes], int]], None]:
    """Have writes to one file go through a function of the test."""
    real = os.write

    def install(path: Path, write: Callable[[int, bytes], int]) -> None:
        def replaced(descriptor: int, data: bytes) -> int:
            mine = path.exists() and os.path.samestat(os.fstat(descriptor), path.stat())
            return write(descriptor, data) if mine else real(descriptor, data)

        monkeypatch.setattr(os, "write", replaced)

    return install


def full(descriptor: int, data: bytes) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_file_is_made_0600_and_verifies(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with printing(path) as trail:
        trail.record("a.b")
    assert path.stat().st_mode & 0o777 == 0o600
    assert names(path) == ["audit.stream.open", "a.b", "audit.stream.close"]
    assert verified(path).exit_code == 0


def test_a_file_that_was_moved_away_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with printing(path) as trail:
        trail.record("a.b")
        path.rename(tmp_path / "audit.jsonl.1")
        trail.record("a.c")
    assert names(path) == ["a.c", "audit.stream.close"]
    assert verified(tmp_path / "audit.jsonl.1", path).exit_code == 0


def test_a_full_disk_is_a_gap(tmp_path: Path, failing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "audit.jsonl"
    with printing(path, on_failure="raise") as trail:
        trail.record("a.b")
        with monkeypatch.context() as context:
            context.setattr(os, "write", full)
            with pytest.raises(RecordLost):
                trail.record("a.lost")
        trail.record("a.c")
    assert names(path) == ["audit.stream.open", "a.b", "audit.gap", "a.c", "audit.stream.close"]
    assert codes(verified(path)) == {"RECORDS_LOST"}


def test_a_line_of_which_a_part_was_taken_is_finished_later(tmp_path: Path, failing: Any) -> None:
    path, real, room = tmp_path / "audit.jsonl", os.write, [10_000]

    def write(descriptor: int, data: bytes) -> int:
        if room[0] == 0:
            return full(descriptor, data)
        taken = real(descriptor, data[: room[0]])
        room[0] -= taken
        return taken

    with printing(path) as trail:
        trail.record("a.b")
        room[0] = 100
        failing(path, write)
        trail.record("a.half")
        assert not path.read_bytes().endswith(b"\n")
        trail.record("a.lost")
        room[0] = 10_000
        trail.record("a.c")
    assert names(path) == ["audit.stream.open", "a.b", "a.half", "audit.gap", "a.c", "audit.stream.close"]
    report = verified(path)
    assert (report.exit_code, codes(report)) == (3, {"RECORDS_LOST"})


def test_a_target_that_fails_beside_a_sound_one_catches_up(tmp_path: Path, failing: Any) -> None:
    one, other, real, broken = tmp_path / "one", tmp_path / "other", os.write, [True]
    with printing(one, other) as trail:
        trail.record("a.b")
        failing(other, lambda fd, data: full(fd, data) if broken[0] else real(fd, data))
        for _ in range(10):
            trail.record("a.b")
        assert trail.stream.lost == 0
        broken[0] = False
        trail.record("a.c")
    assert one.read_bytes() == other.read_bytes()
    assert verified(one).exit_code == 0


@pytest.mark.parametrize("which", [0, 1])
def test_a_target_that_never_comes_back_leaves_no_undeclared_hole(
    tmp_path: Path, failing: Any, monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    monkeypatch.setattr(local, "_MOST_OWED", 4096)
    paths = tmp_path / "one", tmp_path / "other"
    with printing(*paths) as trail:
        trail.record("a.b")
        failing(paths[which], full)
        for _ in range(50):
            trail.record("a.b")
        assert trail.stream.lost > 20
        monkeypatch.undo()
        trail.record("a.c")
    assert paths[0].read_bytes() == paths[1].read_bytes()
    report = verified(paths[0])
    assert (report.exit_code, codes(report)) == (3, {"RECORDS_LOST"})


def test_a_sync_that_fails_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, calls, real = tmp_path / "audit.jsonl", list[int](), os.fsync

    def fsync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with printing(path) as trail:
        trail.record("a.b")
        assert trail.flush()
        assert trail.flush()
    assert names(path).count("audit.pipeline.degraded") == 1
    assert verified(path).exit_code == 3


def test_a_sink_says_unavailable_while_it_owes(tmp_path: Path, failing: Any) -> None:
    path, real, fails = tmp_path / "out", os.write, [True]
    path.touch()

    def write(descriptor: int, data: bytes) -> int:
        if fails[0] and len(data) < 8:
            return full(descriptor, data)
        return real(descriptor, data[:5] if fails[0] else data)

    failing(path, write)
    sink = LocalSink(FileTarget(path), "file")
    batch = [SealedLine("0" * 32, 1, b"0123456789\n")]
    with pytest.raises(SinkUnavailable, match="No space"):
        sink.send(batch)
    fails[0] = False
    sink.send(batch)
    assert path.read_bytes() == b"0123456789\n" * 2  # at least once, and never half a line


PRINTS = """
import logging, sys, threading
logging.basicConfig(stream=sys.stdout, format="%(message)s", level="INFO")
from otel_audit import audit
def work():
    for n in range(200):
        audit.record("a.b", data={"n": n})
        logging.info("an ordinary line")
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_unconfigured_it_prints_on_stdout_beside_other_writers(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRINTS],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ROOT},
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert not list(tmp_path.iterdir()), "something was written to disk"
    lines = done.stdout.splitlines()
    assert lines.count(b"an ordinary line") == 800
    path = tmp_path / "captured"
    path.write_bytes(b"\n".join(line for line in lines if line != b"an ordinary line") + b"\n")
    assert path.read_bytes().count(b'"a.b"') == 800
    assert verified(path).exit_code == 0


def test_a_reader_that_is_slow_on_a_non_blocking_pipe_is_waited_for(tmp_path: Path) -> None:
    into, out = os.pipe()
    os.set_blocking(out, False)
    read: list[bytes] = []

    def drain() -> None:
        while chunk := os.read(into, 4096):
            read.append(chunk)

    target = FileTarget(tmp_path / "unused")
    target.open = lambda: out  # type: ignore[method-assign]
    target.sync = target.close = lambda: None  # type: ignore[method-assign]
    trail = AuditTrail(LocalStore([target]), intervals=Intervals(heartbeat=0))
    thread = threading.Thread(target=drain)
    thread.start()
    for _ in range(300):
        trail.record("a.b", {}, {"text": "x" * 3000})
    trail.close()
    os.close(out)
    thread.join()
    os.close(into)
    path = tmp_path / "captured"
    path.write_bytes(b"".join(read))
    assert trail.stream.lost == 0
    assert verified(path).exit_code == 0
