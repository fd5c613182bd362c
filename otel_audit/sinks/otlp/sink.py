"""The OTLP sink: a record's body is its line, its attributes are for search; see
`otel_audit.otel.projection`.

What an exporter of the OpenTelemetry SDK returns does not say that the records arrived: it does not read the
response, where `partial_success` stands, and it retries and gives up on its own. So the requests here are
those of opentelemetry-proto, written from the sealed lines, and their responses are read; retrying is the
shipper's alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal
from urllib.parse import quote

from otel_audit import __version__
from otel_audit.errors import ConfigurationError
from otel_audit.notices import notice
from otel_audit.otel.wire import RequestWriter, encode_record
from otel_audit.sinks.base import AnsweredSink, RecordsRefused, SealedLine, SinkUnavailable
from otel_audit.sinks.hosts import HostPolicy
from otel_audit.sinks.http import HttpClient, excerpt
from otel_audit.sinks.tls import DEFAULT_TLS, TlsSettings, warn_of_plaintext
from otel_audit.sinks.urls import read_options, read_scheme, split_url

from .settings import Compression, Protocol, Settings, headers, resolve

if TYPE_CHECKING:
    from otel_audit.otel.projection import Projection
    from otel_audit.otel.signing import RecordSigner

    from .grpc import GrpcTransport
    from .http import HttpTransport

__all__ = ["OTLPSink"]

Integrity = Literal["otel-signing"]

SCOPE_NAME: Final = "otel_audit"

_AGENT: Final = f"otel-audit/{__version__}"
_SCHEMES: Final[dict[str, tuple[Protocol | None, str]]] = {
    "otlp": (None, "https"),
    "otlp+https": ("http/protobuf", "https"),
    "otlp+http": ("http/protobuf", "http"),
    "otlp+grpcs": ("grpc", "https"),
    "otlp+grpc": ("grpc", "http"),
}


class OTLPSink(AnsweredSink):
    """Sends records as OTLP logs and takes for delivered what the response accepts.

    What is not given here comes from the `OTEL_EXPORTER_OTLP_LOGS_*` and `OTEL_EXPORTER_OTLP_*` variables. A
    response that rejects records (`partial_success`) counts as a failure of the batch.

    Args:
        endpoint: `https://collector:4318`, with a path other than `/v1/logs` if the receiver has one;
        `http://`
            is plain text and warned of. For gRPC, scheme, host and port.
        protocol: `http/protobuf` (the default) or `grpc`. headers_file: one `Name: value` a line, over the
        headers of the environment; read anew for each request. timeout: seconds for one batch, from sending
        to the answer; 10 by default. compression: `none` (the default), `gzip`, or over HTTP `deflate`.
        tls: whom to trust, and as whom to appear; gRPC takes no `key_password_file` and no `minimum_tls_version`.
        allow: addresses that may be connected to beside public ones. A Collector is usually near, so private
            and loopback addresses are allowed by default.
        resource: resource attributes over those of `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME`.
        integrity: `otel-signing`: records carry a signature as the Collector's `signing` processor makes it, beside
            their own chain; see `otel_audit.otel.signing`.
        integrity_key_file, integrity_certificate_file: what signs: an Ed25519, P-256 or RSA key in PKCS#8 PEM form
            and its certificate, or a secret in base64 alone.
        max_records, max_bytes: limits of one batch; receivers take 4 MiB (gRPC) or 20 MiB (HTTP) by default.
        name: the sink's name.

    Raises:
        ConfigurationError: a setting cannot be used, or the OpenTelemetry packages are not installed.
    """

    environ: ClassVar[Mapping[str, str]] = os.environ
    """Where the variables are looked up."""

    def __init__(
        self,
        *,
        endpoint: str | None = None,
        protocol: Protocol | None = None,
        headers_file: str | None = None,
        timeout: float | None = None,
        compression: Compression | None = None,
        tls: TlsSettings = DEFAULT_TLS,
        allow: tuple[str, ...] = ("loopback", "private"),
        resource: Mapping[str, Any] | None = None,
        integrity: Integrity | None = None,
        integrity_key_file: str | None = None,
        integrity_certificate_file: str | None = None,
        max_records: int = 512,
        max_bytes: int = 1 << 20,
        name: str = "otlp",
    ) -> None:
        if find_spec("opentelemetry") is None or find_spec("opentelemetry.proto") is None:
            raise ConfigurationError(f"sink {name}: OTLP needs pip install 'otel-audit[otel]'")
        self.name = name
        self.max_records = max_records
        self.max_bytes = max_bytes
        self._resource = resource
        self._signer = _signer(name, integrity, integrity_key_file, integrity_certificate_file)
        self._writer: RequestWriter | None = None
        self._transport: HttpTransport | GrpcTransport
        settings = resolve(
            endpoint=endpoint,
            protocol=protocol,
            timeout=timeout,
            compression=compression,
            tls=tls,
            environ=self.environ,
        )
        read = partial(headers, headers_file, self.environ)
        read()
        if settings.protocol == "grpc":
            if tls.key_password_file or tls.minimum_tls_version != DEFAULT_TLS.minimum_tls_version:
                raise ConfigurationError(
                    f"sink {name}: gRPC has no key_password_file and no minimum_tls_version; use HTTP for them"
                )
            self._transport = _grpc(settings, HostPolicy(allow), read)
        else:
            from .http import HttpTransport

            client = HttpClient(
                hosts=settings.authority,
                plaintext=not settings.secure,
                timeout=settings.timeout,
                allow=allow,
                tls=settings.tls,
            )
            self._transport = HttpTransport(settings, client, read, _AGENT)

    @classmethod
    def from_url(cls, url: str, *, resource: Mapping[str, Any] | None = None) -> OTLPSink:
        """Return the sink that a URL describes:
        `otlp[+https|+http|+grpcs|+grpc]://host:port/path?option=value`.

        `otlp:` alone leaves everything to the environment. `+http` and `+grpc` are plain text.

        Raises:
            ConfigurationError: the URL or one of its options is unusable.
        """
        parts = split_url(url)
        protocol, scheme = read_scheme(parts, _SCHEMES)
        if parts.user:
            raise ConfigurationError(f"sink {parts}: a user means nothing here; use headers_file")
        given: dict[str, object] = {"resource": resource}
        if parts.authority:
            given |= {"endpoint": f"{scheme}://{parts.authority}{quote(parts.path)}", "protocol": protocol}
        elif parts.scheme != "otlp" or parts.path:
            raise ConfigurationError(f"sink {parts}: a host and port are needed, as in {parts.scheme}://collector:4318")
        return cls(**read_options(parts.options, cls.__init__, parts, given=given))

    def send(self, batch: Sequence[SealedLine]) -> None:
        """Send a batch; return when the receiver has accepted every record of it.

        Raises:
            SinkUnavailable: no answer, or one that says to try later.
            RecordsRefused: the receiver cannot take these records, or rejected some without saying which.
        """
        sign = None if self._signer is None else self._sign
        self.export([encode_record(*sealed, sign) for sealed in batch])

    def export(self, records: Sequence[bytes]) -> None:
        """Send log records that are encoded already, as `encode_record` does it; otherwise like `send`."""
        if self._writer is None:
            described = {**(self._resource or {}), **(self._signer.resource if self._signer is not None else {})}
            self._writer = RequestWriter(_resource(described), SCOPE_NAME, __version__)
        request = self._writer.write(records)
        try:
            partial_success = self._transport.export(request).partial_success
        except ConfigurationError as error:  # a file that was there when the sink was made
            raise SinkUnavailable(str(error)) from error
        rejected, message = partial_success.rejected_log_records, excerpt(partial_success.error_message, ())
        if rejected:
            raise RecordsRefused(f"{self.name}: {rejected} of {len(records)} records were rejected: {message}")
        if message:
            notice(f"sink {self.name}: the receiver took every record, and warns: {message}", subject=self.name)

    def _sign(self, shown: Projection, line: str) -> Mapping[str, str]:
        from otel_audit.otel.signing import SignedFields

        assert self._signer is not None
        traced = bool(shown.trace_id and shown.span_id)
        fields = SignedFields(
            shown.event_name,
            line,
            shown.timestamp,
            shown.timestamp,
            shown.trace_id if traced else "",
            shown.span_id if traced else "",
            shown.attributes,
        )
        try:
            return self._signer.attributes(fields)
        except ValueError as error:  # too long for the processor's form; the record's own chain holds it all the same
            notice(f"sink {self.name}: a record goes without signature: {error}", subject=self.name)
            return {}

    def close(self) -> None:
        """End the connection; the next send makes a new one."""
        self._transport.close()


def _signer(
    name: str, integrity: str | None, key_file: str | None, certificate_file: str | None
) -> RecordSigner | None:
    if integrity is None:
        if key_file or certificate_file:
            raise ConfigurationError(f"sink {name}: integrity_key_file means nothing without integrity=otel-signing")
        return None
    if integrity != "otel-signing":
        raise ConfigurationError(f"sink {name}: integrity is {integrity!r}; there is otel-signing alone")
    if not key_file:
        raise ConfigurationError(f"sink {name}: integrity=otel-signing needs an integrity_key_file")
    from otel_audit.otel.signing import RecordSigner

    try:
        return RecordSigner.load(key_file, certificate_file)
    except OSError as error:
        raise ConfigurationError(f"sink {name}: {error.filename}: {error.strerror}") from error


def _grpc(settings: Settings, policy: HostPolicy, read: Any) -> GrpcTransport:
    try:
        from .grpc import GrpcTransport
    except ImportError as error:
        raise ConfigurationError("OTLP over gRPC needs grpcio: pip install 'otel-audit[otel]'") from error
    if not settings.secure:
        warn_of_plaintext(settings.authority, stacklevel=4)
    return GrpcTransport(settings, policy, read, _AGENT)


def _resource(given: Mapping[str, Any] | None) -> Mapping[str, Any]:
    from opentelemetry.sdk.resources import Resource

    return Resource.create(dict(given or {})).attributes
