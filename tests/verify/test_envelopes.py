"""Lines are found wherever pipelines put them, and judged there as anywhere else."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from otel_audit.verify import Report, verify
from tests.verify.histories import whole

Wrap = Callable[[list[str]], list[str]]


def cri(lines: list[str]) -> list[str]:
    wrapped = ["2026-11-21T22:30:00.1Z stderr F Listening on :8080"]
    for number, line in enumerate(lines):
        if number % 3:
            wrapped.append(f"2026-11-21T22:30:00.123456789Z stdout F {line}")
        else:
            wrapped += [f"2026-11-21T22:30:00.1Z stdout P {line[:99]}", "2026-11-21T22:30:00.1Z stderr F noise"]
            wrapped += [
                f"2026-11-21T22:30:00.1Z stdout P {line[99:200]}",
                f"2026-11-21T22:30:00.1Z stdout F {line[200:]}",
            ]
    return wrapped


def docker(lines: list[str]) -> list[str]:
    wrapped = [json.dumps({"log": "Listening\n", "stream": "stderr", "time": "x"})]
    for number, line in enumerate(lines):
        pieces = [f"{line}\n"] if number % 3 else [line[:99], line[99:], "\n"]
        wrapped += [json.dumps({"log": piece, "stream": "stdout", "time": "x"}) for piece in pieces]
    return wrapped


def compose(lines: list[str]) -> list[str]:
    return ["shop-1  | Listening", *[f"shop-1  | {line}" for line in lines]]


def otlp(lines: list[str]) -> list[str]:
    records = [{"timeUnixNano": "1", "body": {"stringValue": line}, "attributes": [{"key": "a"}]} for line in lines]
    batches = [records[start : start + 7] for start in range(0, len(records), 7)]
    return [json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": batch}]}]}) for batch in reversed(batches)]


def tagged(lines: list[str]) -> list[str]:
    attributes = [{"key": "log.record.original", "value": {"stringValue": line}} for line in lines]
    return [json.dumps({"body": {"stringValue": "deleted"}, "attributes": [each]}) for each in attributes]


def elasticsearch(lines: list[str]) -> list[str]:
    hits = [{"_index": "audit", "_source": {"event": {"original": line}, "message": "deleted"}} for line in lines]
    random.Random(1).shuffle(hits)
    return [json.dumps(hit) for hit in hits]


def ocsf(lines: list[str]) -> list[str]:
    return [json.dumps({"class_uid": 6003, "raw_data": line}) for line in lines]


def logcli(lines: list[str]) -> list[str]:
    return [json.dumps({"labels": {"app": "shop"}, "line": line, "timestamp": "x"}) for line in reversed(lines)]


def logstash(lines: list[str]) -> list[str]:
    return [json.dumps({"message": line, "@version": "1", "host": {"name": "web1"}}) for line in lines]


WRAPS = [cri, docker, compose, otlp, tagged, elasticsearch, ocsf, logcli, logstash]


def check(path: Path, lines: list[str]) -> Report:
    path = path / "export.log"
    path.write_text("\n".join(lines) + "\n", newline="\n")
    return verify([path])


def texts() -> list[str]:
    return [line.decode().removesuffix("\n") for line in whole().lines]


@pytest.mark.parametrize("wrap", WRAPS)
def test_records_are_found(tmp_path: Path, wrap: Wrap) -> None:
    report = check(tmp_path, wrap(texts()))
    assert (report.exit_code, report.records) == (0, 20)


@pytest.mark.parametrize("wrap", WRAPS)
def test_a_changed_record_is_found(tmp_path: Path, wrap: Wrap) -> None:
    lines = texts()
    lines[6] = lines[6].replace("gone 5", "gone 6")
    report = check(tmp_path, wrap(lines))
    assert report.findings.counts()["HASH_MISMATCH"] == 1
    assert report.exit_code == 1


@pytest.mark.parametrize("wrap", WRAPS)
def test_a_missing_record_is_found(tmp_path: Path, wrap: Wrap) -> None:
    lines = texts()
    del lines[6]
    report = check(tmp_path, wrap(lines))
    assert report.findings.counts()["SEQ_GAP"] == 1
    assert report.exit_code == 1


@pytest.mark.parametrize("wrap", [cri, docker, compose])
def test_containers_keep_the_order(tmp_path: Path, wrap: Wrap) -> None:
    lines = texts()
    lines[6], lines[9] = lines[9], lines[6]
    assert check(tmp_path, wrap(lines)).exit_code == 1


@pytest.mark.parametrize("wrap", [otlp, elasticsearch, logcli])
def test_copies_in_exports_are_no_fault(tmp_path: Path, wrap: Wrap) -> None:
    report = check(tmp_path, wrap([*texts(), *texts()[3:5]]))
    assert (report.exit_code, report.findings.counts()["IDENTICAL_COPIES"]) == (0, 1)


def test_a_wrapped_line_in_a_raw_file_does_not_make_it_an_export(tmp_path: Path) -> None:
    lines = texts()
    lines[6:7] = cri(lines[6:7])
    assert check(tmp_path, lines).exit_code == 1
    lines = texts()
    assert check(tmp_path, ["2026-11-21T22:30:00.1Z stdout F hello", *lines]).exit_code == 1


def test_raw_lines_in_an_export_are_not_skipped(tmp_path: Path) -> None:
    lines = texts()
    wrapped = [*cri(lines[:10]), *lines[10:]]
    assert check(tmp_path, wrapped).exit_code == 0
    wrapped[-2] = wrapped[-2].replace("gone", "GONE")
    assert check(tmp_path, wrapped).exit_code == 1


def test_an_export_without_a_last_newline(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("\n".join(logstash(texts())))
    assert verify([tmp_path / "x.json"]).exit_code == 0


def test_compressed_files(tmp_path: Path) -> None:
    content = b"".join(whole().lines)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(content[:2000]) + gzip.compress(content[2000:]))
    assert verify([tmp_path]).exit_code == 0
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(content[:2000]))
    assert verify([tmp_path]).exit_code == 3
    damaged = bytearray(gzip.compress(content))
    damaged[len(damaged) // 2] ^= 0xFF
    (tmp_path / "a.jsonl.gz").write_bytes(damaged)
    assert verify([tmp_path]).exit_code in {1, 2}


def test_zstd_is_read_or_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.zst").write_bytes(b"\x28\xb5\x2f\xfd" + b"x" * 50)
    report = verify([tmp_path])
    assert (report.findings.counts(), report.exit_code) == ({"UNREADABLE": 1}, 2)


def test_directories_globs_and_names_given_twice(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / f"{number}.jsonl").write_bytes(b"".join(whole(number).lines))
    for sources in ([tmp_path], [tmp_path / "*" / "*.jsonl"], [tmp_path / "1", tmp_path / "2", tmp_path / "1/1.jsonl"]):
        report = verify(sources)
        assert (report.exit_code, report.sources, report.records) == (0, 2, 40)


def test_a_bare_line_among_prefixed_ones_is_read_as_it_is(tmp_path: Path) -> None:
    lines = [line.decode().removesuffix("\n") for line in whole().lines]
    wrapped = compose(lines)
    wrapped[6] = lines[5]
    path = tmp_path / "out.log"
    path.write_text("".join(f"{line}\n" for line in wrapped))
    assert verify([path]).exit_code == 0
