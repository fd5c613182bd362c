"""A TCP proxy that misbehaves on command, between a sink and its receiver.

    with FaultProxy(upstream_port) as proxy:
        proxy.cut_after(1000)          # the 1000th byte from now is the last one that gets through
        ...
        proxy.wait(lambda: proxy.connections == 2)

Every fault holds until it is taken back or replaced, and counters can be awaited, so that no test needs to
sleep.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from typing import Literal, final

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on with no time: close() resets


@final
class FaultProxy:
    """Forwards `127.0.0.1:port` to a port of `127.0.0.1`."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.port = 0
        self.connections = 0
        """Accepted so far."""
        self.forwarded = 0
        """Bytes passed on to the receiver so far."""
        self.latency = 0.0
        """Seconds that every piece of data is held back, in either direction."""
        self._changed = threading.Condition()
        self._flowing = True
        self._cut_at: int | None = None
        self._cut_how: Literal["reset", "close"] = "reset"
        self._impostor: ssl.SSLContext | None = None
        self._listener: socket.socket | None = None
        self._links: set[_Link] = set()

    def __enter__(self) -> FaultProxy:
        self.accept()
        return self

    def __exit__(self, *exception: object) -> None:
        self.refuse()
        self.resume()
        self.reset()

    def accept(self) -> None:
        """Listen (again), always on the same port."""
        listener = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept_all, args=[listener], daemon=True).start()

    def refuse(self) -> None:
        """Refuse new connections, as where nothing listens. Those that exist live on."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
            listener.close()

    def reset(self) -> None:
        """Reset every connection, on both sides, losing what is on its way."""
        for link in self._snapshot():
            link.end("reset")
        with self._changed:
            self._changed.notify_all()

    def half_close(self) -> None:
        """Tell every client that the receiver will say no more, and go on forwarding what the client says."""
        for link in self._snapshot():
            link.muted = True
            with contextlib.suppress(OSError):
                link.client.shutdown(socket.SHUT_WR)

    def stall(self) -> None:
        """Accept connections and read nothing from them, in either direction."""
        with self._changed:
            self._flowing = False

    def resume(self) -> None:
        """End a stall."""
        with self._changed:
            self._flowing = True
            self._changed.notify_all()

    def cut_after(self, count: int, how: Literal["reset", "close"] = "reset") -> None:
        """End the connection that forwards the `count`th byte from now, right behind that byte. Once."""
        with self._changed:
            self._cut_at = self.forwarded + count
            self._cut_how = how

    def impersonate(self, context: ssl.SSLContext | None) -> None:
        """Answer new connections by a TLS handshake of our own, say with a wrong certificate; None: stop."""
        self._impostor = context

    def wait(self, condition: Callable[[], object], timeout: float = 20.0) -> None:
        """Wait until the condition holds; it is looked at whenever something happened here."""
        with self._changed:
            if not self._changed.wait_for(condition, timeout):
                seen = f"{self.connections} connections, {self.forwarded} bytes"
                raise TimeoutError(f"not so within {timeout} s: {seen}")

    def _accept_all(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with self._changed:
                self.connections += 1
                self._changed.notify_all()
            threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        if self._impostor is not None:
            with contextlib.suppress(OSError), self._impostor.wrap_socket(client, server_side=True) as tls:
                while tls.recv(65536):
                    continue
            client.close()
            return
        try:
            server = socket.create_connection(("127.0.0.1", self.upstream), 5)
        except OSError:
            _reset(client)
            return
        server.settimeout(None)
        link = _Link(client, server)
        with self._changed:
            self._links.add(link)
        answers = threading.Thread(target=self._pump, args=[link, server, client], daemon=True)
        answers.start()
        self._pump(link, client, server)
        answers.join()
        with self._changed:
            self._links.discard(link)
        link.end("close")

    def _pump(self, link: _Link, source: socket.socket, target: socket.socket) -> None:
        try:
            while self._may_flow(link) and (data := source.recv(65536)):
                if not self._may_flow(link):
                    return
                if self.latency:
                    time.sleep(self.latency)
                if source is link.client:
                    data, cut = self._count(data)
                    target.sendall(data)
                    if cut:
                        link.end(self._cut_how)
                        return
                elif not link.muted:
                    target.sendall(data)
            if not link.ended:
                target.shutdown(socket.SHUT_WR)
        except OSError:
            link.end("reset")

    def _count(self, data: bytes) -> tuple[bytes, bool]:
        with self._changed:
            cut = self._cut_at is not None and self.forwarded + len(data) >= self._cut_at
            if cut and self._cut_at is not None:
                data = data[: self._cut_at - self.forwarded]
                self._cut_at = None
            self.forwarded += len(data)
            self._changed.notify_all()
            return data, cut

    def _may_flow(self, link: _Link) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._flowing or link.ended)
            return not link.ended

    def _snapshot(self) -> list[_Link]:
        with self._changed:
            return list(self._links)


class _Link:
    """Both ends of one forwarded connection."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.ended = False
        self.muted = False

    def end(self, how: Literal["reset", "close"]) -> None:
        self.ended = True
        for side in (self.client, self.server):
            if how == "reset":
                _reset(side)
            else:
                with contextlib.suppress(OSError):
                    side.shutdown(socket.SHUT_RDWR)
                side.close()


def _reset(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        sock.shutdown(socket.SHUT_RD)  # wakes a thread that reads it, which close() alone does not
    sock.close()
