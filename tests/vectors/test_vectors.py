"""The golden vectors: the package and the stranger say what is expected; making them anew changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from otel_audit.verify import verify
from tests.stranger import verdict
from tests.vectors.make import HERE, VECTORS, make

EXPECTED = json.loads((HERE / "expected.json").read_text())


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_both_verifiers_say_what_is_expected(name: str) -> None:
    report = verify([HERE / name])
    assert report.exit_code == EXPECTED[name]["exit_code"], report.findings.listed
    assert verdict(HERE / name) == EXPECTED[name]["verdict"]


def test_the_vectors_are_what_the_script_makes(tmp_path: Path) -> None:
    make(tmp_path)
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.json*")}
    kept = {path.relative_to(HERE): path.read_bytes() for path in HERE.rglob("*.json*")}
    assert made == kept
    assert {path.parts[0] for path in kept} == {*VECTORS, "expected.json"}


def test_the_stranger_is_short_and_stands_alone() -> None:
    text = (HERE.parent / "stranger.py").read_text()
    assert len(text.splitlines()) <= 80
    assert "otel_audit" not in text
