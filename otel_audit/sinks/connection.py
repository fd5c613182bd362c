"""One TCP or TLS connection to the first reachable of several hosts, with a deadline on everything.

The socket never blocks: each operation polls until its own deadline, which covers the whole of it and not one
system call. Nothing is retried here and nothing is kept: what fails raises, and the connection is gone.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import struct
import sys
import time
from collections.abc import Sequence
from typing import Final

from otel_audit.errors import ConfigurationError
from otel_audit.sinks.base import SinkUnavailable
from otel_audit.sinks.hosts import Address, Endpoint, HostPolicy, resolve
from otel_audit.sinks.tls import TlsSettings

__all__ = ["Connection"]

_PIECE: Final = 256 * 1024  # offered to one send()
_MAX_UNREAD: Final = 64 * 1024  # what a peer may say that nobody asked for
_FAREWELL: Final = 1.0  # seconds that close() waits for the peer to have read everything
_SEND_BUFFER: Final = 256 * 1024  # bounds, with the peer's receive buffer, what a broken connection can swallow
_SILENCE: Final = 30  # seconds after which a peer that confirms nothing at the TCP level is given up

_HINTS: Final = {
    "WRONG_VERSION_NUMBER": "the far end does not speak TLS on this port",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the far end wants a client certificate: set cert_file and key_file",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the far end refuses the client certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "the far end does not trust the authority of the client certificate",
    "CERTIFICATE_VERIFY_FAILED": "set ca_file or server_name if the certificate is the right one",
}


class Connection:
    """A connection that opens to one of `endpoints`, in turn, and moves to the next one when it breaks.

    Time-outs are in seconds. All methods raise `SinkUnavailable` where the peer or the network fails, and
    have closed the connection then. Not thread-safe.

    Raises:
        ConfigurationError: no endpoint, a refused address, unusable TLS files, a time-out that is not
        positive.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        *,
        policy: HostPolicy,
        tls: TlsSettings | None,
        connect_timeout: float = 10.0,
        handshake_timeout: float = 10.0,
        write_timeout: float = 10.0,
    ) -> None:
        if not endpoints or min(connect_timeout, handshake_timeout, write_timeout) <= 0:
            raise ConfigurationError("a connection needs a host and time-outs above 0 seconds")
        policy.check(endpoints)
        if tls is not None:
            tls.context()
        self.received = bytearray()
        """What the peer has said and nobody has taken yet."""
        self._endpoints = tuple(endpoints)
        self._turn = 0
        self._policy = policy
        self._tls = tls
        self._connect_timeout = connect_timeout
        self._handshake_timeout = handshake_timeout
        self._write_timeout = write_timeout
        self._socket: socket.socket | None = None
        self._owner = 0
        self._why_not = "not connected"

    @property
    def endpoint(self) -> Endpoint:
        """The host of the open connection, or the one to try next."""
        return self._endpoints[self._turn]

    def is_open(self) -> bool:
        """Whether this process has a connection; whether the peer is still there, `check` finds out."""
        if self._socket is not None and self._owner != os.getpid():
            self._socket.close()  # the parent's: without a farewell, which would end it for the parent too
            self._socket = None
        return self._socket is not None

    def open(self) -> None:
        """Connect, unless that is done already, trying every host once from the one whose turn it is."""
        if self.is_open():
            return
        failures = []
        for _ in self._endpoints:
            try:
                self._socket = self._connect(self.endpoint)
            except (OSError, ConfigurationError) as error:  # noqa: PERF203 - each host may fail
                failures.append(f"{self.endpoint}: {_explain(error)}")
                self._turn = (self._turn + 1) % len(self._endpoints)
            else:
                self._owner = os.getpid()
                self.received.clear()
                return
        raise SinkUnavailable(f"no connection: {'; '.join(failures)}")

    def check(self) -> None:
        """Read what has arrived without waiting, and raise if the peer has closed or refused the connection.

        Under TLS 1.3 a peer says only after the handshake that it refuses the client certificate: here.
        """
        sock = self._require()
        try:
            while True:
                data = sock.recv(16384)
                if not data:
                    raise self._broken("the far end closed the connection")
                self.received += data
                if len(self.received) > _MAX_UNREAD:
                    raise self._broken("the far end sends data that nobody asked for")
        except (ssl.SSLWantReadError, BlockingIOError):
            return
        except OSError as error:
            raise self._broken(_explain(error)) from error

    def write(self, data: bytes) -> None:
        """Hand all bytes to the kernel before the write deadline, watching for a close by the peer."""
        sock = self._require()
        deadline = time.monotonic() + self._write_timeout
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[sock.send(rest[:_PIECE]) :]
            except (ssl.SSLWantWriteError, BlockingIOError):  # noqa: PERF203 - the buffer is full
                self._await(select.POLLOUT | select.POLLIN, deadline, "took no more data")
                self.check()
            except ssl.SSLWantReadError:
                self._await(select.POLLIN, deadline, "took no more data")
            except OSError as error:
                raise self._broken(_explain(error)) from error

    def read(self, count: int, deadline: float) -> bytes:
        """Return the next `count` bytes from the peer; `deadline` is a time of `time.monotonic()`."""
        while True:
            try:
                self.check()
            except SinkUnavailable:
                if len(self.received) < count:  # what came before a farewell still counts
                    raise
            if len(self.received) >= count:
                break
            self._await(select.POLLIN, deadline, "did not answer")
        taken = bytes(self.received[:count])
        del self.received[:count]
        return taken

    def unsent(self) -> int | None:
        """Return how many bytes the peer's kernel has not confirmed; None where the system does not tell."""
        sock = self._require()
        if not sys.platform.startswith("linux"):
            return None
        import fcntl
        import termios

        answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))  # SIOCOUTQ, see tcp(7)
        return int(struct.unpack("i", answer)[0])

    def close(self) -> None:
        """End the connection in order, waiting a moment for the peer to read to the end."""
        if not self.is_open():
            return
        sock, self._socket = self._require(), None
        with contextlib.closing(sock), contextlib.suppress(OSError):
            if isinstance(sock, ssl.SSLSocket):
                with contextlib.suppress(ssl.SSLWantReadError):
                    sock.unwrap()
            sock.shutdown(socket.SHUT_WR)
            # Closing with something unread would reset the connection, and what the peer has not read would
            # be lost there. So read on until it closes too.
            deadline = time.monotonic() + _FAREWELL
            while (left := deadline - time.monotonic()) > 0 and _poll(sock, select.POLLIN, left):
                if not sock.recv(16384):
                    return

    def _connect(self, endpoint: Endpoint) -> socket.socket:
        context = self._tls.context() if self._tls else None
        deadline = time.monotonic() + self._connect_timeout
        addresses = resolve(endpoint, self._policy, self._connect_timeout)
        sock = _connect_any(addresses, deadline)
        if context is None or self._tls is None:
            return sock
        try:
            name = self._tls.server_name or endpoint.host.removesuffix(".")
            tls = context.wrap_socket(sock, server_hostname=name, do_handshake_on_connect=False)
        except (OSError, ValueError):
            sock.close()
            raise
        try:
            _handshake(tls, time.monotonic() + self._handshake_timeout)
        except OSError:
            tls.close()
            raise
        return tls

    def _await(self, events: int, deadline: float, omission: str) -> None:
        left = deadline - time.monotonic()
        if left <= 0 or not _poll(self._require(), events, left):
            raise self._broken(f"the far end {omission} before the deadline")

    def _require(self) -> socket.socket:
        if self._socket is None:
            raise SinkUnavailable(self._why_not)
        return self._socket

    def _broken(self, reason: str) -> SinkUnavailable:
        """Drop the connection, give the next host its turn, and return what to raise."""
        self._why_not = f"{self.endpoint}: {reason}"
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._turn = (self._turn + 1) % len(self._endpoints)
        return SinkUnavailable(self._why_not)


def _connect_any(addresses: Sequence[Address], deadline: float) -> socket.socket:
    """Connect to the first address that answers; each gets an equal share of the time that is left."""
    failure: OSError = OSError("there is no address to connect to")
    for place, (family, sockaddr) in enumerate(addresses):
        share = (deadline - time.monotonic()) / (len(addresses) - place)
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(max(share, 0.001))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
            sock.connect(sockaddr)
            _tune(sock)
            sock.setblocking(False)
            return sock
        except OSError as error:
            sock.close()
            failure = OSError(f"{sockaddr[0]!s}: {_explain(error)}")
    try:
        raise failure
    finally:
        del failure  # else it and this frame would hold each other, and with them the batch that was to be sent


def _tune(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform.startswith("linux"):
        # A peer that lost power says nothing; without these the kernel waits for two hours, or for 15
        # minutes.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _SILENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _SILENCE // 3)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENCE * 1000)


def _handshake(sock: ssl.SSLSocket, deadline: float) -> None:
    while True:
        try:
            return sock.do_handshake()
        except ssl.SSLWantReadError:
            events = select.POLLIN
        except ssl.SSLWantWriteError:
            events = select.POLLOUT
        left = deadline - time.monotonic()
        if left <= 0 or not _poll(sock, events, left):
            raise TimeoutError("the TLS handshake was not done before the deadline")


def _poll(sock: socket.socket, events: int, timeout: float) -> bool:
    poller = select.poll()
    poller.register(sock, events)
    return bool(poller.poll(timeout * 1000))


def _explain(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        text = getattr(error, "verify_message", None) or error.reason or str(error)
        hint = _HINTS.get(error.reason or "")
        return f"TLS: {text}{f' ({hint})' if hint else ''}"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
