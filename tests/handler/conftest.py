"""A logger of the test's own with an audit handler on a journal."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_audit import AuditHandler
from otel_audit.trail import AuditTrail
from tests.writer.trails import open_trail


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def trail(journal: Path) -> Iterator[AuditTrail]:
    with open_trail(journal) as trail:
        yield trail


@pytest.fixture
def logger(trail: AuditTrail) -> logging.Logger:
    logger = logging.Logger("shop.cart", logging.DEBUG)
    logger.addHandler(AuditHandler(trail))
    return logger
