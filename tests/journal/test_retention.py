"""Retention: what may go, what has to stay, and what a verifier says of the rest."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_audit import retention
from otel_audit.checkpoints import Checkpoints
from otel_audit.config import build_trail
from otel_audit.errors import AuditError, ConfigurationError
from otel_audit.integrity import keys
from otel_audit.integrity.opening import open_signer
from otel_audit.integrity.policy import Policy
from otel_audit.integrity.signatures import Signature, Signer
from otel_audit.journal.cursor import Cursor
from otel_audit.journal.files import list_streams, segment_name
from otel_audit.journal.progress import last_seqs
from otel_audit.journal.reader import Position, read_seq
from otel_audit.journal.retention import Limits
from otel_audit.journal.writer import JournalWriter
from otel_audit.retention import Retention
from otel_audit.trail import AuditTrail
from otel_audit.verify import verify
from tests import stranger
from tests.writer.trails import codes, data_of, eventually, open_trail, run_python, verified

AGE = 3600.0
OLD = 2 * AGE


def fill(trail: AuditTrail, records: int = 40) -> None:
    for number in range(records):
        trail.record("order.pay", data={"number": number, "note": "x" * 100})


def write_stream(journal: Path, *, records: int = 40) -> str:
    with open_trail(journal, segment_bytes=2000) as trail:
        fill(trail, records)
        return trail.stream.id


def let_age(journal: Path, *, stream: str | None = None, seconds: float = OLD) -> None:
    for name, segments in list_streams(journal).items():
        for segment in segments if stream in {None, name} else ():
            written = os.stat(segment.path).st_mtime - seconds
            os.utime(segment.path, (written, written))


def keep(
    trail: AuditTrail, *, age: float | None = AGE, size: int | None = None, sinks: tuple[str, ...] = ()
) -> Retention:
    store = trail.stream.store
    assert isinstance(store, JournalWriter)
    return Retention(trail, store, Limits(age, size), sinks=sinks)


@contextmanager
def later(journal: Path, **settings: Any) -> Iterator[AuditTrail]:
    """Open the next stream of a journal."""
    with open_trail(journal, **settings) as trail:
        trail.record("app.start")
        yield trail


def die(trail: AuditTrail) -> None:
    """Leave a stream as a killed process does: not closed, and not locked any more."""
    trail._keeper.stop(10.0)
    assert isinstance(trail.stream.store, JournalWriter)
    trail.stream.store.forget()


def names(journal: Path) -> list[str]:
    return sorted(path.name for path in journal.glob("*.jsonl"))


def causes(journal: Path) -> set[str]:
    return {data["cause"] for data in data_of(journal, "audit.pipeline.degraded")}


def total(journal: Path) -> int:
    return sum(path.stat().st_size for path in journal.glob("*.jsonl"))


def confirm(journal: Path, sink: str, stream: str, seq: int, *, finished: bool = False) -> None:
    cursor = Cursor(journal, sink, stream)
    assert cursor.acquire()
    cursor.move(Position(1, 0, seq), finished=finished)
    cursor.close()


def test_a_stream_that_is_old_goes_and_the_verifier_says_that_it_was_pruned(tmp_path: Path) -> None:
    gone = write_stream(tmp_path)
    files = len(names(tmp_path))
    let_age(tmp_path)
    with later(tmp_path) as trail:
        assert keep(trail).prune() == files
    assert gone not in list_streams(tmp_path)
    report = verified(tmp_path)
    assert (report.exit_code, codes(report)) == (3, {"PRUNED"})


def test_the_same_files_removed_by_hand_are_tampering(tmp_path: Path) -> None:
    gone = write_stream(tmp_path)
    with later(tmp_path):
        pass
    for segment in list_streams(tmp_path)[gone]:
        segment.path.unlink()
    assert codes(verified(tmp_path)) == {"MISSING_STREAM"}
    assert verified(tmp_path).exit_code == 1


def test_the_beginning_of_a_stream_that_goes_on_is_pruned(tmp_path: Path) -> None:
    with open_trail(tmp_path, segment_bytes=2000) as trail:
        fill(trail)
        let_age(tmp_path)
        before = names(tmp_path)
        removed = keep(trail).prune()
        assert 0 < removed == len(before) - 1
        assert before[-1] in names(tmp_path)
        fill(trail)
    report = verified(tmp_path)
    assert (report.exit_code, codes(report)) == (3, {"PRUNED"})


def test_a_head_removed_by_hand_is_tampering(tmp_path: Path) -> None:
    with open_trail(tmp_path, segment_bytes=2000) as trail:
        fill(trail)
        (tmp_path / names(tmp_path)[0]).unlink()
    assert verified(tmp_path).exit_code == 1
    assert "HEAD_CUT" in codes(verified(tmp_path))


def test_one_segment_more_than_the_record_says_is_tampering(tmp_path: Path) -> None:
    with open_trail(tmp_path, segment_bytes=2000) as trail:
        fill(trail)
        for name in names(tmp_path)[:3]:
            os.utime(tmp_path / name, (1, 1))
        assert keep(trail).prune() == 3
    (tmp_path / names(tmp_path)[0]).unlink()
    assert verified(tmp_path).exit_code == 1


def test_each_segment_has_a_record_that_names_it_and_the_place_of_the_cut(tmp_path: Path) -> None:
    gone = write_stream(tmp_path)
    ends, files = last_seqs(tmp_path), names(tmp_path)
    let_age(tmp_path)
    with later(tmp_path) as trail:
        keep(trail).prune()
    cuts = data_of(tmp_path, "audit.prune")
    assert [cut["segments"] for cut in cuts] == [[name] for name in files]
    assert {cut["stream"] for cut in cuts} == {gone}
    assert (cuts[0]["first_seq"], cuts[-1]["last_seq"]) == (1, ends[gone])
    assert all(cut["first_seq"] == before["last_seq"] + 1 for before, cut in pairwise(cuts))
    assert {cut["reason"] for cut in cuts} == {"older than 3600 s"}


def test_what_is_young_stays(tmp_path: Path) -> None:
    write_stream(tmp_path)
    before = names(tmp_path)
    with later(tmp_path) as trail:
        assert keep(trail).prune() == 0
        assert set(before) < set(names(tmp_path))


def test_a_journal_that_is_too_large_loses_its_oldest_segments_until_it_is_not(tmp_path: Path) -> None:
    old = write_stream(tmp_path)
    let_age(tmp_path, seconds=100)
    young = write_stream(tmp_path)
    with later(tmp_path) as trail:
        limit = total(tmp_path) - 3000
        keep(trail, age=None, size=limit).prune()
        assert limit - 3000 < total(tmp_path) <= limit + 2000  # the records that say so come on top
        streams = list_streams(tmp_path)
        assert streams[old][0].number > 1
        assert streams[young][0].number == 1
    assert verified(tmp_path).exit_code == 3


def test_the_last_segment_of_a_stream_that_is_written_stays(tmp_path: Path) -> None:
    with later(tmp_path) as other, later(tmp_path) as trail:
        let_age(tmp_path)
        assert keep(trail, size=0).prune() == 0
        assert {other.stream.id, trail.stream.id} == set(list_streams(tmp_path))


def test_a_sink_that_does_not_have_the_records_yet_holds_them(tmp_path: Path) -> None:
    gone = write_stream(tmp_path)
    end = last_seqs(tmp_path)[gone]
    let_age(tmp_path)
    confirm(tmp_path, "siem", gone, end - 1)
    with later(tmp_path) as trail:
        keeper = keep(trail)
        removed = keeper.prune()
        assert removed == len(names(tmp_path)) + removed - 2, "all but the last, and the one being written"
        assert keeper.troubles() == {"retention held: siem": {"cause": "retention held back", "sink": "siem"}}
        confirm(tmp_path, "siem", gone, end)
        assert keeper.prune() == 1
        assert keeper.troubles() == {}


def test_a_sink_that_is_configured_and_has_no_cursor_holds_everything(tmp_path: Path) -> None:
    gone = write_stream(tmp_path)
    let_age(tmp_path)
    with later(tmp_path) as trail:
        assert keep(trail, sinks=("siem",)).prune() == 0
        confirm(tmp_path, "siem", gone, 0, finished=True)
        assert keep(trail, sinks=("siem",)).prune() > 0


def test_a_sink_that_shipped_once_and_is_configured_no_more_holds_too(tmp_path: Path) -> None:
    write_stream(tmp_path)
    let_age(tmp_path)
    (tmp_path / "cursors" / "retired").mkdir(parents=True)
    with later(tmp_path) as trail:
        assert keep(trail).prune() == 0


def test_what_is_kept_about_a_stream_goes_with_it(tmp_path: Path) -> None:
    gone = write_stream(tmp_path)
    let_age(tmp_path)
    confirm(tmp_path, "siem", gone, 0, finished=True)
    with later(tmp_path) as trail:
        confirm(tmp_path, "siem", trail.stream.id, 1)
        (tmp_path / "cursors" / "siem" / "state").write_text("{}")
        assert (tmp_path / "ended" / gone).exists()
        keep(trail).prune()
        left = {path.name for path in (tmp_path / "cursors" / "siem").iterdir()}
        assert left == {"state", trail.stream.id, f"{trail.stream.id}.lock"}
        assert not (tmp_path / "ended" / gone).exists()


def test_nothing_goes_when_the_record_cannot_be_made_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_stream(tmp_path)
    let_age(tmp_path)
    with later(tmp_path) as trail:
        before = names(tmp_path)
        with monkeypatch.context() as broken:
            broken.setattr(trail.stream, "sync", lambda: None)
            assert keep(trail).prune() == 0
            assert names(tmp_path) == before
        assert keep(trail).prune() > 0


@pytest.mark.parametrize("unlinked", range(4))
def test_a_process_that_dies_between_two_removals_leaves_a_journal_that_verifies(
    tmp_path: Path, unlinked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_stream(tmp_path)
    let_age(tmp_path)
    unlink = os.unlink
    done: list[object] = []

    def unlink_some(path: object) -> None:
        if len(done) == unlinked:
            raise KeyboardInterrupt
        done.append(path)
        unlink(path)  # type: ignore[arg-type]

    with later(tmp_path) as trail:
        with monkeypatch.context() as dying:
            dying.setattr(retention.os, "unlink", unlink_some)
            with pytest.raises(KeyboardInterrupt):
                keep(trail).prune()
        report = verified(tmp_path)
        assert report.exit_code == 3, report.findings.listed
        keep(trail).prune()
    assert codes(verified(tmp_path)) == {"PRUNED"}


def test_a_prune_record_that_goes_itself_is_written_again_while_it_is_needed(tmp_path: Path) -> None:
    with later(tmp_path, segment_bytes=2000) as lasting:  # its first record will name what was pruned
        pass
    first = write_stream(tmp_path)
    with later(tmp_path) as lasting:
        assert first in list_streams(tmp_path)
        with later(tmp_path) as pruner:
            let_age(tmp_path, stream=first)
            keep(pruner).prune()
        assert codes(verified(tmp_path)) == {"PRUNED", "UNCLOSED"}
        let_age(tmp_path, stream=pruner.stream.id)
        for name in list_streams(tmp_path):
            if name != lasting.stream.id:
                let_age(tmp_path, stream=name)
        assert keep(lasting).prune() > 0
        assert list(list_streams(tmp_path)) == [lasting.stream.id]
    assert (verified(tmp_path).exit_code, codes(verified(tmp_path))) == (3, {"PRUNED"})


def test_a_prune_record_that_nobody_needs_any_more_goes_for_good(tmp_path: Path) -> None:
    for _ in range(6):
        write_stream(tmp_path, records=2)
        let_age(tmp_path)
        with later(tmp_path) as trail:
            keep(trail).prune()
        let_age(tmp_path)
    with later(tmp_path) as trail:
        keep(trail).prune()
    assert len(data_of(tmp_path, "audit.prune")) <= 2


def test_a_forked_childs_parent_that_was_pruned_is_no_missing_stream(tmp_path: Path) -> None:
    run_python(
        """
import os, sys
from pathlib import Path
from tests import stranger
from tests.writer.trails import open_trail
with open_trail(Path(sys.argv[1])) as trail:
    trail.record("a.b")
    if not (child := os.fork()):
        trail.record("in.child")
        trail.close()
        os._exit(0)
    os.waitpid(child, 0)
    trail.record("c.d")
""",
        tmp_path,
    )
    parent = next(data["parent"]["stream"] for data in data_of(tmp_path, "audit.stream.open") if "parent" in data)
    let_age(tmp_path, stream=parent)
    with later(tmp_path) as trail:
        assert keep(trail).prune() == 1
    assert codes(verified(tmp_path)) == {"PRUNED"}
    assert stranger.verdict(tmp_path) == "incomplete"


def test_a_torn_tail_goes_with_its_stream(tmp_path: Path) -> None:
    gone = write_stream(tmp_path)
    with list_streams(tmp_path)[gone][-1].path.open("ab") as file:
        file.write(b'{"@timestamp":"20')
    let_age(tmp_path)
    with later(tmp_path) as trail:
        keep(trail).prune()
    assert codes(verified(tmp_path)) == {"PRUNED"}


def test_a_last_segment_that_a_dead_process_never_wrote_to_goes_with_its_stream(tmp_path: Path) -> None:
    gone = write_stream(tmp_path)
    last = list_streams(tmp_path)[gone][-1]
    last.path.with_name(segment_name(gone, last.number + 1)).touch()
    let_age(tmp_path)
    with later(tmp_path) as trail:
        keep(trail).prune()
        assert list(list_streams(tmp_path)) == [trail.stream.id]
    assert codes(verified(tmp_path)) == {"PRUNED"}


def test_a_segment_that_repeats_the_last_lines_of_the_one_before_is_cut_where_it_begins(tmp_path: Path) -> None:
    gone = write_stream(tmp_path)
    one, two, *_ = list_streams(tmp_path)[gone]
    last = one.path.read_bytes().splitlines(keepends=True)[-1]
    two.path.write_bytes(last + two.path.read_bytes())
    os.utime(one.path, (1, 1))
    with later(tmp_path) as trail:
        assert keep(trail).prune() == 1
    assert codes(verified(tmp_path)) == {"PRUNED"}
    assert stranger.verdict(tmp_path) == "incomplete"


def test_a_segment_whose_beginning_cannot_be_read_is_left_to_the_verifier(tmp_path: Path) -> None:
    gone = write_stream(tmp_path)
    path = list_streams(tmp_path)[gone][0].path
    content = path.read_bytes()
    path.write_bytes(b"?" + content[1:])
    let_age(tmp_path)
    with later(tmp_path) as trail:
        assert keep(trail).prune() == 0
    assert verified(tmp_path).exit_code == 1


def test_a_journal_whose_quota_is_used_up_is_made_room_in(tmp_path: Path) -> None:
    quota = 20_000
    with open_trail(tmp_path, segment_bytes=2000, quota=quota) as trail:
        fill(trail, 200)
        assert trail.stream.lost
        lost = trail.stream.lost
        assert keep(trail, age=None, size=quota // 2).prune() > 0
        eventually(lambda: trail.record("order.pay").seq is not None)
        assert trail.stream.lost < lost + 200
    report = verified(tmp_path)
    assert (report.exit_code, codes(report)) == (3, {"PRUNED", "RECORDS_LOST"})


def test_two_processes_on_a_journal_prune_it_once(tmp_path: Path) -> None:
    write_stream(tmp_path)
    let_age(tmp_path)
    with later(tmp_path) as one, later(tmp_path) as other:
        removed: list[int] = []
        keepers = [keep(one), keep(other)]
        threads = [threading.Thread(target=lambda: removed.append(keepers.pop().prune())) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        segments = [name for cut in data_of(tmp_path, "audit.prune") for name in cut["segments"]]
        assert len(segments) == len(set(segments)) == sum(removed)


def test_a_new_process_may_start_while_streams_go(tmp_path: Path) -> None:
    for _ in range(30):
        write_stream(tmp_path, records=1)
    for each in (tmp_path / "ended").iterdir():
        each.unlink()
    let_age(tmp_path)
    with later(tmp_path) as trail:
        thread = threading.Thread(target=keep(trail).prune)
        thread.start()
        while thread.is_alive():
            with later(tmp_path, on_failure="raise"):
                pass
        thread.join()
    assert verified(tmp_path).exit_code in {0, 3}


def test_a_configured_trail_prunes_by_itself_and_says_what_holds_it(tmp_path: Path) -> None:
    write_stream(tmp_path)
    let_age(tmp_path)
    given = {"journal": str(tmp_path), "sinks": ["file:///nowhere/at/all.jsonl"], "retention": "1h"}
    trail = build_trail(given, {})
    trail.record("app.start")
    eventually(lambda: "retention held back" in causes(tmp_path))
    trail.close(timeout=0.1)
    trail = build_trail({**given, "sinks": []}, {})
    for path in (tmp_path / "cursors").glob("*/*"):
        path.unlink()
    for path in (tmp_path / "cursors").iterdir():
        path.rmdir()
    let_age(tmp_path)
    trail.record("app.start")
    eventually(lambda: list(list_streams(tmp_path)) == [trail.stream.id])
    trail.close()
    assert data_of(tmp_path, "audit.prune")


def test_nothing_is_removed_under_a_sink_that_is_still_reading(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    given = {"journal": str(tmp_path / "j"), "sinks": [f"file://{out}"], "segment_bytes": 4000}
    trail = build_trail(given, {})
    keeper = keep(trail, age=None, size=0, sinks=(f"file:{out}",))
    for _ in range(6):
        fill(trail, 200)
        eventually(keeper.prune, within=10.0)
    assert trail.flush(20.0)
    trail.close()
    lines = out.read_bytes().splitlines(keepends=True)
    assert [read_seq(line) for line in lines] == [*range(1, len(lines) + 1)]
    assert len(lines) > 1200
    assert verified(tmp_path / "j").exit_code == 3
    assert verified(out).exit_code == 0


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"retention": "30d"}, "retention is about a journal on disk"),
        ({"journal": "memory", "sinks": ["stdout:"], "retention_bytes": "2MiB"}, "retention_bytes is about a journal"),
        ({"journal": "/j", "quota": "2MiB", "retention_bytes": "2MiB"}, "make retention_bytes smaller"),
    ],
)
def test_retention_that_cannot_work_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        build_trail(given, {})


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from(["write", "restart", "age", "prune", "size", "confirm", "crash"]), min_size=3, max_size=14)
)
def test_whatever_happens_a_pruned_journal_is_never_tampered_with(tmp_path_factory: Any, steps: list[str]) -> None:
    journal = tmp_path_factory.mktemp("journal")
    trail: AuditTrail | None = None
    for step in steps:
        if trail is None:
            trail = AuditTrail(JournalWriter(journal, segment_bytes=1500))
            trail.record("app.start")
        if step == "write":
            fill(trail, 8)
        elif step == "restart":
            trail.close()
            trail = None
        elif step == "crash":
            die(trail)
            trail = None
        elif step == "age":
            let_age(journal)
        elif step == "confirm":
            for stream, seq in last_seqs(journal).items():
                confirm(journal, "siem", stream, seq)
        else:
            keep(trail, age=AGE if step == "prune" else None, size=4000 if step == "size" else None).prune()
            report = verified(journal)
            assert report.exit_code in {0, 3}, report.findings.listed
    if trail is not None:
        trail.close()
    report = verified(journal)
    assert report.exit_code in {0, 3}, report.findings.listed
    assert stranger.verdict(journal) == {0: "intact", 3: "incomplete"}[report.exit_code]


class Mute:
    """A signer that can be made to fail, as a key service that is down does."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self.fails = False
        self.name, self.vkey = signer.name, signer.vkey

    def sign(self, text: str, *, time: int, final: bool = False) -> Signature:
        if self.fails:
            raise AuditError("the key service is down")
        return self._signer.sign(text, time=time, final=final)


@pytest.fixture
def signer(tmp_path: Path) -> Mute:
    keys.generate(tmp_path / "key.pem", "shop.example/audit")
    return Mute(open_signer(tmp_path / "key.pem"))


@contextmanager
def signed(journal: Path, signer: Mute) -> Iterator[AuditTrail]:
    with open_trail(journal) as trail:
        directory = journal / "checkpoints"
        trail.accompany(Checkpoints(trail, [signer], directory=directory, interval=3600.0, every=10**9))
        trail.record("app.start")
        yield trail


def test_nothing_is_removed_before_the_record_of_it_is_signed(tmp_path: Path, signer: Mute) -> None:
    journal = tmp_path / "journal"
    gone = write_stream(journal)
    let_age(journal)
    with signed(journal, signer) as trail:
        keeper = keep(trail)
        signer.fails = True
        assert keeper.prune() == 0
        assert gone in list_streams(journal)
        assert keeper.troubles() == {
            retention.UNSIGNED: {
                "cause": "retention held back",
                "reason": "the record of it could not be signed",
            }
        }
        recorded = len(data_of(journal, "audit.prune"))
        assert keeper.prune() == 0
        assert len(data_of(journal, "audit.prune")) == recorded, "more of them, which are of no use"
        signer.fails = False
        assert keeper.prune() > 0
        assert keeper.troubles() == {}
        assert gone not in list_streams(journal)


def test_a_process_killed_right_after_it_pruned_leaves_a_journal_that_its_policy_accepts(
    tmp_path: Path, signer: Mute
) -> None:
    journal = tmp_path / "journal"
    write_stream(journal)
    let_age(journal)
    with signed(journal, signer) as trail:
        assert keep(trail).prune() > 0
        die(trail)
        killed = shutil.copytree(journal, tmp_path / "killed")
    policy = Policy.parse(f"log {signer.vkey}\nquorum none\n#! signed since 2020-01-01T00:00:00Z\n".encode())
    report = verify([killed], policy=policy)
    assert (report.exit_code, codes(report)) == (3, {"PRUNED", "UNCLOSED", "UNSIGNED_TAIL"})
