"""A receiver of lines that can be killed: what it has read survives, what it has not read is lost."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import final

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on with no time: close() resets


@final
class Receiver:
    """Keeps every whole line that arrives at `127.0.0.1:port`, in order of arrival."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.port = 0
        self.lines: list[bytes] = []
        self.rest = b""
        """What came last, behind the last newline, on the connection that ended last."""
        self.greeting = b""
        """Said to every client that connects."""
        self.sessions = 0
        """Connections accepted and, with TLS, shaken hands on."""
        self.refusals: list[str] = []
        """Why a handshake failed."""
        self._context = context
        self._changed = threading.Condition()
        self._listener: socket.socket | None = None
        self._clients: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Receiver:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()

    @property
    def open(self) -> int:
        """Connections that exist now."""
        return len(self._clients)

    def start(self) -> None:
        """Listen, on the same port each time."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        self._run(self._accept_all, self._listener)

    def kill(self) -> None:
        """Do as a killed process does: close the port and every connection, with what was not read yet."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        with self._changed:
            clients = list(self._clients)
        for client in clients:
            with contextlib.suppress(OSError):
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                socket.socket.shutdown(client, socket.SHUT_RD)
        for thread in self._threads:
            thread.join(10)
        self._threads.clear()

    def close_clients(self) -> None:
        """Close the connections in order, as a receiver does that has waited too long for data."""
        with self._changed:
            for client in self._clients:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(client, socket.SHUT_RDWR)

    def wait(self, condition: Callable[[], object], timeout: float = 20.0) -> None:
        """Wait until the condition holds; it is looked at after every arrival."""
        with self._changed:
            if not self._changed.wait_for(condition, timeout):
                raise TimeoutError(f"not so within {timeout} s: {len(self.lines)} lines, {self.sessions} sessions")

    def _run(self, target: Callable[[socket.socket], None], argument: socket.socket) -> None:
        thread = threading.Thread(target=target, args=[argument], daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept_all(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self._run(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        if self._context is not None:
            try:
                client = self._context.wrap_socket(client, server_side=True)
            except OSError as error:
                with self._changed:
                    self.refusals.append(str(error))
                    self._changed.notify_all()
                client.close()
                return
        with self._changed:
            self.sessions += 1
            self._clients.add(client)
            self._changed.notify_all()
        with client:
            self._receive(client)
        with self._changed:
            self._clients.discard(client)
            self._changed.notify_all()

    def _receive(self, client: socket.socket) -> None:
        rest = b""
        with contextlib.suppress(OSError):
            if self.greeting:
                client.sendall(self.greeting)
            while self._listener is not None and (data := client.recv(65536)):
                *lines, rest = (rest + data).split(b"\n")
                with self._changed:
                    self.lines.extend(line + b"\n" for line in lines)
                    self._changed.notify_all()
        self.rest = rest
