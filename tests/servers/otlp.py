"""Both ends of OTLP/HTTP, as plainly as can be: what the Collector's tests send with and receive on.

It shares no code with the package, so that a mistake there is not made here too.
"""

from __future__ import annotations

import gzip
import http.client
import json
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

__all__ = ["Receiver", "Sender", "bodies_of", "post", "request_of"]


def request_of(lines: Sequence[str], attributes: bool = True) -> bytes:
    """Return an OTLP/JSON export request with one record for each line, marked as audit if `attributes`."""
    return json.dumps(
        {"resourceLogs": [{"scopeLogs": [{"logRecords": [_record(line, attributes) for line in lines]}]}]}
    ).encode()


def _record(line: str, attributes: bool) -> dict[str, Any]:
    record: dict[str, Any] = {"body": {"stringValue": line}, "severityNumber": 9}
    if attributes:
        sealed = json.loads(line)
        name = f"{sealed['stream']}-{sealed['seq']}"
        record["attributes"] = [{"key": "audit.record.id", "value": {"stringValue": name}}]
        record["eventName"] = sealed["event_name"]
    return record


def bodies_of(documents: Iterable[bytes]) -> Iterator[str]:
    """Yield the string body of every record in some OTLP JSON documents."""
    for document in documents:
        for resource in json.loads(document).get("resourceLogs", []):
            for scope in resource.get("scopeLogs", []):
                for record in scope.get("logRecords", []):
                    yield record["body"]["stringValue"]


class Sender(threading.Thread):
    """Sends lines in batches of 100, each until it is answered 200, for two minutes at most."""

    def __init__(self, address: str, lines: Sequence[str], *, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(daemon=True)
        self._address = address
        self._lines = lines
        self._tls = tls
        self.answered = 0
        """How many lines the receiver has answered for."""

    def run(self) -> None:
        deadline = time.monotonic() + 120
        for start in range(0, len(self._lines), 100):
            batch = self._lines[start : start + 100]
            request = request_of(batch)
            while not self._send(request):
                if time.monotonic() > deadline:
                    return
                time.sleep(0.05)
            self.answered += len(batch)

    def finish(self) -> None:
        """Wait until everything is answered."""
        self.join(120)
        assert self.answered == len(self._lines)

    def _send(self, request: bytes) -> bool:
        try:
            return post(self._address, request, tls=self._tls) == 200
        except (OSError, http.client.HTTPException):
            return False


def post(address: str, request: bytes, *, tls: ssl.SSLContext | None = None, timeout: float = 10) -> int:
    """Send one OTLP/JSON logs request; return the HTTP status."""
    connection: http.client.HTTPConnection
    if tls is None:
        connection = http.client.HTTPConnection(address, timeout=timeout)
    else:
        connection = http.client.HTTPSConnection(address, timeout=timeout, context=tls)
    try:
        connection.request("POST", "/v1/logs", request, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


@final
class Receiver:
    """An OTLP/HTTP receiver that keeps what it gets, and refuses with `status` when that is not 200."""

    def __init__(self) -> None:
        self.status = 200
        self.refused = 0
        self.requests: list[ExportLogsServiceRequest] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                status = receiver.status
                if status == 200:
                    receiver.requests.append(ExportLogsServiceRequest.FromString(body))
                else:
                    receiver.refused += 1
                self.send_response(status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = "http://{}:{}".format(*self._server.server_address[:2])
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def records(self) -> Iterator[Any]:
        """Yield every log record received so far."""
        for request in list(self.requests):
            for resource in request.resource_logs:
                for scope in resource.scope_logs:
                    yield from scope.log_records

    def bodies(self) -> list[str]:
        """Return the bodies received so far."""
        return [record.body.string_value for record in self.records()]
