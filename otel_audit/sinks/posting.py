"""POSTs to one place: what webhooks and the anchors behind HTTP have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from otel_audit import __version__
from otel_audit.errors import ConfigurationError

from .base import SinkUnavailable
from .http import Answer, HttpClient, excerpt
from .secrets import read_headers
from .tls import DEFAULT_TLS, TlsSettings

__all__ = ["HttpSettings", "Poster"]


@dataclass(frozen=True, kw_only=True)
class HttpSettings:
    """Where is posted to, and how to connect to it.

    Args:
        hosts: `host:port`, or several separated by commas, of which one that fails gives way to the next.
        target: path and query, percent-encoded.
        scheme: `http` is plain text and warned of.
        headers_file: one `Name: value` a line, read anew for each request; for what authenticates.
        timeout: seconds for each of connecting, sending and answering.
        allow: addresses that may be connected to beside public ones; see `HostPolicy`.
        tls: whom to trust, and as whom to appear.
    """

    hosts: str
    target: str = "/"
    scheme: Literal["https", "http"] = "https"
    headers_file: str | None = None
    timeout: float = 10.0
    allow: tuple[str, ...] = ()
    tls: TlsSettings = DEFAULT_TLS


class Poster:
    """POSTs with the headers of a file.

    Args:
        settings: where to, and how.
        owner: the sink or anchor that posts, for messages.
        what: is sent, for messages.

    Raises:
        ConfigurationError: a setting cannot be used.
    """

    def __init__(self, settings: HttpSettings, owner: str, what: str = "audit records") -> None:
        target = settings.target
        if not target.startswith("/") or not target.isascii() or not target.isprintable() or " " in target:
            raise ConfigurationError(f"{owner}: the path begins with / and is percent-encoded")
        self._target = target
        self._place = f"{settings.scheme}://{settings.hosts}{target.partition('?')[0]}"
        self._headers_file = settings.headers_file
        self._headers = read_headers(settings.headers_file)
        self._client = HttpClient(
            hosts=settings.hosts,
            plaintext=settings.scheme == "http",
            timeout=settings.timeout,
            allow=settings.allow,
            tls=settings.tls,
            what=what,
        )

    def __str__(self) -> str:
        """Return the place without its query, fit for a message."""
        return self._place

    def post(self, body: bytes, headers: Mapping[str, str], *, below: str = "") -> Answer:
        """POST to the target, or to a path below it, and return whatever is answered.

        Raises:
            SinkUnavailable: there was no answer, or the headers cannot be read any more.
        """
        try:
            self._headers = read_headers(self._headers_file)
        except ConfigurationError as error:
            raise SinkUnavailable(str(error)) from error
        target = f"{self._target.rstrip('/')}/{below}" if below else self._target
        agent = {"User-Agent": f"otel-audit/{__version__}"}
        return self._client.post(target, body, {**agent, **headers, **self._headers})

    def describe(self, answer: Answer) -> str:
        """Say what was answered that is not the answer hoped for."""
        words = f"{self} answered {answer.status}"
        if 300 <= answer.status < 400:
            return f"{words}; redirects are not followed"
        said = excerpt(answer.body, self._headers.values())
        return f"{words}: {said}" if said else words

    def close(self) -> None:
        """End the connection; the next POST makes a new one."""
        self._client.close()
