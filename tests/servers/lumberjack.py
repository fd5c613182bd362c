"""Elastic's own Lumberjack server (the Go module github.com/elastic/go-lumber), with mutual TLS."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Certificates
from tests.servers.require import missing

_SOURCE = Path(__file__).parent / "lumber"


class LumberjackServer:
    """One server process and the events that it has printed. `kill` and `start` it as often as needed."""

    def __init__(self, binary: Path, certificates: Certificates, *options: str) -> None:
        self.port = 0
        self.events: list[dict[str, Any]] = []
        self._command = [
            str(binary),
            f"-cert={certificates.server.cert}",
            f"-key={certificates.server.key}",
            f"-client-ca={certificates.ca}",
            *options,
        ]
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def start(self) -> None:
        """Start it, on the same port each time, and return when it listens."""
        process = subprocess.Popen(
            [*self._command, f"-listen=127.0.0.1:{self.port}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        self._process = process
        self.port = int(process.stdout.readline().rpartition(":")[2])
        self._reader = threading.Thread(target=self._read, args=[process], daemon=True)
        self._reader.start()

    def kill(self) -> None:
        """SIGKILL; what it had printed is kept."""
        if self._process is None or self._reader is None:
            return
        self._process.kill()
        self._process.wait(10)
        self._reader.join(10)
        self._process = None

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                if line.endswith("\n"):
                    self.events.append(json.loads(line))


@pytest.fixture(scope="session")
def lumberjack_binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("go") is None:
        missing("go-lumber", "install Go; the server is built from tests/servers/lumber")
    binary = tmp_path_factory.mktemp("lumber") / "lumber"
    build = subprocess.run(
        ["go", "build", "-o", str(binary), "."], cwd=_SOURCE, capture_output=True, text=True, check=False
    )
    if build.returncode:
        missing("go-lumber", f"`go build` in tests/servers/lumber failed: {build.stderr.strip()}")
    return binary


@contextmanager
def lumberjack_server(binary: Path, certificates: Certificates, *options: str) -> Iterator[LumberjackServer]:
    """Run a server; `options` are the program's flags."""
    server = LumberjackServer(binary, certificates, *options)
    try:
        server.start()
        yield server
    finally:
        server.kill()
