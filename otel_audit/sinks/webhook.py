"""Lines to an HTTP endpoint: a POST of NDJSON a batch, `webhook+https://hooks.example/audit`.

    POST /audit HTTP/1.1
    Content-Type: application/x-ndjson
    Idempotency-Key: "01a200a867407357b1ffeabe75c3f9c0-7.50"

A batch counts as delivered with an answer of 2xx. What was not answered is sent again, so the endpoint can
get a record twice: `<stream>-<seq>` tells. The key names a batch by its first record and its length; the
shipper may divide what it sends again otherwise than before, so the endpoint must not rely on it for single
records.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal
from urllib.parse import quote

from otel_audit import __version__
from otel_audit.errors import ConfigurationError

from .base import RecordsRefused, SealedLine, SinkUnavailable
from .http import HttpClient, excerpt
from .secrets import read_headers
from .tls import TlsVersion
from .urls import nearest, read_options, split_url

__all__ = ["WebhookSink"]

_SCHEMES: Final = {"webhook": "https", "webhook+https": "https", "webhook+http": "http"}
_REFUSALS: Final = frozenset({400, 413, 422})
_HINTS: Final = {401: " (check headers_file)", 403: " (check headers_file)", 404: " (check the path)"}


class WebhookSink:
    """POSTs batches of lines.

    Args:
        hosts: `host:port`, or several separated by commas, of which one that fails gives way to the next.
        target: path and query, percent-encoded.
        scheme: `http` is plain text and warned of.
        headers_file: one `Name: value` a line, read anew for each request; for what authenticates.
        timeout: seconds for each of connecting, sending and answering.
        allow: addresses that may be connected to beside public ones; see `HostPolicy`.
        ca_file, cert_file, key_file, key_password_file, server_name, minimum_tls_version: see `TlsSettings`.

    Raises:
        ConfigurationError: a setting cannot be used.
    """

    window = 0

    def __init__(
        self,
        *,
        hosts: str,
        target: str = "/",
        scheme: Literal["https", "http"] = "https",
        headers_file: str | None = None,
        timeout: float = 10.0,
        allow: tuple[str, ...] = (),
        ca_file: str | None = None,
        cert_file: str | None = None,
        key_file: str | None = None,
        key_password_file: str | None = None,
        server_name: str | None = None,
        minimum_tls_version: TlsVersion = "1.2",
        max_records: int = 500,
        max_bytes: int = 1 << 20,
        name: str = "webhook",
    ) -> None:
        if not target.startswith("/") or not target.isascii() or not target.isprintable() or " " in target:
            raise ConfigurationError(f"sink {name}: the path begins with / and is percent-encoded")
        self.name = name
        self.max_records = max_records
        self.max_bytes = max_bytes
        self._target = target
        self._headers_file = headers_file
        self._place = f"{scheme}://{hosts}{target.partition('?')[0]}"
        read_headers(headers_file)
        self._client = HttpClient(
            hosts=hosts,
            plaintext=scheme == "http",
            timeout=timeout,
            allow=allow,
            ca_file=ca_file,
            cert_file=cert_file,
            key_file=key_file,
            key_password_file=key_password_file,
            server_name=server_name,
            minimum_tls_version=minimum_tls_version,
        )

    @classmethod
    def from_url(cls, url: str) -> WebhookSink:
        """Return the sink of `webhook[+https|+http]://host:port/path?option=value`.

        Raises:
            ConfigurationError: the URL or one of its options is unusable.
        """
        parts = split_url(url)
        if parts.scheme not in _SCHEMES:
            raise ConfigurationError(f"sink {parts}: unknown scheme{nearest(parts.scheme, _SCHEMES)}")
        if parts.user or not parts.authority:
            raise ConfigurationError(f"sink {parts}: a host is needed, and no user; use headers_file")
        given: dict[str, Any] = {
            "hosts": parts.authority,
            "scheme": _SCHEMES[parts.scheme],
            "target": quote(parts.path or "/"),
        }
        return cls(**given, **read_options(parts.options, cls.__init__, parts, given=given))

    def send(self, batch: Sequence[SealedLine]) -> None:
        """POST a batch; return at an answer of 2xx.

        Raises:
            SinkUnavailable: no answer, or another one.
            RecordsRefused: the answer is 400, 413 or 422.
        """
        try:
            headers = read_headers(self._headers_file)
        except ConfigurationError as error:
            raise SinkUnavailable(str(error)) from error
        answer = self._client.post(
            self._target,
            b"".join([sealed.line for sealed in batch]),
            {
                "Content-Type": "application/x-ndjson",
                "User-Agent": f"otel-audit/{__version__}",
                "Idempotency-Key": f'"{batch[0].id}.{len(batch)}"',
                **headers,
            },
        )
        if 200 <= answer.status < 300:
            return
        said = excerpt(answer.body, headers.values())
        reason = f"{self._place} answered {answer.status}{f': {said}' if said else ''}"
        if answer.status in _REFUSALS:
            raise RecordsRefused(reason)
        if answer.status < 400:
            reason = f"{self._place} answered {answer.status}; redirects are not followed"
        raise SinkUnavailable(f"{reason}{_HINTS.get(answer.status, '')}", retry_after=answer.retry_after)

    def settled(self) -> bool:
        """Return True: what was sent is accepted when `send` returns."""
        return True

    def close(self) -> None:
        """End the connection; the next send makes a new one."""
        self._client.close()
