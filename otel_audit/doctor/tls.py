"""The far ends' certificates: whether they are trusted, for the right name, and for how long."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

from otel_audit.errors import ConfigurationError
from otel_audit.sinks.hosts import Endpoint, HostPolicy, parse_endpoints, resolve
from otel_audit.sinks.tls import TlsSettings
from otel_audit.sinks.urls import SinkUrl

from .check import Check

__all__ = ["check_connection", "check_tls"]

_SOON: Final = 30
"""Days."""
_FILES: Final = ("ca_file", "cert_file", "key_file", "key_password_file", "server_name")
_PLAIN: Final = ("+tcp", "+http", "+grpc")
_PORTS: Final = {
    "elasticsearch": 9200,
    "opensearch": 9200,
    "otlp": 443,
    "s3": 443,
    "tsa": 443,
    "webhook": 443,
    "witness": 443,
}
_OTLP_ALLOWS: Final = ("loopback", "private")
_TODO: Final = {
    10: "renew the certificate there",  # X509_V_ERR_CERT_HAS_EXPIRED
    9: "compare the clocks: it is not valid yet",  # X509_V_ERR_CERT_NOT_YET_VALID
    62: "set server_name if the far end is the right one, else find out who answers",  # X509_V_ERR_HOSTNAME_MISMATCH
    64: "set server_name if the far end is the right one, else find out who answers",  # X509_V_ERR_IP_ADDRESS_MISMATCH
}
_UNTRUSTED: Final = "set ca_file to the authority that signed it, if it is the right one"


class _Target(NamedTuple):
    endpoints: tuple[Endpoint, ...]
    policy: HostPolicy
    tls: TlsSettings


def check_tls(
    parts: SinkUrl, name: str, *, what: Literal["records", "checkpoints"] = "records", timeout: float
) -> Iterator[Check]:
    """Shake hands with every host of a URL and look at what it shows.

    Args:
        parts: the URL of a sink or an anchor on the network.
        name: its name, for the report.
        what: `records` of a sink, `checkpoints` of an anchor, to which the environment says nothing.
        timeout: seconds for each connection.
    """
    label = f"TLS of {name}"
    try:
        target = _find_target(parts, by_environment=what == "records")
    except ConfigurationError as error:
        yield Check(label, "fail", str(error), "correct its URL")
        return
    if target is None:
        yield Check(label, "warn", f"{what} go out in plain text", "use TLS; plain text is for tests")
        return
    for endpoint in target.endpoints:
        yield _check_endpoint(f"{label}, {endpoint}", endpoint, target, timeout)


def check_connection(parts: SinkUrl, name: str, *, timeout: float) -> Iterator[Check]:
    """Connect to every host of a URL without TLS."""
    hosts = ",".join(_with_port(host, 80) for host in parts.authority.split(","))
    try:
        endpoints = parse_endpoints(hosts)
    except ConfigurationError as error:
        yield Check(name, "fail", str(error), "correct its URL")
        return
    target = _Target(endpoints, _policy(parts), TlsSettings())
    for endpoint in endpoints:
        label = f"{name}, {endpoint}"
        try:
            _connect(endpoint, target, timeout).close()
        except (OSError, ConfigurationError) as error:
            yield Check(label, "fail", f"no connection: {error}", "is it up, and open to this machine?")
        else:
            yield Check(label, "ok", "takes connections; none of its answers was asked for")


def _check_endpoint(label: str, endpoint: Endpoint, target: _Target, timeout: float) -> Check:
    name = target.tls.server_name or endpoint.host.removesuffix(".")
    try:
        with (
            _connect(endpoint, target, timeout) as plain,
            target.tls.context().wrap_socket(plain, server_hostname=name) as connection,
        ):
            chain, version = _chain(connection), connection.version()
    except ssl.SSLCertVerificationError as error:
        todo = _TODO.get(error.verify_code, _UNTRUSTED)
        return Check(label, "fail", f"certificate: {error.verify_message}", todo)
    except ssl.SSLError as error:
        return Check(
            label,
            "fail",
            f"handshake: {error.reason or error}",
            "is this port TLS, and is a client certificate asked for?",
        )
    except TimeoutError:
        todo = "is it up, open to this machine, and is this port TLS?"
        return Check(label, "fail", f"no answer within {timeout:g} s", todo)
    except (OSError, ConfigurationError) as error:
        return Check(label, "fail", f"no connection: {error}", "is it up, and open to this machine?")
    return _judge(label, chain, name, version)


def _judge(label: str, chain: list[bytes], name: str, version: str | None) -> Check:
    from cryptography import x509

    now = datetime.now(timezone.utc)
    certificates = [x509.load_der_x509_certificate(each) for each in chain]
    first = min(certificates, key=lambda each: each.not_valid_after_utc)
    days = (first.not_valid_after_utc - now).days
    said = f"{version}, for {name}, valid until {first.not_valid_after_utc:%Y-%m-%d}"
    if days < _SOON:
        whose = first.subject.rfc4514_string() or "the certificate"
        return Check(label, "warn", f"{whose} expires in {days} days", "renew it before then")
    return Check(label, "ok", said)


def _connect(endpoint: Endpoint, target: _Target, timeout: float) -> socket.socket:
    failure: OSError = OSError("no address")
    for address in resolve(endpoint, target.policy, timeout):
        connection = socket.socket(address.family, socket.SOCK_STREAM)
        connection.settimeout(timeout)
        try:
            connection.connect(address.sockaddr)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    raise failure


def _chain(connection: ssl.SSLSocket) -> list[bytes]:
    """Return the verified chain in DER; before Python 3.13 the server's own certificate alone."""
    if hasattr(connection, "get_verified_chain"):
        return list(connection.get_verified_chain())
    return [connection.getpeercert(binary_form=True) or b""]


def _find_target(parts: SinkUrl, *, by_environment: bool) -> _Target | None:
    """Return where a sink or anchor connects to with TLS, and how; None if it does so without."""
    base = parts.scheme.partition("+")[0]
    authority, options = parts.authority, parts.options
    if base == "s3":
        secure, authority = _find_bucket(options)
    else:
        secure = not parts.scheme.endswith(_PLAIN)
    files: dict[str, Any] = {key: options.get(key) for key in _FILES}
    tls = TlsSettings(**files)
    if base == "otlp" and by_environment:
        from otel_audit.sinks.otlp.settings import resolve as resolve_otlp

        endpoint = f"{'https' if secure else 'http'}://{authority}" if authority else None
        otlp = resolve_otlp(endpoint=endpoint, protocol=None, timeout=None, compression=None, tls=tls)
        secure, authority, tls = otlp.secure, otlp.authority, otlp.tls
    if not secure:
        return None
    hosts = ",".join(_with_port(host, _PORTS.get(base)) for host in authority.split(","))
    return _Target(parse_endpoints(hosts), _policy(parts), tls)


def _policy(parts: SinkUrl) -> HostPolicy:
    if "allow" in parts.options:
        return HostPolicy(tuple(parts.options["allow"].split(",")))
    return HostPolicy(_OTLP_ALLOWS if parts.scheme.startswith("otlp") else ())


def _find_bucket(options: Mapping[str, str]) -> tuple[bool, str]:
    """Return whether a bucket is reached with TLS, and the host, as far as can be told here."""
    region = options.get("region") or os.environ.get("AWS_DEFAULT_REGION", "us-east-1")
    url = urlsplit(options.get("endpoint", f"https://s3.{region}.amazonaws.com"))
    return url.scheme == "https", url.netloc


def _with_port(host: str, port: int | None) -> str:
    has_port = host.rpartition("]")[2].count(":") == 1
    return host if has_port or port is None else f"{host}:{port}"
