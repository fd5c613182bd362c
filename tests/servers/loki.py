"""A real Loki on loopback, built from its Go module by `loki_server/build.sh`; `LOKI_BIN` names another binary."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.servers.collector import free_port, wait_until
from tests.servers.require import missing

__all__ = ["Loki", "run_loki"]

_ROOM = Path(__file__).parent / "loki_server"
_HOUR = 3600 * 10**9


class Loki(NamedTuple):
    """Where it listens, and the tenant that asks."""

    url: str
    tenant: str = "audit"

    def query(self, selector: str, around: int) -> list[str]:
        """Return the lines of a query over two hours around a time in ns, newest last."""
        values = {"query": selector, "start": around - _HOUR, "end": around + _HOUR}
        values |= {"limit": 20_000, "direction": "forward"}
        url = f"{self.url}/loki/api/v1/query_range?{urllib.parse.urlencode(values)}"
        # Without the flag, structured metadata makes each record a stream of its own in the answer.
        headers = {"X-Scope-OrgID": self.tenant, "X-Loki-Response-Encoding-Flags": "categorize-labels"}
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            streams = json.load(answer)["data"]["result"]
        return [line for _, line in sorted(value[:2] for each in streams for value in each["values"])]

    def ready(self) -> bool:
        """Tell whether it answers a query, not merely its readiness page."""
        try:
            return self.query('{service_name="probe"}', time.time_ns()) == []
        except OSError:
            return False


@contextmanager
def run_loki(directory: Path) -> Iterator[Loki]:
    """Run Loki in `directory` until the end of the block."""
    binary = (
        os.environ.get("LOKI_BIN")
        or subprocess.run([_ROOM / "build.sh", "--path"], capture_output=True, text=True, check=True).stdout.strip()
    )
    if not os.access(binary, os.X_OK):
        missing("Loki", "run tests/servers/loki_server/build.sh or set LOKI_BIN")
    http, grpc = free_port(), free_port()
    settings = {"LOKI_HTTP": str(http), "LOKI_GRPC": str(grpc), "LOKI_DIRECTORY": str(directory / "loki")}
    command = [binary, f"-config.file={_ROOM / 'loki.yaml'}", "-config.expand-env=true"]
    loki = Loki(f"http://127.0.0.1:{http}")
    with (directory / "loki.log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **settings}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        wait_until("Loki answers a query", loki.ready, 60)
        yield loki
    finally:
        process.kill()
        process.wait()
