"""The checkpointer: what it signs and when, that it never contradicts itself, and that it is never in the way."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from otel_audit.anchors.directory import DirectoryAnchor
from otel_audit.integrity.checkpoint import Checkpoint, EquivocationError, HeadFile
from otel_audit.integrity.checkpointer import Checkpointer
from otel_audit.integrity.epochs import EpochSigner, Schedule, certify
from otel_audit.integrity.merkle import root_hash, verify_consistency
from otel_audit.integrity.note import parse_note
from otel_audit.integrity.publishing import AnchorPlan, SignedHead
from otel_audit.integrity.signatures import Signer

STREAM = "01a3185c50007a278a5f3ae58b8e739b"
ORIGIN = f"shop.example/audit/{STREAM}"
BORN = int(STREAM[:12], 16) / 1000


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "did not happen within 5 seconds"
        time.sleep(0.002)


class Writer:
    """Stands for the stream's writer: numbers records, hands them over, writes checkpoint records."""

    def __init__(self, signers: list[Signer], **settings: Any) -> None:
        self.hashes: list[str] = []
        self.emitted: list[Checkpoint] = []
        self.reports: list[str] = []
        self._lock = threading.Lock()
        settings.setdefault("interval", 3600.0)
        self.checkpointer = Checkpointer(signers, ORIGIN, emit=self._emit, report=self.reports.append, **settings)

    def log(self, count: int = 1) -> None:
        for _ in range(count):
            with self._lock:
                self.hashes.append(sha256(b"%d" % len(self.hashes)).hexdigest())
                self.checkpointer.observe(len(self.hashes), self.hashes[-1])

    def _emit(self, note: str, size: int) -> bool:
        self.emitted.append(Checkpoint.parse(parse_note(note).text))
        assert self.emitted[-1].size == size
        self.log()
        return True

    def root(self, size: int) -> bytes:
        return root_hash(bytes.fromhex("".join(self.hashes[:size])))


@pytest.fixture
def make_writer(signer: Signer) -> Any:
    writers: list[Writer] = []

    def make(signers: list[Signer] | None = None, **settings: Any) -> Writer:
        writers.append(Writer(signers or [signer], **settings))
        return writers[-1]

    yield make
    for writer in writers:
        writer.checkpointer.close(0.1)


def test_a_flush_signs_what_was_written(make_writer: Any) -> None:
    writer = make_writer()
    writer.log(5)
    writer.checkpointer.flush()
    assert writer.emitted == [Checkpoint(ORIGIN, 5, writer.root(5))]


def test_nothing_new_means_no_checkpoint(make_writer: Any) -> None:
    """Its own checkpoint record is not news: an idle stream stays idle."""
    writer = make_writer()
    writer.checkpointer.flush()
    assert writer.emitted == []
    writer.log(5)
    for _ in range(5):
        writer.checkpointer.flush()
    assert len(writer.emitted) == 1
    writer.log()
    writer.checkpointer.flush()
    assert [each.size for each in writer.emitted] == [5, 7]


def test_many_records_are_signed_before_the_interval_is_over(make_writer: Any) -> None:
    writer = make_writer(every=100)
    writer.log(100)
    eventually(lambda: len(writer.emitted) == 1)
    assert writer.emitted[0].root == writer.root(writer.emitted[0].size)


def test_few_records_are_signed_when_the_interval_is_over(make_writer: Any) -> None:
    writer = make_writer(interval=0.02)
    writer.log(3)
    eventually(lambda: bool(writer.emitted))


def test_every_head_extends_the_one_before_under_load(make_writer: Any) -> None:
    writer = make_writer(every=50, interval=0.01)
    threads = [threading.Thread(target=writer.log, args=(2000,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.checkpointer.flush()
    sizes = [each.size for each in writer.emitted]
    assert sizes == sorted(set(sizes))
    assert all(each.root == writer.root(each.size) for each in writer.emitted)


def test_what_somebody_else_folded_is_in_the_tree(make_writer: Any) -> None:
    writer = make_writer()
    for count in (1, 7, 0, 300):
        writer.log(count)
        writer.checkpointer.fold()
        assert len(writer.checkpointer._leaves) == 0
    writer.checkpointer.flush()
    assert writer.emitted == [Checkpoint(ORIGIN, 308, writer.root(308))]


def test_whoever_logs_very_much_is_interrupted_once_a_second(make_writer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_audit.integrity.checkpointer._LEAST_PAUSE", 0.5)
    monkeypatch.setattr("otel_audit.integrity.checkpointer._MANY", 50)
    writer = make_writer(every=10)
    writer.log(10)
    eventually(lambda: len(writer.emitted) == 1)
    began = time.monotonic()
    writer.log(200)
    eventually(lambda: len(writer.emitted) == 2)
    assert time.monotonic() - began > 0.8


def test_a_writer_far_ahead_folds_the_tree_itself(make_writer: Any, signer: Signer) -> None:
    class Stuck:
        name, vkey = signer.name, signer.vkey
        entered, released = threading.Event(), threading.Event()

        def sign(self, text: str, *, time: int, final: bool = False) -> Any:
            self.entered.set()
            self.released.wait(10)
            return signer.sign(text, time=time, final=final)

    writer = make_writer([Stuck()], every=10)
    writer.log(10)
    assert Stuck.entered.wait(5)
    writer.log(200_000)
    assert len(writer.checkpointer._leaves) <= 2 * 65_536
    Stuck.released.set()
    writer.checkpointer.flush()
    assert writer.emitted[-1].root == writer.root(writer.emitted[-1].size)


def test_the_last_head_covers_the_closing_record_and_is_not_written_behind_it(make_writer: Any, tmp_path: Path) -> None:
    state = tmp_path / f"{STREAM}.checkpoint"
    writer = make_writer(state_file=state)
    writer.log(5)
    writer.checkpointer.close(ending=writer.log)
    assert [each.size for each in writer.emitted] == [5]
    last = HeadFile(state).read()
    assert last is not None
    assert (last.size, last.root) == (7, writer.root(7))


def test_the_state_is_on_disk_before_anyone_sees_the_checkpoint(make_writer: Any, tmp_path: Path) -> None:
    state = HeadFile(tmp_path / "state")
    writer = make_writer(state_file=state.path)
    seen: list[Checkpoint | None] = []
    emit = writer._emit
    writer.checkpointer._emit = lambda note, size: (seen.append(state.read()), emit(note, size))
    writer.log(3)
    writer.checkpointer.flush()
    assert seen == writer.emitted


def test_two_signers_on_one_stream_do_not_both_sign(make_writer: Any, tmp_path: Path) -> None:
    one, two = (make_writer(state_file=tmp_path / "state") for _ in range(2))
    one.log(3)
    one.checkpointer.flush()
    two.log(2)
    two.checkpointer.flush()
    assert two.emitted == []
    assert "two signers on one stream" in two.reports[0]
    assert len(one.emitted) == 1


def test_a_damaged_state_file_stops_the_signing(make_writer: Any, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("x")
    writer = make_writer(state_file=tmp_path / "state")
    writer.log(3)
    writer.checkpointer.flush()
    assert writer.emitted == []
    assert "nothing more is signed" in writer.reports[0]


def test_a_head_file_goes_forward_only(tmp_path: Path) -> None:
    file, root = HeadFile(tmp_path / "head"), b"\x01" * 32
    signed: list[int] = []

    def sign(head: Checkpoint) -> Callable[[], str]:
        return lambda: (signed.append(head.size), head.encode() + "\n— n AAAAAAA=\n")[1]

    ten, twenty = Checkpoint(ORIGIN, 10, root), Checkpoint(ORIGIN, 20, root)
    file.advance(ten, None, sign(ten))
    for head, extends in [
        (twenty, None),
        (Checkpoint(ORIGIN, 9, root), ten),
        (Checkpoint(ORIGIN, 10, bytes(32)), ten),
        (Checkpoint("other", 20, root), ten),
        (Checkpoint(ORIGIN, 30, root), twenty),
    ]:
        with pytest.raises(EquivocationError):
            file.advance(head, extends, sign(head))
    file.advance(twenty, ten, sign(twenty))
    assert signed == [10, 20]


def test_what_a_signer_raises_is_reported_once_and_retried(make_writer: Any, signer: Signer) -> None:
    class Flaky:
        name, vkey = signer.name, signer.vkey
        fails = True

        def sign(self, text: str, *, time: int, final: bool = False) -> Any:
            if self.fails:
                raise RuntimeError("token=abcdef was refused")
            return signer.sign(text, time=time, final=final)

    flaky = Flaky()
    writer = make_writer([flaky])
    writer.log(3)
    for _ in range(3):
        writer.checkpointer.flush()
    flaky.fails = False
    writer.checkpointer.flush()
    assert [each.size for each in writer.emitted] == [3]
    assert len(writer.reports) == 2
    assert "abcdef" not in "".join(writer.reports)


def test_records_that_come_while_nothing_can_be_signed_are_folded_and_no_good_news(
    make_writer: Any, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing:
        name, vkey = signer.name, signer.vkey

        def sign(self, text: str, *, time: int, final: bool = False) -> Any:
            raise OSError("the key is away")

    monkeypatch.setattr("otel_audit.integrity.checkpointer._LEAST_PAUSE", 30.0)
    writer = make_writer([Failing()], every=1)
    writer.log()
    eventually(lambda: bool(writer.reports))
    # The next checkpoint has to wait for half a minute; what comes meanwhile does not wait with it.
    eventually(lambda: writer.log(500) or writer.checkpointer._growth.frontier.size > 4096)
    assert len(writer.hashes) < 50_000, "the writer had to do it"
    assert len(writer.reports) == 1


def test_a_tree_that_an_interrupt_left_half_grown_is_signed_no_more(
    make_writer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that is far ahead folds in its own thread, which may be the one that Ctrl-C interrupts."""
    writer = make_writer()
    writer.log(3)
    writer.checkpointer.flush()
    growth = writer.checkpointer._growth

    def interrupted(leaves: bytes) -> None:
        growth.frontier.extend(leaves[:64])
        raise KeyboardInterrupt

    writer.log(5)
    with monkeypatch.context() as patch:
        patch.setattr(growth, "extend", interrupted)
        with pytest.raises(KeyboardInterrupt):
            writer.checkpointer.fold()
    writer.log(2)
    writer.checkpointer.flush()
    writer.checkpointer.close(ending=writer.log)
    assert [each.size for each in writer.emitted] == [3]
    assert "interrupted half-way" in writer.reports[0]
    assert len(writer.reports) == 1


def test_an_anchor_that_is_down_holds_nothing_up_and_gets_the_newest(make_writer: Any) -> None:
    class Anchor:
        name = "far-away"
        down = True

        def __init__(self) -> None:
            self.notes: list[int] = []

        def publish(self, head: SignedHead) -> None:
            if self.down:
                raise OSError("down")
            self.notes.append(Checkpoint.parse(parse_note(head.note).text).size)

        def close(self) -> None:
            pass

    anchor = Anchor()
    writer = make_writer(anchors=[AnchorPlan("far-away", lambda: anchor)])
    for _ in range(5):
        writer.log(10)
        writer.checkpointer.flush()
    assert len(writer.emitted) == 5
    eventually(lambda: bool(writer.reports))
    anchor.down = False
    writer.checkpointer.close(5)
    assert anchor.notes[-1] == len(writer.hashes)
    assert len(anchor.notes) <= 2
    assert writer.reports == [
        "anchor far-away does not take checkpoints: OSError",
        "anchor far-away takes checkpoints again",
    ]


def test_closing_gives_up_on_a_dead_anchor_in_time(make_writer: Any) -> None:
    class Dead:
        name = "dead"

        def publish(self, head: SignedHead) -> None:
            raise OSError

        def close(self) -> None:
            pass

    writer = make_writer(anchors=[AnchorPlan("dead", Dead)])
    writer.log()
    begin = time.monotonic()
    writer.checkpointer.close(0.3)
    assert time.monotonic() - begin < 3


def test_a_directory_elsewhere_has_the_newest_checkpoint(make_writer: Any, tmp_path: Path) -> None:
    writer = make_writer(anchors=[AnchorPlan("elsewhere", lambda: DirectoryAnchor(tmp_path))])
    writer.log(4)
    writer.checkpointer.close()
    note = (tmp_path / f"{STREAM}.checkpoint").read_text()
    assert Checkpoint.parse(parse_note(note).text).size == 5


def test_a_directory_that_is_not_there_is_named(make_writer: Any, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    writer = make_writer(anchors=[AnchorPlan("elsewhere", lambda: DirectoryAnchor(gone))])
    writer.log()
    writer.checkpointer.close(0)
    assert writer.reports[0] == f"anchor elsewhere does not take checkpoints: {gone}: No such file or directory"
    assert not gone.exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_signs_nothing_of_its_parents_stream(make_writer: Any, tmp_path: Path) -> None:
    writer = make_writer(
        state_file=tmp_path / "state", anchors=[AnchorPlan("elsewhere", lambda: DirectoryAnchor(tmp_path))]
    )
    writer.log(3)
    writer.checkpointer.flush()
    with writer.checkpointer._fold_lock:  # as another thread may hold it at the moment of the fork
        pid = os.fork()
        if pid == 0:
            writer.checkpointer.observe(4, "00" * 32)
            writer.checkpointer.flush()
            writer.checkpointer.close()
            os._exit(len(writer.emitted) + len(writer.checkpointer._leaves) - 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    writer.log(3)
    writer.checkpointer.flush()
    assert [each.size for each in writer.emitted] == [3, 7]


# Epochs.

SCHEDULE = Schedule(int(BORN) - 30, 60, 20)
SEED = bytes(range(32))
KEY, PUBLICS = certify("shop.example/audit", SCHEDULE, SEED)


class Clock:
    def __init__(self) -> None:
        self.now = BORN

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def epoch_signer() -> EpochSigner:
    return EpochSigner(KEY, PUBLICS, 0, bytearray(SEED))


def seals(writer: Writer, notes: list[str]) -> list[tuple[int, bool, int]]:
    found = []
    for note in notes:
        parsed = parse_note(note)
        seal = KEY.verify(parsed.text, parsed.signatures[0].payload)
        found.append((seal.epoch, seal.final, Checkpoint.parse(parsed.text).size))
    return found


def test_each_epoch_gets_its_final_seal_at_the_border_by_time_of_writing(
    make_writer: Any, clock: Clock, epoch_signer: EpochSigner
) -> None:
    writer = make_writer([epoch_signer], clock=clock)
    notes: list[str] = []
    writer.checkpointer._emit = lambda note, size: (notes.append(note), writer.log())
    writer.log(3)
    writer.checkpointer.flush()
    writer.log(2)
    clock.now += 60
    writer.log(4)
    writer.checkpointer.flush()
    assert seals(writer, notes) == [(0, False, 3), (0, True, 6), (1, False, 11)]
    assert epoch_signer.epoch == 1
    clock.now += 180
    writer.checkpointer.flush()
    assert [each[:2] for each in seals(writer, notes)[3:6]] == [(1, True), (2, True), (3, True)]


@pytest.mark.parametrize("writer_is_far_ahead", [False, True])
def test_an_epoch_that_ends_while_a_checkpoint_is_made_is_sealed_where_it_ended(
    make_writer: Any,
    clock: Clock,
    epoch_signer: EpochSigner,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    writer_is_far_ahead: bool,
) -> None:
    writer = make_writer([epoch_signer], clock=clock, state_file=tmp_path / "state")
    notes: list[str] = []
    writer.checkpointer._emit = lambda note, size: (notes.append(note), writer.log())
    go, advance = [True], epoch_signer.advance

    def and_meanwhile(epoch: int) -> None:
        if go:
            go.clear()
            clock.now += 60
            if writer_is_far_ahead:  # it folds by itself
                monkeypatch.setattr("otel_audit.integrity.checkpointer._QUEUE_LIMIT", 0)
                writer.checkpointer._wake_at = 0
            writer.log(2)
            writer.checkpointer.fold()
        advance(epoch)

    monkeypatch.setattr(epoch_signer, "advance", and_meanwhile)
    writer.log(3)
    writer.checkpointer.flush()
    writer.checkpointer.flush()
    assert writer.reports == []
    assert seals(writer, notes)[:2] == [(0, False, 3), (0, True, 3)]
    assert seals(writer, notes)[2][:2] == (1, False)


def test_after_idle_epochs_the_next_record_is_signed_as_ever(
    make_writer: Any, clock: Clock, epoch_signer: EpochSigner
) -> None:
    writer = make_writer([epoch_signer], clock=clock)
    writer.log(3)
    writer.checkpointer.flush()
    for _ in range(5):
        clock.now += 60
        writer.checkpointer.flush()
    writer.log()
    size = len(writer.hashes)
    writer.checkpointer.flush()
    assert writer.emitted[-1].size == size


def test_an_epoch_that_ends_while_a_checkpoint_is_made_gets_its_seal(
    make_writer: Any, clock: Clock, tmp_path: Path
) -> None:
    """The keeper, or a writer that is far ahead, folds the tree and finds the epoch over at any moment."""

    class SlowDisk:
        def advance(self, epoch: int, seed: bytearray) -> None:
            if epoch == 1:
                clock.now += 60
                writer.log(5)
                writer.checkpointer.fold()

    writer = make_writer(
        [EpochSigner(KEY, PUBLICS, 0, bytearray(SEED), SlowDisk())], clock=clock, state_file=tmp_path / "state"
    )
    notes: list[str] = []
    writer.checkpointer._emit = lambda note, size: (notes.append(note), writer.log())
    writer.log(2)
    writer.checkpointer.flush()
    clock.now += 60
    writer.log()
    for _ in range(2):
        writer.checkpointer.flush()
    assert writer.reports == []
    assert seals(writer, notes) == [(0, False, 2), (0, True, 3), (1, False, 5), (1, True, 5), (2, False, 12)]


def test_an_anchor_that_asks_for_proofs_is_not_forgotten_where_the_tree_grows_while_a_checkpoint_is_signed(
    make_writer: Any, signer: Signer
) -> None:
    class Slow:
        name, vkey = signer.name, signer.vkey

        def sign(self, text: str, *, time: int, final: bool = False) -> Any:
            writer.log(5)
            writer.checkpointer.fold()
            return signer.sign(text, time=time, final=final)

    sizes: list[int] = []

    class Witness:
        name = "witness"
        seen: Checkpoint | None = None

        def publish(self, head: SignedHead) -> None:
            sizes.append(head.checkpoint.size)
            if self.seen is not None:
                new = head.checkpoint
                proof = head.prove(self.seen.size)
                verify_consistency(self.seen.size, self.seen.root, new.size, new.root, proof)
            self.seen = head.checkpoint

        def close(self) -> None:
            pass

    witness = Witness()
    writer = make_writer([Slow()], anchors=[AnchorPlan("witness", lambda: witness, proves=True)])
    for _ in range(3):
        writer.log(10)
        writer.checkpointer.flush()
        eventually(lambda: witness.seen == writer.emitted[-1])
    assert writer.reports == []
    assert sizes == [each.size for each in writer.emitted]
    writer.log()
    writer.checkpointer.fold()
    assert len(writer.checkpointer._leaves) == 0


def test_an_unborn_stream_keeps_no_old_key(make_writer: Any, clock: Clock, epoch_signer: EpochSigner) -> None:
    """Seals over nothing are made in their time, and written when the stream begins."""
    writer = make_writer([epoch_signer], clock=clock)
    notes: list[str] = []
    writer.checkpointer._emit = lambda note, size: (notes.append(note), writer.log())
    clock.now += 120
    writer.checkpointer.flush()
    assert epoch_signer.epoch == 2
    assert notes == []
    writer.log(2)
    writer.checkpointer.flush()
    assert seals(writer, notes) == [(0, True, 0), (1, True, 0), (2, False, 2)]


def test_a_stream_that_never_begins_leaves_no_seal_over_nothing_in_its_state_file(
    make_writer: Any, clock: Clock, epoch_signer: EpochSigner, tmp_path: Path
) -> None:
    """The state file holds the last seal alone: over nothing, it would tell of earlier ones that are nowhere."""
    writer = make_writer([epoch_signer], clock=clock, state_file=tmp_path / "state")
    notes: list[str] = []
    writer.checkpointer._emit = lambda note, size: (notes.append(note), writer.log())
    clock.now += 120
    writer.checkpointer.flush()
    assert epoch_signer.epoch == 2
    assert not (tmp_path / "state").exists()
    writer.log(2)
    writer.checkpointer.flush()
    assert seals(writer, notes) == [(0, True, 0), (1, True, 0), (2, False, 2)]
    assert seals(writer, [(tmp_path / "state").read_text()]) == [(2, False, 2)]
    assert writer.reports == []


def test_closing_makes_the_final_seal(
    make_writer: Any, clock: Clock, epoch_signer: EpochSigner, tmp_path: Path
) -> None:
    writer = make_writer([epoch_signer], clock=clock, state_file=tmp_path / "state")
    writer.log(2)
    writer.checkpointer.close()
    assert seals(writer, [(tmp_path / "state").read_text()]) == [(0, True, 3)]


def test_an_epochs_final_seal_is_written_before_another_takes_its_place_on_disk(
    make_writer: Any, clock: Clock, epoch_signer: EpochSigner, tmp_path: Path
) -> None:
    writer = make_writer([epoch_signer], clock=clock, state_file=tmp_path / "state")
    pairs: list[tuple[str, str]] = []
    writer.checkpointer._emit = lambda note, size: (
        pairs.append((note, (tmp_path / "state").read_text())),
        writer.log(),
    )
    writer.log(2)
    clock.now += 60
    writer.log()
    writer.checkpointer.flush()
    assert len(pairs) == 2
    assert pairs[0][0] == pairs[0][1]


def test_a_final_seal_that_finds_its_stream_over_is_kept_beside_the_last_one(
    make_writer: Any, clock: Clock, epoch_signer: EpochSigner, tmp_path: Path
) -> None:
    writer = make_writer([epoch_signer], clock=clock, state_file=tmp_path / "s.checkpoint")
    writer.checkpointer._emit = lambda note, size: False
    writer.log(2)
    clock.now += 60
    writer.log()
    writer.checkpointer.close()
    kept = [path.read_text() for path in (*tmp_path.glob("s.2-*.checkpoint"), tmp_path / "s.checkpoint")]
    assert seals(writer, kept) == [(0, True, 2), (1, True, 3)]


def test_final_seals_of_several_epochs_over_one_size_are_all_kept_beside(
    make_writer: Any, clock: Clock, epoch_signer: EpochSigner, tmp_path: Path
) -> None:
    writer = make_writer([epoch_signer], clock=clock, state_file=tmp_path / "s.checkpoint")
    writer.checkpointer._emit = lambda note, size: False
    writer.log(2)
    clock.now += 180
    writer.checkpointer.close()
    kept = [path.read_text() for path in tmp_path.glob("s.2-*.checkpoint")]
    assert sorted(each[:3] for each in seals(writer, kept)) == [(0, True, 2), (1, True, 2), (2, True, 2)]


def test_an_epoch_that_ends_while_closing_leaves_no_seal_out(
    make_writer: Any, clock: Clock, epoch_signer: EpochSigner, tmp_path: Path
) -> None:
    writer = make_writer([epoch_signer], clock=clock, state_file=tmp_path / "state")
    notes: list[str] = []
    writer.checkpointer._emit = lambda note, size: (notes.append(note), writer.log())

    def end() -> None:
        clock.now += 60
        writer.log()

    writer.log(2)
    writer.checkpointer.close(ending=end)
    assert seals(writer, [*notes, (tmp_path / "state").read_text()]) == [(0, False, 2), (0, True, 4)]


def test_closing_when_the_last_epoch_is_over_makes_no_second_final_seal(make_writer: Any, clock: Clock) -> None:
    last = SCHEDULE.count - 1
    signer = EpochSigner(KEY, PUBLICS, 0, bytearray(SEED))
    writer = make_writer([signer], clock=clock)
    notes: list[str] = []
    writer.checkpointer._emit = lambda note, size: (notes.append(note), writer.log())
    signer.advance(last)
    writer.checkpointer._enter(last)
    writer.log(2)
    clock.now = SCHEDULE.end(last) + 1
    writer.log(2)
    writer.checkpointer.close(ending=writer.log)
    assert seals(writer, [*notes, writer.checkpointer._note]) == [(last, True, 2), (last, True, 2)]
    assert ["are used up" in each for each in writer.reports] == [True]


def test_closing_does_not_wait_for_a_signer_that_hangs(make_writer: Any, signer: Signer) -> None:
    class Hanging:
        name, vkey = signer.name, signer.vkey
        entered, released = threading.Event(), threading.Event()

        def sign(self, text: str, *, time: int, final: bool = False) -> Any:
            self.entered.set()
            self.released.wait(20)
            return signer.sign(text, time=time, final=final)

    writer = make_writer([Hanging()], every=1)
    writer.log()
    assert Hanging.entered.wait(5)
    begin = time.monotonic()
    writer.checkpointer.close(0.1, ending=writer.log)
    assert time.monotonic() - begin < 3
    assert len(writer.hashes) == 2
    assert "did not answer in time" in writer.reports[0]
    Hanging.released.set()
    writer.checkpointer._thread.join(5)


def test_the_last_checkpoint_reaches_the_anchors_where_sinks_left_no_time(make_writer: Any, tmp_path: Path) -> None:
    writer = make_writer(
        interval=3600,
        state_file=tmp_path / "state",
        anchors=[AnchorPlan("directory", lambda: DirectoryAnchor(tmp_path))],
    )
    writer.log(3)
    writer.checkpointer.close(0, ending=writer.log)
    (anchored,) = tmp_path.glob("*.checkpoint")
    assert writer.reports == []
    assert anchored.read_text() == (tmp_path / "state").read_text()
    assert Checkpoint.parse(parse_note(anchored.read_text()).text).size == len(writer.hashes)


def test_what_was_signed_last_reaches_the_anchors_where_the_end_cannot_be_signed(
    make_writer: Any, signer: Signer, tmp_path: Path
) -> None:
    class Leaving:
        name, vkey = signer.name, signer.vkey
        there = True

        def sign(self, text: str, *, time: int, final: bool = False) -> Any:
            if not self.there:
                raise OSError("the key is away")
            return signer.sign(text, time=time, final=final)

    leaving = Leaving()
    writer = make_writer([leaving], anchors=[AnchorPlan("far", lambda: DirectoryAnchor(tmp_path), every=3600)])
    for _ in range(2):
        writer.log(3)
        writer.checkpointer.flush()
    leaving.there = False
    writer.checkpointer.close(ending=writer.log)
    (anchored,) = tmp_path.glob("*.checkpoint")
    assert Checkpoint.parse(parse_note(anchored.read_text()).text) == writer.emitted[-1]


def test_a_clock_that_is_set_back_brings_no_old_epoch_back(
    make_writer: Any, clock: Clock, epoch_signer: EpochSigner
) -> None:
    writer = make_writer([epoch_signer], clock=clock)
    notes: list[str] = []
    writer.checkpointer._emit = lambda note, size: (notes.append(note), writer.log())
    writer.log()
    clock.now += 60
    writer.checkpointer.flush()
    clock.now -= 3600
    writer.log()
    writer.checkpointer.flush()
    assert [each[:2] for each in seals(writer, notes)] == [(0, True), (1, False)]
    assert writer.reports == []


def test_observing_a_record_costs_the_writer_next_to_nothing(make_writer: Any) -> None:
    writer = make_writer()
    observe, digest = writer.checkpointer.observe, "00" * 32
    begin = time.perf_counter()
    for seq in range(1, 50_001):
        observe(seq, digest)
    spent = (time.perf_counter() - begin) / 50_000
    assert spent < 5e-6, f"{spent * 1e9:.0f} ns on Python {sys.version_info[:2]}"


def test_closing_brings_the_last_checkpoint_to_an_anchor_whose_turn_it_was_not(
    make_writer: Any, tmp_path: Path
) -> None:
    """Also where closing itself has nothing to sign, because all is signed."""
    writer = make_writer(anchors=[AnchorPlan("elsewhere", lambda: DirectoryAnchor(tmp_path), every=3600)])
    writer.checkpointer._emit = lambda note, size: None
    for _ in range(3):
        writer.log(4)
        writer.checkpointer.flush()
    writer.checkpointer.close()
    kept = parse_note((tmp_path / f"{STREAM}.checkpoint").read_text())
    assert Checkpoint.parse(kept.text).size == 12
