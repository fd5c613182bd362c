"""Where a shipper could lose a record, stop for good, or hold up what waits for it."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from otel_audit.journal import cursor as cursors
from otel_audit.journal import reader as readers
from otel_audit.journal.cursor import Cursor, read_position
from otel_audit.journal.files import list_streams
from otel_audit.journal.memory import MemoryJournal
from otel_audit.journal.reader import JournalReader, Position
from otel_audit.journal.writer import JournalWriter
from otel_audit.shipping import Shipper, shipper
from otel_audit.shipping.lanes import Lane, Unconfirmed
from otel_audit.shipping.source import JournalSource
from otel_audit.sinks.base import RecordsRefused, SealedLine, SinkUnavailable
from otel_audit.trail import AuditTrail
from tests.shipping.fakes import FakeSink, fill, quick

Make = Callable[..., AuditTrail]


def eventually(condition: Callable[[], object], timeout: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


class StuckSink(FakeSink):
    """Accepts a batch and never returns, until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = threading.Event()
        self.let_go = threading.Event()

    def send(self, batch: Sequence[SealedLine]) -> None:
        self.inside.set()
        self.let_go.wait(30)
        super().send(batch)


def write_ahead(trail: AuditTrail, count: int) -> None:
    """Write records without starting the shipper: all are there at its first look."""
    for number in range(count):
        trail.stream.append(trail.door.admit("thing.do", None, {"number": number}))


def lane(tmp_path: Path, name: str) -> Lane:
    return Lane(name, Cursor(tmp_path, "fake", name))


def test_what_a_route_keeps_back_does_not_push_what_went_out_through_the_window(tmp_path: Path) -> None:
    one, unconfirmed = lane(tmp_path, "a"), Unconfirmed()
    unconfirmed.add(one, Position(1, 100, 1), 1, 100, "early")
    for seq in range(2, 1000):
        unconfirmed.add(one, Position(1, 100 * seq, seq), 0, 0, "later")

    assert unconfirmed.confirm(1000).records == 0
    assert one.confirmed.seq == 0
    assert len(unconfirmed._batches) == 1
    assert unconfirmed.confirm(0).records == 1
    assert one.confirmed.seq == 999


def test_the_window_is_the_connections_and_not_each_streams(tmp_path: Path) -> None:
    first, second, unconfirmed = lane(tmp_path, "a"), lane(tmp_path, "b"), Unconfirmed()
    unconfirmed.add(first, Position(1, 50, 1), 1, 50, "")
    unconfirmed.add(second, Position(1, 99, 1), 1, 99, "")
    assert unconfirmed.confirm(100).records == 0
    unconfirmed.add(second, Position(1, 100, 2), 1, 1, "")

    assert unconfirmed.confirm(100).records == 1
    assert (first.confirmed.seq, second.confirmed.seq, second.sent.seq) == (1, 0, 2)
    unconfirmed.go_back([first, second])
    assert (first.sent.seq, second.sent.seq) == (1, 0)


def test_lines_that_came_just_before_a_next_segment_are_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trail = AuditTrail(JournalWriter(tmp_path, segment_bytes=3000))
    fill(trail, 1)
    reader, whole_lines = JournalReader(tmp_path), readers._whole_lines

    def behind_the_reader(path: Path, offset: int) -> Any:
        yield from whole_lines(path, offset)
        if path.name.endswith("000001.jsonl") and len([*tmp_path.glob("*.jsonl")]) == 1:
            fill(trail, 20)  # it has seen the end of the first segment; now that grows, and others follow

    monkeypatch.setattr(readers, "_whole_lines", behind_the_reader)
    seen = [one.seq for one in reader.read(trail.stream.id, Position(), max_records=1000, max_bytes=1 << 20)]
    trail.close()
    assert len([*tmp_path.glob("*.jsonl")]) > 1
    assert seen == list(range(1, len(seen) + 1))


def test_a_segment_that_is_gone_does_not_hold_back_those_behind_it(tmp_path: Path) -> None:
    trail = AuditTrail(JournalWriter(tmp_path, segment_bytes=3000))
    fill(trail, 30)
    (tmp_path / f"{trail.stream.id}.000002.jsonl").unlink()
    found = JournalReader(tmp_path).read(trail.stream.id, Position(), max_records=1000, max_bytes=1 << 20)
    trail.close()
    assert found[-1].seq == 31


def test_a_sink_that_is_stuck_in_send_does_not_hold_up_the_end(make_trail: Make) -> None:
    sink = StuckSink()
    trail = make_trail(sink)
    fill(trail, 1)
    assert sink.inside.wait(5)
    began = time.monotonic()

    assert not trail.close(0.2)
    assert time.monotonic() - began < 2
    sink.let_go.set()


def test_a_shipper_that_was_stuck_goes_on_where_it_was_and_alone(make_trail: Make) -> None:
    sink = StuckSink()
    trail = make_trail(sink)
    fill(trail, 1)
    assert sink.inside.wait(5)
    trail.close(0.1)
    fill(trail, 1)
    assert len([one for one in threading.enumerate() if one.name == "otel-audit-fake"]) == 1
    sink.let_go.set()

    assert trail.close()
    by_stream: dict[str, list[int]] = {}
    for one in sink.received:
        by_stream.setdefault(one.stream, []).append(one.seq)
    assert list(by_stream.values()) == [[1, 2, 3], [1, 2, 3]]


def test_many_stuck_sinks_hold_up_the_end_no_longer_than_one(tmp_path: Path) -> None:
    trail = AuditTrail(JournalWriter(tmp_path))
    sinks = [StuckSink() for _ in range(8)]
    for number, sink in enumerate(sinks):
        name, make = f"s{number}", (lambda sink=sink: sink)
        trail.accompany(Shipper(JournalSource(tmp_path), make, name=name, own=lambda: trail.stream.id))
    fill(trail, 1)
    assert all(sink.inside.wait(5) for sink in sinks)
    began = time.monotonic()
    trail.close(0.1)

    assert time.monotonic() - began < 2
    for sink in sinks:
        sink.let_go.set()


def test_a_cursor_that_cannot_be_kept_is_no_reason_to_send_again(
    make_trail: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, content: object, **_: bool) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    sink = FakeSink()
    trail = make_trail(sink)
    with monkeypatch.context() as broken:
        broken.setattr(cursors, "_replace", full)
        fill(trail, 300)
        stream = trail.stream.id
        assert trail.flush(5)
        assert sink.seqs() == list(range(1, 302))
        said = []
        assert eventually(lambda: said.append(capfd.readouterr().err) or "not kept: No space left" in "".join(said))
    assert trail.close()
    assert read_position(tmp_path / "journal", "fake", stream)[0].seq == 302


def test_a_sink_that_cannot_even_be_closed_is_still_tried_again(make_trail: Make) -> None:
    sink = FakeSink()
    failures = iter(range(3))

    def fail(batch: Sequence[SealedLine]) -> None:
        if next(failures, None) is not None:
            raise SinkUnavailable("down")

    def close() -> None:
        raise RuntimeError("never opened")

    sink.fail, sink.close = fail, close  # type: ignore[method-assign]
    trail = make_trail(sink)
    fill(trail, 5)
    assert trail.close()
    assert sink.seqs() == list(range(1, 8))


def test_a_connection_found_broken_while_nothing_new_waits_is_sent_its_last_bytes_again(make_trail: Make) -> None:
    sink = FakeSink(window=1 << 20)
    breaks = iter([True])

    def settled() -> bool:
        if next(breaks, False):
            raise SinkUnavailable("the far end closed the connection")
        return True

    sink.settled = settled  # type: ignore[method-assign]
    trail = make_trail(sink)
    write_ahead(trail, 3)
    trail.record("thing.do")
    assert trail.flush(5)
    assert sink.seqs() == [1, 2, 3, 4, 5] * 2


def test_a_write_that_succeeds_is_no_sign_of_health_where_nothing_is_acknowledged(make_trail: Make) -> None:
    """A server that refuses the client certificate takes a first write before it says so (TLS 1.3)."""
    sink = FakeSink(window=1 << 20)
    failing: list[bool] = []

    def settled() -> bool:
        failing.append(trail.health().sinks["fake"].failing_since is not None)
        raise SinkUnavailable("the far end refuses the client certificate")

    sink.settled = settled  # type: ignore[method-assign]
    trail = make_trail(sink)
    fill(trail, 3)
    assert eventually(lambda: len(failing) > 5)
    assert failing[1:5] == [True] * 4
    assert trail.health().sinks["fake"].delivered == 0


def test_records_that_a_route_keeps_back_do_not_make_a_sink_healthy(make_trail: Make) -> None:
    sink = FakeSink()

    def fail(batch: Sequence[SealedLine]) -> None:
        raise SinkUnavailable("down")

    sink.fail = fail
    sink.max_records = 1
    trail = make_trail(sink, route=lambda line: b'"number":5}' in line)
    fill(trail, 6)
    assert eventually(lambda: trail.health().sinks["fake"].failing_since)
    since = trail.health().sinks["fake"].failing_since
    assert eventually(lambda: trail.health().sinks["fake"].oldest_unsent)
    fill(trail, 3)
    assert trail.health().sinks["fake"].failing_since == since


def test_a_lingering_batch_takes_along_what_comes_in_the_meantime(make_trail: Make) -> None:
    sink = FakeSink()
    trail = make_trail(sink, linger=0.3)
    fill(trail, 1)
    assert eventually(lambda: any(one.name == "otel-audit-fake" for one in threading.enumerate()))
    time.sleep(0.1)  # well into the time that it lingers
    fill(trail, 10)
    sink.wait_for(lambda: len(sink.received) == 12)
    assert sink.batches == [12]


def test_nobody_who_waits_for_a_record_waits_for_a_batch_to_fill_up(make_trail: Make) -> None:
    trail = make_trail(FakeSink(), linger=30.0)
    fill(trail, 1)
    time.sleep(0.1)  # now it lingers
    assert trail.flush(5)


def test_a_full_batch_does_not_linger(make_trail: Make) -> None:
    sink = FakeSink()
    sink.max_bytes = 2000  # full by its bytes, not by its count
    trail = make_trail(sink, linger=30.0)
    write_ahead(trail, 100)
    trail.record("thing.do")
    sink.wait_for(lambda: len(sink.received) > 50)


def test_a_refused_record_is_put_aside_once_though_its_batch_is_sent_again(make_trail: Make, tmp_path: Path) -> None:
    sink = FakeSink()
    failures = iter(range(5))

    def fail(batch: Sequence[SealedLine]) -> None:
        if any(b'"number":3}' in one.line for one in batch):
            raise RecordsRefused("no")
        if batch[-1].seq >= 30 and next(failures, None) is not None:
            raise SinkUnavailable("down")

    sink.fail = fail
    trail = make_trail(sink)
    write_ahead(trail, 45)
    trail.record("thing.do")
    assert trail.flush()
    assert len((tmp_path / "journal" / "quarantine" / "fake").read_text().splitlines()) == 1
    assert trail.health().sinks["fake"].refused == 1


def test_a_sink_that_refuses_everything_does_not_fill_the_journal_with_complaints(
    make_trail: Make, tmp_path: Path
) -> None:
    sink = FakeSink()

    def fail(batch: Sequence[SealedLine]) -> None:
        raise RecordsRefused("no")

    sink.fail = fail
    trail = make_trail(sink)
    fill(trail, 50)
    assert trail.flush()
    assert trail.flush(), "complaining of a refused record makes no record that is refused, and so on"
    written = b"".join(path.read_bytes() for path in (tmp_path / "journal").glob("*.jsonl"))
    assert written.count(b"record refused") == 1


def test_a_stream_taken_for_over_by_another_process_is_still_shipped_by_its_writer(
    make_trail: Make, tmp_path: Path
) -> None:
    """Between making a segment and locking it, a writer looks dead."""
    sink = FakeSink()
    trail = make_trail(sink)
    other = Cursor(tmp_path / "journal", "fake", trail.stream.id)
    assert other.acquire()
    other.move(Position(), finished=True)
    other.close()
    fill(trail, 3)
    assert trail.close()
    assert sink.seqs() == [1, 2, 3, 4, 5]


def test_any_number_of_dead_streams_is_adopted_with_few_files_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipper, "_MOST_LANES", 3)
    trail = AuditTrail(JournalWriter(tmp_path))
    for _ in range(10):
        fill(trail, 1)
        trail.close()
    sink = FakeSink()
    one = Shipper(JournalSource(tmp_path), lambda: sink, name="fake")
    most = 0

    def note(batch: Sequence[SealedLine]) -> None:
        nonlocal most
        most = max(most, len(one._lanes))

    sink.fail = note
    one.start()
    sink.wait_for(lambda: len(sink.received) == 30)
    one.close()
    assert len({each.stream for each in sink.received}) == len(list_streams(tmp_path)) == 10
    assert most == 3


def test_a_memory_journal_has_room_again_as_soon_as_its_sinks_confirm() -> None:
    memory = MemoryJournal(16_000, readers=1)
    sink = FakeSink()
    trail = AuditTrail(memory)
    trail.accompany(Shipper(memory, lambda: sink, name="fake", own=lambda: trail.stream.id, backoff=quick()))
    for _ in range(10):
        fill(trail, 20)
        assert trail.flush(5)
    assert trail.health().lost == 0
    trail.close()


def test_in_a_forked_child_the_shipper_starts_anew_and_leaves_the_parents_cursor_alone(
    make_trail: Make, tmp_path: Path
) -> None:
    sink = FakeSink()
    trail = make_trail(sink)
    fill(trail, 5)
    assert trail.flush()
    parent_stream = trail.stream.id
    child = os.fork()
    if child == 0:
        sink.received.clear()
        fill(trail, 5)
        arrived = trail.flush(5) and {one.stream for one in sink.received} == {trail.stream.id}
        os._exit(0 if arrived and trail.stream.id != parent_stream else 1)
    assert os.waitpid(child, 0)[1] == 0
    fill(trail, 5)
    assert trail.close()
    assert [one.seq for one in sink.received if one.stream == parent_stream] == list(range(1, 14))
    assert read_position(tmp_path / "journal", "fake", parent_stream)[0].seq == 13


def test_whoever_waits_for_a_stream_that_was_finished_before_is_told_at_once(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    writer = AuditTrail(JournalWriter(journal))
    stream, seq = writer.record("thing.do").stream, 3
    writer.close()
    for _ in range(2):  # the second shipper finds a cursor that says so
        sink = FakeSink()
        shipper = Shipper(JournalSource(journal), lambda sink=sink: sink, name="fake", poll=60.0)
        found: list[bool] = []
        waiter = threading.Thread(target=lambda: found.append(shipper.wait_for(stream, seq, time.monotonic() + 20)))  # noqa: B023
        waiter.start()
        waiter.join(10)
        told = list(found)  # before `close`, which wakes whoever waits
        shipper.close()
        waiter.join(15)
        assert told == [True]


def test_a_signal_handler_in_the_middle_of_asking_for_the_thread_can_ask_for_it_itself(make_trail: Make) -> None:
    trail = make_trail(FakeSink(), durability="ack", required=True)
    trail.record("a.first")
    (ours,) = (each for each in trail._companions if isinstance(each, Shipper))
    lock = ours._stop._cond  # type: ignore[attr-defined]  # what an Event holds while it is told something
    asked = threading.Thread(target=ours.start, daemon=True)
    with lock:
        asked.start()
        asked.join(5)
        assert not asked.is_alive()
