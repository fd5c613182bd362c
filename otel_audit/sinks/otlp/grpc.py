"""OTLP/gRPC (OTLP specification 1.x, "OTLP/gRPC"), one unary call a batch.

The call is made on the generic channel interface, which takes the request as the bytes that are already
written. gRPC's own retries are off: there is one layer that waits and tries again, the shipper.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

from otel_audit.errors import ConfigurationError
from otel_audit.sinks.base import RecordsRefused, SinkUnavailable
from otel_audit.sinks.hosts import Endpoint, HostPolicy, parse_endpoints, resolve
from otel_audit.sinks.http import excerpt

from .settings import Settings

__all__ = ["GrpcTransport"]

_METHOD: Final = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
_HINTS: Final = {
    grpc.StatusCode.UNAUTHENTICATED: "check the headers that authenticate",
    grpc.StatusCode.PERMISSION_DENIED: "check the headers that authenticate",
    grpc.StatusCode.UNIMPLEMENTED: "the far end takes no logs here",
}


class GrpcTransport:
    """Calls `LogsService/Export` with serialized requests."""

    def __init__(
        self,
        settings: Settings,
        policy: HostPolicy,
        headers: Callable[[], Mapping[str, str]],
        agent: str,
    ) -> None:
        (self._endpoint,) = parse_endpoints(settings.authority)
        policy.check([self._endpoint])
        self._settings = settings
        self._policy = policy
        self._headers = headers
        self._agent = agent
        self._channel: Any = None
        self._owner = 0
        if settings.secure:
            self._credentials()

    def export(self, request: bytes) -> ExportLogsServiceResponse:
        """Send a serialized `ExportLogsServiceRequest`.

        Raises:
            SinkUnavailable: there is no answer, or one that says later.
            RecordsRefused: the far end cannot read the request, or it is too large.
        """
        headers = self._headers()
        packing = grpc.Compression.Gzip if self._settings.compression == "gzip" else None
        call = self._open().unary_unary(_METHOD, response_deserializer=ExportLogsServiceResponse.FromString)
        try:
            response: ExportLogsServiceResponse = call(
                request,
                timeout=self._settings.timeout,
                metadata=tuple(headers.items()),
                compression=packing,
            )
            return response
        except grpc.RpcError as error:
            code, details = error.code(), error.details() or ""
            if code is grpc.StatusCode.UNAVAILABLE:
                self.close()  # a channel has a back-off of its own; a new one tries when we say
            reason = f"{self._settings} answered {code.name}: {excerpt(details, headers.values())}"
            if code is grpc.StatusCode.INVALID_ARGUMENT or _is_too_large(code, details):
                raise RecordsRefused(reason) from error
            if hint := _HINTS.get(code):
                reason = f"{reason} ({hint})"
            raise SinkUnavailable(reason, retry_after=_retry_after(error)) from error

    def close(self) -> None:
        """End the channel."""
        if self._channel is not None and self._owner == os.getpid():
            self._channel.close()
        self._channel = None

    def _open(self) -> Any:
        if self._channel is None or self._owner != os.getpid():  # a channel does not survive a fork
            self._channel = self._connect(self._endpoint)
            self._owner = os.getpid()
        return self._channel

    def _connect(self, endpoint: Endpoint) -> Any:
        try:
            addresses = resolve(endpoint, self._policy, self._settings.timeout)
        except OSError as error:
            raise SinkUnavailable(f"{endpoint}: {error.strerror or error}") from error
        family = addresses[0].family
        checked = [str(Endpoint(str(a.sockaddr[0]), endpoint.port)) for a in addresses if a.family == family]
        target = f"{'ipv6' if ':' in str(addresses[0].sockaddr[0]) else 'ipv4'}:{','.join(checked)}"
        options = [
            ("grpc.primary_user_agent", self._agent),
            ("grpc.default_authority", str(endpoint)),
            ("grpc.enable_retries", 0),
            ("grpc.enable_http_proxy", 0),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if not self._settings.secure:
            return grpc.insecure_channel(target, options)
        options.append(("grpc.ssl_target_name_override", self._settings.tls.server_name or endpoint.host))
        return grpc.secure_channel(target, self._credentials(), options)

    def _credentials(self) -> grpc.ChannelCredentials:
        tls = self._settings.tls
        if tls.key_file and not tls.cert_file:
            raise ConfigurationError("key_file needs cert_file, the client certificate")
        certificate = _read("cert_file", tls.cert_file)
        key = _read("key_file", tls.key_file) or certificate
        return grpc.ssl_channel_credentials(_read("ca_file", tls.ca_file), key, certificate)


def _read(option: str, path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{option} {path}: {error.strerror}") from error


def _is_too_large(code: grpc.StatusCode, details: str) -> bool:
    # Servers of every language say so by the code that also means "too busy"; only the words tell (gRPC,
    # "Received
    # message larger than max").
    return code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in details


def _retry_after(error: Any) -> float | None:
    """Return the seconds of a `RetryInfo` (OTLP specification, "OTLP/gRPC Throttling")."""
    from google.protobuf.message import DecodeError
    from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
    from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

    status: Any = Status()
    found: Any = RetryInfo()
    trailers = {key: value for key, value in error.trailing_metadata() or () if isinstance(value, bytes)}
    try:
        status.ParseFromString(trailers.get("grpc-status-details-bin", b""))
        for detail in status.details:
            if detail.Unpack(found):
                return float(found.retry_delay.seconds + found.retry_delay.nanos / 1e9)
    except DecodeError:
        return None
    return None
