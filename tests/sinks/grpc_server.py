"""An OTLP/gRPC receiver on loopback that keeps what it is sent and answers as the test says."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, final

import grpc
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

from tests.certificates import Certificates

__all__ = ["GrpcReceiver", "retry_info"]

Behaviour = Callable[[grpc.ServicerContext], bytes]


def retry_info(seconds: float) -> tuple[tuple[str, bytes], ...]:
    """Return the trailers of a throttling server."""
    detail = RetryInfo()
    detail.retry_delay.FromNanoseconds(int(seconds * 1e9))
    status = Status(code=8, message="slow down")
    status.details.add().Pack(detail)
    return (("grpc-status-details-bin", status.SerializeToString()),)


@final
class GrpcReceiver:
    """Behaves as scripted, one behaviour a call, then accepts everything."""

    def __init__(self, *script: Behaviour, port: int = 0, tls: Certificates | None = None) -> None:
        self.requests: list[ExportLogsServiceRequest] = []
        self.metadata: list[dict[str, Any]] = []
        self._script = list(script)
        self._lock = threading.Lock()
        self._server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
        method = grpc.unary_unary_rpc_method_handler(
            self._export, request_deserializer=ExportLogsServiceRequest.FromString
        )
        service = "opentelemetry.proto.collector.logs.v1.LogsService"
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": method}),))
        address = f"127.0.0.1:{port}"
        if tls is None:
            self.port = self._server.add_insecure_port(address)
        else:
            paths = (tls.server.key, tls.server.cert, tls.ca)
            key, certificate, ca = (Path(path).read_bytes() for path in paths)
            credentials = grpc.ssl_server_credentials([(key, certificate)], ca, require_client_auth=True)
            self.port = self._server.add_secure_port(address, credentials)
        self.host = f"127.0.0.1:{self.port}"

    def __enter__(self) -> GrpcReceiver:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()

    def _export(self, request: ExportLogsServiceRequest, context: grpc.ServicerContext) -> bytes:
        with self._lock:
            behave = self._script.pop(0) if self._script else None
            self.metadata.append(dict(context.invocation_metadata()))
        answer = behave(context) if behave else ExportLogsServiceResponse().SerializeToString()
        self.requests.append(request)
        return answer
