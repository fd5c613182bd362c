"""docs/verify-codes.md is what the tables say, and every code can be looked up in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from otel_audit.cli.__main__ import main
from otel_audit.verify import CODES
from otel_audit.verify.published import PAGE, document_codes
from otel_audit.verify.subjects import SUBJECTS
from tests.verify.histories import put, whole


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == document_codes(), "run `python -m otel_audit.verify.published`"


def test_every_code_has_a_place_and_only_one() -> None:
    assert sorted(re.findall("^### ([A-Z_]+)$", document_codes(), re.MULTILINE)) == sorted(CODES)
    assert SUBJECTS.keys() == CODES.keys()


def test_the_page_links_to_pages_that_are_there() -> None:
    linked = re.findall(r"\]\(([a-z-]+\.md)\)", document_codes())
    assert linked
    assert all((PAGE.parent / link).exists() for link in linked)


def test_verify_says_where_to_look_a_code_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = whole()
    assert main(["verify", str(put(tmp_path / "j", writer))]) == 0
    assert "verify-codes" not in capsys.readouterr().out
    writer.lines[6] = writer.lines[6].replace(b"gone 5", b"gone 6")
    assert main(["verify", str(put(tmp_path / "j", writer))]) == 1
    said = capsys.readouterr().out
    (named,) = re.findall(r"docs/(\S+\.md)", said)
    assert "### HASH_MISMATCH\n" in (PAGE.parent / named).read_text()
