"""A loopback HTTP server that keeps what it is sent and answers as the test says, well or badly."""

from __future__ import annotations

import queue
import socket
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, final

__all__ = ["Received", "Reply", "Server"]


class Received(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int
    method: str = "POST"


@dataclass(frozen=True)
class Reply:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    """Sent instead of an HTTP answer, if it is not None; then the connection is closed."""
    close: bool = False
    """Close the connection after the answer without having said so."""
    hang: bool = False
    """Say nothing until the server is stopped."""
    early: bool = False
    """Answer and end the connection first, and read the body then, lest a reset overtake the answer."""


@final
class Server:
    """Answers with the scripted replies in turn, then with `default`."""

    def __init__(self, *replies: Reply, default: Reply | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.received: list[Received] = []
        self.default = default or Reply()
        self._script: queue.SimpleQueue[Reply] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._connections = 0
        self.script(*replies)
        server = self

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                """Say nothing: clients end connections as the test wants it."""

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            connection_number = 0

            def do_POST(self) -> None:
                server._answer(self)

            do_PUT = do_GET = do_HEAD = do_POST

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def script(self, *replies: Reply) -> None:
        for reply in replies:
            self._script.put(reply)

    def _answer(self, handler: Any) -> None:
        try:
            reply = self._script.get_nowait()
        except queue.Empty:
            reply = self.default
        if handler.connection_number == 0:
            self._connections += 1
            handler.connection_number = self._connections
        if not reply.early:
            body = handler.rfile.read(int(handler.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in handler.headers.items()}
            self.received.append(Received(handler.path, headers, body, handler.connection_number, handler.command))
        if reply.hang:
            self._stopping.wait(30)
        if reply.hang or reply.raw is not None:
            handler.wfile.write(reply.raw or b"")
            handler.close_connection = True
            return
        handler.send_response(reply.status)
        for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(reply.body)
        if reply.early:
            handler.connection.shutdown(socket.SHUT_WR)
            while handler.rfile.read(65536):
                pass
        handler.close_connection = reply.close or reply.early
