"""Stream files: whose they are, how one follows another, what a restart makes of them."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
import threading
import time
from pathlib import Path

import pytest

from otel_audit.door import Door
from otel_audit.errors import RecordLost
from otel_audit.journal import recovery
from otel_audit.journal.files import is_live, list_streams
from otel_audit.journal.reader import JournalReader, Position
from otel_audit.journal.writer import JournalWriter
from otel_audit.record import MAX_LINE
from otel_audit.stream import Stream
from otel_audit.trail import describe_process
from tests.writer.trails import codes, data_of, events, eventually, named, open_trail, records, verified


def only_segment(directory: Path) -> Path:
    (path,) = directory.glob("*.jsonl")
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_segments_are_0600_in_a_0700_directory(tmp_path: Path) -> None:
    journal = tmp_path / "audit"
    old = os.umask(0)
    try:
        with open_trail(journal) as trail:
            trail.record("a.b")
    finally:
        os.umask(old)
    assert (mode(journal), mode(only_segment(journal))) == (0o700, 0o600)
    assert verified(journal).exit_code == 0


def test_a_segment_is_opened_append_only_and_closed_on_exec(tmp_path: Path) -> None:
    with open_trail(tmp_path) as trail:
        trail.record("a.b")
        store = trail.stream.store
        assert isinstance(store, JournalWriter)
        flags = fcntl.fcntl(store._descriptor, fcntl.F_GETFL)
        assert flags & os.O_APPEND
        assert fcntl.fcntl(store._descriptor, fcntl.F_GETFD) & fcntl.FD_CLOEXEC


def test_a_live_segment_is_locked_against_everyone_else(tmp_path: Path) -> None:
    with open_trail(tmp_path) as trail:
        trail.record("a.b")
        ((segment,),) = list_streams(tmp_path).values()
        assert is_live(segment)
        with segment.path.open("rb") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert not is_live(segment)


def test_two_writers_on_one_journal_have_a_stream_each(tmp_path: Path) -> None:
    with open_trail(tmp_path) as one, open_trail(tmp_path) as other:
        for _ in range(10):
            one.record("a.one")
            other.record("a.other")
    assert len(list_streams(tmp_path)) == 2
    assert [data["previous"] for data in data_of(tmp_path, "audit.stream.open")] == [[], []]
    assert verified(tmp_path).exit_code == 0


def test_a_full_segment_is_followed_by_one_that_continues_the_chain(tmp_path: Path) -> None:
    with open_trail(tmp_path, segment_bytes=4096) as trail:
        for number in range(100):
            trail.record("a.b", {}, {"n": number})
    (segments,) = list_streams(tmp_path).values()
    assert [segment.number for segment in segments] == list(range(1, len(segments) + 1))
    assert len(segments) > 5
    assert all(segment.path.stat().st_size <= 4096 for segment in segments)
    assert [record["seq"] for record in records(tmp_path)] == list(range(1, 103))
    assert verified(tmp_path).exit_code == 0


def test_a_line_longer_than_a_segment_gets_one_of_its_own(tmp_path: Path) -> None:
    with open_trail(tmp_path, segment_bytes=2048) as trail:
        trail.record("a.b", {}, {"text": "x" * 5000})
        trail.record("a.b")
    assert len(list(tmp_path.glob("*.jsonl"))) == 3
    assert verified(tmp_path).exit_code == 0


def test_the_reader_walks_over_segments_while_they_are_written(tmp_path: Path) -> None:
    reader, seen = JournalReader(tmp_path), list[int]()
    with open_trail(tmp_path, segment_bytes=4096) as trail:
        position = Position()
        for number in range(60):
            trail.record("a.b", {}, {"n": number})
            if number % 7 == 0:
                found = reader.read(trail.stream.id, position, max_records=50, max_bytes=10_000)
                seen += [stored.seq for stored in found]
                position = found[-1].after
        seen += [s.seq for s in reader.read(trail.stream.id, position, max_records=50, max_bytes=1 << 20)]
        assert reader.at_end(trail.stream.id, Position(*position)) is False
    assert seen == list(range(1, 62))


def test_a_clean_restart_is_declared_as_closed(tmp_path: Path) -> None:
    for _ in range(3):
        with open_trail(tmp_path) as trail:
            trail.record("a.b")
    first, second, third = data_of(tmp_path, "audit.stream.open")
    assert first["previous"] == []
    for data in second, third:
        (ending,) = data["previous"]
        assert (ending["seq"], ending["closed"], "torn" in ending) == (3, True, False)
    closing = named(tmp_path, "audit.stream.close")[0]
    assert second["previous"][0]["hash"] == closing["hash"]
    assert verified(tmp_path).exit_code == 0


def leave_torn(journal: Path, torn: bytes) -> Path:
    """Write a stream that nobody closes, with a torn tail behind it; return its file."""
    store = JournalWriter(journal)
    stream = Stream(store, control=Door().control, describe=describe_process, warn=str)
    stream.append(Door().admit("a.b"))
    store.forget()
    path = only_segment(journal)
    with path.open("ab") as file:
        file.write(torn)
    return path


@pytest.mark.parametrize("torn", [b"{", b'{"@timestamp":"2026-', b"\x00" * 4096, b'{"a":1}'])
def test_a_torn_tail_is_declared_by_the_next_stream(tmp_path: Path, torn: bytes) -> None:
    path = leave_torn(tmp_path, torn)
    before = path.read_bytes()
    with open_trail(tmp_path) as trail:
        trail.record("a.b")
    (ending,) = data_of(tmp_path, "audit.stream.open")[1]["previous"]
    assert ending["closed"] is False
    assert ending["torn"] == {
        "segment": path.name,
        "offset": len(before) - len(torn),
        "length": len(torn),
        "sha256": hashlib.sha256(torn).hexdigest(),
    }
    assert path.read_bytes() == before, "recovery rewrote a file"
    report = verified(tmp_path)
    assert (report.exit_code, codes(report)) == (3, {"TORN_DECLARED"})


def test_a_stream_of_which_nothing_whole_was_written_is_declared(tmp_path: Path) -> None:
    stream = "0" * 32
    (tmp_path / f"{stream}.000001.jsonl").write_bytes(b'{"@times')
    with open_trail(tmp_path) as trail:
        trail.record("a.b")
    (ending,) = data_of(tmp_path, "audit.stream.open")[0]["previous"]
    assert (ending["stream"], ending["seq"], "hash" in ending) == (stream, 0, False)
    assert verified(tmp_path).exit_code == 3


def test_each_ending_is_declared_once(tmp_path: Path) -> None:
    leave_torn(tmp_path, b"{")
    for _ in range(3):
        with open_trail(tmp_path) as trail:
            trail.record("a.b")
    assert [len(data["previous"]) for data in data_of(tmp_path, "audit.stream.open")] == [0, 1, 1, 1]


def test_reopening_reads_the_same_however_long_the_log_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a restart reads is bounded by the longest line, not by the log."""
    path = leave_torn(tmp_path, b"")
    lines = path.read_bytes().splitlines(keepends=True)
    read: list[int] = []
    original = Path.open

    class Counting:
        def __init__(self, file: object) -> None:
            self.file = file

        def __getattr__(self, name: str) -> object:
            return getattr(self.file, name)

        def __enter__(self) -> Counting:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()  # type: ignore[attr-defined]

        def read(self, size: int = -1) -> bytes:
            chunk: bytes = self.file.read(size)  # type: ignore[attr-defined]
            read.append(len(chunk))
            return chunk

    monkeypatch.setattr(Path, "open", lambda self, *a, **k: Counting(original(self, *a, **k)))
    for size in (4 << 20, 64 << 20):
        with path.open("wb") as file:
            file.write(lines[0])
            file.write(lines[1] * (size // len(lines[1])))
        read.clear()
        (ending,) = recovery.find_endings(tmp_path, "")
        assert ending.seq == 2
        assert sum(read) <= 2 * MAX_LINE


def test_a_lost_record_when_the_quota_is_used_up_and_business_as_usual_after(tmp_path: Path) -> None:
    with open_trail(tmp_path) as before:
        for _ in range(20):
            before.record("a.old", {}, {"text": "x" * 1000})
    old = only_segment(tmp_path)
    with open_trail(tmp_path, quota=old.stat().st_size + 4000, on_failure="raise") as trail:
        fill = [{"text": "x" * 1000}] * 20
        with pytest.raises(RecordLost, match="quota"):
            [trail.record("a.new", {}, data) for data in fill]
        kept = trail.stream.records
        old.unlink()

        def kept_again() -> bool:
            try:
                trail.record("a.after")
            except RecordLost:
                return False
            return True

        eventually(kept_again)
        lost = trail.stream.lost
    assert events(tmp_path).count("a.new") == kept - 1
    (gap,) = data_of(tmp_path, "audit.gap")
    assert gap["count"] == lost >= 1
    assert "quota" in gap["reason"]


def test_the_quota_counts_what_is_there_not_what_was_tried(tmp_path: Path) -> None:
    with open_trail(tmp_path, quota=1 << 20, segment_bytes=8192) as trail:
        for number in range(400):
            trail.record("a.b", {}, {"n": number})
        assert trail.stream.lost == 0
    assert verified(tmp_path).exit_code == 0


def test_a_name_that_is_taken_is_passed_over(tmp_path: Path) -> None:
    with open_trail(tmp_path, segment_bytes=4096) as trail:
        trail.record("a.b")
        taken = tmp_path / f"{trail.stream.id}.000002.jsonl"
        taken.touch()
        for number in range(50):
            trail.record("a.b", {}, {"n": number})
        assert trail.stream.lost == 0
    assert taken.stat().st_size == 0
    report = verified(tmp_path)
    assert (report.exit_code, codes(report)) == (3, {"EMPTY_SEGMENT"})


def test_lines_are_durable_within_the_interval(tmp_path: Path) -> None:
    with open_trail(tmp_path) as trail:
        trail.record("a.b")
        store = trail.stream.store
        eventually(lambda: store.durable == store.written > 0)


def test_always_returns_when_the_line_is_durable_and_shares_the_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    real = os.fdatasync

    def slow(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)
        time.sleep(0.01)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow)
    with open_trail(tmp_path, durability="always", sync=10) as trail:
        store = trail.stream.store
        assert isinstance(store, JournalWriter)

        def work() -> None:
            for _ in range(10):
                receipt = trail.record("a.b")
                assert receipt.seq is not None
                assert store.durable > 0

        trail.record("a.b")
        assert store.durable == store.written
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert store.durable == store.written
        assert len(synced) < 81, "eight threads shared no fdatasync"
    assert verified(tmp_path).exit_code == 0


def test_a_receipt_tells_the_place_and_hash_of_its_line(tmp_path: Path) -> None:
    with open_trail(tmp_path) as trail:
        receipts = [trail.record("a.b", {}, {"n": number}) for number in range(5)]
    found = {(r["stream"], r["seq"]): r["hash"] for r in records(tmp_path)}
    for receipt in receipts:
        assert found[receipt.stream, receipt.seq] == receipt.hash  # type: ignore[index]
        assert receipt.id == f"{receipt.stream}-{receipt.seq}"


def test_a_record_after_close_opens_a_stream_that_follows(tmp_path: Path) -> None:
    with open_trail(tmp_path) as trail:
        trail.record("a.b")
        trail.close()
        trail.record("a.c")
    opened, closed = "audit.stream.open", "audit.stream.close"
    assert sorted(events(tmp_path)) == sorted([opened, "a.b", closed, opened, "a.c", closed])
    assert verified(tmp_path).exit_code == 0


def test_closing_without_a_record_leaves_nothing(tmp_path: Path) -> None:
    with open_trail(tmp_path / "audit"):
        pass
    assert not (tmp_path / "audit").exists()


def test_heartbeats_say_how_many_records_there_are(tmp_path: Path) -> None:
    with open_trail(tmp_path, heartbeat=0.05) as trail:
        trail.record("a.b")
        eventually(lambda: len(named(tmp_path, "audit.heartbeat")) >= 3)
    beats = named(tmp_path, "audit.heartbeat")
    assert [beat["data"]["records"] for beat in beats] == [beat["seq"] - 1 for beat in beats]
    assert json.dumps(beats[0]["data"]["interval"]) == "0.05"
    assert verified(tmp_path).exit_code == 0
