from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_audit.trail import AuditTrail
from tests.writer.trails import open_trail


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[AuditTrail]:
    with open_trail(tmp_path / "journal") as opened:
        yield opened


@pytest.fixture(autouse=True)
def _every_notice_is_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_audit.notices._said", {})


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"
