"""The settings that all TCP sinks share, and the connection that they describe."""

from __future__ import annotations

import warnings

from otel_audit.errors import ConfigurationError
from otel_audit.sinks.connection import Connection
from otel_audit.sinks.hosts import HostPolicy, parse_endpoints
from otel_audit.sinks.tls import TlsSettings, TlsVersion

__all__ = ["describe_connection"]


def describe_connection(
    *,
    hosts: str,
    plaintext: bool,
    allow: tuple[str, ...],
    ca_file: str | None,
    cert_file: str | None,
    key_file: str | None,
    key_password_file: str | None,
    server_name: str | None,
    minimum_tls_version: TlsVersion,
    connect_timeout: float,
    handshake_timeout: float,
    write_timeout: float,
) -> Connection:
    """Return a connection, not opened yet. Plain text is warned of, once for each place in the code.

    Raises:
        ConfigurationError: a setting is unusable, or TLS settings are given with plain text.
    """
    tls = TlsSettings(ca_file, cert_file, key_file, key_password_file, server_name, minimum_tls_version)
    if plaintext:
        if tls != TlsSettings():
            raise ConfigurationError(f"hosts {hosts}: plain text was asked for, and TLS settings are given")
        warnings.warn(
            f"audit records go to {hosts} in plain text: anyone on the way can read and change them; use TLS",
            RuntimeWarning,
            stacklevel=3,
        )
    return Connection(
        parse_endpoints(hosts),
        policy=HostPolicy(allow),
        tls=None if plaintext else tls,
        connect_timeout=connect_timeout,
        handshake_timeout=handshake_timeout,
        write_timeout=write_timeout,
    )
