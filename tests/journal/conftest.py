"""A disk of 256 KiB, for tests that fill it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_audit import keeper, notices
from otel_audit.journal import writer


@pytest.fixture(autouse=True)
def every_notice_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "_said", {})


@pytest.fixture(autouse=True)
def the_keeper_looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten times a second, so that a test need not wait for it."""
    monkeypatch.setattr(keeper, "_TICK", 0.1)
    monkeypatch.setattr(writer, "_MEASURE_INTERVAL", 0.1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root mounts a tmpfs")
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k,nr_inodes=32", "tmpfs", str(place)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)
