"""Any honest history of a journal verifies as intact or as incomplete: never as tampered with."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from otel_audit.journal.writer import JournalWriter
from otel_audit.keeper import Intervals, attempt
from otel_audit.trail import AuditTrail
from tests.writer.trails import named, verified

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.binary(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)
DATA = st.dictionaries(st.text(max_size=5), VALUES, max_size=3)


class Trail(AuditTrail):
    """A trail whose keeper does nothing by itself: the machine decides when it looks."""

    def _start(self) -> None:
        return


class History(RuleBasedStateMachine):
    """One journal, one process after another, each with whatever may befall it."""

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp())
        self.journal = self.place / "journal0"
        self.kept: set[int] = set()
        self.count = 0
        self.copies = 0
        self.trails: list[Trail] = []
        self.real_write, self.real_sync = os.write, os.fdatasync
        self.room: int | None = None
        self.sync_fails = False
        os.write, os.fdatasync = self.write, self.sync  # type: ignore[assignment]

    def write(self, descriptor: int, data: bytes) -> int:
        room = self.room  # the keeper writes as well, and room may be made meanwhile
        if descriptor <= 2 or room is None:
            return self.real_write(descriptor, data)
        if room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = self.real_write(descriptor, data[:room])
        if self.room is not None:
            self.room = room - taken
        return taken

    def sync(self, descriptor: int) -> None:
        if self.sync_fails:
            self.sync_fails = False
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.real_sync(descriptor)

    def teardown(self) -> None:
        self.room, self.sync_fails = None, False
        try:
            for trail in self.trails:
                trail.close()
            self.it_verifies_and_holds_what_was_confirmed()
        finally:
            os.write, os.fdatasync = self.real_write, self.real_sync
            shutil.rmtree(self.place)

    @initialize(segment_bytes=st.sampled_from([2000, 5000, 1 << 26]))
    def begin(self, segment_bytes: int) -> None:
        self.segment_bytes = segment_bytes
        self.open()

    @precondition(lambda self: len(self.trails) < 3)
    @rule()
    def open(self) -> None:
        store = JournalWriter(self.journal, segment_bytes=self.segment_bytes)
        self.trails.append(Trail(store, intervals=Intervals(sync=0.001, heartbeat=0)))

    def note(self, trail: Trail, data: dict[str, Any], audit: Any) -> None:
        self.count += 1
        receipt = trail.record("a.b", {"actor": audit, "outcome": audit}, {**data, "n": self.count})
        if receipt.seq is not None:
            self.kept.add(self.count)

    @precondition(lambda self: self.trails)
    @rule(data=DATA, audit=VALUES, which=st.integers(0, 2), times=st.integers(1, 6))
    def record(self, data: dict[str, Any], audit: Any, which: int, times: int) -> None:
        for _ in range(times):
            self.note(self.trails[which % len(self.trails)], data, audit)

    @precondition(lambda self: self.trails)
    @rule(which=st.integers(0, 2), room=st.integers(0, 600), times=st.integers(1, 4))
    def record_on_a_full_disk(self, which: int, room: int, times: int) -> None:
        self.room = room
        for _ in range(times):
            self.note(self.trails[which % len(self.trails)], {}, None)
        self.room = None

    @precondition(lambda self: self.trails)
    @rule(which=st.integers(0, 2))
    def close(self, which: int) -> None:
        trail = self.trails[which % len(self.trails)]
        trail.close()
        if which:
            self.trails.remove(trail)

    @precondition(lambda self: self.trails)
    @rule(which=st.integers(0, 2))
    def flush(self, which: int) -> None:
        self.trails[which % len(self.trails)].flush()

    @precondition(lambda self: self.trails)
    @rule(which=st.integers(0, 2))
    def look(self, which: int) -> None:
        """What the keeper does each second."""
        trail = self.trails[which % len(self.trails)]
        attempt(trail._look)

    @rule(room=st.integers(0, 600))
    def fill_the_disk(self, room: int) -> None:
        self.room = room

    @rule()
    def make_room(self) -> None:
        self.room = None

    @rule()
    def fail_the_next_sync(self) -> None:
        self.sync_fails = True

    @rule(torn=st.binary(min_size=0, max_size=40).filter(lambda tail: b"\n" not in tail))
    def crash(self, torn: bytes) -> None:
        """All processes die; what they had written goes on in a copy, perhaps with half a line behind it."""
        self.room = None
        self.copies += 1
        copy = self.place / f"journal{self.copies}"
        if not self.journal.exists():
            return
        shutil.copytree(self.journal, copy)
        live = {trail.stream.id for trail in self.trails if trail.stream.records}
        for stream in live:
            last = max(copy.glob(f"{stream}.*.jsonl"), default=None)
            if last is not None:
                with last.open("ab") as file:
                    file.write(torn)
        for trail in self.trails:
            trail.close()
        self.trails.clear()
        self.journal = copy

    @invariant()
    def it_verifies_and_holds_what_was_confirmed(self) -> None:
        if not self.journal.exists() or not any(self.journal.glob("*.jsonl")):
            return
        for _ in range(20):  # the keeper makes a segment and, on a full disk, takes it back: look again
            report = verified(self.journal)
            if not any(each.code == "UNREADABLE" and not Path(each.file).exists() for each in report.findings.listed):
                break
        empty = 5 if not any(path.stat().st_size for path in self.journal.glob("*.jsonl")) else 0
        assert report.exit_code in {0, 3, empty}, [found.as_json() for found in report.findings.listed]
        assert self.kept <= {record["data"]["n"] for record in named(self.journal, "a.b")}


TestHistory = History.TestCase
TestHistory.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.slow
class TestLongHistory(History.TestCase):  # type: ignore[misc,name-defined]
    settings = settings(
        max_examples=150, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
    )
