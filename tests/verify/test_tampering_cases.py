"""The catalogue of tampering: every case that needs no key, and its exit code.

The numbers are those of the project's list of mutations; what needs signatures or anchors is tested with `integrity`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from otel_audit.canonical import parse
from otel_audit.verify import Report, verify
from tests.verify.histories import Writer, put, reseal, rewrite, stream_id, torn, whole

Case = Callable[[Path], Report]
CASES: list[tuple[str, int, str | None, Case]] = []


def case(number: str, exit_code: int, code: str | None = None) -> Callable[[Case], Case]:
    def add(build: Case) -> Case:
        CASES.append((f"{number} {build.__name__}", exit_code, code, build))
        return build

    return add


def lines_of(path: Path, lines: list[bytes], **options: bool) -> Report:
    (path / "audit.jsonl").write_bytes(b"".join(lines))
    return verify([path / "audit.jsonl"], **options)


def edit(path: Path, change: Callable[[list[bytes]], object], **options: bool) -> Report:
    """One of three streams of a journal with its lines changed."""
    first, second = whole(1), whole(2)
    third = whole(3, previous=[first.ending(), second.ending()])
    change(second.lines)
    for writer in (first, second, third):
        put(path / "j", writer)
    return verify([path / "j"], **options)


@case("1", 0)
def untouched(path: Path) -> Report:
    return edit(path, lambda lines: None)


@case("3", 1, "HASH_MISMATCH")
def value_changed(path: Path) -> Report:
    return edit(path, lambda lines: lines.__setitem__(6, lines[6].replace(b"gone 5", b"gone 6")))


@case("4", 1, "PREV_MISMATCH")
def value_changed_and_line_sealed_again(path: Path) -> Report:
    return edit(path, lambda lines: lines.__setitem__(6, reseal(lines[6], message="x")))


@case("5", 1, "LINK_MISMATCH")
def all_later_lines_sealed_again_but_a_later_stream_knew_the_end(path: Path) -> Report:
    return edit(path, lambda lines: lines.__setitem__(slice(None), rewrite(lines, 6, message="x")))


@case("8", 1, "SEQ_GAP")
def middle_line_deleted(path: Path) -> Report:
    return edit(path, lambda lines: lines.pop(6))


@case("9", 1, "SEQ_GAP")
def middle_range_deleted(path: Path) -> Report:
    return edit(path, lambda lines: lines.__delitem__(slice(4, 9)))


@case("10", 1, "HEAD_CUT")
def first_lines_deleted(path: Path) -> Report:
    return edit(path, lambda lines: lines.__delitem__(slice(0, 3)))


@case("11", 3, "PRUNED")
def legal_retention(path: Path) -> Report:
    old = whole(1)
    new = Writer(2).open(previous=[old.ending()])
    cut = {"stream": old.stream, "first_seq": 1, "last_seq": 5, "last_hash": parse(old.lines[4])["hash"]}
    new.control("audit.prune", {**cut, "segments": [old.segment()], "reason": "age"})
    put(path / "j", old, 6).unlink()
    put(path / "j", new.close())
    return verify([path / "j"])


@case("12", 1, "TRUNCATED")
def tail_cut_that_a_later_stream_had_seen(path: Path) -> Report:
    return edit(path, lambda lines: lines.__delitem__(slice(12, None)))


@case("13", 3, "UNCLOSED")
def tail_cut_that_nobody_had_seen(path: Path) -> Report:
    return lines_of(path, whole().lines[:-3])


@case("15", 3, "TORN_TAIL")
def cut_in_the_middle_of_a_line(path: Path) -> Report:
    lines = whole().lines[:-3]
    return lines_of(path, [*lines[:-1], lines[-1][:50]])


@case("16", 3, "TORN_DECLARED")
def torn_tail_declared_at_restart(path: Path) -> Report:
    old, tail = Writer(1).open().events(4), b'{"@timestamp":"20'
    put(path / "j", old, tail=tail)
    put(path / "j", whole(2, previous=[old.ending(closed=False, torn=torn(old, tail))]))
    return verify([path / "j"])


@case("17", 1, "TORN_MISMATCH")
def torn_tail_declared_falsely(path: Path) -> Report:
    old, tail = Writer(1).open().events(4), b'{"@timestamp":"20'
    put(path / "j", old, tail=tail)
    put(path / "j", whole(2, previous=[old.ending(closed=False, torn=torn(old, b"other"))]))
    return verify([path / "j"])


@case("18", 5, "EMPTY")
def file_emptied(path: Path) -> Report:
    return lines_of(path, [])


@case("18", 1, "TRUNCATED")
def stream_emptied_that_a_later_one_names(path: Path) -> Report:
    return edit(path, lambda lines: lines.clear())


@case("19", 5, "MISSING_PATH")
def file_deleted(path: Path) -> Report:
    return verify([path / "audit.jsonl"])


@case("19 20", 1, "MISSING_STREAM")
def stream_deleted_that_a_later_one_names(path: Path) -> Report:
    edit(path, lambda lines: None)
    (path / "j" / whole(2).segment()).unlink()
    return verify([path / "j"])


@case("20", 3, "CHILD_NOT_FOUND")
def child_deleted_that_only_its_parent_names(path: Path) -> Report:
    parent = Writer(1).open()
    parent.control("audit.stream.fork", {"child": stream_id(2), "pid": 7})
    return lines_of(path, parent.close().lines)


@case("20", 1, "LINK_MISMATCH")
def child_added_that_its_parent_says_never_wrote(path: Path) -> Report:
    parent = Writer(1).open()
    link = {"stream": parent.stream, "seq": 1, "hash": parent.chain.last_hash}
    parent.control("audit.stream.fork", {"child": stream_id(2)})
    child = Writer(2).open(parent=link).close()
    return lines_of(path, [*parent.close(never_opened=[stream_id(2)]).lines, *child.lines])


@case("20", 0, "CHILD_SILENT")
def child_that_its_parent_says_never_wrote(path: Path) -> Report:
    parent = Writer(1).open()
    parent.control("audit.stream.fork", {"child": stream_id(2)})
    return lines_of(path, parent.close(never_opened=[stream_id(2)]).lines)


@case("20", 3, "CHILD_NOT_FOUND")
def child_deleted_beside_one_that_never_wrote(path: Path) -> Report:
    parent = Writer(1).open()
    parent.control("audit.stream.fork", {"child": stream_id(2)})
    parent.control("audit.stream.fork", {"child": stream_id(3)})
    return lines_of(path, parent.close(never_opened=[stream_id(3), 7]).lines)


@case("21", 1, "ORDER")
def two_lines_swapped(path: Path) -> Report:
    return edit(path, lambda lines: lines.insert(7, lines.pop(6)))


@case("22", 1)
def two_lines_swapped_and_sealed_again(path: Path) -> Report:
    def swap(lines: list[bytes]) -> None:
        one, two = parse(lines[6]), parse(lines[7])
        lines[6] = reseal(lines[7], seq=7, prev_hash=one["prev_hash"])
        lines[7] = reseal(lines[6], seq=8, prev_hash=parse(lines[6])["hash"], message=two["message"])

    return edit(path, swap)


@case("23", 0)
def shuffled_export(path: Path) -> Report:
    lines = whole().lines
    return lines_of(path, lines[7:] + lines[3:7] + lines[2::-1], unordered=True)


@case("24", 1)
def shuffled_file(path: Path) -> Report:
    return edit(path, lambda lines: lines.__setitem__(slice(None), lines[7:] + lines[3:7] + lines[2::-1]))


@case("25", 1, "DUPLICATE")
def line_repeated(path: Path) -> Report:
    return edit(path, lambda lines: lines.insert(9, lines[6]))


@case("25", 0, "IDENTICAL_COPIES")
def line_repeated_in_an_export(path: Path) -> Report:
    lines = whole().lines
    return lines_of(path, [*lines, lines[6]], unordered=True)


@case("26", 1, "FORK")
def two_records_in_one_place(path: Path) -> Report:
    return edit(path, lambda lines: lines.insert(7, reseal(lines[6], message="x")))


@case("26", 1, "FORK")
def two_records_in_one_place_of_an_export(path: Path) -> Report:
    lines = whole().lines
    return lines_of(path, [*lines, reseal(lines[6], message="x")], unordered=True)


@case("27", 1, "FOREIGN_STREAM")
def line_of_another_stream(path: Path) -> Report:
    return edit(path, lambda lines: lines.insert(6, whole(1).lines[6]))


@case("28", 1)
def tail_of_another_stream_with_its_numbers_fixed(path: Path) -> Report:
    other = [reseal(line, stream=stream_id(2)) for line in whole(1).lines[10:]]
    return edit(path, lambda lines: lines.__setitem__(slice(10, None), other))


@case("29", 1, "LINK_MISMATCH")
def stream_replaced_by_another_valid_one(path: Path) -> Report:
    def replace(lines: list[bytes]) -> None:
        writer = Writer(2).open()
        for number in range(18):
            writer.event(number + 1000)
        lines[:] = writer.close().lines

    return edit(path, replace)


@case("33", 1, "UNKNOWN_MEMBER")
def member_added_at_the_top(path: Path) -> Report:
    return edit(path, lambda lines: lines.__setitem__(6, lines[6].replace(b'{"@', b'{"@a":1,"@', 1)))


@case("34", 1, "HASH_MISMATCH")
def member_added_inside_data(path: Path) -> Report:
    return edit(path, lambda lines: lines.__setitem__(6, lines[6].replace(b'"data":{', b'"data":{"a":1,')))


@case("35", 1, "DUPLICATE_MEMBER")
def member_twice(path: Path) -> Report:
    return edit(path, lambda lines: lines.__setitem__(6, lines[6].replace(b'"seq"', b'"seq":9,"seq"')))


@case("36", 1, "DUPLICATE_MEMBER")
def member_twice_by_an_escape(path: Path) -> Report:
    return edit(path, lambda lines: lines.__setitem__(6, lines[6].replace(b'"seq"', b'"\\u0073eq":9,"seq"')))


@case("37", 1, "NON_CANONICAL")
def written_again_with_spaces(path: Path) -> Report:
    return edit(path, lambda lines: lines.__setitem__(6, json.dumps(parse(lines[6])).encode() + b"\n"))


@case("37", 0)
def written_again_by_a_pipeline(path: Path) -> Report:
    return lines_of(path, [json.dumps(parse(line)).encode() + b"\n" for line in whole().lines], parsed_copy=True)


@case("38", 4, "VALUE_MUTATED")
def value_changed_by_a_pipeline(path: Path) -> Report:
    lines = [json.dumps(parse(line)).encode().replace(b"12.5", b"12.51") + b"\n" for line in whole().lines]
    return lines_of(path, lines, parsed_copy=True)


for spelling in (b'"7"', b"7.0", b"true", b"-7", b"9223372036854775808", b"07", b"null"):

    @case(f"39 seq {spelling.decode()}", 1)
    def seq_of_another_type(path: Path, spelling: bytes = spelling) -> Report:
        return edit(path, lambda lines: lines.__setitem__(6, lines[6].replace(b'"seq":7', b'"seq":' + spelling)))


for name in ("hash", "prev_hash"):
    for spelling in (b"A" * 64, b"a" * 63, b"a" * 65, "١".encode() * 64, b"g" * 64):

        @case(f"40 {name} {spelling[:2]!r} {len(spelling)}", 1, "BAD_SCHEMA")
        def hash_of_another_form(path: Path, name: str = name, spelling: bytes = spelling) -> Report:
            def change(lines: list[bytes]) -> None:
                own = parse(lines[6])[name].encode()
                lines[6] = lines[6].replace(
                    b'"%b":"%b"' % (name.encode(), own), b'"%b":"%b"' % (name.encode(), spelling)
                )

            return edit(path, change)


@case("41", 1)
def format_changed_in_the_middle(path: Path) -> Report:
    def change(lines: list[bytes]) -> None:
        data = {**parse(lines[0])["data"], "format": 2}
        lines[6] = reseal(lines[6], event_name="audit.stream.open", data=data)

    return edit(path, change)


@case("41", 1)
def format_changed_at_the_beginning_of_a_finished_stream(path: Path) -> Report:
    return edit(path, lambda lines: lines.__setitem__(0, lines[0].replace(b'"format":1', b'"format":2')))


@case("42", 4, "UNKNOWN_FORMAT")
def unknown_format_from_the_beginning(path: Path) -> Report:
    return lines_of(path, Writer().open(format=2).events(3).close().lines)


@case("61", 3, "CLOCK_BACK")
def clock_set_back(path: Path) -> Report:
    writer = Writer().open().events(3)
    writer.now -= 3600 * 10**9
    return lines_of(path, writer.events(3).close().lines)


@case("62", 3, "PIPELINE_DEGRADED")
def logger_silenced(path: Path) -> Report:
    writer = Writer().open()
    writer.control("audit.pipeline.degraded", {"cause": "logger silenced", "logger": "shop", "by": "disabled"})
    return lines_of(path, writer.close().lines)


@case("66", 3, "RECORDS_LOST")
def records_that_could_not_be_kept(path: Path) -> Report:
    writer = Writer().open()
    writer.control("audit.gap", {"count": 7, "from": "a", "to": "b", "reason": "No space left on device"})
    return lines_of(path, writer.close(lost=7).lines)


@case("67", 0)
def hostile_content(path: Path) -> Report:
    writer = Writer().open()
    for text in ('\n{"seq":9}', "\r", "\u2028\u2029\x85", "\x0b\x0c\x1c\x1e", "\x00", "\x1b[2K", "\u202e", "__proto__"):
        writer.event(
            message=text, data={text: text, "seq": 5, "hash": "x", "prev_hash": None, "stream": [], "event_name": 1}
        )
    return lines_of(path, writer.close().lines)


@pytest.mark.parametrize(("exit_code", "code", "build"), [pytest.param(*each[1:], id=each[0]) for each in CASES])
def test_a_case_of_the_catalogue(tmp_path: Path, exit_code: int, code: str | None, build: Case) -> None:
    report = build(tmp_path)
    found = report.findings.counts()
    assert report.exit_code == exit_code, found
    assert code is None or code in found, found


def test_a_crash_at_every_byte_of_the_last_records_is_never_tampering(tmp_path: Path) -> None:
    """Case 63: whatever a killed writer leaves behind is incomplete at most, and the next stream declares it."""
    writer = whole()
    log = b"".join(writer.lines)
    kept = len(log) - sum(map(len, writer.lines[-3:]))
    for end in range(kept, len(log) + 1):
        (tmp_path / writer.segment()).write_bytes(log[:end])
        report = verify([tmp_path])
        assert report.exit_code == (0 if end == len(log) else 3)
        lines = log[:end].count(b"\n")
        rest = log[:end].rpartition(b"\n")[2]
        ending = {
            "stream": writer.stream,
            "seq": lines,
            "hash": parse(writer.lines[lines - 1])["hash"],
            "closed": lines == 20,
        }
        if rest:
            cut = Writer(1)
            cut.lines = writer.lines[:lines]
            ending["torn"] = torn(cut, rest)
        after = put(tmp_path, whole(2, previous=[ending]))
        assert verify([tmp_path]).exit_code == (0 if end == len(log) else 3)
        after.unlink()
