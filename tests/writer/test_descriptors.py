"""A program that was started without standard output or error: no file of ours gets their numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from otel_audit.descriptors import open_apart
from tests.writer.trails import ROOT, codes, verified

_PROGRAM = """
import os, sys
import otel_audit
from otel_audit import audit
from otel_audit.notices import notice

data = open(sys.argv[2], "w")
otel_audit.configure(journal=sys.argv[1], sinks=["stdout:", "stderr:"], flush_on_sigterm=False)
audit.record("a.b")
notice("what we have to say")
for descriptor in (1, 2):
    try:
        os.write(descriptor, b"what a library printed\\n")
    except OSError:
        pass
otel_audit.current_trail().close(0.2)
"""


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_what_is_printed_gets_into_no_file_of_ours_and_what_is_ours_into_no_other(tmp_path: Path, closed: str) -> None:
    journal, data = tmp_path / "journal", tmp_path / "data"
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", _PROGRAM, str(journal), str(data)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT, timeout=60)
    report = verified(journal)
    assert data.read_text().count("a.b") + data.read_text().count("have to say") == 0
    assert set(codes(report)) <= {"DELIVERY_DEGRADED"}
    assert report.records >= 3


def test_a_file_of_ours_gets_no_standard_number(tmp_path: Path) -> None:
    saved = os.dup(0)
    os.close(0)
    try:
        descriptor = open_apart(tmp_path / "file", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(0)
    finally:
        os.dup2(saved, 0)
        os.close(saved)
    assert descriptor > 2
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)
