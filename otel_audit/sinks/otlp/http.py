"""OTLP/HTTP with binary protobuf (OTLP specification 1.x, "OTLP/HTTP")."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

from otel_audit.sinks.base import RecordsRefused, SinkUnavailable
from otel_audit.sinks.http import Answer, HttpClient, excerpt

from .settings import Settings

__all__ = ["HttpTransport"]

_PROTOBUF: Final = "application/x-protobuf"
_STATUS_TYPES: Final = frozenset({_PROTOBUF, "application/octet-stream"})
"""Media types of a `google.rpc.Status`; the second is Loki's."""
_HINTS: Final = {
    401: "check the headers that authenticate",
    403: "check the headers that authenticate",
    404: "check the path: /v1/logs is usual",
    405: "check the path: /v1/logs is usual",
    415: "the far end does not take protobuf: use another endpoint",
}


class HttpTransport:
    """POSTs serialized requests and reads the responses."""

    def __init__(
        self, settings: Settings, client: HttpClient, headers: Callable[[], Mapping[str, str]], agent: str
    ) -> None:
        self._settings = settings
        self._client = client
        self._headers = headers
        self._fixed = {"User-Agent": agent, "Content-Type": _PROTOBUF}
        if settings.compression != "none":
            self._fixed["Content-Encoding"] = settings.compression
        self._proved = False

    def export(self, request: bytes) -> ExportLogsServiceResponse:
        """Send a serialized `ExportLogsServiceRequest`.

        Raises:
            SinkUnavailable: there is no answer, or one that says later, or none of OTLP.
            RecordsRefused: the far end cannot read the request, or it is too large.
        """
        headers = self._headers()
        answer = self._client.post(self._settings.target, self._packed(request), {**self._fixed, **headers})
        words = f"{self._settings} answered {answer.status}"
        if 200 <= answer.status < 300:
            response = _read(answer, words)
            self._proved = True
            return response
        said = excerpt(_status_message(answer), headers.values())
        reason = f"{words}{f': {said}' if said else ''}"
        knows_otlp = self._proved or answer.content_type in {*_STATUS_TYPES, "application/json"}
        if answer.status == 413 or (answer.status == 400 and knows_otlp):
            raise RecordsRefused(reason)
        if hint := _HINTS.get(answer.status):
            reason = f"{reason} ({hint})"
        elif answer.status < 400:
            reason = f"{words}; redirects are not followed: set the endpoint to the final address"
        elif answer.status == 400:
            # A web server says so to anything, to plain text on a TLS port for example. No record is given up
            # on its word before this endpoint has accepted one.
            reason = f"{reason} (is this an OTLP endpoint?)"
        raise SinkUnavailable(reason, retry_after=answer.retry_after)

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    def _packed(self, request: bytes) -> bytes:
        if self._settings.compression == "gzip":
            return gzip.compress(request, 6, mtime=0)
        if self._settings.compression == "deflate":
            return zlib.compress(request)
        return request


def _read(answer: Answer, words: str) -> ExportLogsServiceResponse:
    """Return the response message; a success that does not carry one is no acknowledgement.

    An empty body is an empty message. JSON is not what was asked for, but some servers answer so.
    """
    from google.protobuf.json_format import Parse, ParseError
    from google.protobuf.message import DecodeError

    response = ExportLogsServiceResponse()
    try:
        if answer.content_type == "application/json":
            Parse(answer.body, response, ignore_unknown_fields=True)
        elif answer.body and answer.content_type != _PROTOBUF:
            raise SinkUnavailable(f"{words} with {answer.content_type or 'no type'}: this is no OTLP endpoint")
        else:
            response.ParseFromString(answer.body)
    except (DecodeError, ParseError, UnicodeDecodeError, ValueError) as error:
        raise SinkUnavailable(f"{words}, and the answer is not an OTLP response") from error
    return response


def _status_message(answer: Answer) -> bytes | str:
    """Return what a failure says: the message of a `google.rpc.Status`, or the text of the body."""
    if answer.content_type not in _STATUS_TYPES:
        return answer.body
    from google.protobuf.message import DecodeError
    from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

    status: Any = Status()
    try:
        status.ParseFromString(answer.body)
    except DecodeError:
        return ""
    return str(status.message)
