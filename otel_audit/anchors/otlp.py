"""An OTLP receiver of another trust domain: `otlp+https://collector.elsewhere:4318`.

The signed note is the body of a log record with the event name `audit.checkpoint`; its attributes say of which log it
is and how far it reaches. For what speaks OTLP and keeps logs where this log's owner may not delete them.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal
from urllib.parse import quote

from otel_audit.errors import ConfigurationError
from otel_audit.integrity.publishing import AnchorError, AnchorRefused, Receipt, SignedHead
from otel_audit.otel.projection import Projection
from otel_audit.otel.wire import encode_text
from otel_audit.record import Control
from otel_audit.sinks.base import RecordsRefused, SinkUnavailable
from otel_audit.sinks.otlp import OTLPSink
from otel_audit.sinks.tls import DEFAULT_TLS, TlsSettings
from otel_audit.sinks.urls import read_options, read_scheme, split_url

__all__ = ["OtlpAnchor"]

_SCHEMES: Final[Mapping[str, tuple[Literal["http/protobuf", "grpc"], str]]] = {
    "otlp+https": ("http/protobuf", "https"),
    "otlp+http": ("http/protobuf", "http"),
    "otlp+grpcs": ("grpc", "https"),
    "otlp+grpc": ("grpc", "http"),
}


class _SinkElsewhere(OTLPSink):
    """A sink that gets none of the environment's headers and certificates: they are for the log's own receiver."""

    environ: ClassVar[Mapping[str, str]] = {}


class OtlpAnchor:
    """Sends checkpoints as OTLP log records. Arguments are those of `OTLPSink`, without the environment's say."""

    def __init__(
        self,
        *,
        endpoint: str,
        protocol: Literal["http/protobuf", "grpc"],
        resource: Mapping[str, Any] | None = None,
        headers_file: str | None = None,
        timeout: float = 10.0,
        compression: Literal["none", "gzip", "deflate"] | None = None,
        tls: TlsSettings = DEFAULT_TLS,
        allow: tuple[str, ...] = ("loopback", "private"),
        name: str = "otlp",
    ) -> None:
        self.name = name
        self._sink = _SinkElsewhere(
            endpoint=endpoint,
            protocol=protocol,
            resource=resource,
            headers_file=headers_file,
            timeout=timeout,
            compression=compression,
            tls=tls,
            allow=allow,
            name=name,
        )

    @classmethod
    def from_url(cls, url: str, *, resource: Mapping[str, Any] | None = None) -> OtlpAnchor:
        """Return the anchor of `otlp+https|+http|+grpcs|+grpc://host:port/path?option=value`.

        Raises:
            ConfigurationError: the URL or one of its options is unusable.
        """
        parts = split_url(url, "anchor")
        protocol, scheme = read_scheme(parts, _SCHEMES, "anchor")
        if parts.user or not parts.authority:
            raise ConfigurationError(f"anchor {parts}: a host and port are needed, and no user; use headers_file")
        given = {
            "endpoint": f"{scheme}://{parts.authority}{quote(parts.path)}",
            "protocol": protocol,
            "resource": resource,
        }
        return cls(**read_options(parts.options, cls.__init__, parts, given=given, what="anchor"))

    def publish(self, head: SignedHead) -> Receipt:
        """Send a checkpoint; return when the receiver has accepted it.

        Raises:
            AnchorRefused: the receiver cannot take it.
            AnchorError: no answer, or one that says to try later.
        """
        checkpoint, now = head.checkpoint, time.time_ns()
        attributes: dict[str, Any] = {
            "audit.checkpoint.origin": checkpoint.origin,
            "audit.checkpoint.root": base64.b64encode(checkpoint.root).decode(),
            "audit.checkpoint.size": checkpoint.size,
        }
        shown = Projection(attributes, Control.CHECKPOINT, now, 0, "", "", "", 0)
        try:
            self._sink.export([encode_text(shown, head.note)])
        except RecordsRefused as error:
            raise AnchorRefused(str(error)) from error
        except SinkUnavailable as error:
            raise AnchorError(str(error), retry_after=error.retry_after) from error
        return Receipt({"event_name": Control.CHECKPOINT})

    def close(self) -> None:
        """End the connection; the next checkpoint makes a new one."""
        self._sink.close()
