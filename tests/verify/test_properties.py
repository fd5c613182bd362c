"""Whatever happens honestly is 0 or 3, whatever is edited is never 0, and a stranger says the same."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_audit.canonical import Limits, make_safe, parse
from otel_audit.verify import Severity, bulk, reading, verify
from tests.stranger import verdict
from tests.verify.histories import Writer, put, stream_id, torn

Files = dict[str, bytes]

WORDS = {Severity.NOTE: "intact", Severity.TAMPERED: "tampered", Severity.INCOMPLETE: "incomplete"}
TAILS = [b"", b"", b'{"@timestamp":"2023', b"{", b"\x00" * 100]

texts = st.text(max_size=12) | st.sampled_from(
    ["\n", "\r", "\u2028", "\x85", "\x1b[2K", "😀\ufffd", '","seq":9', "\x00"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
contents = st.dictionaries(texts, values, max_size=4)
happenings = st.sampled_from(["event"] * 8 + ["gap", "degraded", "heartbeat", "fork", "late"])


@st.composite
def histories(draw: st.DrawFn) -> Files:
    """Some streams of one journal: restarts, crashes at any byte, segments, failed syncs, forks, losses."""
    files: Files = {}
    ended: list[dict[str, Any]] = []
    parent: dict[str, Any] | None = None
    for number in range(1, draw(st.integers(1, 3)) + 1):
        writer = Writer(number, start=1_700_000_000_000_000_000 + number * 10**12)
        writer.open(previous=ended, **({"parent": parent} if parent else {}))
        ended, parent = [], None
        for what in draw(st.lists(happenings, max_size=12)):
            happen(writer, what, draw)
            if what == "fork" and parent is None:
                at = draw(st.integers(1, writer.chain.seq))
                parent = {"stream": writer.stream, "seq": at, "hash": parse(writer.lines[at - 1])["hash"]}
                child = stream_id(draw(st.sampled_from([number + 1, 99])))
                writer.control("audit.stream.fork", {"child": child, "pid": None})
        closed = draw(st.booleans())
        if closed:
            writer.close()
        tail = b"" if closed else draw(st.sampled_from(TAILS))
        files |= in_segments(writer, tail, draw)
        if draw(st.booleans()):
            last = max(name for name in files if name.startswith(writer.stream))
            declared = {**torn(writer, tail), "segment": last, "offset": len(files[last]) - len(tail)} if tail else None
            ended = [writer.ending(closed=closed, torn=declared)]
    return files


def happen(writer: Writer, what: str, draw: st.DrawFn) -> None:
    if what == "event":
        data, _ = make_safe(draw(contents), Limits())
        writer.event(data=data)
    elif what == "late":
        writer.now -= 10**9
        writer.event()
        writer.now += 10**9
    elif what == "gap":
        writer.control("audit.gap", {"count": 2, "from": "x", "to": "y", "reason": "disk full"})
    elif what == "degraded":
        writer.control("audit.pipeline.degraded", {"cause": "sync failed"})
    elif what == "heartbeat":
        data = {"interval": 60, "lost": 0, "monotonic": writer.now / 1e9, "records": writer.chain.seq}
        writer.control("audit.heartbeat", make_safe(data, Limits())[0])


def in_segments(writer: Writer, tail: bytes, draw: st.DrawFn) -> Files:
    """Cut a stream into segments; after a failed sync, one repeats the end of the one before."""
    count = len(writer.lines)
    cuts = sorted(draw(st.sets(st.integers(1, count - 1), max_size=2))) if count > 1 else []
    files: Files = {}
    edges = [0, *cuts, count]
    for number in range(1, len(edges)):
        start, end = edges[number - 1], edges[number]
        if number > 1 and draw(st.booleans()):
            start = draw(st.integers(edges[number - 2], start))
        files[writer.segment(number)] = b"".join(writer.lines[start:end]) + (tail if end == count else b"")
    return files


@st.composite
def edits(draw: st.DrawFn, files: Files) -> Files:
    """One edit of one file."""
    edited = copy.copy(files)
    name = draw(st.sampled_from(sorted(name for name, content in files.items() if content)))
    lines = [line + b"\n" for line in files[name].split(b"\n")[:-1]] or [files[name]]
    place = draw(st.integers(0, len(lines) - 1))
    what = draw(st.sampled_from(["delete", "move", "insert", "duplicate", "byte", "cut"]))
    if what == "delete":
        del lines[place : place + draw(st.integers(1, 3))]
    elif what == "move":
        lines.insert(draw(st.integers(0, len(lines) - 1)), lines.pop(place))
    elif what == "insert":
        others = [line + b"\n" for content in files.values() for line in content.split(b"\n")[:-1]]
        lines.insert(place, draw(st.sampled_from([b"\n", b"{}\n", b"hello\n", *others])))
    elif what == "duplicate":
        lines.insert(draw(st.integers(0, len(lines))), lines[place])
    else:
        content = bytearray(files[name])
        at = draw(st.integers(0, len(content) - 1))
        if what == "cut":
            del content[at:]
        else:
            content[at] ^= draw(st.integers(1, 255))
        edited[name] = bytes(content)
        return edited
    rest = files[name].rpartition(b"\n")[2]
    edited[name] = b"".join(lines) + rest
    return edited


def lay_out(directory: Path, files: Files) -> Path:
    directory.mkdir(exist_ok=True)
    for old in directory.iterdir():
        old.unlink()
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return directory


quietly = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@settings(quietly, max_examples=150)
@given(files=histories())
def test_an_honest_history_is_intact_or_incomplete(tmp_path: Path, files: Files) -> None:
    journal = lay_out(tmp_path / "j", files)
    report = verify([journal])
    assert report.exit_code in {0, 3}, [found.as_json() for found in report.findings.listed]
    assert verdict(journal) == WORDS[report.verdict]


@settings(quietly, max_examples=300)
@given(data=st.data())
def test_an_edit_is_never_a_pass(tmp_path: Path, data: st.DataObject) -> None:
    files = data.draw(histories())
    edited = data.draw(edits(files))
    journal = lay_out(tmp_path / "j", edited)
    report = verify([journal])
    assert report.exit_code in {0, 1, 3, 5}
    if edited != files and not only_repeats(files, edited):
        assert report.exit_code != 0
    if report.exit_code in {1, 3}:
        assert verdict(journal) == WORDS[report.verdict], [found.as_json() for found in report.findings.listed]


def only_repeats(files: Files, edited: Files) -> bool:
    """Whether all that the edit did is what a failed sync does: repeat or move lines across two segments' border."""

    def whole(each: Files) -> dict[str, list[bytes]]:
        streams: dict[str, list[bytes]] = {}
        for name in sorted(each):
            lines = streams.setdefault(name[:32], [])
            fresh = True
            for line in each[name].split(b"\n"):
                if not (fresh and line in lines):
                    lines.append(line)
                    fresh = False
        return streams

    return whole(files) == whole(edited)


@settings(quietly, max_examples=150)
@given(data=st.data())
def test_checking_in_bulk_and_line_by_line_find_the_same(tmp_path: Path, data: st.DataObject) -> None:
    files = data.draw(histories())
    if data.draw(st.booleans()):
        files = data.draw(edits(files))
    journal = lay_out(tmp_path / "j", files)
    fast = verify([journal])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk, "orjson", None)
        slow = verify([journal])
    assert fast.as_json() == slow.as_json()
    assert reading.read_runs is bulk.read_runs


def test_a_long_stream_is_the_same_in_bulk_and_line_by_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer().open()
    for number in range(2000):
        writer.event(number, **({"level": "INFO"} if number % 3 else {}))
    del writer.lines[1500:1502]
    put(tmp_path / "j", writer.close(), 700)
    fast = verify([tmp_path / "j"]).as_json()
    monkeypatch.setattr(bulk, "orjson", None)
    assert verify([tmp_path / "j"]).as_json() == fast
