"""Sinks that keep each batch as an object: the same batches after a failure and after a kill, and not too many."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from otel_audit.journal.cursor import Cursor
from otel_audit.journal.reader import Position
from otel_audit.journal.writer import JournalWriter
from otel_audit.keeper import Intervals
from otel_audit.shipping import Shipper
from otel_audit.shipping.source import JournalSource
from otel_audit.sinks.base import Archive, SealedLine, SinkUnavailable
from otel_audit.trail import AuditTrail
from tests.shipping.fakes import FakeSink, fill, quick

Make = Callable[..., AuditTrail]


class FakeArchive(FakeSink):
    """Keeps each batch under the numbers of its first and last record."""

    linger = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[tuple[int, int]] = []

    def send(self, batch: Sequence[SealedLine]) -> None:
        self.parts.append((batch[0].seq, batch[-1].seq))
        super().send(batch)


def write(journal: Path, count: int) -> tuple[AuditTrail, str]:
    """Begin a stream with `count` records, its opening among them."""
    trail = AuditTrail(JournalWriter(journal), intervals=Intervals(heartbeat=0.0))
    fill(trail, count - 1)
    return trail, trail.stream.id


def shipper_of(journal: Path, sink: FakeSink, **options: object) -> Shipper:
    return Shipper(JournalSource(journal), lambda: sink, name=sink.name, backoff=quick(), **options)  # type: ignore[arg-type]


def test_a_fake_archive_is_one_and_a_fake_sink_is_none() -> None:
    assert isinstance(FakeArchive(), Archive)
    assert not isinstance(FakeSink(), Archive)


def test_a_batch_that_failed_is_sent_again_as_it_was(tmp_path: Path) -> None:
    trail, stream = write(tmp_path, 10)
    sink = FakeArchive()
    failures = iter(range(3))

    def fail(batch: Sequence[SealedLine]) -> None:
        if next(failures, None) is not None:
            fill(trail, 5)
            raise SinkUnavailable("down")

    sink.fail = fail
    shipper = shipper_of(tmp_path, sink)
    assert shipper.wait_for(stream, 25, time.monotonic() + 10)
    shipper.close()
    trail.close()

    assert sink.parts[:4] == [(1, 10)] * 4
    assert sink.parts[4:] == [(11, 25)]


def test_a_batch_that_was_begun_before_a_kill_is_sent_again_as_it_was(tmp_path: Path) -> None:
    trail, stream = write(tmp_path, 10)
    cursor = tmp_path / "cursors" / "fake" / stream

    class KilledError(BaseException):
        """Nothing below it can tell it from the process's end."""

    sink = FakeArchive()
    noted: list[int] = []

    def die(batch: Sequence[SealedLine]) -> None:
        noted.append(json.loads(cursor.read_text())["begun"])
        raise KilledError

    sink.fail = die
    lane_owner = shipper_of(tmp_path, sink)
    with pytest.raises(KilledError):
        lane_owner._ship_once()
    for lane in lane_owner._lanes.values():
        lane.cursor.close()  # as the kernel lets go of a dead process's locks
    assert noted == [10], "noted before it is sent"

    fill(trail, 5)
    again = FakeArchive()
    shipper = shipper_of(tmp_path, again)
    assert shipper.wait_for(stream, 15, time.monotonic() + 10)
    shipper.close()
    trail.close()

    assert again.parts == [(1, 10), (11, 15)]


def test_a_begun_batch_is_found_over_several_segments(tmp_path: Path) -> None:
    trail = AuditTrail(JournalWriter(tmp_path, segment_bytes=1024), intervals=Intervals(heartbeat=0.0))
    fill(trail, 19)
    stream = trail.stream.id
    assert len(list(tmp_path.glob("*.jsonl"))) > 2
    cursor = Cursor(tmp_path, "fake", stream)
    assert cursor.acquire()
    cursor.move(Position(), begun=15)
    cursor.close()

    sink = FakeArchive()
    shipper = shipper_of(tmp_path, sink)
    assert shipper.wait_for(stream, 20, time.monotonic() + 10)
    shipper.close()
    trail.close()

    assert sink.parts[0] == (1, 15)
    assert sink.seqs()[:20] == list(range(1, 21))


def test_other_sinks_note_no_batches(tmp_path: Path) -> None:
    trail, stream = write(tmp_path, 10)
    shipper = shipper_of(tmp_path, FakeSink())
    assert shipper.wait_for(stream, 10, time.monotonic() + 10)
    shipper.close()
    trail.close()

    assert "begun" not in (tmp_path / "cursors" / "fake" / stream).read_text()


def test_an_archive_waits_as_long_as_it_is_made_for(tmp_path: Path) -> None:
    trail, _ = write(tmp_path, 5)
    sink = FakeArchive()
    sink.linger = 0.4
    shipper = shipper_of(tmp_path, sink)
    began = time.monotonic()
    shipper.start()
    sink.wait_for(lambda: bool(sink.parts))
    shipper.close()
    trail.close()

    assert time.monotonic() - began >= 0.4


def test_what_is_asked_for_counts_more(tmp_path: Path) -> None:
    trail, _ = write(tmp_path, 5)
    sink = FakeArchive()
    sink.linger = 60.0
    shipper = shipper_of(tmp_path, sink, linger=0.0)
    shipper.start()
    sink.wait_for(lambda: bool(sink.parts))
    shipper.close()
    trail.close()


def test_a_stream_that_nobody_writes_any_more_does_not_wait(tmp_path: Path) -> None:
    trail, _ = write(tmp_path, 5)
    trail.close()
    sink = FakeArchive()
    sink.linger = 60.0
    shipper = shipper_of(tmp_path, sink)
    shipper.start()
    sink.wait_for(lambda: sink.parts == [(1, 6)])
    shipper.close()


def test_a_stream_that_waits_holds_up_no_other(tmp_path: Path) -> None:
    slow, _ = write(tmp_path, 5)
    busy, _ = write(tmp_path, 49)
    sink = FakeArchive()
    sink.linger = 60.0
    shipper = shipper_of(tmp_path, sink)
    shipper.start()
    time.sleep(0.1)  # both wait now
    assert not sink.parts
    fill(busy, 1)  # full by its count
    sink.wait_for(lambda: sink.parts == [(1, 50)])
    shipper.close()
    slow.close()
    busy.close()


def test_records_that_come_meanwhile_do_not_wake_a_shipper_that_waits(tmp_path: Path) -> None:
    trail, _ = write(tmp_path, 5)
    sink = FakeArchive()
    sink.linger = 60.0
    sink.max_records = 10_000
    shipper = shipper_of(tmp_path, sink)
    rounds = 0
    ship_once = shipper._ship_once

    def count() -> bool:
        nonlocal rounds
        rounds += 1
        return ship_once()

    shipper._ship_once = count  # type: ignore[method-assign]
    shipper.start()
    time.sleep(0.1)
    before = rounds
    for _ in range(200):
        trail.record("thing.do")
        shipper.notify()
        time.sleep(0.001)
    assert rounds - before <= 3
    shipper.close()
    trail.close()


def test_a_flush_sends_what_waits_and_no_more_than_that(make_trail: Make) -> None:
    sink = FakeArchive()
    sink.linger = 60.0
    trail = make_trail(sink)
    fill(trail, 5)
    assert trail.flush(5)
    fill(trail, 5)
    time.sleep(0.1)

    assert sink.parts == [(1, 6)]
    assert trail.close(5)
    assert sink.parts[1:] == [(7, 12)]
    assert not [each for each in threading.enumerate() if each.name == "otel-audit-fake"]
