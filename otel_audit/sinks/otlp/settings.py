"""Where and how to send OTLP: what the sink was given, else the standard environment variables.

OpenTelemetry specification, "OTLP Exporter Configuration": for each setting the variable of the logs signal
wins over the general one. As in the Python SDK, time-outs are in seconds.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from otel_audit.errors import ConfigurationError
from otel_audit.sinks.http import check_headers
from otel_audit.sinks.secrets import read_headers
from otel_audit.sinks.tls import DEFAULT_TLS, TlsSettings
from otel_audit.sinks.urls import nearest

__all__ = ["Compression", "Protocol", "Settings", "headers", "resolve"]

Protocol: TypeAlias = Literal["http/protobuf", "grpc"]
Compression: TypeAlias = Literal["none", "gzip", "deflate"]

_PROTOCOLS: Final = ("http/protobuf", "grpc")
_COMPRESSIONS: Final = ("none", "gzip", "deflate")
_DEFAULT_ENDPOINT: Final = {"http/protobuf": "http://localhost:4318", "grpc": "http://localhost:4317"}
_PATH: Final = "/v1/logs"


@dataclass(frozen=True)
class Settings:
    """A sink's settings, each decided."""

    protocol: Protocol
    secure: bool
    authority: str
    target: str
    """Path and query of the HTTP request."""
    timeout: float
    compression: Compression
    tls: TlsSettings

    def __str__(self) -> str:
        """Return the endpoint without its query, fit for a message."""
        scheme = f"{self.protocol.partition('/')[0]}{'s' if self.secure else ''}"
        return f"{scheme}://{self.authority}{self.target.partition('?')[0]}"


def resolve(
    *,
    endpoint: str | None,
    protocol: Protocol | None,
    timeout: float | None,
    compression: Compression | None,
    tls: TlsSettings = DEFAULT_TLS,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Return settings in which nothing is open any more. What is not given comes from `environ`.

    Raises:
        ConfigurationError: a setting or variable cannot be used; the message names it.
    """
    chosen: Any = protocol or _word("PROTOCOL", _PROTOCOLS, environ) or "http/protobuf"
    secure, authority, target = _endpoint(endpoint, chosen, environ)
    packing: Any = compression or _word("COMPRESSION", _COMPRESSIONS, environ) or "none"
    if chosen == "grpc" and packing == "deflate":
        raise ConfigurationError("OTLP over gRPC: the compression deflate is not defined; use gzip or none")
    return Settings(
        chosen,
        secure,
        authority,
        target,
        timeout if timeout is not None else _seconds(environ),
        packing,
        _with_files(tls, environ) if secure else tls,
    )


def _with_files(tls: TlsSettings, environ: Mapping[str, str]) -> TlsSettings:
    return replace(
        tls,
        ca_file=tls.ca_file or _variable("CERTIFICATE", environ)[1],
        cert_file=tls.cert_file or _variable("CLIENT_CERTIFICATE", environ)[1],
        key_file=tls.key_file or _variable("CLIENT_KEY", environ)[1],
    )


def headers(headers_file: str | None, environ: Mapping[str, str] = os.environ) -> Mapping[str, str]:
    """Return the headers to send with each request: the file's, over those of the environment.

    Raises:
        ConfigurationError: the file cannot be read, or a header cannot be sent.
    """
    from opentelemetry.util.re import parse_env_headers

    name, text = _variable("HEADERS", environ)
    given = parse_env_headers(text, liberal=True) if text else {}
    check_headers(given, name)
    return {**given, **{key.lower(): value for key, value in read_headers(headers_file).items()}}


def _variable(setting: str, environ: Mapping[str, str]) -> tuple[str, str | None]:
    """Return the variable that decides a setting, and its value; empty counts as unset."""
    for name in (f"OTEL_EXPORTER_OTLP_LOGS_{setting}", f"OTEL_EXPORTER_OTLP_{setting}"):
        if value := environ.get(name, "").strip():
            return name, value
    return f"OTEL_EXPORTER_OTLP_{setting}", None


def _word(setting: str, words: tuple[str, ...], environ: Mapping[str, str]) -> str | None:
    name, value = _variable(setting, environ)
    if value is not None and value.lower() not in words:
        raise ConfigurationError(f"{name}: {value!r} is not known here{nearest(value, words)}")
    return value and value.lower()


def _seconds(environ: Mapping[str, str]) -> float:
    name, value = _variable("TIMEOUT", environ)
    try:
        seconds = float(value or 10)
    except ValueError:
        seconds = 0
    if not 0 < seconds < 86_400:
        raise ConfigurationError(f"{name}: {value!r} is not a number of seconds above 0")
    return seconds


def _endpoint(given: str | None, protocol: Protocol, environ: Mapping[str, str]) -> tuple[bool, str, str]:
    """Return whether to use TLS, the host and port, and the target of HTTP requests."""
    name, text = ("endpoint", given) if given is not None else _variable("ENDPOINT", environ)
    text = text or _DEFAULT_ENDPOINT[protocol]
    if protocol == "grpc" and "://" not in text:
        text = f"{'http' if _insecure(environ) else 'https'}://{text}"
    scheme, authority, path, query, _ = urlsplit(text)
    if scheme not in ("http", "https") or not authority or "@" in authority:
        raise ConfigurationError(f"{name}: an address like https://collector:4318 is needed, without a user")
    if protocol == "grpc":
        return scheme == "https", authority, ""
    if name == "OTEL_EXPORTER_OTLP_ENDPOINT":  # a base of all signals' addresses
        path = path.rstrip("/") + _PATH
    elif given is not None and path in ("", "/"):
        path = _PATH
    target = (path or "/") + (f"?{query}" if query else "")
    if not target.isascii() or not target.isprintable() or " " in target:
        raise ConfigurationError(f"{name}: the path must be percent-encoded")
    return scheme == "https", authority, target


def _insecure(environ: Mapping[str, str]) -> bool:
    return (_variable("INSECURE", environ)[1] or "").lower() == "true"
