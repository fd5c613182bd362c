"""What anchors behind an HTTP POST have in common: one connection, deadlines, the host policy, headers from a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal, TypeVar
from urllib.parse import quote

from otel_audit import __version__
from otel_audit.errors import ConfigurationError
from otel_audit.integrity.publishing import AnchorError, AnchorRefused
from otel_audit.sinks.base import SinkUnavailable
from otel_audit.sinks.http import Answer, HttpClient, excerpt
from otel_audit.sinks.secrets import read_headers
from otel_audit.sinks.tls import TlsVersion
from otel_audit.sinks.urls import nearest, read_options, split_url

__all__ = ["HttpAnchor"]

_Anchor = TypeVar("_Anchor", bound="HttpAnchor")
_PASSING: Final = frozenset({408, 425, 429})
"""Answers of 4xx that say to come back later (RFC 9110, section 15.5; RFC 8470; RFC 6585)."""


class HttpAnchor:
    """An anchor that is posted to.

    Args:
        hosts: `host:port`, or several separated by commas, of which one that fails gives way to the next.
        target: path, percent-encoded.
        scheme: `http` is plain text and warned of.
        headers_file: one `Name: value` a line, read anew for each request; for what authenticates.
        timeout: seconds for each of connecting, sending and answering.
        allow: addresses that may be connected to beside public ones; see `HostPolicy`.
        ca_file, cert_file, key_file, key_password_file, server_name, minimum_tls_version: see `TlsSettings`.
        name: the anchor's name.

    Raises:
        ConfigurationError: a setting cannot be used.
    """

    kind: ClassVar[str]
    """What the URL's scheme begins with, and the name where none is given."""

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
        name: str | None = None,
    ) -> None:
        if not target.startswith("/") or not target.isascii() or not target.isprintable() or " " in target:
            raise ConfigurationError(f"anchor {name or self.kind}: the path begins with / and is percent-encoded")
        self.name = name or self.kind
        self._target = target
        self._headers_file = headers_file
        self._place = f"{scheme}://{hosts}{target}"
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
            what="checkpoints",
        )

    @classmethod
    def from_url(cls: type[_Anchor], url: str) -> _Anchor:  # noqa: PYI019 - typing.Self is 3.11
        """Return the anchor of `<kind>+https://host:port/path?option=value`; `+http` is plain text.

        Raises:
            ConfigurationError: the URL or one of its options is unusable.
        """
        parts = split_url(url, "anchor")
        schemes: dict[str, Any] = {f"{cls.kind}+https": "https", cls.kind: "https", f"{cls.kind}+http": "http"}
        if parts.scheme not in schemes:
            raise ConfigurationError(f"anchor {parts}: unknown scheme{nearest(parts.scheme, schemes)}")
        if parts.user or not parts.authority:
            raise ConfigurationError(f"anchor {parts}: a host is needed, and no user; use headers_file")
        given: dict[str, Any] = {
            "hosts": parts.authority,
            "scheme": schemes[parts.scheme],
            "target": quote(parts.path or "/"),
        }
        return cls(**given, **read_options(parts.options, cls.__init__, parts, given=given, what="anchor"))

    def close(self) -> None:
        """End the connection; the next checkpoint makes a new one."""
        self._client.close()

    def _post(self, body: bytes, headers: Mapping[str, str], *, below: str = "") -> Answer:
        """POST to the target, or to a path below it, and return whatever is answered.

        Raises:
            AnchorError: there was no answer.
        """
        try:
            own = read_headers(self._headers_file)
            target = f"{self._target.rstrip('/')}/{below}" if below else self._target
            return self._client.post(target, body, {"User-Agent": f"otel-audit/{__version__}", **headers, **own})
        except (SinkUnavailable, ConfigurationError) as error:
            raise AnchorError(str(error), retry_after=getattr(error, "retry_after", None)) from error

    def _refusal(self, answer: Answer) -> AnchorError:
        """Return what an answer means that is not the one hoped for."""
        secrets = read_headers(self._headers_file).values()
        said = excerpt(answer.body, secrets)
        message = f"{self._place} answered {answer.status}{f': {said}' if said else ''}"
        if 400 <= answer.status < 500 and answer.status not in _PASSING:
            return AnchorRefused(message)
        if 300 <= answer.status < 400:
            message = f"{self._place} answered {answer.status}; redirects are not followed"
        return AnchorError(message, retry_after=answer.retry_after)
