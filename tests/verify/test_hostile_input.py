"""Input made to hurt the verifier: bounded memory and time, a verdict, never a traceback."""

from __future__ import annotations

import gzip
import os
import random
import threading
import tracemalloc
from pathlib import Path

import pytest

from otel_audit.durability import Receipt
from otel_audit.verify import lines as lines_module
from otel_audit.verify import sources as sources_module
from otel_audit.verify import verify
from tests.verify.histories import Writer, put, whole

MB = 1 << 20


def peak_of(path: Path) -> tuple[int, int]:
    """Exit code, and the most memory in MB that checking took."""
    tracemalloc.start()
    try:
        code = verify([path]).exit_code
        return code, tracemalloc.get_traced_memory()[1] // MB
    finally:
        tracemalloc.stop()


def test_a_line_without_an_end_is_not_held_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.write(b"".join(whole().lines))
        for _ in range(128):
            file.write(b"x" * MB)
    code, peak = peak_of(path)
    assert (code, peak < 64) == (3, True)
    with path.open("ab") as file:
        file.write(b"\n" + b"".join(whole(2).lines))
    report = verify([path])
    assert report.findings.counts() == {"OVERLONG_LINE": 1}
    assert report.records == 40


def test_a_gzip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources_module, "_FREE_EXPANSION", 4 * MB)
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"x" * (64 * MB) + b"\n", 9))
    code, peak = peak_of(path)
    assert (code in {1, 2}, peak < 64) == (True, True)
    assert "UNREADABLE" in verify([path]).findings.counts()


def test_many_empty_lines_do_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n" * 60_000)
    code, peak = peak_of(path)
    assert (code, peak < 64) == (1, True)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"@timestamp":['])
def test_deep_nesting(tmp_path: Path, opening: bytes) -> None:
    writer = whole()
    writer.lines.insert(5, opening * 100_000 + b"\n")
    assert verify([put(tmp_path, writer)]).exit_code == 1


def test_sealed_deep_nesting(tmp_path: Path) -> None:
    writer = Writer().open()
    head = writer.event()
    writer.lines.pop()
    writer.chain.rewind(Receipt(writer.stream, 1, head.partition(b'"prev_hash":"')[2][:64].decode()))
    deep = b'{"a":' * 5000 + b"1" + b"}" * 5000
    line = head.partition(b',"prev_hash"')[0].partition(b'"data":')[0] + b'"data":' + deep + b',"event_name":"x"'
    writer.lines.append(writer.chain.seal(line))
    assert verify([put(tmp_path, writer.close())]).exit_code == 1


def test_huge_numbers(tmp_path: Path) -> None:
    writer = whole()
    writer.lines[6] = writer.lines[6].replace(b"12.5", b"9" * 100_000)
    writer.lines[8] = writer.lines[8].replace(b'"seq":9', b'"seq":' + b"9" * 100_000)
    assert verify([put(tmp_path, writer)]).exit_code == 1


def test_random_bytes(tmp_path: Path) -> None:
    source = random.Random(7)
    for _ in range(50):
        (tmp_path / "a.jsonl").write_bytes(source.randbytes(source.randrange(5000)))
        assert verify([tmp_path]).exit_code in {1, 2, 3, 5}


def test_random_mutations_of_control_records(tmp_path: Path) -> None:
    """Control records are read by their content: no type in any place may break the reader."""
    odd = [None, True, -1, 2**60, 1e300, "x", [], [[]], [{}], {}, {"stream": 5}, [{"stream": "a" * 32, "seq": 1}]]
    events = [
        "stream.open",
        "stream.close",
        "stream.fork",
        "gap",
        "prune",
        "pipeline.degraded",
        "heartbeat",
        "suppressed",
    ]
    members = [
        "format",
        "algorithms",
        "previous",
        "parent",
        "records",
        "lost",
        "child",
        "count",
        "from",
        "to",
        "reason",
    ]
    members += ["stream", "last_seq", "last_hash", "cause", "interval", "monotonic"]
    source = random.Random(7)
    for _ in range(300):
        writer = Writer().open()
        for _ in range(5):
            data = {name: source.choice(odd[:3] + odd[4:]) for name in source.sample(members, 6)}
            writer.control(f"audit.{source.choice(events)}", data)
        if source.random() < 0.3:
            writer.lines[0] = Writer().open(**{source.choice(members): source.choice(odd[5:])}).lines[0]
        put(tmp_path, writer)
        assert verify([tmp_path]).exit_code in {1, 3, 4}


def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jsonl")
    report = verify([tmp_path])
    assert (report.findings.counts(), report.exit_code) == ({"UNREADABLE": 1}, 2)


def test_a_device_is_not_read() -> None:
    assert verify(["/dev/zero"]).exit_code == 2


def test_links(tmp_path: Path) -> None:
    (tmp_path / "to").symlink_to(put(tmp_path / "j", whole()))
    (tmp_path / "broken.jsonl").symlink_to(tmp_path / "nowhere")
    (tmp_path / "round.jsonl").symlink_to(tmp_path / "round.jsonl")
    assert verify([tmp_path / "to"]).exit_code == 0
    assert verify([tmp_path / "broken.jsonl"]).exit_code == 2
    assert verify([tmp_path / "round.jsonl"]).exit_code == 2


def test_a_directory_that_looks_like_a_file(tmp_path: Path) -> None:
    put(tmp_path / "j.jsonl", whole())
    assert verify([tmp_path]).exit_code == 0


def test_an_unreadable_directory_entry_is_said(tmp_path: Path) -> None:
    path = put(tmp_path, whole())
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("root reads everything")
    assert verify([tmp_path]).exit_code == 2


def test_a_file_that_grows_while_it_is_read_ends(tmp_path: Path) -> None:
    writer = Writer().open()
    path = put(tmp_path, writer)
    stop = threading.Event()

    def grow() -> None:
        with path.open("ab", buffering=0) as file:
            for _ in range(20_000):
                if stop.is_set():
                    return
                file.write(writer.event())

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        codes = {verify([path]).exit_code for _ in range(10)}
    finally:
        stop.set()
        thread.join()
    assert codes == {3}


def test_many_streams(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"".join(Writer(number).open().lines[0] for number in range(3000)))
    code, peak = peak_of(path)
    assert (code, peak < 64) == (3, True)


def test_an_open_record_that_names_many_streams(tmp_path: Path) -> None:
    previous = [{"stream": f"{number:032x}", "seq": 1, "hash": "0" * 64, "closed": True} for number in range(5000)]
    report = verify([put(tmp_path, Writer().open(previous=previous).close())])
    assert report.exit_code == 1
    assert report.findings.counts()["MISSING_STREAM"] <= 4096


def test_a_line_is_split_on_newline_only(tmp_path: Path) -> None:
    writer = Writer().open()
    writer.event(message="a\u2028b\x85c\x0bd\x0ce\x1cf\rg")
    assert verify([put(tmp_path, writer.close())]).exit_code == 0


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_blocks_of_any_size_give_the_same_lines(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    import io

    monkeypatch.setattr(lines_module, "BLOCK_BYTES", size)
    data = b"a\n\nbb\n" + b"c" * 100 + b"\n" + b"d" * 5
    parts = list(lines_module.read_blocks(io.BytesIO(data).read))
    got = [line for part in parts if isinstance(part, lines_module.Block) for line in part.lines]
    assert got == data.split(b"\n")[:-1]
    assert parts[-1].length == 5
    assert [part.number for part in parts[:1]] == [1]


@pytest.mark.parametrize("size", [1, 7, 64])
def test_overlong_lines_are_counted(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    import io

    monkeypatch.setattr(lines_module, "BLOCK_BYTES", size)
    monkeypatch.setattr(lines_module, "LINE_CAP", 20)
    data = b"a\n" + b"x" * 200 + b"\nb\n" + b"y" * 300
    parts = list(lines_module.read_blocks(io.BytesIO(data).read))
    kinds = {type(part).__name__: part for part in parts}
    assert (kinds["Overlong"].number, kinds["Overlong"].offset, kinds["Overlong"].length) == (2, 2, 201)
    assert (kinds["Remainder"].number, kinds["Remainder"].offset, kinds["Remainder"].length) == (4, 205, 300)
