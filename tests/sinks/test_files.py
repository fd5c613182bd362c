"""The file sink: every line once, whole, in order, whatever a crash left behind."""

from __future__ import annotations

import errno
import fcntl
import gzip
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_audit.chain import new_stream_id
from otel_audit.errors import ConfigurationError
from otel_audit.record import MAX_LINE
from otel_audit.sinks import files, rotation
from otel_audit.sinks.base import SealedLine, Sink, SinkUnavailable
from otel_audit.sinks.files import FileSink
from tests.sinks.lines import sealed


def joined(lines: list[SealedLine]) -> bytes:
    return b"".join(one.line for one in lines)


def everything(directory: Path) -> bytes:
    """Return the lines of all files of `directory`, the full ones first."""
    parts = []
    full = sorted(path for path in directory.glob("audit-*") if path.suffix != ".tmp")  # a compression that was stopped
    for path in [*full, directory / "audit.jsonl"]:
        opener: Callable[..., Any] = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rb") as file:
            parts.append(file.read())
    return b"".join(parts)


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def test_it_is_a_sink_and_writes_lines_as_they_are(path: Path) -> None:
    sink = FileSink.from_url(f"file://{path}")
    assert isinstance(sink, Sink)
    lines = sealed(10)
    sink.send(lines[:4])
    sink.send(lines[4:])
    assert path.read_bytes() == joined(lines)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_batch_sent_again_after_a_restart_is_not_written_twice(path: Path) -> None:
    lines = sealed(10)
    FileSink(path=str(path)).send(lines[:6])
    FileSink(path=str(path)).send(lines[3:])
    assert path.read_bytes() == joined(lines)


def test_each_stream_is_looked_for_on_its_own(path: Path) -> None:
    one, two = sealed(6), sealed(6)
    sink = FileSink(path=str(path))
    sink.send(one)
    FileSink(path=str(path)).send(two[:3])  # another process, which then died before its cursor moved
    sink.send(two)
    assert path.read_bytes() == joined(one + two)


def test_a_line_that_differs_from_the_one_held_is_written(path: Path) -> None:
    lines = sealed(2)
    FileSink(path=str(path)).send(lines)
    changed = lines[1]._replace(line=lines[1].line.replace(b"alice", b"mario"))
    FileSink(path=str(path)).send([changed])
    assert path.read_bytes() == joined([*lines, changed])


@given(cut=st.integers(0, 5000))
def test_a_torn_end_is_finished_by_the_same_lines(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("torn") / "audit.jsonl"
    lines = sealed(8)
    whole = joined(lines)
    path.write_bytes(whole[: min(cut, len(whole))])
    FileSink(path=str(path), fsync="none").send(lines)
    assert path.read_bytes() == whole


def test_a_torn_line_of_another_stream_goes_because_it_comes_again_whole(path: Path) -> None:
    before, lines = sealed(3), sealed(3)
    path.write_bytes(joined(before)[:-40])
    sink = FileSink(path=str(path))
    sink.send(lines)
    sink.send(before)
    assert path.read_bytes() == joined(before[:2] + lines + before[2:])


def test_where_nothing_may_be_cut_a_torn_line_is_closed_off(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: int) -> None:  # as for a file with the append-only attribute
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "ftruncate", forbidden)
    torn, lines = sealed(1)[0].line[:-40], sealed(3)
    path.write_bytes(torn)
    FileSink(path=str(path)).send(lines)
    assert path.read_bytes() == torn + b"\n" + joined(lines)


def test_what_was_not_written_by_a_sink_is_never_cut(path: Path) -> None:
    path.write_bytes(b"somebody's notes, without a newline")
    lines = sealed(2)
    FileSink(path=str(path)).send(lines)
    assert path.read_bytes() == b"somebody's notes, without a newline\n" + joined(lines)


def test_a_write_that_stopped_half_way_is_finished_by_the_next(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = sealed(5)
    sink = FileSink(path=str(path))
    write = os.write
    calls = []

    def stopping(file: int, data: Any) -> int:
        calls.append(len(data))
        if len(calls) == 1:
            return write(file, data[:1500])
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data)

    monkeypatch.setattr(os, "write", stopping)
    with pytest.raises(SinkUnavailable, match="No space left"):
        sink.send(lines)
    sink.send(lines)
    assert path.read_bytes() == joined(lines)


def test_after_a_failed_fsync_the_batch_is_written_to_a_new_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = sealed(4)
    sink = FileSink(path=str(path))
    sink.send(lines[:2])

    def failing(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(files, "_fdatasync", failing)
        with pytest.raises(SinkUnavailable, match="Input/output error"):
            sink.send(lines[2:])
    sink.send(lines[2:])
    assert path.read_bytes() == joined(lines[2:])
    assert everything(path.parent) == joined(lines + lines[2:])


def test_a_file_moved_away_by_somebody_is_made_again(path: Path) -> None:
    lines = sealed(4)
    sink = FileSink(path=str(path))
    sink.send(lines[:2])
    path.rename(path.with_suffix(".1"))
    sink.send(lines[2:])
    assert path.read_bytes() == joined(lines[2:])


@pytest.mark.parametrize("kind", ["directory", "fifo", "symlink", "missing"])
def test_what_is_no_regular_file_is_not_written_to(path: Path, kind: str) -> None:
    target = path.parent / "target"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "symlink":
        path.symlink_to(target)
    else:
        path = path.parent / "no" / "audit.jsonl"
    with pytest.raises(SinkUnavailable, match=str(path)):
        FileSink(path=str(path)).send(sealed(1))
    assert not target.exists()


def test_a_full_file_is_renamed_and_compressed_and_nothing_is_lost(path: Path) -> None:
    lines = sealed(4000)
    sink = FileSink(path=str(path), rotate_bytes=MAX_LINE, compress="gzip", fsync="none")
    for start in range(0, len(lines), 100):
        sink.send(lines[start : start + 100])
    eventually(lambda: not list(path.parent.glob("audit-*.jsonl")))
    sink.close()
    assert len(list(path.parent.glob("audit-*.jsonl.gz"))) == len(joined(lines)) // MAX_LINE
    assert everything(path.parent) == joined(lines)
    assert {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()} == {0o600}


def test_a_full_file_can_be_packed_with_zstd(path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    lines = sealed(100)
    path.write_bytes(joined(lines))
    sink = FileSink(path=str(path), rotate_seconds=1, compress="zstd")
    os.utime(path, (1, 1))
    sink.send(sealed(1))
    eventually(lambda: bool(list(path.parent.glob("audit-*.jsonl.zst"))))
    sink.close()
    (packed,) = path.parent.glob("audit-*.jsonl.zst")
    with packed.open("rb") as file:
        assert zstandard.ZstdDecompressor().stream_reader(file).read() == joined(lines)


def test_a_new_period_begins_a_new_file(path: Path) -> None:
    sink = FileSink(path=str(path), rotate_seconds=86_400)
    lines = sealed(3)
    sink.send(lines[:1])
    sink.send(lines[1:2])
    assert path.read_bytes() == joined(lines[:2])
    yesterday = time.time() - 86_400
    os.utime(path, (yesterday, yesterday))
    sink.send(lines[2:])
    assert path.read_bytes() == joined(lines[2:])


def test_lines_sent_again_are_found_before_the_file_is_rotated(path: Path) -> None:
    lines = sealed(2)
    FileSink(path=str(path)).send(lines)
    os.utime(path, (1, 1))
    FileSink(path=str(path), rotate_seconds=1).send(lines)
    assert path.read_bytes() == joined(lines)
    assert not list(path.parent.glob("audit-*"))


def test_only_so_many_full_files_are_kept(path: Path) -> None:
    sink = FileSink(path=str(path), rotate_seconds=1, compress="gzip", keep=2)
    lines = sealed(6)
    for line in lines:
        if path.exists():
            os.utime(path, (1, 1))
        sink.send([line])
        eventually(lambda: not list(path.parent.glob("audit-*.jsonl")))
    eventually(lambda: len(list(path.parent.glob("audit-*.jsonl.gz"))) == 2)
    sink.close()
    assert everything(path.parent) == joined(lines[3:])


def test_other_files_are_never_touched(path: Path) -> None:
    others = [
        "audit-old.jsonl",
        "audit-20261121T223000.123456789Z.jsonl.bak",
        "xaudit-20261121T223000.000000000Z.jsonl",
    ]
    for name in others:
        (path.parent / name).write_bytes(b"mine")
    sink = FileSink(path=str(path), rotate_seconds=1, compress="gzip", keep=1)
    for line in sealed(4):
        if path.exists():
            os.utime(path, (1, 1))
        sink.send([line])
        eventually(lambda: not list(path.parent.glob("audit-2*.jsonl")))
    sink.close()
    assert all((path.parent / name).read_bytes() == b"mine" for name in others)


@pytest.mark.parametrize("left", ["", ".gz", ".gz.tmp"])
def test_what_a_crash_left_of_a_compression_is_finished_at_the_next_start(path: Path, left: str) -> None:
    lines = sealed(50)
    full = path.parent / "audit-20261121T223000.123456789Z.jsonl"
    full.write_bytes(joined(lines))
    if left:
        full.with_name(full.name + left).write_bytes(b"half of a compressed file" * 1000)
    sink = FileSink(path=str(path), compress="gzip")
    sink.send(sealed(1))
    packed = full.with_name(full.name + ".gz")
    eventually(lambda: packed.exists() and not full.exists())
    sink.close()
    assert gzip.decompress(packed.read_bytes()) == joined(lines)
    assert not list(path.parent.glob("*.tmp"))


def test_writing_goes_on_while_a_full_file_is_compressed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, release = threading.Event(), threading.Event()
    copy = rotation._copy

    def slow(*arguments: Any) -> bool:
        begun.set()
        release.wait(20)
        return copy(*arguments)

    monkeypatch.setattr(rotation, "_copy", slow)
    first, second = FileSink(path=str(path), compress="gzip", rotate_seconds=1), FileSink(path=str(path))
    lines = sealed(4)
    second.send(lines[:1])
    os.utime(path, (1, 1))
    first.send(lines[1:2])
    assert begun.wait(10)
    second.send(lines[2:3])  # has the renamed file open, and must not wait for its compression
    first.send(lines[3:])
    release.set()
    eventually(lambda: not list(path.parent.glob("audit-*.jsonl")))
    first.close()
    assert everything(path.parent) == joined(lines)


def test_closing_does_not_wait_for_a_long_compression(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "_CHUNK", 1)
    lines = sealed(1000)
    path.write_bytes(joined(lines))
    os.utime(path, (1, 1))
    sink = FileSink(path=str(path), compress="gzip", rotate_seconds=1)
    sink.send(sealed(1))
    sink.close()
    assert list(path.parent.glob("audit-*.jsonl")), "it was stopped on the way"
    monkeypatch.undo()
    sink.send(sealed(1))
    eventually(lambda: not list(path.parent.glob("audit-*.jsonl")))
    sink.close()


def test_two_processes_rotate_one_file_and_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    script = """
import sys
from otel_audit.sinks.files import FileSink
from tests.sinks.lines import sealed
sink = FileSink(path=sys.argv[1], rotate_bytes=1 << 20, compress="gzip", fsync="none")
lines = sealed(3000, stream=sys.argv[2])
for start in range(0, 3000, 50):
    sink.send(lines[start:start + 50])
sink.close()
"""
    streams = [new_stream_id(), new_stream_id()]
    writers = [subprocess.Popen([sys.executable, "-c", script, str(path), stream]) for stream in streams]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    written = everything(tmp_path).splitlines(keepends=True)
    for stream in streams:
        assert [one for one in written if stream.encode() in one] == [one.line for one in sealed(3000, stream=stream)]
    assert len(written) == 6000


def test_killed_at_any_moment_no_line_is_lost_torn_or_doubled(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    script = """
import os, sys
from otel_audit.sinks.files import FileSink
from tests.sinks.lines import sealed
sink = FileSink(path=sys.argv[1], rotate_bytes=1 << 20, compress="gzip", fsync="none")
lines = sealed(20000, stream=sys.argv[2])
confirmed = int(open(sys.argv[3]).read() or 0) if os.path.exists(sys.argv[3]) else 0
cursor = os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT)
print("ready", flush=True)
for start in range(confirmed, 20000, 50):
    sink.send(lines[start:start + 50])
    os.pwrite(cursor, b"%06d" % (start + 50), 0)
"""
    stream, cursor = new_stream_id(), tmp_path / "cursor"
    for delay in (0.02, 0.05, 0.03, 0.1, None):
        command = [sys.executable, "-c", script, str(path), stream, str(cursor)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            if delay is None:
                assert writer.wait(60) == 0
            else:
                time.sleep(delay)  # the moment of the kill is what the test varies
                writer.send_signal(signal.SIGKILL)
    sink = FileSink(path=str(path), compress="gzip")
    sink.send(sealed(1, stream=stream))
    eventually(lambda: not list(tmp_path.glob("audit-*.jsonl")))
    sink.close()
    written = everything(tmp_path).splitlines(keepends=True)
    first = sealed(1, stream=stream)[0].line
    assert [one for one in written if one != first] == [one.line for one in sealed(20000, stream=stream)[1:]]


def test_a_forked_child_takes_a_lock_of_its_own(path: Path) -> None:
    sink = FileSink(path=str(path))
    lines = sealed(2)
    sink.send(lines[:1])
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        with path.open("rb") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            signal.alarm(1)
            sink.send(lines[1:])  # waits for the lock of `other`, until the alarm ends the process
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGALRM
    assert path.read_bytes() == lines[0].line


def test_the_lock_is_free_between_sends(path: Path) -> None:
    sink = FileSink(path=str(path))
    sink.send(sealed(1))
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file://host/audit.jsonl", "has no host"),
        ("file:audit.jsonl", "not absolute"),
        ("file:///a?rotate_bytes=10", "size of one line"),
        ("file:///a?rotate_seconds=0", "not positive"),
        ("file:///a?keep=0", "below 1"),
        ("file:///a?compress=gz", "did you mean 'gzip'"),
        ("file:///a?rotate_byte=10", "did you mean 'rotate_bytes'"),
    ],
)
def test_a_wrong_url_says_what_is_wrong(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        FileSink.from_url(url)
