"""A shipper delivers every record, in order, at least once, whatever its sink does."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from otel_audit.errors import DeliveryTimeout
from otel_audit.journal.cursor import read_position, read_state, write_state
from otel_audit.journal.memory import MemoryJournal
from otel_audit.journal.writer import JournalWriter
from otel_audit.shipping import Shipper
from otel_audit.shipping.source import JournalSource
from otel_audit.sinks.base import RecordsRefused, SealedLine, SinkUnavailable
from otel_audit.trail import AuditTrail
from tests.shipping.fakes import FakeSink, fill, quick


def test_every_record_arrives_once_and_in_order_at_a_healthy_sink(make_trail: Callable[..., AuditTrail]) -> None:
    sink = FakeSink()
    trail = make_trail(sink)
    fill(trail, 500)
    assert trail.close()
    assert sink.seqs() == list(range(1, 503))
    assert max(sink.batches) <= sink.max_records


def test_a_sink_that_fails_for_a_while_gets_everything_when_it_is_back(make_trail: Callable[..., AuditTrail]) -> None:
    sink = FakeSink()
    failures = iter(range(20))

    def fail(batch: Sequence[SealedLine]) -> None:
        if next(failures, None) is not None:
            raise SinkUnavailable("down")

    sink.fail = fail
    trail = make_trail(sink)
    fill(trail, 200)
    assert trail.close()
    assert sink.seqs() == list(range(1, 203))


def test_a_sink_that_breaks_with_a_window_gets_the_unconfirmed_again(make_trail: Callable[..., AuditTrail]) -> None:
    sink = FakeSink(window=10_000)
    sent = 0

    def fail(batch: Sequence[SealedLine]) -> None:
        nonlocal sent
        sent += 1
        if sent % 3 == 0:
            raise SinkUnavailable("connection reset")

    sink.fail = fail
    trail = make_trail(sink)
    fill(trail, 400)
    assert trail.close()
    first_seen = list(dict.fromkeys(sink.seqs()))
    assert first_seen == list(range(1, 403)), "nothing is missing, and nothing came before its predecessors"
    assert len(sink.received) > len(first_seen), "some came twice: that is what the window is for"
    assert len({(one.seq, one.line) for one in sink.received}) == len(first_seen), "copies are identical"


def test_what_is_not_settled_does_not_move_the_cursor(make_trail: Callable[..., AuditTrail], tmp_path: Path) -> None:
    sink = FakeSink(window=1 << 30)
    sink.settles = False
    trail = make_trail(sink)
    fill(trail, 10)
    stream = trail.stream.id
    sink.wait_for(lambda: len(sink.received) >= 11)
    assert not trail.flush(0.2)
    assert read_position(tmp_path / "journal", "fake", stream)[0].seq == 0
    sink.settles = True
    assert trail.flush(5)
    assert trail.health().sinks["fake"].delivered == 11


def test_refused_records_are_put_aside_and_the_rest_arrives(
    make_trail: Callable[..., AuditTrail], tmp_path: Path
) -> None:
    sink = FakeSink()

    def fail(batch: Sequence[SealedLine]) -> None:
        bad = frozenset(one.id for one in batch if b'"number":7}' in one.line)
        if bad:
            raise RecordsRefused("mapping conflict", ids=bad)

    sink.fail = fail
    trail = make_trail(sink)
    fill(trail, 20)
    assert trail.close()
    quarantined = (tmp_path / "journal" / "quarantine" / "fake").read_text().splitlines()
    assert [json.loads(one)["reason"] for one in quarantined] == ["mapping conflict"]
    assert '"number":7}' in json.loads(quarantined[0])["line"]
    assert "record refused" in "".join(path.read_text() for path in (tmp_path / "journal").glob("*.jsonl"))


def test_a_batch_refused_as_a_whole_is_bisected_down_to_the_record(
    make_trail: Callable[..., AuditTrail], tmp_path: Path
) -> None:
    sink = FakeSink()

    def fail(batch: Sequence[SealedLine]) -> None:
        if any(b'"number":13}' in one.line for one in batch):
            raise RecordsRefused("413")

    sink.fail = fail
    trail = make_trail(sink)
    fill(trail, 40)
    stream = trail.stream.id
    assert trail.close()
    assert len((tmp_path / "journal" / "quarantine" / "fake").read_text().splitlines()) == 1
    arrived = [one.seq for one in sink.received if one.stream == stream]
    assert arrived == [seq for seq in range(1, max(arrived) + 1) if seq != 15], "all but the poisoned record arrived"


def test_any_other_exception_of_a_sink_is_an_outage_not_an_end(make_trail: Callable[..., AuditTrail]) -> None:
    sink = FakeSink()
    bugs = iter([ValueError("bug"), MemoryError(), KeyError("x")])

    def fail(batch: Sequence[SealedLine]) -> None:
        if (bug := next(bugs, None)) is not None:
            raise bug

    sink.fail = fail
    trail = make_trail(sink)
    fill(trail, 10)
    assert trail.close()
    assert sink.seqs() == list(range(1, 13))


def test_ack_returns_once_the_required_sink_has_it(make_trail: Callable[..., AuditTrail]) -> None:
    sink = FakeSink()
    trail = make_trail(sink, durability="ack", required=True)
    for _ in range(20):
        receipt = trail.record("thing.do")
        assert receipt.seq in sink.seqs()


def test_ack_raises_at_the_deadline_if_the_policy_says_so(make_trail: Callable[..., AuditTrail]) -> None:
    sink = FakeSink()
    down = threading.Event()
    down.set()

    def fail(batch: Sequence[SealedLine]) -> None:
        if down.is_set():
            raise SinkUnavailable("down")

    sink.fail = fail
    trail = make_trail(sink, durability="ack", required=True, on_failure="raise", ack_timeout=0.1)
    with pytest.raises(DeliveryTimeout, match=r"sink fake \(down\) did not confirm record"):
        trail.record("thing.do")
    down.clear()
    sink.wait_for(lambda: 2 in sink.seqs())


def test_fast_fail_does_not_wait_for_a_sink_that_is_known_to_be_down(make_trail: Callable[..., AuditTrail]) -> None:
    sink = FakeSink()

    def fail(batch: Sequence[SealedLine]) -> None:
        raise SinkUnavailable("down")

    sink.fail = fail
    trail = make_trail(sink, durability="ack", required=True, on_failure="raise", ack_timeout=60.0, fast_fail=True)
    began = time.monotonic()
    with pytest.raises(DeliveryTimeout):
        trail.record("thing.do")
    assert time.monotonic() - began < 30


def test_an_optional_sink_is_not_waited_for(make_trail: Callable[..., AuditTrail]) -> None:
    sink = FakeSink()

    def fail(batch: Sequence[SealedLine]) -> None:
        raise SinkUnavailable("down")

    sink.fail = fail
    trail = make_trail(sink, durability="ack", required=False, on_failure="raise", ack_timeout=60.0)
    trail.record("thing.do")


def test_the_streams_of_dead_processes_are_adopted(make_trail: Callable[..., AuditTrail], tmp_path: Path) -> None:
    dead = AuditTrail(JournalWriter(tmp_path / "journal"))
    fill(dead, 30)
    dead.stream.store.forget()  # as if it had been killed: no closing record, its lock gone
    dead.stream._opened = False
    sink = FakeSink()
    trail = make_trail(sink)
    fill(trail, 1)
    sink.wait_for(lambda: len({one.stream for one in sink.received}) == 2)
    sink.wait_for(lambda: sum(one.stream != trail.stream.id for one in sink.received) == 31)


def test_one_stream_is_never_shipped_to_one_sink_by_two(tmp_path: Path) -> None:
    writer = AuditTrail(JournalWriter(tmp_path / "journal"))
    fill(writer, 100)
    writer.close()
    sinks = [FakeSink(), FakeSink()]
    shippers = [Shipper(JournalSource(tmp_path / "journal"), lambda s=s: s, name="fake") for s in sinks]  # type: ignore[misc]
    for shipper in shippers:
        shipper.start()
    stream = next(iter(JournalSource(tmp_path / "journal").streams()))
    deadline = time.monotonic() + 10
    while read_position(tmp_path / "journal", "fake", stream)[0].seq < 102:
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
    for shipper in shippers:
        shipper.close()
    assert sorted(len(sink.received) for sink in sinks) == [0, 102]


def test_a_route_lets_only_some_records_through_but_the_cursor_moves_over_all(
    make_trail: Callable[..., AuditTrail], tmp_path: Path
) -> None:
    sink = FakeSink()
    trail = make_trail(sink, route=lambda line: b"number" in line)
    fill(trail, 10)
    stream = trail.stream.id
    assert trail.close()
    assert sink.seqs() == list(range(2, 12))
    assert read_position(tmp_path / "journal", "fake", stream)[0].seq == 12


def test_the_state_of_a_failing_sink_is_left_for_status_and_cleared(
    make_trail: Callable[..., AuditTrail], tmp_path: Path
) -> None:
    sink = FakeSink()
    down = threading.Event()
    down.set()
    failed = threading.Event()

    def fail(batch: Sequence[SealedLine]) -> None:
        if down.is_set():
            failed.set()
            raise SinkUnavailable("no route to host")

    sink.fail = fail
    trail = make_trail(sink)
    fill(trail, 1)
    assert failed.wait(5)
    assert not trail.flush(0.2)
    assert read_state(tmp_path / "journal", "fake")["error"] == "no route to host"
    down.clear()
    assert trail.flush(5)
    assert read_state(tmp_path / "journal", "fake")["error"] is None


def test_what_a_process_before_said_of_a_sink_goes_with_the_first_confirmation(
    make_trail: Callable[..., AuditTrail], tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    journal.mkdir()
    write_state(journal, "fake", {"failing_since": 1.0, "error": "no route to host"})
    trail = make_trail(FakeSink())
    fill(trail, 1)
    assert trail.flush(5)
    assert read_state(journal, "fake")["error"] is None


def test_a_full_memory_journal_follows_the_policy_and_records_the_gap() -> None:
    memory = MemoryJournal(8_000, readers=1)
    sink = FakeSink()
    down = threading.Event()
    down.set()

    def fail(batch: Sequence[SealedLine]) -> None:
        if down.is_set():
            raise SinkUnavailable("down")

    sink.fail = fail
    trail = AuditTrail(memory)
    trail.accompany(Shipper(memory, lambda: sink, name="fake", own=lambda: trail.stream.id, backoff=quick()))
    fill(trail, 100)
    lost = trail.health().lost
    assert 0 < lost < 100
    down.clear()
    assert trail.flush(5)
    trail.record("thing.after")
    assert trail.close()
    gaps = [json.loads(one.line)["data"]["count"] for one in sink.received if b'"audit.gap"' in one.line]
    assert sum(gaps) == lost
    assert sink.seqs() == list(range(1, len(sink.received) + 1))
