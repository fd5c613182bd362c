"""A real C2SP witness: `litewitness` of filippo.io/torchwood, with its key in an `ssh-agent`, as it wants it."""

from __future__ import annotations

import base64
import re
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from tests.servers.require import missing

__all__ = ["Witness", "running_witness"]

BUILD = Path(__file__).parents[1] / "servers" / "litewitness" / "build.sh"


class Witness:
    """A witness that runs."""

    def __init__(self, host: str, vkey: str, database: Path) -> None:
        self.host = host
        self.vkey = vkey
        self._database = database

    def url(self, **options: str) -> str:
        more = "".join(f"&{name}={value}" for name, value in options.items())
        return f"witness+http://{self.host}/?allow=loopback&vkey={self.vkey}{more}"

    def know(self, origin: str, vkey: str) -> None:
        """Do what `witnessctl add-log` and `witnessctl add-key` do (that command cannot be built here)."""
        with sqlite3.connect(self._database, timeout=10) as database:
            empty = base64.b64encode(sha256(b"").digest()).decode()
            database.execute("INSERT INTO log (origin, tree_size, tree_hash) VALUES (?, 0, ?)", (origin, empty))
            database.execute("INSERT INTO key (origin, key) VALUES (?, ?)", (origin, vkey))
        database.close()

    def forget(self, origin: str, size: int, root: bytes) -> None:
        """Put it back to an older head, as where it was restored from a copy."""
        with sqlite3.connect(self._database, timeout=10) as database:
            known = (size, base64.b64encode(root).decode(), origin)
            database.execute("UPDATE log SET tree_size = ?, tree_hash = ? WHERE origin = ?", known)
        database.close()

    def size(self, origin: str) -> int:
        """How many records of a log it has seen."""
        with sqlite3.connect(self._database, timeout=10) as database:
            ((size,),) = database.execute("SELECT tree_size FROM log WHERE origin = ?", (origin,)).fetchall()
        database.close()
        return int(size)


@contextmanager
def running_witness(directory: Path, name: str) -> Iterator[Witness]:
    """Run one on a free port of this machine; skip the test where it cannot be built."""
    binary = Path(subprocess.run([BUILD, "--path"], capture_output=True, text=True, check=True).stdout.strip())
    if not binary.exists():
        missing("litewitness", f"run {BUILD.relative_to(Path.cwd()) if BUILD.is_relative_to(Path.cwd()) else BUILD}")
    if shutil.which("ssh-agent") is None:
        missing("the command ssh-agent", "apt-get install openssh-client")
    directory.mkdir()
    key, socket = directory / "key", directory / "agent"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    shown = subprocess.run(["ssh-keygen", "-l", "-f", key], capture_output=True, text=True, check=True)
    fingerprint = shown.stdout.split()[1]
    with _process(["ssh-agent", "-D", "-a", socket]):
        _await(socket.exists)
        subprocess.run(["ssh-add", "-q", key], env={"SSH_AUTH_SOCK": str(socket)}, check=True)
        database, log = directory / "witness.db", directory / "log"
        for port in _free_ports():
            listen = f"127.0.0.1:{port}"
            words = [
                binary,
                "-name",
                name,
                "-key",
                fingerprint,
                "-ssh-agent",
                socket,
                "-db",
                database,
                "-listen",
                listen,
            ]
            with log.open("wb") as output, _process(words, output) as process:
                _await(lambda process=process: b"msg=listening" in log.read_bytes() or process.poll() is not None)
                vkey = re.search(r"vkey=(\S+)", log.read_text())
                if process.poll() is None and vkey is not None:
                    _await(lambda listen=listen: _answers(listen))
                    yield Witness(listen, vkey[1].strip('"'), database)
                    return


@contextmanager
def _process(words: list[object], output: object = subprocess.DEVNULL) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(list(map(str, words)), stdout=output, stderr=subprocess.STDOUT)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


def _free_ports() -> Iterator[int]:
    import socket

    for _ in range(5):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        yield port


def _answers(listen: str) -> bool:
    import socket

    host, _, port = listen.partition(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return False
    return True


def _await(condition: object) -> None:
    deadline = time.monotonic() + 10
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "the witness does not start"
        time.sleep(0.01)
