"""The settings that all TCP sinks share, and the connection that they describe."""

from __future__ import annotations

from dataclasses import dataclass

from otel_audit.errors import ConfigurationError
from otel_audit.sinks.connection import Connection
from otel_audit.sinks.hosts import HostPolicy, parse_endpoints
from otel_audit.sinks.tls import DEFAULT_TLS, TlsSettings, choose_tls
from otel_audit.sinks.urls import SinkUrl

__all__ = ["TcpSettings", "read_place"]


@dataclass(frozen=True, kw_only=True)
class TcpSettings:
    """Where a far end is that speaks TCP, and how to connect to it.

    Args:
        hosts: `host:port`, or several separated by commas, of which one that fails gives way to the next.
        plaintext: go without TLS; warned of.
        allow: addresses that may be connected to beside public ones; see `HostPolicy`.
        tls: whom to trust, and as whom to appear.
        connect_timeout, handshake_timeout, write_timeout: seconds.
    """

    hosts: str
    plaintext: bool = False
    allow: tuple[str, ...] = ()
    tls: TlsSettings = DEFAULT_TLS
    connect_timeout: float = 10.0
    handshake_timeout: float = 10.0
    write_timeout: float = 10.0

    def connection(self) -> Connection:
        """Return a connection, not opened yet.

        Raises:
            ConfigurationError: a setting is unusable, or TLS settings are given with plain text.
        """
        tls = choose_tls(self.tls, plaintext=self.plaintext, hosts=self.hosts)
        return Connection(
            parse_endpoints(self.hosts),
            policy=HostPolicy(self.allow),
            tls=tls,
            connect_timeout=self.connect_timeout,
            handshake_timeout=self.handshake_timeout,
            write_timeout=self.write_timeout,
        )


def read_place(url: SinkUrl, *, plaintext: bool) -> dict[str, object]:
    """Return what a URL without a path gives of `TcpSettings`.

    Raises:
        ConfigurationError: it holds more than hosts and options.
    """
    if url.user or url.path not in ("", "/"):
        raise ConfigurationError(f"sink {url}: hosts and options are all that this URL may hold")
    return {"hosts": url.authority, "plaintext": plaintext}
