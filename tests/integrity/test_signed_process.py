"""Signed streams of real processes: forks, kills, streams that are left, epochs; what the verifier says of each."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import otel_audit
from otel_audit.checkpoints import Checkpoints
from otel_audit.cli.__main__ import main
from otel_audit.durability import FailurePolicy
from otel_audit.integrity import keys
from otel_audit.integrity.epochs import Schedule
from otel_audit.integrity.heads import trust
from otel_audit.integrity.opening import open_signer
from otel_audit.integrity.policy import Policy
from otel_audit.integrity.seedfile import provision
from otel_audit.journal.writer import JournalWriter
from otel_audit.keeper import Intervals
from otel_audit.record import Control
from otel_audit.trail import AuditTrail
from otel_audit.verify import Report, verify
from tests.integrity.site import NAME, Log, Site
from tests.writer.trails import ROOT, data_of, events, eventually


@pytest.fixture
def key(tmp_path: Path) -> Path:
    keys.generate(tmp_path / "key.pem", NAME)
    return tmp_path / "key.pem"


def policy(key: Path, lines: str = "") -> Policy:
    return Policy.parse(f"log {open_signer(key).vkey}\n{lines}quorum none\n".encode())


def check(journal: Path, key: Path, **given: Any) -> Report:
    return verify([journal], policy=policy(key), **given)


def codes(report: Report) -> set[str]:
    return set(report.findings.counts())


def configure(journal: Path, key: Path, **settings: Any) -> AuditTrail:
    return otel_audit.configure(journal=journal, sinks=[], heartbeat=0, signing_key_file=key, **settings)


def test_the_last_checkpoint_in_a_stream_stands_before_its_end(tmp_path: Path, key: Path) -> None:
    trail = configure(tmp_path / "j", key)
    otel_audit.record("order.pay")
    trail.close()
    assert events(tmp_path / "j") == [Control.STREAM_OPEN, "order.pay", Control.CHECKPOINT, Control.STREAM_CLOSE]
    report = check(tmp_path / "j", key)
    assert (codes(report), report.streams[0].signed, report.streams[0].tier) == (set(), 4, "signed")


def test_the_keeper_folds_between_checkpoints(tmp_path: Path, key: Path) -> None:
    trail = configure(tmp_path / "j", key, checkpoint_interval=3600, checkpoint_records=10_000)
    for _ in range(100):
        otel_audit.record("order.pay")
    (signing,) = (each for each in trail.companions if isinstance(each, Checkpoints))
    eventually(lambda: signing._current._growth.frontier.size == trail.stream.records)
    assert signing._current.signed == 0
    trail.close()
    assert codes(check(tmp_path / "j", key)) == set()


def test_a_forked_child_signs_its_own_stream(tmp_path: Path, key: Path) -> None:
    trail = configure(tmp_path / "j", key)
    otel_audit.record("order.pay")
    child = os.fork()
    if not child:
        otel_audit.record("order.pay")
        trail.close()
        os._exit(0)
    os.waitpid(child, 0)
    trail.close()
    report = check(tmp_path / "j", key)
    assert codes(report) == set()
    assert [stream.tier for stream in report.streams] == ["signed", "signed"]


def test_a_killed_process_is_incomplete_and_never_tampered(tmp_path: Path, key: Path) -> None:
    settings = "journal='j', sinks=[], signing_key_file='key.pem', checkpoint_records=9"
    code = f"import otel_audit\notel_audit.configure({settings})\nwhile True: otel_audit.record('order.pay')"
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": ROOT})
        eventually(lambda: list((tmp_path / "j").glob("checkpoints/*.checkpoint")), within=20)
        time.sleep(0.05)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    report = check(tmp_path / "j", key)
    assert report.exit_code == 3, codes(report)
    assert {stream.tier for stream in report.streams} == {"signed"}


class Slow:
    """A signer that does not answer until it is let."""

    def __init__(self, signer: Any) -> None:
        self._signer = signer
        self.name, self.vkey = signer.name, signer.vkey
        self.answers = threading.Event()

    def sign(self, text: str, *, time: int, final: bool = False) -> Any:
        self.answers.wait(20)
        return self._signer.sign(text, time=time, final=final)


def trail_on(journal: Path, signer: Any, **settings: Any) -> AuditTrail:
    trail = AuditTrail(JournalWriter(journal), policy=FailurePolicy(), intervals=Intervals(heartbeat=0))
    trail.accompany(Checkpoints(trail, [signer], directory=journal / "checkpoints", **settings))
    return trail


def test_a_signer_that_hangs_holds_nobody_up(tmp_path: Path, key: Path) -> None:
    slow = Slow(open_signer(key))
    trail = trail_on(tmp_path / "j", slow, every=2)
    began = time.monotonic()
    for _ in range(200):
        trail.record("order.pay")
    assert time.monotonic() - began < 1
    slow.answers.set()
    trail.close()
    assert codes(check(tmp_path / "j", key)) == set()


def test_a_checkpoint_never_stands_in_another_stream(tmp_path: Path, key: Path) -> None:
    slow = Slow(open_signer(key))
    trail = trail_on(tmp_path / "j", slow, every=2)
    for _ in range(9):
        trail.record("order.pay")
    first, _ = trail.stream.close()
    trail.record("order.pay")
    slow.answers.set()
    trail.close()
    assert len(
        {first} | {str(note["note"]).split("\n")[0][-32:] for note in data_of(tmp_path / "j", "audit.checkpoint")}
    )
    assert "FOREIGN_CHECKPOINT" not in codes(check(tmp_path / "j", key))
    assert check(tmp_path / "j", key).exit_code == 0


def test_a_place_that_cannot_be_written_stops_signatures_and_not_records(
    tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "j").mkdir()
    (tmp_path / "j" / "checkpoints").write_text("in the way")
    said: list[str] = []
    monkeypatch.setattr("otel_audit.checkpoints.notice", lambda message, **_: said.append(message))
    trail = configure(tmp_path / "j", key)
    otel_audit.record("order.pay")
    trail.close()
    report = check(tmp_path / "j", key)
    assert (codes(report), report.exit_code) == ({"NOT_SIGNED"}, 4)
    assert ["no checkpoint of" in each for each in said] == [True]


def test_epochs_that_pass_while_streams_come_and_go(tmp_path: Path) -> None:
    path = tmp_path / "epochs"
    provision(path, NAME, Schedule(int(time.time()), 1, 3600))
    trail = configure(tmp_path / "j", path, checkpoint_interval="50ms")
    for _ in range(3):
        until = time.monotonic() + 1.2
        while time.monotonic() < until:
            otel_audit.record("order.pay")
            time.sleep(0.02)
        trail.close()
    trail.close()
    report = check(tmp_path / "j", path)
    assert codes(report) == set()
    assert {stream.tier for stream in report.streams} == {"signed"}


def test_a_proof_under_a_later_epochs_seal_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who takes a later key can sign an old stream anew with it; a proof alone would not show it."""
    path = tmp_path / "epochs"
    provision(path, NAME, Schedule(int(time.time()), 1, 3600))
    trail = configure(tmp_path / "j", path, checkpoint_interval="20ms")
    otel_audit.record("order.pay")
    stream = trail.stream.id
    (signing,) = (each for each in trail.companions if isinstance(each, Checkpoints))
    eventually(lambda: signing._current._epochs.epoch > 3, within=20)
    trail.close()
    trust = tmp_path / "trust.policy"
    trust.write_text(f"log {open_signer(path).vkey}\nquorum none\n#! clock-skew 1s\n")
    late = ["--checkpoint", str(tmp_path / "j" / "checkpoints" / f"{stream}.checkpoint")]
    for given, code in (([], 0), (late, 3)):
        base = str(tmp_path / "proof")
        assert main(["prove", str(tmp_path / "j"), f"{stream}-2", "-o", base, *given]) == 0
        assert main(["verify-proof", f"{base}.json", f"{base}.tlog-proof", "--policy", str(trust)]) == code
    assert "whoever had the later key" in capsys.readouterr().out


def test_57_a_seal_that_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "epochs"
    provision(path, NAME, Schedule(int(time.time()), 1, 3600))
    trail = configure(tmp_path / "j", path, checkpoint_interval="20ms")
    until = time.monotonic() + 3.2
    while time.monotonic() < until:
        otel_audit.record("order.pay")
        time.sleep(0.05)
    trail.close()
    precise = policy(path, "#! clock-skew 1s\n")
    site = Site(tmp_path)
    site.journal = tmp_path / "j"
    log = Log(site, next(site.journal.glob("*.jsonl")))
    assert codes(verify([site.journal], policy=precise)) == set()
    records, state = log.records, site.journal / "checkpoints" / f"{log.stream}.checkpoint"
    final = next(place for place, record in enumerate(records) if _is_final(path, record))
    state.unlink()
    log.lines = log.lines[:final]
    at_the_end = verify([site.journal], policy=precise)
    assert (at_the_end.exit_code, "EPOCH_UNSEALED" in codes(at_the_end)) == (3, True)
    log.seal_anew([*records[:final], *records[final + 1 :]])
    in_the_middle = verify([site.journal], policy=precise)
    assert (in_the_middle.exit_code, "CHECKPOINT_ROOT" in codes(in_the_middle)) == (1, True)


def _is_final(path: Path, record: dict[str, Any]) -> bool:
    if record["event_name"] != Control.CHECKPOINT:
        return False
    seal = trust(record["data"]["note"], policy(path), now=time.time()).seal
    return seal is not None and seal.final
