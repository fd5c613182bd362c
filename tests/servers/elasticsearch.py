"""A server with the `_bulk` API of Elasticsearch and OpenSearch: osmem, in memory, on loopback.

`ES_URL` (http://host:port) names another server instead, Elastic's own for example.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.servers.collector import free_port, wait_until
from tests.servers.require import missing

__all__ = ["call", "run_elasticsearch"]


@contextmanager
def run_elasticsearch(directory: Path) -> Iterator[str]:
    """Run a server; yield its address, `host:port`."""
    named = os.environ.get("ES_URL")
    if named:
        yield named.removeprefix("http://").rstrip("/")
        return
    found = importlib.util.find_spec("osmem_server")
    if found is None or found.origin is None:
        missing("an Elasticsearch server", "pip install osmem-server, or set ES_URL=http://host:port")
    binary = Path(found.origin).parent / "bin" / "osmem-server"
    address = f"127.0.0.1:{free_port()}"
    with (directory / "osmem.log").open("wb") as log:
        command = [binary, "-addr", address, "-no-stdin-watch", "-no-ja"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_until("the server answers", lambda: call(address, "GET", "/") is not None)
        yield address
    finally:
        process.kill()
        process.wait()


def call(address: str, method: str, path: str, body: Any = None) -> Any:
    """Return the JSON answer to a request; None if there is no connection."""
    request = urllib.request.Request(
        f"http://{address}{path}",
        None if body is None else json.dumps(body).encode(),
        {"Content-Type": "application/json"},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return json.loads(error.read() or b"null")
    except OSError:
        return None
