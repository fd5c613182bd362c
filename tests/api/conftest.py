"""A journal that the functions of the API write to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_audit import config
from otel_audit.trail import AuditTrail
from tests.writer.trails import open_trail


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture(autouse=True)
def trail(journal: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AuditTrail]:
    with open_trail(journal) as trail:
        monkeypatch.setattr(config, "_trail", trail)
        yield trail
