"""A genuine OpenSearch on loopback, gathered by `opensearch_node/build.sh`.

`ES_URL` (http://host:port) names another server with the same API instead, Elastic's own for example; such a one
cannot be killed here, and the tests that do are skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

import pytest

from tests.servers.collector import free_port, wait_until
from tests.servers.require import missing

__all__ = ["OpenSearch", "run_opensearch"]

_ROOM = Path(__file__).parent / "opensearch_node"


@final
class OpenSearch:
    """One node. `kill` and `start` it as often as needed; its data stays."""

    def __init__(self, address: str, command: Sequence[str | Path] = (), log: Path | None = None) -> None:
        self.address = address
        self._command = command
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; return once every index that it holds takes documents."""
        assert self._log is not None
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until("OpenSearch is ready", self._ready, 120)

    def kill(self) -> None:
        """End it as a crash does."""
        if self._process is None:
            pytest.skip("the server that ES_URL names cannot be killed")
        self._process.kill()
        self._process.wait(30)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Return the JSON answer to a request, errors as well; None if there is no connection."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://{self.address}{path}", data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return json.loads(error.read() or b"null")
        except OSError:
            return None

    def count(self, index: str) -> int:
        """Return how many documents an index holds; 0 if there is none."""
        self.call("POST", f"/{index}/_refresh")
        return int((self.call("GET", f"/{index}/_count") or {}).get("count", 0))

    def hits(self, index: str) -> list[dict[str, Any]]:
        """Return every document of an index, as a search returns it, read page by page."""
        self.call("POST", f"/{index}/_refresh")
        found: list[dict[str, Any]] = []
        page = self.call("POST", f"/{index}/_search?scroll=1m", {"size": 1000, "sort": ["_doc"]})
        while page["hits"]["hits"]:
            found += page["hits"]["hits"]
            page = self.call("POST", "/_search/scroll", {"scroll": "1m", "scroll_id": page["_scroll_id"]})
        return found

    def _ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            assert self._log is not None
            raise AssertionError(f"OpenSearch ended:\n{self._log.read_text()[-2000:]}")
        health = self.call("GET", "/_cluster/health")
        return health is not None and health.get("status") in ("green", "yellow")


@contextmanager
def run_opensearch(directory: Path) -> Iterator[OpenSearch]:
    """Run a node in `directory` until the end of the block."""
    named = os.environ.get("ES_URL")
    if named:
        yield OpenSearch(named.removeprefix("http://").rstrip("/"))
        return
    built = Path(
        subprocess.run([_ROOM / "build.sh", "--path"], capture_output=True, text=True, check=True).stdout.strip()
    )
    if not built.is_dir() or shutil.which("java") is None:
        missing("OpenSearch", "run tests/servers/opensearch_node/build.sh, or set ES_URL=http://host:port")
    port = free_port()
    memory = ["-Xms512m", "-Xmx512m"]
    command = ["java", *memory, "-cp", f"{built}/*", "OpenSearchNode", directory / "node", str(port)]
    server = OpenSearch(f"127.0.0.1:{port}", command, directory / "opensearch.log")
    try:
        server.start()
        yield server
    finally:
        server.kill()
