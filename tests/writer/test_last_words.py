"""What is logged when hardly anything works any more: at the interpreter's end, and in a journal that is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from otel_audit.durability import FailurePolicy
from otel_audit.errors import RecordLost
from otel_audit.journal.writer import JournalWriter
from otel_audit.trail import AuditTrail
from otel_audit.verify import verify

LAST_WORDS = """
import logging, sys, otel_audit
otel_audit.configure(journal=sys.argv[1], sinks=[], {options})
log = logging.getLogger("app"); log.addHandler(otel_audit.AuditHandler()); log.setLevel("INFO")
class Resource:
    def __del__(self):
        log.info("released")
        otel_audit.record("resource.release", actor="app")
kept = Resource(); kept.itself = kept
log.info("working")
"""


@pytest.mark.parametrize("signed", [False, True])
def test_what_a_destructor_logs_at_the_very_end_is_kept_and_hangs_nothing(tmp_path: Path, signed: bool) -> None:
    options = ""
    if signed:
        from otel_audit.integrity import keys

        keys.generate(tmp_path / "key.pem", "app")
        options = f"signing_key_file={str(tmp_path / 'key.pem')!r}"
    journal = tmp_path / "journal"
    script = LAST_WORDS.replace("{options}", options)
    subprocess.run([sys.executable, "-c", script, str(journal)], timeout=30, check=True)
    written = b"".join(path.read_bytes() for path in journal.glob("*.jsonl"))
    assert written.count(b'"message":"working"') == 1
    assert written.count(b'"message":"released"') == 1
    assert written.count(b'"resource.release"') == 1
    assert verify([journal]).exit_code in {0, 3}


def test_a_segment_that_is_gone_for_good_is_a_failure_not_a_receipt(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    trail = AuditTrail(JournalWriter(journal), policy=FailurePolicy("raise"))
    trail.record("a.b")
    store = trail.stream.store
    assert isinstance(store, JournalWriter)
    moved = tmp_path / "moved"
    os.rename(journal, moved)
    journal.write_text("in the way")  # so that no directory can be made there
    with pytest.raises(FileExistsError):
        trail.stream.exclusively(store.relocate)
    with pytest.raises(RecordLost):
        trail.record("a.b")
    journal.unlink()
    trail.record("a.b")
    trail.close()
    report = verify([journal])
    assert report.exit_code == 3
    assert {"RECORDS_LOST", "PIPELINE_DEGRADED"} <= {found.code for found in report.findings.listed}
    assert sum(path.read_bytes().count(b'"a.b"') for path in journal.glob("*.jsonl")) == 2


def test_losses_that_nothing_could_declare_are_counted_at_the_end(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "journal").write_text("in the way")
    trail = AuditTrail(JournalWriter(tmp_path / "journal"))
    for _ in range(3):
        trail.record("a.b")
    trail.close()
    assert "3 audit records were lost, and no audit.gap record could be written" in capfd.readouterr().err
