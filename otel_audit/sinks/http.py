"""HTTP/1.1 for sinks: one kept connection, one total deadline an exchange, answers of bounded size.

Requests go out on the same connections as the other network sinks' bytes (checked addresses, TLS, failover);
the standard library reads the answer. No redirect is followed, no proxy asked, and no environment variable,
such as REQUESTS_CA_BUNDLE, replaces what was configured.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import re
import select
import ssl
import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import IO, Any, Final, NamedTuple, cast

from otel_audit.errors import ConfigurationError

from .base import SinkUnavailable
from .connection import Connection
from .hosts import HostPolicy, parse_endpoints
from .tls import DEFAULT_TLS, TlsSettings, choose_tls

__all__ = ["Answer", "HttpClient", "check_headers", "excerpt"]

_MAX_ANSWER: Final = 8 << 20
_MAX_WAIT: Final = 3600.0
_PIECE: Final = 65536
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_VALUE: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?")  # section 5.5, ASCII alone


class Answer(NamedTuple):
    """What a server said to a request."""

    status: int
    content_type: str
    """The media type in lower case, without parameters; empty if there is none."""
    body: bytes
    retry_after: float | None
    """Seconds that the server asks to wait, at most an hour (RFC 9110, section 10.2.3)."""
    headers: Mapping[str, str] = {}
    """All of the answer's headers."""


class HttpClient:
    """Asks one service on one or several hosts. Not thread-safe. It connects at the first request.

    Raises:
        ConfigurationError: a host is refused, a TLS file is unusable or given with plain text, or the
        time-out
            is not positive.
    """

    def __init__(
        self,
        *,
        hosts: str,
        plaintext: bool,
        timeout: float,
        default_port: int | None = None,
        allow: tuple[str, ...] = (),
        tls: TlsSettings = DEFAULT_TLS,
        what: str = "audit records",
        most_answered: int | None = None,
    ) -> None:
        """`what` is sent, for messages; `most_answered` is the longest body, in bytes, of an answer (8 MiB)."""
        chosen = choose_tls(tls, plaintext=plaintext, hosts=hosts, what=what)
        self._timeout = timeout
        self._most_answered = most_answered or _MAX_ANSWER
        self._scheme_port = 80 if plaintext else 443
        self._channel = _Channel(
            parse_endpoints(_with_ports(hosts, default_port or self._scheme_port)),
            policy=HostPolicy(allow),
            tls=chosen,
            connect_timeout=timeout,
            handshake_timeout=timeout,
            write_timeout=timeout,
        )

    def post(self, target: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """POST, and return the whole answer; as `request`."""
        return self.request("POST", target, body, headers)

    def request(self, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send one request that may be sent twice, and return the whole answer.

        Raises:
            SinkUnavailable: no connection, no answer in time, or not an HTTP answer.
        """
        reused = self._channel.is_open()
        try:
            return self._exchange(method, target, body, headers)
        except _UnansweredError as error:
            if not reused:
                raise SinkUnavailable(str(error)) from error
        # A kept connection that the server ended as it went idle says nothing of the server.
        try:
            return self._exchange(method, target, body, headers)
        except _UnansweredError as error:
            raise SinkUnavailable(str(error)) from error

    def close(self) -> None:
        """End the connection."""
        self._channel.close()

    def _exchange(self, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        channel = self._channel
        if channel.is_open():
            try:
                channel.check()
            except SinkUnavailable as error:
                raise _UnansweredError(str(error)) from error
            if channel.received:  # it belongs to no request
                channel.drop()
        channel.open()
        head = self._head(method, target, len(body), headers)
        try:
            channel.write(head + body)
        except SinkUnavailable as error:
            # A server may refuse a body before it has read it all, and close (RFC 9112, section 9.6).
            if not channel.received:
                raise _UnansweredError(str(error)) from error
        return channel.read_answer(method, time.monotonic() + self._timeout, self._most_answered)

    def _head(self, method: str, target: str, length: int, headers: Mapping[str, str]) -> bytes:
        host, port = self._channel.endpoint
        name = f"[{host}]" if ":" in host else host.removesuffix(".")
        authority = name if port == self._scheme_port else f"{name}:{port}"
        lines = [f"{method} {target} HTTP/1.1", f"Host: {authority}", f"Content-Length: {length}"]
        lines += [f"{header}: {value}" for header, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


class _UnansweredError(Exception):
    """The connection ended before a byte of the answer came."""


class _Channel(Connection):
    """A connection that is also read from as a stream, up to its end."""

    def read_answer(self, method: str, deadline: float, most: int) -> Answer:
        reader = _Reader(self, deadline)
        response = http.client.HTTPResponse(cast("Any", reader), method=method)
        try:
            response.begin()
            body = response.read(most + 1)
            if response.length and len(body) <= most:
                raise http.client.IncompleteRead(b"", response.length)
            if not (response.getheader("Content-Length") or "0").isdecimal():
                raise http.client.HTTPException
        except (http.client.HTTPException, ValueError, OSError) as error:
            self.drop()
            if reader.count == 0:
                raise _UnansweredError(f"{self.endpoint}: the far end closed the connection") from error
            raise SinkUnavailable(f"{self.endpoint}: this is no HTTP answer ({type(error).__name__})") from error
        except SinkUnavailable:
            self.drop()
            raise
        if response.will_close or not response.isclosed() or self.received:
            self.drop()
        if len(body) > most:
            raise SinkUnavailable(f"{self.endpoint}: the answer is longer than {most} bytes")
        kind = (response.getheader("Content-Type") or "").partition(";")[0].strip().lower()
        wait = _retry_after(response.getheader("Retry-After"))
        return Answer(response.status, kind, body, wait, dict(response.getheaders()))

    def receive(self, deadline: float) -> bytes:
        """Return what comes next; empty at the end of the connection."""
        if self.received:
            taken = bytes(self.received)
            self.received.clear()
            return taken
        while self._socket is not None:
            with contextlib.suppress(ssl.SSLWantReadError, BlockingIOError):
                return self._socket.recv(_PIECE)
            self._await(select.POLLIN, deadline, "did not answer")
        return b""

    def drop(self) -> None:
        """Close without waiting for the peer: what it had to say has been read, or is not wanted."""
        self.received.clear()
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class _Reader(io.RawIOBase):
    """What `http.client` takes for a socket: a file of the bytes that a channel receives until a deadline."""

    def __init__(self, channel: _Channel, deadline: float) -> None:
        self._channel = channel
        self._deadline = deadline
        self._rest = b""
        self.count = 0

    def makefile(self, mode: str) -> IO[bytes]:
        return cast("IO[bytes]", io.BufferedReader(self, _PIECE))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            if self.count and time.monotonic() >= self._deadline:  # `100 Continue` may be said for ever
                raise SinkUnavailable(f"{self._channel.endpoint}: the answer did not end before the deadline")
            self._rest = self._channel.receive(self._deadline)
        piece, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(piece)] = piece
        self.count += len(piece)
        return len(piece)


def _with_ports(hosts: str, port: int) -> str:
    return ",".join(host if re.search(r":[0-9]*$", host) else f"{host}:{port}" for host in hosts.split(","))


def _retry_after(value: str | None) -> float | None:
    if value is None:
        return None
    if value.strip().isdecimal():
        return min(float(value), _MAX_WAIT)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    left = (moment - datetime.now(timezone.utc)).total_seconds()
    return min(max(left, 0.0), _MAX_WAIT)


def check_headers(headers: Mapping[str, str], place: str) -> None:
    """Refuse what could not stand in a request or would break it apart.

    Raises:
        ConfigurationError: a name or value is not one (RFC 9110, section 5). The message holds no value.
    """
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise ConfigurationError(f"{place}: {name!r} is no header name")
        if not _VALUE.fullmatch(value):
            raise ConfigurationError(f"{place}: the value of header {name} is empty or holds control characters")


def excerpt(text: bytes | str, secrets: Iterable[str]) -> str:
    """Return the beginning of a server's words, printable, without the secrets that it may repeat to us."""
    shown = text if isinstance(text, str) else text[:2048].decode("utf-8", "replace")
    for secret in secrets:
        for part in (secret, secret.rpartition(" ")[2]):  # behind the scheme of an Authorization header
            shown = shown.replace(part, "***") if part else shown
    return "".join(char if char.isprintable() else " " for char in shown)[:200].strip()
