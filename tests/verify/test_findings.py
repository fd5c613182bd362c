"""Every finding code: what makes it, where it says it is, and what it comes to."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from otel_audit.canonical import canonicalize, parse
from otel_audit.durability import Receipt
from otel_audit.record import MAX_LINE
from otel_audit.verify import CODES, Report, Severity, verify
from otel_audit.verify import reading as reading_module
from otel_audit.verify.content import examine
from otel_audit.verify.findings import CHAIN_CODES
from tests.verify.histories import Writer, put, reseal, rewrite, stream_id, torn, whole


def check(path: Path, lines: list[bytes], **options: object) -> Report:
    path = path / "audit.jsonl"
    path.write_bytes(b"".join(lines))
    return verify([path], **options)  # type: ignore[arg-type]


def codes(report: Report) -> dict[str, int]:
    return dict(report.findings.counts())


def test_a_closed_stream_is_intact(tmp_path: Path) -> None:
    report = check(tmp_path, whole().lines)
    assert (report.exit_code, codes(report), report.records) == (0, {}, 20)
    assert "not proved" in report.sentence.lower()


def test_a_changed_value_is_a_hash_mismatch_and_nothing_else(tmp_path: Path) -> None:
    lines = whole().lines
    lines[6] = lines[6].replace(b"gone 5", b"gone 6")
    report = check(tmp_path, lines)
    (found,) = report.findings.listed
    assert (found.code, found.line, found.seq, report.exit_code) == ("HASH_MISMATCH", 7, 7, 1)
    assert found.offset == len(b"".join(lines[:6]))
    assert found.expected == parse(lines[6])["hash"]
    assert found.actual not in {None, found.expected}


def test_a_changed_hash_is_one_finding(tmp_path: Path) -> None:
    lines = whole().lines
    lines[6] = lines[6].replace(parse(lines[6])["hash"].encode(), b"0" * 64)
    assert codes(check(tmp_path, lines)) == {"HASH_MISMATCH": 1}


def test_a_record_sealed_again_breaks_the_link_behind_it(tmp_path: Path) -> None:
    lines = whole().lines
    lines[6] = reseal(lines[6], message="gone 6")
    report = check(tmp_path, lines)
    (found,) = report.findings.listed
    assert (found.code, found.seq, report.exit_code) == ("PREV_MISMATCH", 8, 1)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_a_hole_is_one_finding_whatever_its_length(tmp_path: Path, count: int) -> None:
    lines = whole().lines
    del lines[6 : 6 + count]
    report = check(tmp_path, lines)
    (found,) = report.findings.listed
    assert (found.code, found.seq, found.count, report.exit_code) == ("SEQ_GAP", 7, count, 1)


def test_two_holes_are_two_findings(tmp_path: Path) -> None:
    lines = whole().lines
    del lines[12:14], lines[4]
    assert [(found.seq, found.count) for found in check(tmp_path, lines).findings.listed] == [(5, 1), (13, 2)]


@pytest.mark.parametrize(("start", "length", "to"), [(5, 1, 7), (5, 3, 12), (9, 1, 3), (9, 4, 2)])
def test_moved_records_are_one_finding(tmp_path: Path, start: int, length: int, to: int) -> None:
    lines = whole().lines
    moved = lines[start : start + length]
    del lines[start : start + length]
    lines[to:to] = moved
    report = check(tmp_path, lines)
    assert (codes(report), report.exit_code) == ({"ORDER": 1}, 1)


def test_a_repeated_record_is_a_duplicate(tmp_path: Path) -> None:
    lines = whole().lines
    lines.insert(9, lines[6])
    report = check(tmp_path, lines)
    (found,) = report.findings.listed
    assert (found.code, found.line, found.seq, report.exit_code) == ("DUPLICATE", 10, 7, 1)


def test_a_repeated_block_is_one_finding(tmp_path: Path) -> None:
    lines = whole().lines
    lines[15:15] = lines[3:9]
    (found,) = check(tmp_path, lines).findings.listed
    assert (found.code, found.seq, found.count) == ("DUPLICATE", 4, 6)


def test_a_record_from_long_before_is_out_of_order(tmp_path: Path) -> None:
    lines = whole(events=12_000).lines
    lines.append(lines[6])
    assert codes(check(tmp_path, lines)) == {"ORDER": 1}


def test_two_records_in_one_place_are_a_fork(tmp_path: Path) -> None:
    lines = whole().lines
    lines.insert(7, reseal(lines[6], message="another"))
    report = check(tmp_path, lines)
    (found,) = report.findings.listed
    assert (found.code, found.seq, report.exit_code) == ("FORK", 7, 1)
    assert {found.expected, found.actual} == {parse(lines[6])["hash"], parse(lines[7])["hash"]}


def test_a_record_of_another_stream_does_not_belong_in_a_segment(tmp_path: Path) -> None:
    mine, other = whole(1), whole(2)
    mine.lines[9:9] = other.lines[3:5]
    report = verify([put(tmp_path / "j", mine)])
    (found,) = report.findings.listed
    assert (found.code, found.stream, found.seq, found.count, report.exit_code) == (
        "FOREIGN_STREAM",
        other.stream,
        4,
        2,
        1,
    )


def test_several_streams_may_share_a_file_that_is_no_segment(tmp_path: Path) -> None:
    one, two = whole(1).lines, whole(2).lines
    mixed = [line for pair in zip(one, two, strict=True) for line in pair]
    report = check(tmp_path, mixed)
    assert (report.exit_code, len(report.streams)) == (0, 2)


def test_a_member_that_format_1_does_not_have(tmp_path: Path) -> None:
    lines = whole().lines
    lines[6] = lines[6].replace(b'"level"', b'"lever"').replace(b'{"@timestamp"', b'{"@extra":1,"@timestamp"')
    report = check(tmp_path, lines)
    (found,) = report.findings.listed
    assert (found.code, found.actual, report.exit_code) == ("UNKNOWN_MEMBER", "@extra", 1)


def test_a_member_that_audit_does_not_have_is_found_even_if_sealed(tmp_path: Path) -> None:
    writer = Writer().open()
    writer.event(audit={"action": "A", "actor": {"id": "a", "type": "user"}, "outcome": "success", "colour": "red"})
    assert codes(check(tmp_path, writer.close().lines)) == {"UNKNOWN_MEMBER": 1}


@pytest.mark.parametrize("twice", [b'"message":"x","message":', b'"message":"x","\\u006dessage":'])
def test_a_member_that_stands_twice(tmp_path: Path, twice: bytes) -> None:
    lines = whole().lines
    lines[6] = lines[6].replace(b'"message":', twice)
    report = check(tmp_path, lines)
    assert (codes(report), report.exit_code) == ({"DUPLICATE_MEMBER": 1}, 1)


def test_the_same_content_in_other_bytes_is_not_what_was_sealed(tmp_path: Path) -> None:
    lines = whole().lines
    lines[6] = json.dumps(parse(lines[6])).encode() + b"\n"
    report = check(tmp_path, lines)
    assert (codes(report), report.exit_code) == ({"NON_CANONICAL": 1}, 1)
    assert check(tmp_path, lines, parsed_copy=True).exit_code == 0


@pytest.mark.parametrize("number", [b"12.50", b"1.25e1", b"12.5e0"])
def test_sealed_bytes_that_are_not_canonical_are_found(tmp_path: Path, number: bytes) -> None:
    writer = Writer().open()
    writer.event()
    head = writer.lines.pop().rpartition(b',"prev_hash"')[0].replace(b'"amount":12.5', b'"amount":' + number)
    writer.chain.rewind(Receipt(writer.stream, 1, parse(writer.lines[0])["hash"]))
    writer.lines.append(writer.chain.seal(head))
    assert codes(check(tmp_path, writer.close().lines)) == {"NON_CANONICAL": 1}


@pytest.mark.parametrize("number", [b"1.0", b"-0.0", b"1e16", b"1e-6", b"9007199254740993", b"1e400", b'"\\ud800"'])
def test_numbers_and_strings_that_jcs_spells_otherwise_are_found_when_sealed(tmp_path: Path, number: bytes) -> None:
    writer = Writer().open()
    writer.event()
    head = writer.lines.pop().rpartition(b',"prev_hash"')[0].replace(b'"amount":12.5', b'"amount":[{"x":%b}]' % number)
    writer.chain.rewind(Receipt(writer.stream, 1, parse(writer.lines[0])["hash"]))
    writer.lines.append(writer.chain.seal(head))
    assert codes(check(tmp_path, writer.close().lines)) == {"NON_CANONICAL": 1}


def test_odd_but_canonical_numbers_and_keys_are_fine(tmp_path: Path) -> None:
    writer = Writer().open()
    writer.event(
        data={"a": 1e21, "b": 1e-7, "c": 123456789012345680000.0, "d": 0.000001, "😀": 1, "\ufffd": 2, "e": "😀"}
    )
    writer.events(5)
    assert check(tmp_path, writer.close().lines).exit_code == 0


def _with(change: dict[str, object]) -> bytes:
    """A line with members changed, in canonical form and with a fitting hash."""
    return reseal(whole().lines[6], **change)


@pytest.mark.parametrize(
    "change",
    [
        {"seq": "7"},
        {"seq": True},
        {"seq": -1},
        {"seq": 0},
        {"stream": stream_id(1).upper()},
        {"stream": stream_id(1)[:-1]},
        {"prev_hash": "A" * 64},
        {"prev_hash": "a" * 63},
        {"prev_hash": "a" * 65},
        {"prev_hash": "٠" * 64},
        {"prev_hash": "g" * 64},
        {"prev_hash": ...},
        {"@timestamp": "2026-11-21T22:30:00.12345678Z"},
        {"@timestamp": "2026-11-21 22:30:00.123456789Z"},
        {"@timestamp": "2026-02-30T22:30:00.123456789Z"},
        {"@timestamp": "2026-11-21T22:30:00.12345678٠Z"},
        {"@timestamp": 5},
        {"@timestamp": ...},
        {"event_name": ...},
        {"event_name": ""},
        {"event_name": 7},
        {"message": ["x"]},
        {"level": 20},
        {"logger": None},
        {"data": []},
        {"data": None},
        {"audit": "x"},
        {"audit": ...},
        {"audit": {"actor": {"id": "a", "type": "user"}, "outcome": "success"}},
        {"audit": {"action": 1, "actor": {"id": "a", "type": "user"}, "outcome": "success"}},
        {"audit": {"action": "A", "actor": "a", "outcome": "success"}},
        {"audit": {"action": "A", "actor": {"type": "user"}, "outcome": "success"}},
        {"audit": {"action": "A", "actor": {"id": "a", "type": "robot"}, "outcome": "success"}},
        {"audit": {"action": "A", "actor": {"id": "a", "type": ["user"]}, "outcome": "success"}},
        {"audit": {"action": "A", "actor": {"id": "a", "type": "user"}, "outcome": "fine"}},
        {"audit": {"action": "A", "actor": {"id": "a", "type": "user"}, "outcome": {}}},
        {"audit": {"action": "A", "actor": {"id": "a", "type": "user"}, "outcome": "success", "decision": "no"}},
        {"audit": {"action": "A", "actor": {"id": "a", "type": "user"}, "outcome": "success", "target": "x"}},
        {"audit": {"action": "A", "actor": {"id": "a", "type": "user"}, "outcome": "success", "targets": {}}},
        {"otel": {"trace_id": "A" * 32}},
        {"otel": {"span_id": "a" * 15}},
        {"otel": {"trace_flags": "01"}},
        {"otel": {"trace_flags": True}},
        {"otel": {"trace_flags": 256}},
        {"otel": {"colour": "red"}},
    ],
    ids=str,
)
def test_types_and_spellings_that_no_writer_gives(tmp_path: Path, change: dict[str, object]) -> None:
    lines = whole().lines
    lines[6] = _with(change)
    report = check(tmp_path, lines)
    assert "BAD_SCHEMA" in codes(report)
    assert report.exit_code == 1


@pytest.mark.parametrize("number", [b"5.0", b"07", b"9223372036854775808", b"7e0"])
def test_seq_must_be_spelled_as_an_integer(tmp_path: Path, number: bytes) -> None:
    lines = whole().lines
    lines[6] = lines[6].replace(b'"seq":7,', b'"seq":%b,' % number)
    assert check(tmp_path, lines).exit_code == 1


@pytest.mark.parametrize(
    "line", [b"", b"hello", b"{}", b"[]", b"null", b"\xff\xfe", b'{"a":', b"\x00" * 50, b"\xef\xbb\xbf{}", b'{"a":NaN}']
)
def test_bytes_that_are_no_record_are_found(tmp_path: Path, line: bytes) -> None:
    lines = whole().lines
    lines.insert(6, line + b"\n")
    report = check(tmp_path, lines)
    (found,) = report.findings.listed
    assert (found.code in {"NOT_A_RECORD", "BAD_SCHEMA"}, found.line, report.exit_code) == (True, 7, 1)


def test_a_record_turned_to_garbage_is_one_finding(tmp_path: Path) -> None:
    lines = whole().lines
    lines[6] = b"X" * 20 + lines[6][20:]
    assert codes(check(tmp_path, lines)) == {"NOT_A_RECORD": 1}


def test_other_lines_are_skipped_when_they_are_expected(tmp_path: Path) -> None:
    lines = whole().lines
    lines[5:5] = [b"GET / 200\n", b"\n"]
    report = check(tmp_path, lines, mixed=True)
    assert (report.exit_code, codes(report)) == (0, {"OTHER_LINES": 1})
    lines[9] = b"X" * 20 + lines[9][20:]
    assert check(tmp_path, lines, mixed=True).exit_code == 1


@pytest.mark.parametrize("wrap", [b"", b"2026-11-26T21:18:24.5Z stdout F "])
def test_a_record_may_stand_behind_half_a_line_of_the_program(tmp_path: Path, wrap: bytes) -> None:
    lines = [wrap + line for line in whole().lines]
    lines[5:7] = [wrap + b"GET /" + whole().lines[5], wrap + b" 200\n", wrap + b" " + whole().lines[6]]
    report = check(tmp_path, lines, mixed=True)
    assert (report.exit_code, report.records, codes(report)) == (0, 20, {"OTHER_LINES": 1})
    lines[5] = lines[5].replace(b'"seq":6', b'"seq":7')
    assert check(tmp_path, lines, mixed=True).exit_code == 1


def test_an_expected_other_line_needs_no_newline_at_the_end(tmp_path: Path) -> None:
    report = check(tmp_path, [*whole().lines, b"bye"], mixed=True)
    assert (report.exit_code, codes(report)) == (0, {"OTHER_LINES": 1})
    assert check(tmp_path, [b"hello"], mixed=True).exit_code == 5


@pytest.mark.parametrize("kept", [1, 5, 15, 40, 300])
def test_a_record_cut_among_other_lines_is_a_torn_one(tmp_path: Path, kept: int) -> None:
    lines = whole().lines
    lines[-1] = lines[-1][:kept]
    assert codes(check(tmp_path, lines, mixed=True)) == {"TORN_TAIL": 1}


def test_a_line_longer_than_the_format_allows(tmp_path: Path) -> None:
    writer = Writer().open()
    writer.event(data={"x": "a" * MAX_LINE})
    assert codes(check(tmp_path, writer.close().lines)) == {"OVERLONG_LINE": 1}


def test_a_parsed_copy_whose_values_changed_cannot_be_judged(tmp_path: Path) -> None:
    lines = [json.dumps({**parse(line), "host": "web1", "@version": "1"}).encode() + b"\n" for line in whole().lines]
    assert check(tmp_path, lines, parsed_copy=True).exit_code == 0
    lines[6] = lines[6].replace(b"12.5", b"12.500001")
    report = check(tmp_path, lines, parsed_copy=True)
    assert (codes(report), report.exit_code) == ({"VALUE_MUTATED": 1}, 4)


def test_records_behind_the_closing_one(tmp_path: Path) -> None:
    lines = whole().events(3).lines
    report = check(tmp_path, lines)
    (found,) = report.findings.listed
    assert (found.code, found.seq, found.count, report.exit_code) == ("AFTER_CLOSE", 21, 3, 1)


def test_bytes_behind_the_closing_record_of_a_segment(tmp_path: Path) -> None:
    report = verify([put(tmp_path, whole(), tail=b'{"@timestamp":"2')])
    assert (codes(report), report.exit_code) == ({"AFTER_CLOSE": 1}, 1)


def test_a_stream_opened_in_its_middle(tmp_path: Path) -> None:
    writer = Writer().open().events(3)
    writer.open()
    report = check(tmp_path, writer.close().lines)
    assert (codes(report), report.exit_code) == ({"SECOND_OPEN": 1}, 1)


def test_a_format_changed_in_the_middle(tmp_path: Path) -> None:
    writer = Writer().open().events(3)
    writer.open(format=2)
    report = check(tmp_path, writer.close().lines)
    assert (codes(report), report.exit_code) == ({"FORMAT_CHANGE": 1}, 1)


@pytest.mark.parametrize("said", [{"format": 2}, {"algorithms": {"canonical": "rfc8785", "hash": "sha3-256"}}])
def test_a_stream_of_an_unknown_format_is_not_judged(tmp_path: Path, said: dict[str, object]) -> None:
    report = check(tmp_path, Writer().open(**said).events(3).lines)
    assert (codes(report), report.exit_code) == ({"UNKNOWN_FORMAT": 1}, 4)


def test_lines_of_an_unknown_format_are_not_called_tampered(tmp_path: Path) -> None:
    lines = [line.replace(b'"hash":"', b'"hash":"sha3-') for line in Writer().open(format=2).events(3).lines]
    report = check(tmp_path, lines)
    assert (codes(report), report.exit_code) == ({"UNKNOWN_FORMAT": 1}, 4)


def test_a_format_that_was_edited_in_is_tampering(tmp_path: Path) -> None:
    lines = whole().lines
    lines[0] = lines[0].replace(b'"format":1', b'"format":3')
    assert check(tmp_path, lines).exit_code == 1
    lines[0] = reseal(whole().lines[0], data={**parse(whole().lines[0])["data"], "format": 3})
    assert check(tmp_path, lines).exit_code == 1


def test_a_stream_that_does_not_begin_with_its_opening(tmp_path: Path) -> None:
    report = check(tmp_path, Writer().events(3).close().lines)
    assert (codes(report), report.exit_code) == ({"NO_OPEN": 1}, 1)


def test_a_cut_beginning(tmp_path: Path) -> None:
    report = check(tmp_path, whole().lines[4:])
    (found,) = report.findings.listed
    assert (found.code, found.seq, found.count, report.exit_code) == ("HEAD_CUT", 1, 4, 1)


def test_a_declared_cut_is_retention(tmp_path: Path) -> None:
    old = whole(1)
    cut = {
        "stream": old.stream,
        "first_seq": 1,
        "last_seq": 4,
        "last_hash": parse(old.lines[3])["hash"],
        "segments": [],
        "reason": "age",
    }
    new = Writer(2).open(previous=[old.ending()])
    new.control("audit.prune", cut)
    report = check(tmp_path, [*old.lines[4:], *new.close().lines])
    assert (codes(report), report.exit_code) == ({"PRUNED": 1}, 3)
    assert check(tmp_path, [*old.lines[5:], *new.lines]).exit_code == 1
    cut["last_hash"] = "0" * 64
    forged = Writer(2).open(previous=[old.ending()])
    forged.control("audit.prune", cut)
    assert check(tmp_path, [*old.lines[4:], *forged.close().lines]).exit_code == 1


def test_a_cut_is_only_believed_of_an_intact_stream(tmp_path: Path) -> None:
    old = whole(1)
    cut = {
        "stream": old.stream,
        "first_seq": 1,
        "last_seq": 4,
        "last_hash": parse(old.lines[3])["hash"],
        "segments": [],
        "reason": "age",
    }
    new = Writer(2).open(previous=[old.ending()])
    new.control("audit.prune", cut)
    new.events(4).close()
    del new.lines[4]
    assert codes(check(tmp_path, [*old.lines[4:], *new.lines])) == {"SEQ_GAP": 1, "HEAD_CUT": 1}


def test_a_stream_removed_by_retention_as_a_whole(tmp_path: Path) -> None:
    old = whole(1)
    cut = {
        "stream": old.stream,
        "first_seq": 1,
        "last_seq": 20,
        "last_hash": old.chain.last_hash,
        "segments": [],
        "reason": "age",
    }
    new = Writer(2).open(previous=[old.ending()])
    new.control("audit.prune", cut)
    put(tmp_path / "j", new.close())
    report = verify([tmp_path / "j"])
    assert (codes(report), report.exit_code) == ({"PRUNED": 1}, 3)


def test_a_stream_shorter_than_a_later_one_recorded(tmp_path: Path) -> None:
    old = whole(1)
    put(tmp_path / "j", whole(2, previous=[old.ending()]))
    del old.lines[15:]
    put(tmp_path / "j", old)
    report = verify([tmp_path / "j"])
    assert codes(report) == {"TRUNCATED": 1, "UNCLOSED": 1}
    assert report.exit_code == 1


def test_a_stream_longer_than_a_later_one_recorded(tmp_path: Path) -> None:
    old = Writer(1).open().events(5)
    new = whole(2, previous=[old.ending(closed=False)])
    report = check(tmp_path, [*old.events(2).lines, *new.lines])
    assert codes(report) == {"EXTENDED": 1, "UNCLOSED": 1}
    assert report.exit_code == 1


def test_a_stream_written_anew_does_not_fit_what_a_later_one_recorded(tmp_path: Path) -> None:
    old = whole(1)
    new = whole(2, previous=[old.ending()])
    report = check(tmp_path, [*rewrite(old.lines, 6, message="never happened"), *new.lines])
    (found,) = report.findings.listed
    assert (found.code, found.stream, found.seq, report.exit_code) == ("LINK_MISMATCH", old.stream, 20, 1)


def test_a_closing_that_a_later_stream_did_not_see(tmp_path: Path) -> None:
    old = whole(1)
    report = check(tmp_path, [*old.lines, *whole(2, previous=[old.ending(closed=False)]).lines])
    assert (codes(report), report.exit_code) == ({"LINK_MISMATCH": 1}, 1)


def test_a_parent_is_looked_up_in_its_middle(tmp_path: Path) -> None:
    parent = whole(1, events=3000)
    link = {"stream": parent.stream, "seq": 1234, "hash": parse(parent.lines[1233])["hash"]}
    put(tmp_path / "good", parent, 1000)
    put(tmp_path / "good", whole(2, parent=link))
    assert verify([tmp_path / "good"]).exit_code == 0
    put(tmp_path / "bad", parent, 1000)
    put(tmp_path / "bad", whole(2, parent={**link, "hash": "0" * 64}))
    report = verify([tmp_path / "bad"])
    assert (codes(report), report.exit_code) == ({"LINK_MISMATCH": 1}, 1)


def test_a_link_into_standard_input_is_not_checked_and_says_so(tmp_path: Path) -> None:
    parent = whole(1, events=3000)
    link = {"stream": parent.stream, "seq": 1234, "hash": parse(parent.lines[1233])["hash"]}
    lines = b"".join([*parent.lines, *whole(2, parent=link).lines])
    command = [sys.executable, "-m", "otel_audit", "verify", "-", "--json"]
    ran = subprocess.run(command, input=lines, capture_output=True, check=False)
    assert json.loads(ran.stdout)["finding_counts"] == {"LINK_UNCHECKED": 1}
    assert ran.returncode == 3


def test_a_stream_that_is_missing_from_a_journal(tmp_path: Path) -> None:
    old = whole(1)
    path = put(tmp_path / "j", whole(2, previous=[old.ending()]))
    for source in (tmp_path / "j", path):
        report = verify([source])
        assert (codes(report), report.exit_code) == ({"MISSING_STREAM": 1}, 1)


def test_a_stream_that_was_not_given(tmp_path: Path) -> None:
    old = whole(1)
    new = whole(2, previous=[old.ending()])
    assert codes(check(tmp_path, new.lines)) == {"STREAM_NOT_GIVEN": 1}
    put(tmp_path / "j", old)
    report = verify([put(tmp_path / "j", new)])
    assert (codes(report), report.exit_code) == ({"STREAM_NOT_GIVEN": 1}, 3)


STRAYS = {
    "bak": lambda writer, directory: (directory / f"{writer.segment(1)}.bak").touch(),
    "whole copy under another name": lambda writer, directory: put(directory, writer).rename(directory / "old.bak"),
    "directory": lambda writer, directory: (directory / writer.segment(1)).mkdir(),
    "fifo": lambda writer, directory: os.mkfifo(directory / writer.segment(1)),
    "empty": lambda writer, directory: (directory / writer.segment(1)).touch(),
    "dangling link": lambda writer, directory: (directory / writer.segment(1)).symlink_to("nowhere"),
    "other digits": lambda writer, directory: (directory / f"{writer.stream}.0000001.jsonl.bak").touch(),
}


@pytest.mark.parametrize("stray", STRAYS)
def test_no_stray_entry_makes_a_missing_stream_less(tmp_path: Path, stray: str) -> None:
    old = whole(1)
    path = put(tmp_path / "j", whole(2, previous=[old.ending()]))
    STRAYS[stray](old, tmp_path / "j")
    assert verify([tmp_path / "j"]).exit_code == 1
    assert verify([path]).exit_code == 1


@pytest.mark.parametrize("stray", STRAYS)
def test_no_stray_entry_makes_a_cut_beginning_less(tmp_path: Path, stray: str) -> None:
    writer = whole(1)
    put(tmp_path / "j", writer, 6).unlink()
    short = Writer(1)
    short.lines = writer.lines[:5]
    STRAYS[stray](short, tmp_path / "j")
    assert verify([tmp_path / "j"]).exit_code == 1
    assert verify([tmp_path / "j" / writer.segment(2)]).exit_code == 1


def test_a_forged_segment_beside_does_not_stand_for_a_missing_one(tmp_path: Path) -> None:
    old, forged = whole(1), whole(1, events=30)
    path = put(tmp_path / "j", whole(2, previous=[old.ending()]))
    put(tmp_path / "j", forged)
    assert codes(verify([path])) == {"MISSING_STREAM": 1}
    forged.lines[19] = reseal(forged.lines[19], stream=old.stream, hash=old.chain.last_hash)
    put(tmp_path / "j", forged)
    assert codes(verify([path])) == {"MISSING_STREAM": 1}


def test_a_renamed_file_in_a_journal_still_needs_the_stream_that_it_names(tmp_path: Path) -> None:
    second = whole(2, previous=[whole(1).ending()])
    put(tmp_path / "j", second).rename(tmp_path / "j" / "second.jsonl")
    put(tmp_path / "j", whole(3, previous=[second.ending()]))
    assert codes(verify([tmp_path / "j"])) == {"MISSING_STREAM": 1}


def test_a_stream_of_another_format_hides_nothing_in_other_files(tmp_path: Path) -> None:
    writer = whole(1)
    writer.lines = [line.replace(b"alice", b"mallory").replace(b"otel-audit", b"otel-audid") for line in writer.lines]
    put(tmp_path / "j", writer)
    put(tmp_path / "j", Writer(2).open(format=2).events(2).close())
    assert verify([tmp_path / "j"]).exit_code == 1


def test_a_segment_in_a_subdirectory_is_gone_from_its_journal(tmp_path: Path) -> None:
    old = whole(1)
    put(tmp_path / "j", whole(2, previous=[old.ending()]))
    put(tmp_path / "j" / ".old", old)
    assert codes(verify([tmp_path / "j"])) == {"MISSING_STREAM": 1, "NOT_READ": 1}
    assert codes(verify([tmp_path / "j", tmp_path / "j" / ".old"])) == {}


@pytest.mark.parametrize("name", ["tree", "tr*"])
def test_a_journal_put_above_others_does_not_hide_them(tmp_path: Path, name: str) -> None:
    tree = tmp_path / "tree"
    (tree / "b").mkdir(parents=True)
    put(tree / "a", whole(1))
    put(tree / "b" / "c", whole(2))
    report = verify([tmp_path / name])
    assert (codes(report), report.records, report.exit_code) == ({}, 40, 0)
    first = put(tree, whole(3))
    report = verify([tmp_path / name])
    assert (codes(report), report.exit_code) == ({"NOT_READ": 2}, 3)
    assert verify([first]).exit_code == 0


def test_an_emptied_stream_that_a_later_one_names(tmp_path: Path) -> None:
    old = whole(1)
    put(tmp_path / "j", whole(2, previous=[old.ending()]))
    put(tmp_path / "j", old).write_bytes(b"")
    assert verify([tmp_path / "j"]).exit_code == 1


def test_a_child_that_never_logged(tmp_path: Path) -> None:
    writer = Writer().open()
    writer.control("audit.stream.fork", {"child": stream_id(2), "pid": 7})
    report = check(tmp_path, writer.close().lines)
    assert (codes(report), report.exit_code) == ({"CHILD_NOT_FOUND": 1}, 3)
    link = {"stream": writer.stream, "seq": 1, "hash": parse(writer.lines[0])["hash"]}
    assert check(tmp_path, [*writer.lines, *whole(2, parent=link).lines]).exit_code == 0


def test_a_child_that_its_parents_closing_record_says_never_wrote(tmp_path: Path) -> None:
    writer = Writer().open()
    for number in (2, 3):
        writer.control("audit.stream.fork", {"child": stream_id(number)})
    report = check(tmp_path, writer.close(never_opened=[stream_id(2), stream_id(3)]).lines)
    (found,) = report.findings.listed
    assert (found.code, found.count, report.exit_code) == ("CHILD_SILENT", 2, 0)


def test_only_a_childs_own_parent_can_say_that_it_never_wrote(tmp_path: Path) -> None:
    writer, other = Writer().open(), Writer(4).open()
    writer.control("audit.stream.fork", {"child": stream_id(2)})
    lines = [*writer.close().lines, *other.close(never_opened=[stream_id(2)]).lines]
    assert codes(check(tmp_path, lines)) == {"CHILD_NOT_FOUND": 1}


@pytest.mark.parametrize("tail", [b"{", b'{"@timestamp":"2026', b"\x00" * 4096, whole().lines[3][:-1]])
def test_a_torn_tail(tmp_path: Path, tail: bytes) -> None:
    report = verify([put(tmp_path / "j", Writer().open().events(5), tail=tail)])
    (found,) = report.findings.listed
    assert (found.code, found.line, report.exit_code) == ("TORN_TAIL", 7, 3)


@pytest.mark.parametrize("tail", [b"{", b'{"@timestamp":"2026', b"\x00" * 4096, b"junk\nmore junk\n", b"junk\nmore"])
def test_a_torn_tail_is_declared_by_the_next_stream(tmp_path: Path, tail: bytes) -> None:
    old = Writer().open().events(5)
    put(tmp_path / "j", old, tail=tail)
    put(tmp_path / "j", whole(2, previous=[old.ending(closed=False, torn=torn(old, tail))]))
    report = verify([tmp_path / "j"])
    assert report.exit_code == 3
    assert "TORN_DECLARED" in codes(report)


@pytest.mark.parametrize("change", [{"length": 18}, {"offset": 5}, {"sha256": "0" * 64}])
def test_a_torn_tail_declared_wrongly(tmp_path: Path, change: dict[str, object]) -> None:
    old, tail = Writer().open().events(5), b'{"@timestamp":"2026'
    put(tmp_path / "j", old, tail=tail)
    put(tmp_path / "j", whole(2, previous=[old.ending(closed=False, torn={**torn(old, tail), **change})]))
    report = verify([tmp_path / "j"])
    assert ("TORN_MISMATCH" in codes(report), report.exit_code) == (True, 1)


def test_bytes_added_behind_an_end_that_was_declared(tmp_path: Path) -> None:
    old = Writer().open().events(5)
    put(tmp_path / "j", old, tail=b'{"@')
    put(tmp_path / "j", whole(2, previous=[old.ending(closed=False)]))
    report = verify([tmp_path / "j"])
    assert ("TORN_MISMATCH" in codes(report), report.exit_code) == (True, 1)


@pytest.mark.parametrize("cause", ["sink failing", "anchor failing"])
def test_what_failed_behind_the_log_takes_nothing_from_it(tmp_path: Path, cause: str) -> None:
    writer = Writer().open().events(2)
    writer.control("audit.pipeline.degraded", {"cause": cause, "error": "refused"})
    report = check(tmp_path, writer.events(2).close().lines)
    assert (codes(report), report.exit_code) == ({"DELIVERY_DEGRADED": 1}, 0)


def test_a_stream_without_an_end(tmp_path: Path) -> None:
    report = check(tmp_path, Writer().open().events(5).lines)
    assert (codes(report), report.exit_code) == ({"UNCLOSED": 1}, 3)


@pytest.mark.parametrize(
    ("event", "data", "code"),
    [
        ("audit.gap", {"count": 3, "from": "a", "to": "b", "reason": "disk full"}, "RECORDS_LOST"),
        (
            "audit.pipeline.degraded",
            {"cause": "logger silenced", "logger": "shop", "by": "disabled"},
            "PIPELINE_DEGRADED",
        ),
        ("audit.pipeline.degraded", {"cause": "record refused", "sink": "logs"}, "PIPELINE_DEGRADED"),
        ("audit.suppressed", {"count": 3, "rule": "sampling"}, "SUPPRESSED"),
        ("audit.gap", {"count": "three"}, "BAD_SCHEMA"),
        ("audit.heartbeat", {"interval": "x", "monotonic": 1}, "BAD_SCHEMA"),
        ("audit.stream.fork", {"child": "x"}, "BAD_SCHEMA"),
        ("audit.prune", {}, "BAD_SCHEMA"),
    ],
)
def test_what_control_records_say(tmp_path: Path, event: str, data: dict[str, object], code: str) -> None:
    writer = Writer().open()
    writer.control(event, data)
    report = check(tmp_path, writer.close().lines)
    assert codes(report) == {code: 1}
    assert report.exit_code == CODES[code].severity


def test_losses_that_only_the_closing_record_counts(tmp_path: Path) -> None:
    assert codes(check(tmp_path, Writer().open().close(lost=3).lines)) == {"RECORDS_LOST": 1}
    writer = Writer().open()
    writer.control("audit.gap", {"count": 3, "from": "a", "to": "b", "reason": "disk full"})
    assert codes(check(tmp_path, writer.close(lost=3).lines)) == {"RECORDS_LOST": 1}


def test_a_closing_record_with_a_wrong_count(tmp_path: Path) -> None:
    writer = Writer().open()
    writer.control("audit.stream.close", {"records": 7, "lost": 0})
    assert codes(check(tmp_path, writer.lines)) == {"BAD_SCHEMA": 1}


def test_a_clock_that_went_back(tmp_path: Path) -> None:
    writer = Writer().open().events(3)
    writer.now -= 3600 * 10**9
    report = check(tmp_path, writer.events(3).close().lines)
    assert (codes(report), report.exit_code) == ({"CLOCK_BACK": 1}, 3)


def test_records_of_threads_may_be_a_moment_out_of_order(tmp_path: Path) -> None:
    writer = Writer().open().events(3)
    writer.now -= 10**9
    assert check(tmp_path, writer.events(3).close().lines).exit_code == 0


def test_a_clock_that_was_set_forward_shows_between_heartbeats(tmp_path: Path) -> None:
    writer = Writer().open()
    writer.control("audit.heartbeat", {"interval": 1e9, "lost": 0, "monotonic": 10.5, "records": 1})
    writer.now += 365 * 86400 * 10**9
    writer.control("audit.heartbeat", {"interval": 1e9, "lost": 0, "monotonic": 70.5, "records": 2})
    report = check(tmp_path, writer.close().lines)
    assert (codes(report), report.exit_code) == ({"CLOCK_STEP": 1}, 3)


def test_silence_is_measured_against_what_was_asked(tmp_path: Path) -> None:
    writer = Writer().open().events(3)
    writer.now += 600 * 10**9
    lines = writer.events(3).close().lines
    assert check(tmp_path, lines).exit_code == 0
    report = check(tmp_path, lines, max_silence=300)
    (found,) = report.findings.listed
    assert (found.code, found.seq, report.exit_code) == ("SILENCE", 5, 3)


def test_missing_heartbeats_are_silence(tmp_path: Path) -> None:
    writer = Writer().open()
    writer.control("audit.heartbeat", {"interval": 60.0, "lost": 0, "monotonic": 10.5, "records": 1})
    writer.now += 600 * 10**9
    assert codes(check(tmp_path, writer.close().lines)) == {"SILENCE": 1}


def test_a_segment_that_is_missing(tmp_path: Path) -> None:
    writer = whole()
    put(tmp_path / "j", writer, 6, 11)
    (tmp_path / "j" / writer.segment(2)).unlink()
    report = verify([tmp_path / "j"])
    (found,) = report.findings.listed
    assert (found.code, found.seq, found.count, report.exit_code) == ("MISSING_SEGMENT", 6, 5, 1)


def test_the_first_segment_missing_is_a_cut_beginning(tmp_path: Path) -> None:
    writer = whole()
    put(tmp_path / "j", writer, 6).unlink()
    report = verify([tmp_path / "j"])
    assert (codes(report), report.exit_code) == ({"HEAD_CUT": 1}, 1)


def test_a_later_segment_alone_is_not_the_whole_stream(tmp_path: Path) -> None:
    writer = whole()
    put(tmp_path / "j", writer, 6)
    report = verify([tmp_path / "j" / writer.segment(2)])
    assert (codes(report), report.exit_code) == ({"STREAM_NOT_GIVEN": 1}, 3)


@pytest.mark.parametrize("repeated", [1, 3, 6])
def test_a_segment_may_repeat_the_end_of_the_one_before(tmp_path: Path, repeated: int) -> None:
    writer = Writer().open().events(9)
    writer.control("audit.pipeline.degraded", {"cause": "sync failed"})
    put(tmp_path / "j", writer.events(3).close(), 11)
    second = tmp_path / "j" / writer.segment(2)
    second.write_bytes(b"".join(writer.lines[10 - repeated :]))
    report = verify([tmp_path / "j"])
    assert (codes(report), report.exit_code) == ({"REPEATED_LINES": 1, "PIPELINE_DEGRADED": 1}, 3)
    other = rewrite(writer.lines, 10 - repeated, event_name="something.else")
    second.write_bytes(b"".join(other[10 - repeated :]))
    report = verify([tmp_path / "j"])
    assert ("FORK" in codes(report), report.exit_code) == (True, 1)


@pytest.mark.parametrize("cause", [None, "sink failing", "sync failed"])
def test_a_repeat_that_no_record_behind_it_explains_is_not_passed_over(tmp_path: Path, cause: str | None) -> None:
    writer = Writer().open()
    if cause is not None:
        writer.control("audit.pipeline.degraded", {"cause": cause})
    put(tmp_path / "j", writer.events(12).close(), 11)
    (tmp_path / "j" / writer.segment(2)).write_bytes(b"".join(writer.lines[7:]))
    report = verify([tmp_path / "j"])
    assert (codes(report)["REPEAT_UNEXPLAINED"], report.exit_code) == (1, 3)


def test_a_torn_end_explains_a_repeat(tmp_path: Path) -> None:
    writer = whole()
    first = put(tmp_path / "j", writer, 11)
    first.write_bytes(first.read_bytes() + writer.lines[10][:40])
    (tmp_path / "j" / writer.segment(2)).write_bytes(b"".join(writer.lines[7:]))
    assert codes(verify([tmp_path / "j"])) == {"REPEATED_LINES": 1, "TORN_TAIL": 1}


def test_another_cut_between_two_segments_loses_nothing(tmp_path: Path) -> None:
    put(tmp_path / "j", whole(), 11)
    put(tmp_path / "j", whole(), 10)
    assert verify([tmp_path / "j"]).exit_code == 0


@pytest.mark.parametrize("number", ["0000002", "00002", "2", "000000", "0000000002"])
def test_a_segment_is_named_as_the_writer_names_it(tmp_path: Path, number: str) -> None:
    writer = whole()
    second = put(tmp_path / "j", writer, 11).with_name(writer.segment(2))
    copy = second.with_name(f"{writer.stream}.{number}.jsonl")
    copy.write_bytes(second.read_bytes())
    report = verify([tmp_path / "j"])
    assert ({"SEGMENT_NAME", "DUPLICATE"} <= set(codes(report)), report.exit_code) == (True, 1)
    second.unlink()
    assert codes(verify([tmp_path / "j"]))["SEGMENT_NAME"] == 1


def test_a_segment_beside_its_compressed_copy_is_a_duplicate(tmp_path: Path) -> None:
    path = put(tmp_path / "j", whole())
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert codes(verify([tmp_path / "j"])) == {"DUPLICATE": 1}


def test_copies_in_two_directories_are_no_fault(tmp_path: Path) -> None:
    put(tmp_path / "a", whole())
    put(tmp_path / "b", whole())
    report = verify([tmp_path / "a", tmp_path / "b"])
    assert (codes(report), report.exit_code) == ({"IDENTICAL_COPIES": 1}, 0)


def test_a_repeat_inside_a_segment_is_not_legal(tmp_path: Path) -> None:
    writer = whole()
    writer.lines[10:10] = writer.lines[8:10]
    assert verify([put(tmp_path / "j", writer)]).exit_code == 1


def test_edits_where_segments_meet(tmp_path: Path) -> None:
    writer = whole()
    writer.lines[9] = reseal(writer.lines[9], message="another")
    put(tmp_path / "j", writer, 11)
    assert codes(verify([tmp_path / "j"])) == {"PREV_MISMATCH": 1}


def test_the_same_stream_in_two_files_is_a_duplicate(tmp_path: Path) -> None:
    put(tmp_path / "j", whole())
    (tmp_path / "j" / "copy.jsonl").write_bytes(b"".join(whole().lines))
    report = verify([tmp_path / "j"])
    assert (codes(report), report.exit_code) == ({"DUPLICATE": 1}, 1)


def test_an_empty_segment_beside_others(tmp_path: Path) -> None:
    put(tmp_path / "j", whole())
    (tmp_path / "j" / Writer(2).segment()).write_bytes(b"")
    report = verify([tmp_path / "j"])
    assert (codes(report), report.exit_code) == ({"EMPTY_SEGMENT": 1}, 3)


def test_nothing_there_is_never_a_pass(tmp_path: Path) -> None:
    assert codes(verify([tmp_path])) == {"MISSING_PATH": 1}
    assert codes(verify([tmp_path / "no"])) == {"MISSING_PATH": 1}
    assert codes(verify([tmp_path / "*.jsonl"])) == {"MISSING_PATH": 1}
    (tmp_path / "a.jsonl").write_bytes(b"")
    report = verify([tmp_path])
    assert (codes(report), report.exit_code) == ({"EMPTY": 1}, 5)


def test_a_missing_file_beside_an_intact_one(tmp_path: Path) -> None:
    report = verify([put(tmp_path, whole()), tmp_path / "no"])
    assert report.exit_code == 5


def test_an_unreadable_file_never_hides_a_changed_one(tmp_path: Path) -> None:
    writer = whole()
    del writer.lines[5]
    good = put(tmp_path / "j", writer)
    (tmp_path / "j" / "x.jsonl").write_bytes(gzip.compress(b"".join(whole(2).lines))[:-20])
    report = verify([tmp_path / "j"])
    assert codes(report) == {"SEQ_GAP": 1, "UNREADABLE": 1}
    assert report.exit_code == 1
    good.unlink()
    assert verify([tmp_path / "j"]).exit_code == 2


@pytest.mark.parametrize("way", ["anchors", "checkpoints"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"\n\n", "the file is empty"),
        (b"<html>\n<h1>404</h1>\n", "it begins with '<html>'"),
        (b"not found", "it begins with 'not found'"),
        (b"\x00" * 300_000, "it begins with"),
    ],
)
def test_a_wrong_file_given_as_a_checkpoint_is_not_called_tampering(
    tmp_path: Path, content: bytes, said: str, way: str
) -> None:
    wrong = tmp_path / "note"
    wrong.write_bytes(content)
    report = verify([put(tmp_path / "j", whole())], **{way: [wrong]})
    assert (codes(report), report.exit_code) == ({"NO_CHECKPOINT": 1}, 2)
    assert said in report.findings.listed[0].detail


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (f"shop.example/audit/{'0' * 32}\n11\n{'A' * 43}=\n", "CHECKPOINT_UNSIGNED"),
        (f"shop.example/audit/{'0' * 32}\r\n11\r\n{'A' * 43}=\r\n", "CHECKPOINT_MALFORMED"),
        ("nothing\n\n— shop.example/audit cut", "CHECKPOINT_MALFORMED"),
    ],
)
def test_what_was_a_checkpoint_once_counts_against_the_log(tmp_path: Path, content: str, code: str) -> None:
    changed = tmp_path / "note"
    changed.write_bytes(content.encode())
    report = verify([put(tmp_path / "j", whole())], anchors=[changed])
    assert (codes(report), report.exit_code) == ({code: 1}, 1)


def test_an_emptied_file_in_an_anchors_directory_counts_against_the_log(tmp_path: Path) -> None:
    writer = whole()
    put(tmp_path / "j", writer)
    (tmp_path / "anchor").mkdir()
    (tmp_path / "anchor" / f"{'0' * 32}.checkpoint").touch()
    report = verify([tmp_path / "j"], anchors=[tmp_path / "anchor"])
    assert (codes(report), report.exit_code) == ({"CHECKPOINT_UNSIGNED": 1}, 1)


def test_more_streams_than_one_run_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_module, "MOST_STREAMS", 2)
    report = check(tmp_path, [line for number in range(4) for line in whole(number).lines])
    assert report.exit_code == 2
    assert "TOO_MANY_STREAMS" in codes(report)


def test_copies_are_no_fault_in_an_export(tmp_path: Path) -> None:
    lines = whole().lines
    lines[0], lines[19] = lines[19], lines[0]
    report = check(tmp_path, [*lines, lines[4], lines[4]], unordered=True)
    (found,) = report.findings.listed
    assert (found.code, found.count, report.exit_code) == ("IDENTICAL_COPIES", 2, 0)


HALF = slice(0, 100)


@pytest.mark.parametrize("length", [1, 20, 44, 45, 46, 100, 300, -2])
@pytest.mark.parametrize("place", [0, 5, 20])
def test_the_beginning_of_a_line_beside_the_whole_one_is_no_fault_in_an_export(
    length: int, place: int, tmp_path: Path
) -> None:
    lines = whole().lines
    half = lines[7][:length] + b"\n"
    report = check(tmp_path, [*lines[:place], half, *lines[place:]], unordered=True)
    (found,) = report.findings.listed
    assert (found.code, found.line, found.count, report.exit_code) == ("TORN_REPEAT", place + 1, 1, 0)
    assert report.records == 20


def test_beginnings_may_stand_one_behind_the_other_and_before_a_whole_line(tmp_path: Path) -> None:
    lines = whole().lines
    lines[10] = lines[7][HALF] + lines[12][:60] + lines[10]
    report = check(tmp_path, [*lines, lines[3][HALF] + lines[4][HALF] + b"\n"], unordered=True)
    (found,) = report.findings.listed
    assert (found.code, found.line, found.count, report.exit_code) == ("TORN_REPEAT", 11, 2, 0)
    assert report.records == 20


def test_the_whole_line_may_stand_in_another_file(tmp_path: Path) -> None:
    lines = whole().lines
    (tmp_path / "a.jsonl").write_bytes(b"".join([*lines[10:], lines[7][HALF], b"\n"]))
    (tmp_path / "b.jsonl").write_bytes(b"".join(lines[:10]))
    report = verify([tmp_path / "b.jsonl", tmp_path / "a.jsonl"], unordered=True)
    assert (codes(report), report.exit_code) == ({"TORN_REPEAT": 1}, 0)


def test_in_any_envelope(tmp_path: Path) -> None:
    lines = whole().lines
    wrapped = [b"2026-11-21T00:00:00Z stdout F " + line for line in [*lines, lines[7][:-60] + b"\n"]]
    report = check(tmp_path, wrapped, unordered=True)
    assert (codes(report), report.exit_code) == ({"TORN_REPEAT": 1}, 0)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda half: half[:-1] + b"x",
        lambda half: b"x" + half,
        lambda half: half.replace(b"DELETE", b"CREATE"),
        lambda half: half + b" ",
        lambda half: b" " + half,
        lambda half: half + half[:1],
    ],
)
def test_what_is_not_exactly_a_beginning_is_what_it_was(spoil: Callable[[bytes], bytes], tmp_path: Path) -> None:
    lines = whole().lines
    report = check(tmp_path, [*lines, spoil(lines[7][HALF]) + b"\n"], unordered=True)
    assert report.exit_code == 1
    assert "TORN_REPEAT" not in codes(report)


def test_half_a_line_without_the_whole_one_is_a_destroyed_record(tmp_path: Path) -> None:
    lines = whole().lines
    lines[7] = lines[7][HALF] + b"\n"
    report = check(tmp_path, lines, unordered=True)
    assert (codes(report), report.exit_code) == ({"NOT_A_RECORD": 1, "SEQ_GAP": 1}, 1)


def test_a_changed_line_explains_no_piece(tmp_path: Path) -> None:
    lines = whole().lines
    changed = lines[7].replace(b"gone 6", b"gone 9")
    report = check(tmp_path, [*lines[:7], changed, *lines[8:], lines[7][HALF] + b"\n"], unordered=True)
    assert report.exit_code == 1
    assert "NOT_A_RECORD" in codes(report)
    assert "TORN_REPEAT" not in codes(report)


def test_in_a_journal_half_a_line_stays_a_fault(tmp_path: Path) -> None:
    lines = whole().lines
    report = check(tmp_path, [*lines[:8], lines[8][HALF] + b"\n", *lines[8:]])
    assert (codes(report), report.exit_code) == ({"NOT_A_RECORD": 1}, 1)


def test_more_pieces_than_findings_are_listed(tmp_path: Path) -> None:
    lines = whole().lines
    halves = [lines[number % 20][: 50 + number % 100] + b"\n" for number in range(2_500)]
    report = check(tmp_path, [*halves, *lines], unordered=True)
    assert (codes(report), report.exit_code) == ({"TORN_REPEAT": 1}, 0)
    assert report.findings.listed[0].count == 2_500


def test_strict_makes_everything_that_is_not_a_pass_a_failure(tmp_path: Path) -> None:
    assert check(tmp_path, Writer().open().lines, strict=True).exit_code == 1
    assert verify([tmp_path / "no"], strict=True).exit_code == 1
    assert check(tmp_path, whole().lines, strict=True).exit_code == 0


def test_every_code_is_made_by_a_test_here_or_at_the_far_end() -> None:
    text = Path(__file__).read_text() + Path(__file__).with_name("test_far_end.py").read_text()
    assert [code for code in CHAIN_CODES if f'"{code}"' not in text] == []


def test_findings_beyond_the_first_thousand_are_counted(tmp_path: Path) -> None:
    lines = [line.replace(b"gone", b"GONE") for line in whole(events=3000).lines]
    report = check(tmp_path, lines)
    assert len(report.findings.listed) == 1000
    assert codes(report) == {"HASH_MISMATCH": 3000}
    assert report.exit_code == Severity.TAMPERED


def test_canonical_bytes_are_what_the_tests_think() -> None:
    line = whole().lines[3]
    record = parse(line)
    assert (
        canonicalize({name: value for name, value in record.items() if name != "hash"})[:-1]
        + b',"hash":"%b"}\n' % (record["hash"].encode())
        == line
    )


@pytest.mark.parametrize(
    ("last_seq", "last_hash", "code"),
    [(5, "a", "PRUNED"), (5, "b", "MISSING_STREAM"), (6, "b", "PRUNED"), (4, "b", "MISSING_STREAM")],
)
def test_a_parent_was_pruned_beyond_its_fork_or_is_missing(
    tmp_path: Path, last_seq: int, last_hash: str, code: str
) -> None:
    """The child forked at the parent's record 5, whose hash it names."""
    put(tmp_path, Writer(2).open(parent={"stream": stream_id(1), "seq": 5, "hash": "a" * 64}).close())
    pruning = Writer(3).open()
    pruning.control(
        "audit.prune",
        {"stream": stream_id(1), "first_seq": 1, "last_seq": last_seq, "last_hash": last_hash * 64, "segments": []},
    )
    put(tmp_path, pruning.close())
    assert code in codes(verify([tmp_path]))


@pytest.mark.parametrize(("flags", "sound"), [(0, True), (1, True), (255, True), (256, False), (-1, False)])
def test_trace_flags_are_one_byte(tmp_path: Path, flags: int, sound: bool) -> None:
    writer = Writer().open()
    writer.event(1, otel={"trace_id": "0" * 31 + "1", "span_id": "0" * 15 + "1", "trace_flags": flags})
    report = check(tmp_path, writer.close().lines)
    assert ("BAD_SCHEMA" not in codes(report)) is sound
    assert (examine(writer.lines[1][:-1])[1] is None) is sound


@pytest.mark.parametrize(("control", "place"), [(False, 5), (True, 6)])
def test_a_clock_that_went_back_is_told_where_it_did(tmp_path: Path, control: bool, place: int) -> None:
    """Among plain records, and behind a control record, where those that follow are in order among themselves."""
    writer = Writer().open().events(3)
    if control:
        writer.control("audit.suppressed", {"count": 1})
    writer.now -= 3600 * 10**9
    report = check(tmp_path, writer.events(3).close().lines)
    assert [each.seq for each in report.findings.listed if each.code == "CLOCK_BACK"] == [place]


def test_a_damaged_record_in_its_place_counts_as_that_record(tmp_path: Path) -> None:
    lines = whole().lines
    lines[6] = lines[6].replace(b"12.5", b"12.6")
    report = check(tmp_path, lines)
    assert (codes(report), report.records) == ({"HASH_MISMATCH": 1}, 20)
