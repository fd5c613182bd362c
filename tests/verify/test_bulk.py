"""Blocks of lines at once: what is sound goes that way, and says the same as line by line; nothing else does."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from otel_audit.canonical import canonicalize, parse
from otel_audit.record import MAX_LINE
from otel_audit.verify.bulk import read_runs, stream_of
from otel_audit.verify.content import Entry, examine
from tests.verify.histories import Writer, reseal, stream_id, whole

pytest.importorskip("orjson")


def bare(lines: list[bytes]) -> list[bytes]:
    return [line.removesuffix(b"\n") for line in lines]


def singly(lines: list[bytes]) -> list[Entry]:
    entries = []
    for line in lines:
        entry, fault = examine(line)
        assert entry is not None
        assert fault is None
        entries.append(entry)
    return entries


def of(writer: Writer) -> list[bytes]:
    return bare(writer.lines)


def rich() -> Writer:
    """A stream with every member that a record can have, in several shapes."""
    writer = Writer().open()
    writer.event(1)
    writer.event(2, level="INFO", logger="shop", message="größer ☃")
    writer.event(3, otel={"trace_id": "0" * 31 + "1", "span_id": "0" * 15 + "1", "trace_flags": 1})
    writer.event(4, data={"deep": [{"a": [1, 2.5, None, True]}], "text": "\U0001f600", "none": None})
    writer.event(5, data={})
    writer.seal(
        {
            "audit": {
                "action": "GRANT",
                "actor": {"id": "a", "type": "service", "name": "A", "roles": ["x", "y"]},
                "outcome": "failure",
                "decision": "denied",
                "targets": [{"id": "1"}],
                "changes": {"role": {"old": "a", "new": "b"}},
            },
            "event_name": "user.grant",
        }
    )
    return writer.close()


@pytest.mark.parametrize("count", [1, 7, 8, 9, 98, 99, 100, 1000])
def test_an_honest_stream_goes_in_bulk_and_says_the_same(count: int) -> None:
    lines = of(Writer().open().events(count).close())
    runs = read_runs(lines)
    assert runs is not None
    found = [run.entry(place) for run in runs for place in range(len(run.hashes))]
    assert found == singly(lines)


@pytest.mark.parametrize("start", [0, 1, 5, 8, 9, 10, 97])
def test_a_block_may_begin_and_end_anywhere(start: int) -> None:
    lines = of(Writer().open().events(120).close())[start : start + 13]
    runs = read_runs(lines)
    assert runs is not None
    assert [run.entry(place) for run in runs for place in range(len(run.hashes))] == singly(lines)
    assert runs[0].prev == singly(lines)[0].prev


def test_records_of_every_shape_go_in_bulk() -> None:
    lines = of(rich())
    runs = read_runs(lines)
    assert runs is not None
    assert [run.entry(place) for run in runs for place in range(len(run.hashes))] == singly(lines)


def test_control_records_are_pointed_out() -> None:
    writer = Writer().open().events(3)
    writer.control("audit.heartbeat", {"interval": 60})
    runs = read_runs(of(writer.close()))
    assert runs is not None
    assert [run.seq + place for run in runs for place in run.controls] == [1, 5, 6]


def test_the_stream_of_a_line_stands_at_its_end() -> None:
    assert {stream_of(line) for line in of(whole(3))} == {stream_id(3).encode()}


def sealed_with(change: Callable[[dict[str, Any]], object]) -> Callable[[list[bytes]], None]:
    """Change one record, and seal it and all behind it, so that only its content is wrong."""

    def edit(lines: list[bytes]) -> None:
        from otel_audit.sealing import Chain

        chain = Chain(parse(lines[0])["stream"])
        for place, line in enumerate(lines):
            record = {k: v for k, v in parse(line).items() if k not in {"hash", "prev_hash", "seq", "stream"}}
            if place == 4:
                change(record)
            lines[place] = chain.seal(canonicalize(record)[:-1])[:-1]

    return edit


def swap(lines: list[bytes], one: bytes, other: bytes, place: int = 4) -> None:
    assert one in lines[place]
    lines[place] = lines[place].replace(one, other, 1)


def raw(change: Callable[[bytes], bytes]) -> Callable[[list[bytes]], None]:
    """Seal a line whose JSON is not written as JCS does."""

    def edit(lines: list[bytes]) -> None:
        from otel_audit.sealing import Chain

        chain = Chain(parse(lines[0])["stream"])
        for place, line in enumerate(lines):
            head = line[: line.index(b',"seq":') if place == 0 else line.index(b',"prev_hash":')]
            lines[place] = chain.seal(change(head) if place == 4 else head)[:-1]

    return edit


FAULTS: dict[str, Callable[[list[bytes]], object]] = {
    "a value": lambda lines: swap(lines, b'"amount":12.5', b'"amount":12.6'),
    "a hash": lambda lines: lines.__setitem__(4, lines[4][:-66] + b"0" * 64 + b'"}'),
    "the end of the line": lambda lines: lines.__setitem__(4, lines[4][:-1]),
    "something behind it": lambda lines: lines.__setitem__(4, lines[4] + b" "),
    "a line less": lambda lines: lines.pop(4),
    "a line twice": lambda lines: lines.insert(4, lines[4]),
    "two lines swapped": lambda lines: lines.__setitem__(slice(4, 6), lines[5:3:-1]),
    "a line of another stream": lambda lines: lines.__setitem__(4, of(whole(2))[4]),
    "another history from here on": lambda lines: lines.__setitem__(4, reseal(lines[4] + b"\n", message="x")[:-1]),
    "a line that is too long": lambda lines: sealed_with(lambda each: each["data"].update(x="y" * MAX_LINE))(lines),
    "an unknown member": sealed_with(lambda each: each.update(host="web-1")),
    "an unknown member of audit": sealed_with(lambda each: each["audit"].update(why="x")),
    "a missing member": sealed_with(lambda each: each.pop("event_name")),
    "no audit": sealed_with(lambda each: each.pop("audit")),
    "no outcome": sealed_with(lambda each: each["audit"].pop("outcome")),
    "no actor type": sealed_with(lambda each: each["audit"]["actor"].pop("type")),
    "another outcome": sealed_with(lambda each: each["audit"].update(outcome="fine")),
    "another decision": sealed_with(lambda each: each["audit"].update(decision="perhaps")),
    "another actor type": sealed_with(lambda each: each["audit"]["actor"].update(type="robot")),
    "an actor that is text": sealed_with(lambda each: each["audit"].update(actor="alice")),
    "an actor's id as a number": sealed_with(lambda each: each["audit"]["actor"].update(id=5)),
    "an action as a list": sealed_with(lambda each: each["audit"].update(action=["A"])),
    "an empty event name": sealed_with(lambda each: each.update(event_name="")),
    "an event name as a number": sealed_with(lambda each: each.update(event_name=5)),
    "data as a list": sealed_with(lambda each: each.update(data=[1])),
    "a level as a number": sealed_with(lambda each: each.update(level=20)),
    "a short trace id": sealed_with(lambda each: each.update(otel={"trace_id": "00"})),
    "a time without digits": sealed_with(lambda each: each.update({"@timestamp": "2023-11-14T22:13:20.00000000xZ"})),
    "a time that is none": sealed_with(lambda each: each.update({"@timestamp": "2023-13-14T22:13:20.000000000Z"})),
    "a short time": sealed_with(lambda each: each.update({"@timestamp": "2023-11-14T22:13:20Z"})),
    "a space": raw(lambda head: head.replace(b'"amount":12.5', b'"amount": 12.5')),
    "another spelling of a number": raw(lambda head: head.replace(b"12.5", b"12.50")),
    "a whole float": raw(lambda head: head.replace(b"12.5", b"12.0")),
    "an exponent": raw(lambda head: head.replace(b"12.5", b"1e16")),
    "a small float": raw(lambda head: head.replace(b"12.5", b"0.000001")),
    "a number beyond 2^53": raw(lambda head: head.replace(b"12.5", b"9007199254740993")),
    "another spelling of a letter": raw(lambda head: head.replace(b"alice", b"\\u0061lice")),
    "a member twice": raw(lambda head: head.replace(b'"amount":12.5', b'"amount":12.5,"amount":12.5')),
    "members in another order": raw(
        lambda head: head.replace(b'"data":{"amount":12.5,', b'"data":{').replace(b"}", b',"amount":12.5}', 1)
    ),
    "names sorted by code point and not by UTF-16 unit": raw(
        lambda head: head.replace('"note":"größer ☃"'.encode(), '"note":"x","\ue000":1,"\U0001f600":2'.encode())
    ),
    "names sorted by UTF-16 unit": raw(
        lambda head: head.replace('"note":"größer ☃"'.encode(), '"note":"x","\U0001f600":2,"\ue000":1'.encode())
    ),
    "two objects on a line": raw(lambda head: head + b"},{" + head[1:]),
}

SOUND_BUT_ODD = {"a small float", "names sorted by UTF-16 unit"}
"""Written as JCS does, and for all that not decided in bulk."""


@pytest.mark.parametrize("change", FAULTS.values(), ids=FAULTS)
def test_what_is_not_sound_does_not_go_in_bulk(change: Callable[[list[bytes]], object]) -> None:
    lines = of(Writer().open().events(9).close())
    assert read_runs(lines) is not None
    change(lines)
    assert read_runs(lines) is None


@pytest.mark.parametrize("change", FAULTS.values(), ids=FAULTS)
def test_and_line_by_line_it_is_found(change: Callable[[list[bytes]], object], request: Any) -> None:
    lines = of(Writer().open().events(9).close())
    change(lines)
    faults = [examine(line)[1] for line in lines]
    entries = [examine(line)[0] for line in lines]
    places = [(entry.seq, entry.prev, entry.stream) for entry in entries if entry is not None]
    follows = all(
        later.seq == earlier.seq + 1 and later.prev == earlier.hash and later.stream == earlier.stream
        for earlier, later in pairwise(entries)
        if earlier is not None and later is not None
    )
    odd = request.node.callspec.id in SOUND_BUT_ODD
    assert (any(faults) or not follows or len(places) < len(lines)) is not odd


def test_the_first_record_and_no_other_has_none_before_it() -> None:
    lines = of(Writer().open().events(3).close())
    assert read_runs([lines[0].replace(b'"seq":1', b'"prev_hash":"' + b"a" * 64 + b'","seq":1')]) is None
    cut = lines[2].index(b',"prev_hash"')
    assert read_runs([lines[2][:cut] + lines[2][cut + 80 :]]) is None
