"""A disk that is full, or takes only part of a line: the policy, the gap, and business as usual afterwards."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from otel_audit.errors import RecordLost
from otel_audit.trail import AuditTrail
from tests.writer.trails import codes, data_of, events, eventually, open_trail, records, run_python, verified

BALLAST = "ballast"
EVENT = {"text": "x" * 1000}


def fill(disk: Path) -> None:
    """Leave no byte on the disk."""
    with (disk / BALLAST).open("ab", buffering=0) as file:
        for size in (65536, 4096, 64, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"\0" * size)


def make_room(disk: Path) -> None:
    (disk / BALLAST).unlink()


def fill_with_records(trail: AuditTrail) -> int:
    """Record until the disk is full; return how many were kept."""
    kept = 0
    while trail.stream.lost == 0:
        trail.record("a.b", {}, {"n": kept, **EVENT})
        kept += 1
    return kept - 1


def test_warn_loses_says_so_and_declares_exactly_how_many(small_disk: Path, capfd: pytest.CaptureFixture[str]) -> None:
    journal = small_disk / "journal"
    with open_trail(journal) as trail:
        trail.record("a.b")
        fill(small_disk)
        kept = fill_with_records(trail)
        for _ in range(9):
            assert trail.record("a.b", {}, EVENT).seq is None
        assert trail.stream.lost == 10
        make_room(small_disk)
        trail.record("a.after")
    assert "an audit record was lost: No space left on device" in capfd.readouterr().err
    (gap,) = data_of(journal, "audit.gap")
    assert (gap["count"], gap["reason"]) == (10, os.strerror(errno.ENOSPC))
    assert gap["from"] <= gap["to"]
    assert events(journal)[-3:] == ["audit.gap", "a.after", "audit.stream.close"]
    assert events(journal).count("a.b") == kept + 1
    assert data_of(journal, "audit.stream.close")[0]["lost"] == 10
    report = verified(journal)
    assert (report.exit_code, codes(report)) == (3, {"RECORDS_LOST"})
    assert "No space left" in report.findings.listed[0].detail


def test_raise_raises_to_the_caller(small_disk: Path) -> None:
    journal = small_disk / "journal"
    with open_trail(journal, on_failure="raise") as trail:
        trail.record("a.b")
        fill(small_disk)
        for _ in range(3):
            with pytest.raises(RecordLost, match="No space left"):
                trail.record("a.lost", {}, {"text": "x" * 5000})
        make_room(small_disk)
        trail.record("a.after")
    assert data_of(journal, "audit.gap")[0]["count"] == 3
    assert "a.lost" not in events(journal)
    assert verified(journal).exit_code == 3


def test_block_waits_for_room_and_loses_nothing(small_disk: Path) -> None:
    journal = small_disk / "journal"
    with open_trail(journal, on_failure="block") as trail:
        trail.record("a.b")
        fill(small_disk)
        threading.Timer(0.3, make_room, [small_disk]).start()
        begun = time.monotonic()
        receipt = trail.record("a.waited", {}, {"text": "x" * 5000})
        assert time.monotonic() - begun > 0.2
        assert receipt.seq == 3
        assert trail.stream.lost == 0
    assert "audit.gap" not in events(journal)
    assert verified(journal).exit_code == 0


def test_block_raises_when_its_time_is_up(small_disk: Path) -> None:
    journal = small_disk / "journal"
    with open_trail(journal, on_failure="block", block_timeout=0.2) as trail:
        trail.record("a.b")
        fill(small_disk)
        with pytest.raises(RecordLost):
            trail.record("a.lost", {}, {"text": "x" * 5000})
        make_room(small_disk)
        trail.record("a.after")
    assert [gap["count"] for gap in data_of(journal, "audit.gap")] == [1]
    assert verified(journal).exit_code == 3


def test_a_gap_is_recorded_without_a_further_record(small_disk: Path) -> None:
    journal = small_disk / "journal"
    with open_trail(journal) as trail:
        trail.record("a.b")
        fill(small_disk)
        trail.record("a.lost", {}, {"text": "x" * 5000})
        make_room(small_disk)
        eventually(lambda: "audit.gap" in events(journal))


def test_a_disk_that_is_full_from_the_start(small_disk: Path) -> None:
    """The stream's file can be made, its first record cannot be written."""
    journal = small_disk / "journal"
    journal.mkdir()
    fill(small_disk)
    with open_trail(journal) as trail:
        for _ in range(4):
            trail.record("a.lost")
        make_room(small_disk)
        trail.record("a.after")
        time.sleep(0.3)  # the keeper looks meanwhile; it must find nothing amiss
        trail.record("a.later")
    assert events(journal) == ["audit.stream.open", "audit.gap", "a.after", "a.later", "audit.stream.close"]
    assert data_of(journal, "audit.gap")[0]["count"] == 4
    assert verified(journal).exit_code == 3


def test_no_inode_left_to_note_which_streams_are_declared(small_disk: Path) -> None:
    """What a stream declares is written before it is noted; noting it may fail, the stream goes on."""
    journal = small_disk / "journal"
    for _ in range(2):
        with open_trail(journal) as trail:
            trail.record("a.b")
    with open_trail(journal) as trail:
        with pytest.raises(OSError, match="No space"):
            [(small_disk / f"inode{number}").touch() for number in range(64)]
        (small_disk / "inode0").unlink()  # room for a segment, not for a mark
        trail.record("a.b")
        trail.record("a.c")
        assert trail.stream.lost == 0
    assert verified(journal).exit_code == 0


def test_four_threads_on_a_disk_that_fills_and_grows(small_disk: Path) -> None:
    journal = small_disk / "journal"
    tried, kept = [0] * 4, [0] * 4
    with open_trail(journal) as trail:

        def work(place: int) -> None:
            for number in range(200):
                tried[place] += 1
                receipt = trail.record("a.b", {}, {"by": place, "n": number, "text": "x" * 500})
                kept[place] += receipt.seq is not None

        threads = [threading.Thread(target=work, args=(place,)) for place in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lost = trail.stream.lost
        assert lost == sum(tried) - sum(kept) > 0
        subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
        trail.record("a.after")
    assert sum(gap["count"] for gap in data_of(journal, "audit.gap")) == lost
    assert events(journal).count("a.b") == sum(kept)
    assert verified(journal).exit_code == 3


@pytest.fixture
def short_writes(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int, bytes], int]], None]:
    """Have every write of a record go through a function of the test."""
    real = os.write

    def install(write: Callable[[int, bytes], int]) -> None:
        def replaced(descriptor: int, data: bytes) -> int:
            return real(descriptor, data) if descriptor <= 2 else write(descriptor, data)

        monkeypatch.setattr(os, "write", replaced)

    return install


def test_a_short_write_is_finished(tmp_path: Path, short_writes: Any) -> None:
    real = os.write
    short_writes(lambda descriptor, data: real(descriptor, data[:7]))
    with open_trail(tmp_path) as trail:
        for number in range(5):
            trail.record("a.b", {}, {"n": number})
    assert len(records(tmp_path)) == 7
    assert verified(tmp_path).exit_code == 0


@pytest.mark.parametrize("fails_at", range(1, 11))
def test_a_line_that_breaks_off_is_taken_back(tmp_path: Path, short_writes: Any, fails_at: int) -> None:
    """Whichever write of a run fails, in the middle of a line or before it, no half line stays inside the file."""
    real, count = os.write, iter(range(1, 1_000))

    def write(descriptor: int, data: bytes) -> int:
        place = next(count)
        if place == fails_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data[:100] if place == fails_at - 1 else data)

    short_writes(write)
    with open_trail(tmp_path) as trail:
        for number in range(8):
            trail.record("a.b", {}, {"n": number, "text": "x" * 200})
        lost = trail.stream.lost
    assert events(tmp_path).count("a.b") == 8 - lost
    assert sum(gap["count"] for gap in data_of(tmp_path, "audit.gap")) == lost == 1
    report = verified(tmp_path)
    assert (report.exit_code, codes(report)) == (3, {"RECORDS_LOST"})


def test_a_half_line_that_cannot_be_taken_back_stays_behind_as_a_torn_tail(
    tmp_path: Path, short_writes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, count = os.write, iter(range(1, 1_000))

    def write(descriptor: int, data: bytes) -> int:
        place = next(count)
        if place == 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data[:100] if place == 4 else data)

    def refused(descriptor: int, size: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    short_writes(write)
    monkeypatch.setattr(os, "ftruncate", refused)
    with open_trail(tmp_path) as trail:
        for number in range(8):
            trail.record("a.b", {}, {"n": number})
    assert len(list(tmp_path.glob("*.jsonl"))) == 2
    report = verified(tmp_path)
    assert (report.exit_code, codes(report) - {"REPEATED_LINES"}) == (3, {"RECORDS_LOST", "TORN_TAIL"})


def test_a_limit_on_file_size_is_a_full_disk(tmp_path: Path) -> None:
    """RLIMIT_FSIZE gives a real short write and then EFBIG."""
    code = """
import resource, signal, sys
from pathlib import Path
from tests.writer.trails import open_trail
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
with open_trail(Path(sys.argv[1])) as trail:
    for n in range(40):
        trail.record("a.b", {}, {"n": n, "text": "x" * 1000})
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    trail.record("a.after")
print(trail.stream.lost)
"""
    lost = int(run_python(code, tmp_path).stdout)
    assert 0 < lost < 40
    assert data_of(tmp_path, "audit.gap")[0]["count"] == lost
    assert events(tmp_path).count("a.b") == 40 - lost
    report = verified(tmp_path)
    assert (report.exit_code, codes(report)) == (3, {"RECORDS_LOST"})
