"""The far end of a delivery, in a process of its own: `python -m benchmarks.receiver kind [certificate key]`.

It prints its port, and for each line on stdin how many events have arrived and when the last of them did.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.events import MARK

__all__ = ["Arrived", "Receiver", "run_receiver"]

_SPLIT = len(MARK) - 1
_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"


class Arrived(NamedTuple):
    """How many events have arrived, and the time of the last one on the system's monotonic clock, in ns."""

    events: int
    at: int


class Receiver:
    """A running receiver, seen from the process that measures."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self._process = process
        self.port = int(process.stdout.readline())

    def arrived(self) -> Arrived:
        """Ask what has arrived so far."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        return Arrived(*json.loads(self._process.stdout.readline()))

    def await_events(self, count: int, patience: float = 5.0) -> Arrived:
        """Return once so many events have arrived, or none for `patience` seconds."""
        now = self.arrived()
        while now.events < count and time.monotonic_ns() - now.at < patience * 1e9:
            time.sleep(0.005)
            now = self.arrived()
        return now


@contextmanager
def run_receiver(kind: str, certificate: Path | None = None, key: Path | None = None) -> Iterator[Receiver]:
    """Run a receiver: `tcp` for lines in the clear, `tls` for lines over TLS, `http` for OTLP/HTTP."""
    files = [str(path) for path in (certificate, key) if path is not None]
    command = [sys.executable, "-m", "benchmarks.receiver", kind, *files]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield Receiver(process)
        finally:
            process.kill()


class _Count:
    """Counts events. Each has its mark once."""

    def __init__(self) -> None:
        self.events = 0
        self.at = time.monotonic_ns()

    def add(self, data: bytes) -> None:
        if found := data.count(MARK):
            self.events += found
            self.at = time.monotonic_ns()


def _main() -> None:
    kind, *files = sys.argv[1:]
    context = None
    if kind == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
    listener = socket.create_server(("127.0.0.1", 0))
    count = _Count()
    serve = _serve_http if kind == "http" else _serve_lines
    threading.Thread(target=_accept, args=(listener, context, serve, count), daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    for _ in sys.stdin:
        print(json.dumps([count.events, count.at]), flush=True)


def _accept(listener: socket.socket, context: ssl.SSLContext | None, serve: object, count: _Count) -> None:
    while True:
        client, _ = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            client = context.wrap_socket(client, server_side=True)
        threading.Thread(target=serve, args=(client, count), daemon=True).start()  # type: ignore[arg-type]


def _serve_lines(client: socket.socket, count: _Count) -> None:
    rest = b""
    while data := client.recv(1 << 18):
        count.add(rest + data)
        rest = data[-_SPLIT:]  # too short to hold a mark


def _serve_http(client: socket.socket, count: _Count) -> None:
    data = b""
    while True:
        while (end := data.find(b"\r\n\r\n") + 4) < 4:
            if not (more := client.recv(1 << 18)):
                return
            data += more
        length = _LENGTH.search(data[:end])
        body = bytearray(data[end:])
        while length is not None and len(body) < int(length[1]):
            body += client.recv(1 << 18)
        count.add(bytes(body))
        data = b""
        client.sendall(_ANSWER)


if __name__ == "__main__":
    _main()
