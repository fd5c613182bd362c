"""Syslog: RFC 5424 messages over TLS (RFC 5425), each with its length in front.

    SyslogSink.from_url("syslog+tls://siem:6514?ca_file=/etc/ssl/audit.pem")

A message is a header, the record's place as structured data, and the sealed line. Syslog has no
acknowledgement: what is guaranteed, and what is not, `otel_audit.sinks.oneway` says.
"""

from __future__ import annotations

import re
import socket
from typing import Final

from otel_audit.errors import ConfigurationError
from otel_audit.sinks.base import SealedLine
from otel_audit.sinks.network import TcpSettings, read_place
from otel_audit.sinks.oneway import DEFAULT_WINDOW, OneWaySink
from otel_audit.sinks.urls import read_options, read_scheme, split_url

__all__ = ["SyslogSink"]

_SCHEMES: Final = {"syslog": False, "syslog+tls": False, "syslog+tcp": True}
_NOTICE: Final = 5  # RFC 5424, section 6.2.1: normal but significant

# RFC 5424, section 6.2.3, allows six digits of a second's fraction; a line has nine.
_TIMESTAMP = re.compile(rb'\{"@timestamp":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6})\d{3}Z"')
_NOT_PRINTABLE = re.compile(r"[^!-~]")


class SyslogSink(OneWaySink):
    """Sends each line as the MSG of one RFC 5424 message in an octet-counted frame (RFC 5425, section 4.3).

    MSG is the line without its newline and without a byte order mark (MSG-ANY), byte for byte what was
    sealed. `facility` 13 is the log audit (RFC 5424, table 1). `enterprise` is the private enterprise number behind
    which the structured data's names stand; 32473 is the one set aside for examples (RFC 5612).

    Raises:
        ConfigurationError: a setting is unusable.
    """

    def __init__(
        self,
        *,
        name: str = "syslog",
        app_name: str = "otel-audit",
        facility: int = 13,
        enterprise: int = 32473,
        tcp: TcpSettings,
        max_records: int = 2048,
        max_bytes: int = 1024 * 1024,
        window: int = DEFAULT_WINDOW,
        settle_after: float = 2.0,
    ) -> None:
        super().__init__(
            tcp.connection(),
            name=name,
            max_records=max_records,
            max_bytes=max_bytes,
            window=window,
            settle_after=settle_after,
        )
        if not 0 <= facility <= 23:
            raise ConfigurationError(f"sink {name}: facility is a number from 0 to 23 (13 is the audit log)")
        if not app_name or len(app_name) > 48 or _NOT_PRINTABLE.search(app_name):
            raise ConfigurationError(f"sink {name}: app_name has 1 to 48 printable ASCII characters, no space")
        if enterprise <= 0:
            raise ConfigurationError(f"sink {name}: enterprise is a private enterprise number, above 0")
        host = _NOT_PRINTABLE.sub("", socket.gethostname())[:255] or "-"
        self._priority = b"<%d>1 " % (facility * 8 + _NOTICE)
        self._identity = f" {host} {app_name} - - [record@{enterprise} ".encode()

    def frame(self, record: SealedLine) -> bytes:
        """Return `length SP header [record@... stream="" seq=""] line`."""
        found = _TIMESTAMP.match(record.line)
        message = b'%b%b%bstream="%b" seq="%d"] %b' % (
            self._priority,
            found[1] + b"Z" if found else b"-",
            self._identity,
            record.stream.encode(),
            record.seq,
            record.line.removesuffix(b"\n"),
        )
        return b"%d %b" % (len(message), message)

    @classmethod
    def from_url(cls, url: str) -> SyslogSink:
        """Return the sink that `syslog[+tls|+tcp]://host:port` describes; `+tcp` is the word for plain text.

        Raises:
            ConfigurationError: the URL or one of its options is unusable.
        """
        parts = split_url(url)
        given = read_place(parts, plaintext=read_scheme(parts, _SCHEMES))
        return cls(**read_options(parts.options, cls.__init__, parts, given=given))
