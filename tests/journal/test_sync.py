"""fdatasync that fails: the file is never trusted again, its lines are written again, a record says so."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from otel_audit.errors import RecordLost
from otel_audit.journal import writer
from tests.writer.trails import codes, data_of, events, eventually, named, open_trail, records, run_python, verified

FAILED = {"PIPELINE_DEGRADED"}
REPEATED = {"PIPELINE_DEGRADED", "REPEATED_LINES"}


@pytest.fixture
def fail_sync(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], bool]], list[int]]:
    """Have the nth fdatasync fail where the test says so; returns the list of descriptors' inodes synced."""
    real = os.fdatasync

    def install(fails: Callable[[int], bool]) -> list[int]:
        calls: list[int] = []

        def replaced(descriptor: int) -> None:
            calls.append(os.fstat(descriptor).st_ino)
            if fails(len(calls)):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            real(descriptor)

        monkeypatch.setattr(os, "fdatasync", replaced)
        return calls

    return install


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.jsonl"))


def test_what_was_not_durable_is_written_again_into_a_new_segment(tmp_path: Path, fail_sync: object) -> None:
    calls = fail_sync(lambda number: number == 1)  # type: ignore[operator]
    with open_trail(tmp_path) as trail:
        trail.record("a.b")
        trail.record("a.c")
        (degraded,) = eventually(lambda: data_of(tmp_path, "audit.pipeline.degraded"))
        assert degraded == {"cause": "sync failed", "reason": os.strerror(errno.EIO)}
        trail.record("a.d")
    old, new = segments(tmp_path)
    assert new.read_bytes().startswith(old.read_bytes())
    assert calls.count(calls[0]) == 1, "the file that failed was synced again"
    assert events(tmp_path).count("a.b") == 1
    report = verified(tmp_path)
    assert (report.exit_code, codes(report)) == (3, REPEATED)


def test_a_repair_that_finds_the_disk_full_is_put_off(
    tmp_path: Path, fail_sync: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_sync(lambda number: number == 1)  # type: ignore[operator]
    store = writer.JournalWriter(tmp_path)
    store.begin("0" * 32)
    store.append(b"a line\n")
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        store.sync()
    made: list[int] = []
    with monkeypatch.context() as full:
        full.setattr(store, "_copy", lambda data: made.append(1) or os.open("", 0))
        for _ in range(3):
            with pytest.raises(OSError):  # noqa: PT011 - the copy's error first, then the sync's
                store.repair()
    assert len(made) == 1, "the next attempt waits a second"
    store.end()
    assert [path.read_bytes() for path in segments(tmp_path)] == [b"a line\n"] * 2


def test_a_file_that_failed_is_not_needed_any_more(tmp_path: Path, fail_sync: object) -> None:
    """The kernel may have dropped what it could not write: everything since the last good sync is in the new file."""
    fail_sync(lambda number: number == 2)  # type: ignore[operator]
    with open_trail(tmp_path) as trail:
        trail.record("a.b")
        store = trail.stream.store
        eventually(lambda: store.durable == store.written)
        durable = segments(tmp_path)[0].stat().st_size
        trail.record("a.c")
        eventually(lambda: named(tmp_path, "audit.pipeline.degraded"))
    old = segments(tmp_path)[0]
    os.truncate(old, durable)
    assert events(tmp_path).count("a.c") == 1
    report = verified(tmp_path)
    assert (report.exit_code, codes(report)) == (3, FAILED)


def test_always_is_true_again_when_the_call_returns(tmp_path: Path, fail_sync: object) -> None:
    fail_sync(lambda number: number == 1)  # type: ignore[operator]
    with open_trail(tmp_path, durability="always", on_failure="raise", sync=10) as trail:
        receipt = trail.record("a.b")
        store = trail.stream.store
        assert receipt.seq == 2
        assert store.durable == store.written
    assert len(data_of(tmp_path, "audit.pipeline.degraded")) == 1


def test_always_raises_where_nothing_can_be_made_durable(tmp_path: Path, fail_sync: object) -> None:
    broken = [True]
    fail_sync(lambda number: broken[0])  # type: ignore[operator]
    with open_trail(tmp_path, durability="always", on_failure="raise", sync=0.01) as trail:
        with pytest.raises(RecordLost, match="not durable"):
            trail.record("a.b")
        broken[0] = False
        eventually(lambda: named(tmp_path, "audit.pipeline.degraded"), within=5)
        trail.record("a.c")
    assert events(tmp_path).count("a.b") == 1
    report = verified(tmp_path)
    assert (report.exit_code, codes(report)) == (3, REPEATED)


def test_a_disk_that_stays_broken_is_not_filled_with_repetitions(
    tmp_path: Path, fail_sync: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_MOST_NOT_DURABLE", 50_000)
    fail_sync(lambda number: True)  # type: ignore[operator]
    with open_trail(tmp_path, sync=0.001) as trail:
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            trail.record("a.b", {}, {"text": "x" * 1000})
        store = trail.stream.store
        assert sum(map(len, store._not_durable)) < 80_000, "memory is not bounded"  # type: ignore[attr-defined]
        assert len(segments(tmp_path)) <= 4
        assert trail.stream.lost > 0
    assert sum(path.stat().st_size for path in segments(tmp_path)) < 400_000
    assert verified(tmp_path).exit_code == 3


def test_a_full_segment_that_cannot_be_synced_is_written_again_before_the_next(
    tmp_path: Path, fail_sync: object
) -> None:
    fail_sync(lambda number: number == 1)  # type: ignore[operator]
    with open_trail(tmp_path, segment_bytes=4096, sync=0.2) as trail:
        for number in range(50):
            trail.record("a.b", {}, {"n": number})
        eventually(lambda: named(tmp_path, "audit.pipeline.degraded"))
    assert sorted(r["seq"] for r in records(tmp_path)) == list(range(1, 54))
    report = verified(tmp_path)
    assert (report.exit_code, codes(report)) == (3, REPEATED)


def test_the_close_of_a_trail_that_cannot_be_made_durable_is_said_not_raised(
    tmp_path: Path, fail_sync: object, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = [True]
    fail_sync(lambda number: broken[0])  # type: ignore[operator]
    with open_trail(tmp_path, sync=10) as trail:
        trail.record("a.b")
        trail.close()
        assert "durable: Input/output error" in capfd.readouterr().err
        broken[0] = False
        trail.record("a.c")
    assert verified(tmp_path).exit_code in {0, 3}
    assert len({record["stream"] for record in records(tmp_path)}) == 2


STRACED = """
import sys
from pathlib import Path
from tests.writer.trails import open_trail
with open_trail(Path(sys.argv[1])) as trail:
    for n in range(20):
        trail.record("a.b", {}, {"n": n})
        trail.stream.sync()
    lost = trail.stream.lost
print(lost)
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace injects the faults")
@pytest.mark.parametrize(
    ("call", "fault", "expected"),
    [
        ("fdatasync", "error=EIO:when=3", REPEATED),
        ("fdatasync", "error=ENOSPC:when=1..2", REPEATED),
        ("write", "error=EIO:when=7", {"RECORDS_LOST"}),
        ("write", "error=ENOSPC:when=1..5", {"RECORDS_LOST"}),
        ("write", "error=EDQUOT:when=4+5", {"RECORDS_LOST"}),
        ("write", "retval=0:when=5", set()),
        ("fsync", "error=EIO:when=1", {"RECORDS_LOST"}),
        ("flock", "error=ENOLCK:when=1", {"RECORDS_LOST"}),
        ("openat", "error=EMFILE:when=1", {"RECORDS_LOST"}),
    ],
)
def test_a_real_fault_of_a_system_call_is_lived_through(
    tmp_path: Path, call: str, fault: str, expected: set[str]
) -> None:
    journal = tmp_path / "journal"
    journal.mkdir()
    under = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={call}", "-e", f"inject={call}:{fault}"]
    if call in {"write", "openat"}:  # of the segment alone, not of the interpreter's own files
        under += ["-P", str(journal)]
        if call == "write":
            pytest.importorskip("os")
            under += [arg for n in range(1, 4) for arg in ("-P", str(journal / f"{'0' * 31}1.{n:06d}.jsonl"))]
    code = "import otel_audit.stream as s; s.new_stream_id = lambda: '0' * 31 + '1'\n" + STRACED
    lost = int(run_python(code, journal, under=tuple(under)).stdout)
    report = verified(journal)
    assert codes(report) == expected
    assert report.exit_code == (3 if expected else 0)
    assert events(journal).count("a.b") == 20 - lost
    assert sum(gap["count"] for gap in data_of(journal, "audit.gap")) == lost
    assert (lost > 0) == ("RECORDS_LOST" in expected)
