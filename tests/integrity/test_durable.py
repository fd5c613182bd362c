"""Small files: what is left of one that could not be made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from otel_audit.integrity.durable import create_file, replace_file


def refuse(*_: Any) -> None:
    raise PermissionError("no")


def open_files() -> list[str]:
    return os.listdir("/proc/self/fd")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="this system does not list a process's open files")
@pytest.mark.parametrize("call", ["fchmod", "write", "fsync"])
def test_of_a_file_that_cannot_be_made_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    before = open_files()
    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(PermissionError):
        create_file(str(tmp_path / "new"), b"text", 0o600)
    if call != "fchmod":
        with pytest.raises(PermissionError):
            replace_file(str(tmp_path / "new"), b"text")
    monkeypatch.undo()
    assert open_files() == before
    assert list(tmp_path.iterdir()) == []
