"""What the how-to pages show works when it is copied."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.require import missing

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "tsa.md"
BLOCK = re.compile(r"<!-- this block is run by the tests -->\n```bash\n(.*?)```", re.DOTALL)


@pytest.mark.server("openssl")
def test_the_authority_of_the_how_to_stamps_and_its_stamps_verify(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        missing("the command openssl", "apt-get install openssl")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (authority, process) = (block.replace("3161", str(port)) for block in BLOCK.findall(PAGE.read_text()))
    script = f"set -e\n(\n{authority}\necho $! > pid\n)\ntrap 'kill $(cat tsa/pid)' EXIT\n{process}"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={"PATH": path, "HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "as a time-stamping authority attests" in done.stdout
    assert "Verification: OK" in done.stdout
