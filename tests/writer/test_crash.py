"""A process that dies: what it had confirmed is there, what it tore is declared, the next stream goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from otel_audit.journal.files import list_streams
from tests.writer.trails import ROOT, codes, data_of, events, open_trail, records, run_python, verified

# One interpreter that forks victims: starting Python two hundred times would be the longest part.
KILLS = """
import os, random, signal, sys, time
from pathlib import Path
from tests.writer.trails import open_trail

directory, kills = Path(sys.argv[1]), int(sys.argv[2])
random.seed(int(sys.argv[3]))

def victim(number, out):
    durability = ("process", "always", "relaxed")[number % 3]
    with open_trail(directory, durability=durability, segment_bytes=20_000, sync=0.002) as trail:
        n = 0
        while True:
            n += 1
            receipt = trail.record("a.b", {}, {"victim": number, "n": n, "text": "x" * (n * 37 % 900)})
            os.write(out, b"%d %d %d\\n" % (number, n, receipt.seq))

for number in range(kills):
    into, out = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(into)
        try:
            victim(number, out)
        finally:
            os._exit(1)
    os.close(out)
    confirmed = b"" if number % 10 == 0 else os.read(into, 4096)  # some die before their first record
    time.sleep(random.random() * 0.03)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    while chunk := os.read(into, 65536):
        confirmed += chunk
    os.close(into)
    sys.stdout.write(confirmed[: confirmed.rfind(b"\\n") + 1].decode())
"""


def kill_and_check(journal: Path, kills: int, seed: int) -> None:
    confirmed = [tuple(map(int, line.split())) for line in run_python(KILLS, journal, kills, seed).stdout.splitlines()]
    assert len({victim for victim, _, _ in confirmed}) > kills // 2
    found = {(r["data"]["victim"], r["data"]["n"], r["seq"]) for r in records(journal) if r["event_name"] == "a.b"}
    assert not set(confirmed) - found, "a confirmed record is not there"
    report = verified(journal)
    assert report.exit_code == 3, report.findings.listed[:3]
    assert codes(report) <= {"TORN_DECLARED", "TORN_TAIL", "UNCLOSED", "EMPTY_SEGMENT"}
    with open_trail(journal) as trail:
        trail.record("a.after")
    assert verified(journal).exit_code == 3
    assert len(list_streams(journal)) > kills // 2


def test_confirmed_records_survive_twenty_kills(tmp_path: Path) -> None:
    kill_and_check(tmp_path, 20, seed=1)


@pytest.mark.slow
def test_confirmed_records_survive_two_hundred_kills(tmp_path: Path) -> None:
    kill_and_check(tmp_path, 200, seed=random.randrange(1 << 30))


ENDING = """
import os, signal, sys
from pathlib import Path
from otel_audit.journal.writer import JournalWriter
from otel_audit.keeper import Intervals
from otel_audit.trail import AuditTrail
trail = AuditTrail(JournalWriter(Path(sys.argv[1])), intervals=Intervals(heartbeat=0))
trail.record("a.b")
"""


@pytest.mark.parametrize(
    ("end", "closed"),
    [
        ("", True),
        ("sys.exit(3)", True),
        ("raise SystemExit", True),
        ("raise ValueError", True),
        ("os.kill(os.getpid(), signal.SIGINT)", True),
        ("os._exit(0)", False),
        ("os.kill(os.getpid(), signal.SIGKILL)", False),
        ("os.abort()", False),
        ("os.execv('/bin/true', ['true'])", False),
        ("import atexit; atexit.register(lambda: trail.record('a.late'))", None),
    ],
)
def test_how_a_process_ends_shows_in_its_stream(tmp_path: Path, end: str, closed: bool | None) -> None:
    run_python(ENDING + end, tmp_path, check=False)
    found = events(tmp_path)
    assert found[:2] == ["audit.stream.open", "a.b"]
    report = verified(tmp_path)
    if closed is None:
        assert sorted(found[2:]) == ["a.late", "audit.stream.close"]
    else:
        assert found[2:] == (["audit.stream.close"] if closed else [])
    assert (report.exit_code, codes(report)) == ((0, set()) if closed is not False else (3, {"UNCLOSED"}))


def test_sigterm_ends_a_process_with_its_records_there(tmp_path: Path) -> None:
    code = ENDING + "print('ready', flush=True)\nwhile True: signal.pause()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": ROOT}
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    assert process.wait(10) == -signal.SIGTERM
    process.stdout.close()
    assert "a.b" in events(tmp_path)
    assert verified(tmp_path).exit_code in {0, 3}


def test_a_journal_cut_off_at_any_byte_is_a_crash_not_tampering(tmp_path: Path) -> None:
    """A crash may leave any prefix of what was being written: each is declared by the next stream, and verifies."""
    whole = tmp_path / "whole"
    with open_trail(whole) as trail:
        for n in range(3):
            trail.record("a.b", {}, {"n": n})
    (path,) = whole.glob("*.jsonl")
    content = path.read_bytes()
    starts = [place + 1 for place, byte in enumerate(content) if byte == 10]
    for length in {*range(starts[-3], len(content) - 1, 13), *starts[:-1], *(start - 1 for start in starts)}:
        journal = tmp_path / f"cut{length}"
        journal.mkdir()
        (journal / path.name).write_bytes(content[:length])
        assert verified(journal).exit_code == 3
        with open_trail(journal) as trail:
            trail.record("a.after")
        assert verified(journal).exit_code == 3
        (ending,) = data_of(journal, "audit.stream.open")[-1]["previous"]
        assert ending["seq"] == content[:length].count(b"\n")


def test_pages_lost_in_a_power_cut_are_only_what_was_not_synced(tmp_path: Path) -> None:
    with open_trail(tmp_path, durability="always", sync=60) as trail:
        store = trail.stream.store
        for n in range(20):
            trail.record("a.b", {}, {"n": n})
            assert store.durable == store.written


def test_a_dead_process_is_not_waited_for(tmp_path: Path) -> None:
    run_python(ENDING + "os._exit(0)", tmp_path)
    begun = time.monotonic()
    with open_trail(tmp_path) as trail:
        trail.record("a.b")
    assert time.monotonic() - begun < 1
    assert data_of(tmp_path, "audit.stream.open")[-1]["previous"][0]["closed"] is False
