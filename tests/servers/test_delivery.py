"""Delivery, whatever breaks: receivers, connections and senders are killed twenty times each, and nothing is missing.

40,000 records, or 200,000 with OTEL_AUDIT_FULL=1: logged by real processes with the real `configure`, over mutual TLS
through proxies that misbehave, to rsyslog and to the Collector.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from otel_audit.journal.files import list_streams
from otel_audit.journal.reader import read_seq
from tests.certificates import Certificates, make_certificates
from tests.faults.proxy import FaultProxy
from tests.servers.collector import Collector, free_port
from tests.servers.otlp import bodies_of
from tests.servers.rsyslog import Rsyslog, rsyslog

pytestmark = [
    pytest.mark.server("rsyslog"),
    pytest.mark.server("otelcol"),
    pytest.mark.slow,
    pytest.mark.timeout(1200),
]

ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).parent / "otelcol" / "delivery.yaml"
FULL = bool(os.environ.get("OTEL_AUDIT_FULL"))
RECORDS = 200_000 if FULL else 40_000
KILLS = 20


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@dataclass
class Way:
    """One sink's way: its proxy, the URL through that, and what arrived at the end of it."""

    proxy: FaultProxy
    url: str
    arrived: Callable[[], list[bytes]]


@dataclass
class Far:
    """The far end: two servers that can be killed, three ways to them."""

    rsyslog: Rsyslog
    collector: Collector
    ways: dict[str, Way]

    def restart(self) -> None:
        """Kill both servers with whatever they are doing, end all faults, and start them again."""
        self.rsyslog.kill()
        self.collector.kill()
        # A peer that is silent for longer than `settle_after` and then dies takes lines with it: not promised.
        for way in self.ways.values():
            way.proxy.impersonate(None)
            way.proxy.resume()
        starting = threading.Thread(target=self.rsyslog.start)
        starting.start()
        self.collector.start()
        starting.join()


@pytest.fixture
def far(tmp_path: Path, certificates: Certificates) -> Iterator[Far]:
    store, tcp_port = tmp_path / "store", free_port()
    environment = {
        "AUDIT_CA": certificates.ca,
        "AUDIT_SERVER_CERT": certificates.server.cert,
        "AUDIT_SERVER_KEY": certificates.server.key,
        "AUDIT_TCP_LISTEN": f"127.0.0.1:{tcp_port}",
        "AUDIT_DIR": str(store),
    }
    (tmp_path / "rsyslog").mkdir()
    with ExitStack() as stack:
        syslog = stack.enter_context(rsyslog(tmp_path / "rsyslog", certificates))
        collector = stack.enter_context(Collector(str(CONFIG), tmp_path, environment))
        tls = f"ca_file={certificates.ca}&cert_file={certificates.client.cert}&key_file={certificates.client.key}"
        patience = "connect_timeout=2&handshake_timeout=2&write_timeout=2"

        def way(port: int, url: str, arrived: Callable[[], list[bytes]]) -> Way:
            proxy = stack.enter_context(FaultProxy(port))
            return Way(proxy, f"{url.format(proxy.port)}?{tls}&allow=loopback", arrived)

        lines = f"logstash+tls://localhost:{{}}?{patience}&name="
        ways = {
            "rsyslog": way(syslog.lines_port, f"{lines}rsyslog", syslog.lines),
            "tcp_log": way(tcp_port, f"{lines}tcp_log", lambda: stored(store, "tcp")),
            "otlp": way(collector.port, "otlp+https://localhost:{}?timeout=2", lambda: stored(store, "otlp")),
        }
        for one in ways.values():
            one.url = one.url.replace("?", "&").replace("&", "?", 1)
        yield Far(syslog, collector, ways)


def stored(directory: Path, kind: str) -> list[bytes]:
    """Return the lines in the Collector's files, oldest first."""
    files = sorted(directory.glob(f"{kind}-*"), key=lambda path: path.stat().st_mtime_ns)
    wholes = (path.read_bytes().rpartition(b"\n")[0] for path in files)
    return [f"{body}\n".encode() for whole in wholes for body in bodies_of(whole.splitlines())]


@dataclass
class Sender:
    """One sender process."""

    settings: dict[str, Any]
    first: int
    last: int
    said: list[int] = field(default_factory=list)

    def start(self, *options: str) -> Sender:
        command = [sys.executable, "-m", "tests.servers.sender", json.dumps(self.settings)]
        command += [str(self.first), str(self.last), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        return self

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith(b"\n"):
                self.said.append(int(line))

    def wait_for(self, number: int, timeout: float = 60.0) -> None:
        deadline = time.monotonic() + timeout
        while not self.said or self.said[-1] < number:
            assert time.monotonic() < deadline, f"only {self.said[-1:]} of {number} logged"
            assert self.process.poll() is None
            time.sleep(0.01)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)
        self.reader.join(10)


FAULTS: tuple[Callable[[FaultProxy, Certificates], None], ...] = (
    lambda proxy, _: proxy.cut_after(random.randrange(5_000, 50_000)),
    lambda proxy, _: proxy.stall(),
    lambda proxy, _: proxy.half_close(),
    lambda proxy, certificates: impersonate(proxy, certificates),
    lambda proxy, _: proxy.cut_after(random.randrange(5_000, 50_000), "close"),
)


def impersonate(proxy: FaultProxy, certificates: Certificates) -> None:
    proxy.impersonate(certificates.server_context(certificates.rogue_server))
    proxy.reset()


def journal_of(directory: Path) -> dict[tuple[str, int], bytes]:
    """Return every whole line of a journal by its place; a torn tail was never confirmed to anybody."""
    found: dict[tuple[str, int], bytes] = {}
    for stream, segments in list_streams(directory).items():
        for segment in segments:
            for line in segment.path.read_bytes().splitlines(keepends=True):
                if line.endswith(b"\n"):
                    seq = read_seq(line)
                    assert seq is not None
                    assert found.setdefault((stream, seq), line) == line
    return found


def is_torn(line: bytes, known: Iterable[bytes]) -> bool:
    """Tell whether a line is what a cut leaves: beginnings of lines, in a file one behind the other."""
    parts = re.split(rb'(?=\{"@timestamp":)', line.rstrip(b"\n"))
    return all(any(one.startswith(part) for one in known) for part in parts)


def verify(*paths: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "otel_audit", "verify", "--unordered", *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=ROOT)


def explained_by_kills(report: str) -> bool:
    """Tell whether a verifier found nothing but what kills leave: open streams, copies, sinks that were away."""
    expected = {"UNCLOSED", "IDENTICAL_COPIES", "TORN_REPEAT", "DELIVERY_DEGRADED"}
    return set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b|\bUNCLOSED\b", report)) <= expected


def ship(journal: Path, sinks: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Bring what killed senders left to the sinks."""
    command = [sys.executable, "-m", "otel_audit", "ship", str(journal), "--once", "--timeout", "300"]
    command += [word for sink in sinks for word in ("--sink", sink)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=400, cwd=ROOT)


def assert_all_arrived(arrived: Sequence[bytes], journal: dict[tuple[str, int], bytes], where: str) -> None:
    """Nothing is missing, copies are identical, and each stream's records came first in their order.

    Beside them there are only the torn beginnings of lines that broken connections left.
    """
    known = {line: at for at, line in journal.items()}
    for line in {line for line in arrived if line not in known}:
        assert is_torn(line, known), f"{where}: nobody sent {line!r}"
    firsts = dict.fromkeys(line for line in arrived if line in known)
    missing = known.keys() - firsts.keys()
    assert not missing, f"{where}: {len(missing)} of {len(known)} are missing: {[known[one] for one in missing][:5]}"
    last: dict[str, int] = {}
    for line in firsts:
        stream, seq = known[line]
        assert seq == last.get(stream, 0) + 1, f"{where}: {stream}-{seq} came after {last.get(stream, 0)}"
        last[stream] = seq


def test_nothing_is_missing_whoever_is_killed(far: Far, certificates: Certificates, tmp_path: Path) -> None:
    random.seed(4711)
    journal = tmp_path / "journal"
    settings = {"journal": str(journal), "sinks": [way.url for way in far.ways.values()], "heartbeat": 0}
    share, logged, promised = RECORDS // (KILLS + 1), 0, set[int]()
    began = time.monotonic()

    for kill in range(KILLS):
        sender = Sender(settings, logged, logged + share).start()
        sender.wait_for(logged + random.randrange(share))
        for number, way in enumerate(far.ways.values()):
            FAULTS[(kill + number) % len(FAULTS)](way.proxy, certificates)
        time.sleep(random.random() * 0.3)  # the fault's moment
        far.restart()
        if kill % 3:
            sender.wait_for(logged + share - 1)
            time.sleep(random.random() * 4)  # sending on, waiting for confirmations, or moving cursors
        sender.kill()
        if sender.said:
            promised.update(range(logged, sender.said[-1] + 1))
        logged += share
    last = Sender(settings, logged, RECORDS).start("--leave")
    assert last.process.wait(400) == 0, "the last sender left without everything of its own confirmed"
    promised.update(range(logged, RECORDS))
    shipped = ship(journal, settings["sinks"])
    assert shipped.returncode == 0, shipped.stdout + shipped.stderr

    lines = journal_of(journal)
    numbers = {json.loads(line).get("data", {}).get("number") for line in lines.values()}
    assert promised <= numbers, "a call returned, and its record is not in the journal"
    for where, way in far.ways.items():
        arrived = way.arrived()
        assert_all_arrived(arrived, lines, where)
        print(f"{where}: {len(lines)} records, {len(arrived) - len(lines)} copies, {way.proxy.connections} connections")
        copy = tmp_path / f"{where}.jsonl"
        copy.write_bytes(b"".join(arrived))
        found = verify(copy)
        assert found.returncode == 3, f"{where}: {found.stdout[-3000:]}{found.stderr[-1000:]}"
        assert explained_by_kills(found.stdout), found.stdout
    print(
        f"{time.monotonic() - began:.0f} s, {len(list_streams(journal))} streams, journal {verify(journal).returncode}"
    )
