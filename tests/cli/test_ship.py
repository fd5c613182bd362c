"""`otel-audit ship` as a process: beside the writers, before them, and stopped in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from otel_audit.cli.__main__ import main
from tests.writer.trails import ROOT, eventually, open_trail

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def start(*args: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "otel_audit", "ship", *map(str, args)],
            env={**os.environ, "PYTHONPATH": ROOT, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=10)


def count(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_a_daemon_that_is_there_before_the_journal_waits_for_it(tmp_path: Path, start: Start) -> None:
    journal, out = tmp_path / "journal", tmp_path / "out.jsonl"
    process = start(journal, "--sink", f"file://{out}")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("waiting for ")
    with open_trail(journal) as trail:
        trail.record("app.start")
        eventually(lambda: count(out) >= 2, within=15.0)
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0


def test_sigterm_ships_what_is_there_before_the_daemon_leaves(tmp_path: Path, start: Start) -> None:
    journal, out = tmp_path / "journal", tmp_path / "out.jsonl"
    with open_trail(journal) as trail:
        trail.record("app.start")
        process = start(journal, "--sink", f"file://{out}")
        eventually(lambda: count(out) >= 2, within=15.0)
        for number in range(500):
            trail.record("order.pay", data={"number": number})
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert count(out) == trail.stream.records
    assert process.stdout is not None
    assert "confirmed by file" in process.stdout.read()


def test_a_sink_that_is_down_does_not_hold_the_daemon_beyond_the_time_to_drain(tmp_path: Path, start: Start) -> None:
    with open_trail(tmp_path / "journal") as trail:
        trail.record("app.start")
        process = start(tmp_path / "journal", "--drain", "0.2", "--sink", f"file://{tmp_path}/nowhere/out.jsonl")
        assert process.stdout is not None
        assert process.stdout.readline().startswith("shipping ")
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
        assert "is not confirmed up to record" in process.stdout.read()


def test_once_says_what_did_not_arrive_and_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_trail(tmp_path / "journal") as trail:
        trail.record("app.start")
    journal = str(tmp_path / "journal")
    assert main(["ship", journal, "--once", "--sink", f"file://{tmp_path}/out.jsonl"]) == 0
    assert count(tmp_path / "out.jsonl") == 3
    down = f"file://{tmp_path}/nowhere/out.jsonl"
    capsys.readouterr()
    assert main(["ship", journal, "--once", "--timeout", "0.2", "--sink", down]) == 3
    first, last = capsys.readouterr().out.splitlines()
    assert ": stream " in first
    assert first.endswith(" is not confirmed up to record 3")
    assert "nowhere" in last, "the reason"

    assert main(["ship", journal, "--once", "--timeout", "0.2", "--sink", down, "--json"]) == 3
    report = json.loads(capsys.readouterr().out)
    assert (report["schema"], report["exit_code"], report["records"]) == ("otel-audit.ship/1", 3, 3)
    (sink,) = report["sinks"]
    assert list(sink["not_confirmed"].values()) == [3]
    assert "nowhere" in sink["error"]


def test_a_report_of_what_never_ends_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ship", str(tmp_path), "--json", "--sink", f"file://{tmp_path}/out.jsonl"]) == 2
    assert "--json is the report of --once" in capsys.readouterr().err


def test_plain_text_is_warned_of_in_a_line_for_people(tmp_path: Path) -> None:
    with open_trail(tmp_path / "journal") as trail:
        trail.record("app.start")
    command = [sys.executable, "-m", "otel_audit", "ship", str(tmp_path / "journal"), "--once", "--timeout", "0.1"]
    command += ["--sink", "logstash+tcp://127.0.0.1:9?allow=loopback"]
    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stderr
    assert "warning: audit records go to 127.0.0.1:9 in plain text" in said
    assert ".py:" not in said


def test_once_needs_a_journal_that_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ship", str(tmp_path / "none"), "--once", "--sink", f"file://{tmp_path}/out.jsonl"]) == 2
    assert "is the journal mounted here?" in capsys.readouterr().err
