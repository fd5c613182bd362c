"""`otel-audit reconcile`: what a copy lacks, has beyond the journal, or has changed; sending it again."""

from __future__ import annotations

import gzip
import json
import os
import random
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from otel_audit.cli.__main__ import main
from otel_audit.reconcile import Reconciliation
from tests.journal.test_retention import keep, let_age
from tests.sinks.receiver import Receiver
from tests.writer.trails import open_trail

pytestmark = pytest.mark.filterwarnings("ignore:audit records go to .* in plain text:RuntimeWarning")


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    for _ in range(2):
        with open_trail(tmp_path / "journal", segment_bytes=4000) as trail:
            for number in range(30):
                trail.record("order.pay", data={"number": number})
    return tmp_path / "journal"


def lines_of(journal: Path) -> list[bytes]:
    return [line for path in sorted(journal.glob("*.jsonl")) for line in path.read_bytes().splitlines(keepends=True)]


def place(line: bytes) -> tuple[str, int]:
    record = json.loads(line)
    return record["stream"], record["seq"]


def reconcile(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, dict[str, Any]]:
    code = main(["reconcile", "--json", *map(str, args)])
    report = json.loads(capsys.readouterr().out)
    assert report["schema"] == "otel-audit.reconcile/1"
    assert report["exit_code"] == code
    return code, report


def ranges(report: dict[str, Any], kind: str) -> list[tuple[str, int, int]]:
    return [tuple(each.values()) for each in report["copies"][0][kind]["ranges"]]


def as_lines(lines: list[bytes]) -> bytes:
    return b"".join(lines)


def as_hits(lines: list[bytes]) -> bytes:
    hits = ({"_id": str(n), "_source": {"event": {"original": line.decode()}}} for n, line in enumerate(lines))
    return b"".join(json.dumps(hit).encode() + b"\n" for hit in hits)


def as_otlp(lines: list[bytes]) -> bytes:
    bodies = [{"body": {"stringValue": line.decode().rstrip("\n")}} for line in lines]
    return json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": bodies}]}]}).encode()


def as_container_log(lines: list[bytes]) -> bytes:
    return b"starting\n" + b"".join(b"2026-11-22T01:02:03.0Z stdout F " + line for line in lines)


@pytest.mark.parametrize("form", [as_lines, as_hits, as_otlp, as_container_log])
@pytest.mark.parametrize("packed", [False, True])
def test_a_copy_in_any_form_and_order_with_duplicates_is_the_same(
    journal: Path, tmp_path: Path, form: Any, packed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = lines_of(journal)
    shuffled = [*lines, *lines[:7]]
    random.Random(1).shuffle(shuffled)
    content = form(shuffled)
    (tmp_path / "copy").write_bytes(gzip.compress(content) if packed else content)
    code, report = reconcile(capsys, journal, tmp_path / "copy")
    assert code == 0
    assert report["copies"][0]["same"] == len(lines)


def test_what_a_copy_lacks_is_listed_as_ranges_of_each_stream(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = lines_of(journal)
    one, other = sorted({place(line)[0] for line in lines})
    lacking = {(one, 3), (one, 4), (one, 9), (other, 32)}
    (tmp_path / "copy").write_bytes(as_lines([line for line in lines if place(line) not in lacking]))
    code, report = reconcile(capsys, journal, tmp_path / "copy")
    assert code == 3
    assert ranges(report, "missing") == [(one, 3, 4), (one, 9, 9), (other, 32, 32)]
    assert report["copies"][0]["missing"]["records"] == 4
    assert ranges(report, "extra") == ranges(report, "different") == []


def test_what_a_copy_has_beyond_the_journal_is_extra(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "copy").write_bytes(as_lines(lines_of(journal)))
    last = max(journal.glob("*.jsonl"))
    stream = last.name[:32]
    last.unlink()
    code, report = reconcile(capsys, journal, tmp_path / "copy")
    assert code == 3
    assert {name for name, _, _ in ranges(report, "extra")} == {stream}


def test_a_record_that_was_sealed_anew_is_different(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from otel_audit.chain import leaf_hash

    lines = lines_of(journal)
    changed = lines[5].replace(b'"number":4', b'"number":5')[: -len(b',"hash":""}\n') - 64]
    changed += b',"hash":"%b"}\n' % leaf_hash(changed + b"}").encode()
    (tmp_path / "copy").write_bytes(as_lines([*lines[:5], changed, *lines[6:]]))
    code, report = reconcile(capsys, journal, tmp_path / "copy")
    assert code == 1
    assert ranges(report, "different") == [(*place(lines[5]), place(lines[5])[1])]
    assert report["copies"][0]["damaged"]["lines"] == 0


def test_a_record_that_was_edited_is_damaged_and_different(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = lines_of(journal)
    lines[5] = lines[5].replace(b'"number":4', b'"number":5')
    (tmp_path / "copy").write_bytes(as_lines(lines))
    code, report = reconcile(capsys, journal, tmp_path / "copy")
    copy = report["copies"][0]
    assert (code, copy["different"]["records"], copy["damaged"]["lines"]) == (1, 1, 1)
    assert copy["damaged"]["places"] == [{"file": str(tmp_path / "copy"), "line": 6, "code": "HASH_MISMATCH"}]


def test_one_place_with_two_records_is_different_even_if_one_of_them_is_right(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = lines_of(journal)
    edited = lines[5].replace(b'"number":4', b'"number":5')
    (tmp_path / "copy").write_bytes(as_lines([*lines, edited]))
    assert reconcile(capsys, journal, tmp_path / "copy")[1]["copies"][0]["different"]["records"] == 1


def test_a_parsed_copy_is_compared_by_what_it_says(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [json.dumps({"host": "a", **json.loads(line)}).encode() + b"\n" for line in lines_of(journal)]
    (tmp_path / "copy").write_bytes(as_lines(lines))
    assert reconcile(capsys, "--from-parsed", journal, tmp_path / "copy")[0] == 0
    assert reconcile(capsys, journal, tmp_path / "copy")[0] == 3, "without the flag these are no records"


def test_what_retention_removed_from_the_journal_is_not_extra(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    let_age(journal)
    kept = as_lines(lines_of(journal))
    with open_trail(journal) as trail:
        trail.record("app.start")
        assert keep(trail).prune()
    (tmp_path / "copy").write_bytes(kept + as_lines(lines_of(journal)))
    code, report = reconcile(capsys, journal, tmp_path / "copy")
    assert (code, report["copies"][0]["pruned"]["records"]) == (0, kept.count(b"\n"))


def test_several_copies_are_judged_each_by_itself_and_the_gravest_decides(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = lines_of(journal)
    (tmp_path / "whole").write_bytes(as_lines(lines))
    (tmp_path / "part").write_bytes(as_lines(lines[:40]))
    code, report = reconcile(capsys, journal, tmp_path / "whole", tmp_path / "part")
    assert [each["exit_code"] for each in report["copies"]] == [0, 3]
    assert code == 3


def test_parts_together_are_one_copy(journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = lines_of(journal)
    (tmp_path / "a").write_bytes(as_lines(lines[30:]))
    (tmp_path / "b").write_bytes(as_lines(lines[:30]))
    assert reconcile(capsys, "--together", journal, tmp_path / "a", tmp_path / "b")[0] == 0


def test_a_torn_tail_of_a_copy_is_a_missing_record_and_no_damage(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "copy").write_bytes(as_lines(lines_of(journal))[:-40])
    code, report = reconcile(capsys, journal, tmp_path / "copy")
    assert (code, report["copies"][0]["missing"]["records"]) == (3, 1)


def test_nothing_on_either_side_is_not_a_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jsonl").touch()
    (tmp_path / "b").touch()
    assert reconcile(capsys, tmp_path, tmp_path / "b")[0] == 5


def test_what_is_not_there_is_a_usage_error(journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reconcile", str(journal), str(tmp_path / "nowhere")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_people_read_the_ranges_and_a_sentence(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = lines_of(journal)
    (tmp_path / "copy").write_bytes(as_lines(lines[:2] + lines[5:]))
    assert main(["reconcile", str(journal), str(tmp_path / "copy")]) == 3
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"MISSING {tmp_path}/copy: 3 records are not in the copy"
    assert out[1] == f"    {place(lines[0])[0]} 3-5"
    assert out[-1] == f"{tmp_path}/copy: {len(lines) - 3} records are the same in both, the above are not"


def test_what_is_missing_is_shipped_again_in_order_and_nothing_else(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = lines_of(journal)
    missing = [lines[2], *lines[20:29], lines[50], lines[-1]]
    (tmp_path / "copy").write_bytes(as_lines([line for line in lines if line not in missing]))
    with Receiver() as receiver:
        sink = f"logstash+tcp://127.0.0.1:{receiver.port}?allow=loopback&settle_after=0.05&max_records=4"
        code, report = reconcile(capsys, "--reship", sink, journal, tmp_path / "copy")
        assert (code, report["reshipped"]) == (0, {"sent": 12, "refused": [], "gone": 0})
        receiver.wait(lambda: len(receiver.lines) == 12)
        assert receiver.lines == missing


def test_shipping_again_what_a_file_sink_lost_makes_it_whole(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(as_lines(lines_of(journal)[::3]))
    assert reconcile(capsys, "--reship", f"file://{copy}", journal, copy)[0] == 0
    assert reconcile(capsys, journal, copy)[0] == 0


def test_a_sink_that_stays_down_is_given_up_at_the_deadline(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "copy").write_bytes(as_lines(lines_of(journal)[1:]))
    sink = "logstash+tcp://127.0.0.1:9?allow=loopback"
    assert main(["reconcile", "--timeout", "0.1", "--reship", sink, str(journal), str(tmp_path / "copy")]) == 2
    assert "did not take the records in time" in capsys.readouterr().err


def test_nothing_to_ship_connects_to_nothing(journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "copy").write_bytes(as_lines(lines_of(journal)))
    code, report = reconcile(capsys, "--reship", "logstash+tls://nowhere.invalid:5044", journal, tmp_path / "copy")
    assert (code, "reshipped" in report) == (0, False)


@pytest.mark.parametrize("extra", [["other"], []])
def test_shipping_again_needs_one_copy_and_a_journal(
    journal: Path, tmp_path: Path, extra: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    source = journal if extra else next(journal.glob("*.jsonl"))
    assert main(["reconcile", "--reship", "stdout:", str(source), "copy", *extra]) == 2
    assert "--reship needs" in capsys.readouterr().err


def test_memory_does_not_grow_with_the_records(tmp_path: Path) -> None:
    with open_trail(tmp_path / "journal") as trail:
        for number in range(500):
            trail.record("order.pay", data={"number": number})
    (path,) = (tmp_path / "journal").glob("*.jsonl")
    peaks = []
    for copies in (4, 40):
        many = tmp_path / f"{copies}.log"
        with many.open("wb") as file:
            for _ in range(copies):
                file.write(path.read_bytes())
        tracemalloc.start()
        with Reconciliation() as books:
            copy, journal = books.read([os.fspath(many)]), books.read([os.fspath(path)])
            assert books.compare(journal, copy).exit_code == 0
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
