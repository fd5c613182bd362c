"""What others do to the files behind the writer's back: noticed within a second, recorded, and lines saved."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from otel_audit.chain import new_stream_id
from otel_audit.journal.writer import JournalWriter
from tests.writer.trails import codes, data_of, eventually, named, open_trail, records, verified


def degraded(journal: Path) -> list[str]:
    return [data["cause"] for data in data_of(journal, "audit.pipeline.degraded")]


def live(journal: Path) -> Path:
    return max(journal.glob("*.jsonl"))


def remove(path: Path) -> None:
    path.unlink()


def move_within(path: Path) -> None:
    path.rename(f"{path}.1")


def move_out(path: Path) -> None:
    path.rename(path.parent.parent / path.name)


def move_to_the_next_name(path: Path) -> None:
    path.rename(str(path).replace(".000001.", ".000002."))


def remove_directory(path: Path) -> None:
    shutil.rmtree(path.parent)


def move_directory(path: Path) -> None:
    path.parent.rename(f"{path.parent}.old")


def rotate(path: Path) -> None:
    """As logrotate does with `create`."""
    path.rename(f"{path}.1")
    path.touch()


def edit_in_place(path: Path) -> None:
    """As an editor, or `sed -i`, does: another file under the name."""
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    copy.replace(path)


@pytest.mark.parametrize(
    ("touch", "cause"),
    [
        (remove, "segment removed"),
        (move_within, "segment removed"),
        (move_out, "segment removed"),
        (move_to_the_next_name, "segment removed"),
        (remove_directory, "segment removed"),
        (move_directory, "segment removed"),
        (rotate, "segment replaced"),
        (edit_in_place, "segment replaced"),
    ],
)
def test_a_segment_that_lost_its_name_is_noticed_and_saved(
    tmp_path: Path, touch: Callable[[Path], None], cause: str
) -> None:
    journal = tmp_path / "journal"
    with open_trail(journal) as trail:
        for n in range(10):
            trail.record("a.b", {}, {"n": n})
        size = live(journal).stat().st_size
        touch(live(journal))
        trail.record("a.b", {}, {"n": 10})
        eventually(lambda: journal.exists() and degraded(journal) == [cause], within=3)
        trail.record("a.b", {}, {"n": 11})
        assert trail.stream.lost == 0
    (saved,) = data_of(journal, "audit.pipeline.degraded")
    assert saved["bytes_saved"] > size
    assert sorted(record["data"]["n"] for record in named(journal, "a.b")) == list(range(12))
    report = verified(journal)
    assert report.exit_code == 3
    assert codes(report) <= {"PIPELINE_DEGRADED", "EMPTY_SEGMENT", "REPEATED_LINES"}


@pytest.mark.parametrize("left", [0, 700])
def test_a_truncated_segment_is_noticed_and_what_is_missing_shows(tmp_path: Path, left: int) -> None:
    """As logrotate does with `copytruncate`: what it cut is gone from here, and `verify` does not call that intact."""
    with open_trail(tmp_path) as trail:
        for n in range(10):
            trail.record("a.b", {}, {"n": n})
        store = trail.stream.store
        eventually(lambda: store.durable == store.written)
        copy = live(tmp_path).read_bytes()
        os.truncate(live(tmp_path), left)
        trail.record("a.b", {}, {"n": 10})
        eventually(lambda: degraded_in(tmp_path) == ["segment truncated"], within=3)
        trail.record("a.b", {}, {"n": 11})
    assert verified(tmp_path).exit_code == 1
    for path in tmp_path.glob("*.000001.jsonl"):  # with the rotator's copy put back, all is there again
        path.write_bytes(copy)
    kept = {record["data"]["n"] for record in named(tmp_path, "a.b")}
    assert set(range(10)) <= kept
    assert 11 in kept


def degraded_in(journal: Path) -> list[str]:
    """Like `degraded`, of segments that need not be whole."""
    return ["segment truncated"] if b'"cause":"segment truncated"' in live(journal).read_bytes() else []


def test_lines_that_were_not_durable_when_the_file_was_cut_are_written_again(tmp_path: Path) -> None:
    store = JournalWriter(tmp_path)
    store.begin(new_stream_id())
    for line in (b"durable\n", b"not\n", b"yet\n"):
        store.append(line)
        if line == b"durable\n":
            store.sync()
    os.truncate(live(tmp_path), 0)
    assert store.inspect() == "segment truncated"
    store.relocate()
    assert store.take_moves() == [("segment truncated", len(b"not\nyet\n"))]
    store.append(b"more\n")
    store.end()
    assert live(tmp_path).read_bytes() == b"not\nyet\nmore\n"


def test_a_segment_that_cannot_be_saved_yet_is_saved_later(small_disk: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """On a full disk the removed file is still open; its lines are there when there is room again."""
    journal = small_disk / "journal"
    with open_trail(journal) as trail:
        for n in range(50):
            trail.record("a.b", {}, {"n": n, "text": "x" * 1000})
        (small_disk / "ballast").write_bytes(b"\0" * 140_000)
        live(journal).unlink()
        eventually(lambda: "No space left" in capfd.readouterr().err, within=3)
        assert not list(journal.glob("*.jsonl")), "half a copy was left behind"
        (small_disk / "ballast").unlink()
        eventually(lambda: degraded(journal) == ["segment removed"], within=4)
    assert [record["data"]["n"] for record in named(journal, "a.b")] == list(range(50))
    assert verified(journal).exit_code == 3


@pytest.fixture
def append_only(tmp_path: Path) -> Iterator[Callable[[Path], None]]:
    """Set the append-only attribute, as root on ext4, xfs or btrfs may."""
    marked: list[Path] = []

    def mark(path: Path) -> None:
        done = subprocess.run(["chattr", "+a", path], check=False, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no append-only attribute here: {done.stderr.strip()}")
        marked.append(path)

    if shutil.which("chattr") is None:
        pytest.skip("no chattr here")
    yield mark
    for path in marked:
        subprocess.run(["chattr", "-a", path], check=True)


def test_a_journal_in_an_append_only_directory(tmp_path: Path, append_only: Callable[[Path], None]) -> None:
    journal = tmp_path / "journal"
    journal.mkdir()
    append_only(journal)
    for _ in range(2):
        with open_trail(journal, segment_bytes=4096) as trail:
            for n in range(30):
                trail.record("a.b", {}, {"n": n})
            assert trail.stream.lost == 0
    assert len(list(journal.glob("*.jsonl"))) > 4
    assert verified(journal).exit_code == 0


def test_a_half_line_in_an_append_only_file_stays_and_the_stream_goes_on(
    tmp_path: Path, append_only: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, fail = os.write, [False]

    def write(descriptor: int, data: bytes) -> int:
        if not fail[0] or descriptor <= 2:
            return real(descriptor, data)
        if len(data) < 200:
            raise OSError(28, "No space left on device")
        return real(descriptor, data[:150])

    with open_trail(tmp_path) as trail:
        trail.record("a.b", {}, {"n": 0})
        append_only(live(tmp_path))
        monkeypatch.setattr(os, "write", write)
        fail[0] = True
        trail.record("a.lost")
        fail[0] = False
        trail.record("a.b", {}, {"n": 1})
        assert trail.stream.lost == 1
    assert [record["data"]["n"] for record in named(tmp_path, "a.b")] == [0, 1]
    report = verified(tmp_path)
    assert report.exit_code == 3
    assert {"TORN_TAIL", "RECORDS_LOST"} <= codes(report)
    assert records(tmp_path)


def test_a_place_where_no_journal_can_be_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "file"
    place.touch()
    with open_trail(place) as trail:
        trail.record("a.b")
    assert f"an audit record was lost: {place}: {os.strerror(errno.EEXIST)}" in capfd.readouterr().err
