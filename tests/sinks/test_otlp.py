"""The OTLP sink: what counts as delivered, what is tried again, what is refused, and where settings come
from.
"""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

from otel_audit.errors import ConfigurationError
from otel_audit.sinks.base import RecordsRefused, SealedLine, Sink, SinkUnavailable
from otel_audit.sinks.otlp import OTLPSink
from otel_audit.sinks.tls import TlsSettings
from tests.certificates import Certificates
from tests.sinks.grpc_server import GrpcReceiver, retry_info
from tests.sinks.http_server import Reply, Server
from tests.sinks.lines import sealed

pytestmark = pytest.mark.filterwarnings("ignore:audit records go to .* in plain text:RuntimeWarning")

PROTOBUF = {"Content-Type": "application/x-protobuf"}


def rejecting(count: int, message: str = "") -> bytes:
    response = ExportLogsServiceResponse()
    response.partial_success.rejected_log_records = count
    response.partial_success.error_message = message
    return bytes(response.SerializeToString())


def bodies(requests: list[bytes]) -> list[str]:
    return [
        record.body.string_value
        for request in map(ExportLogsServiceRequest.FromString, requests)
        for resource in request.resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    ]


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(default=Reply(headers=PROTOBUF)) as server:
        yield server


def sink_of(server: Server, **options: Any) -> OTLPSink:
    return OTLPSink(endpoint=f"http://{server.host}", **{"timeout": 5, **options})


def test_it_is_a_sink(server: Server) -> None:
    sink = sink_of(server)
    assert isinstance(sink, Sink)
    assert sink.settled()


def test_lines_arrive_as_bodies_in_order_with_a_resource_and_a_scope(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=prod")
    batch = sealed(100)
    sink_of(server, resource={"host.name": "node-1"}).send(batch)
    (received,) = server.received
    assert received.path == "/v1/logs"
    assert received.headers["content-type"] == "application/x-protobuf"
    assert bodies([received.body]) == [one.line.decode()[:-1] for one in batch]
    (logs,) = ExportLogsServiceRequest.FromString(received.body).resource_logs
    resource = {item.key: item.value.string_value for item in logs.resource.attributes}
    assert resource["service.name"] == "shop"
    assert resource["deployment.environment.name"] == "prod"
    assert resource["host.name"] == "node-1"
    assert logs.scope_logs[0].scope.name == "otel_audit"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(headers=PROTOBUF),
        Reply(status=204),
        Reply(status=202),
        Reply(body=b"{}", headers={"Content-Type": "application/json"}),
        Reply(body=b'{"partialSuccess":{}}', headers={"Content-Type": "application/json; charset=utf-8"}),
        Reply(body=rejecting(0, "take care"), headers=PROTOBUF),
    ],
)
def test_a_success_without_rejected_records_is_an_acknowledgement(server: Server, reply: Reply) -> None:
    server.script(reply)
    sink_of(server).send(sealed(2))


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=rejecting(2, "too old"), headers=PROTOBUF),
        Reply(
            body=b'{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"too old"}}',
            headers={"Content-Type": "application/json"},
        ),
    ],
)
def test_partial_success_is_a_failure_of_the_batch(server: Server, reply: Reply) -> None:
    server.script(reply)
    with pytest.raises(RecordsRefused, match="2 of 3 records were rejected: too old") as caught:
        sink_of(server).send(sealed(3))
    assert caught.value.ids is None


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b"<html>welcome</html>", headers={"Content-Type": "text/html"}),
        Reply(body=b"\xff\xff garbage", headers=PROTOBUF),
        Reply(body=b"[1]", headers={"Content-Type": "application/json"}),
        Reply(body=b"\xff", headers={"Content-Type": "application/json"}),
        Reply(body=b"ok"),
        Reply(status=302, headers={"Location": "https://elsewhere/?token=hunter2"}),
        Reply(raw=b"garbage\r\n\r\n"),
    ],
)
def test_a_success_that_is_no_otlp_response_acknowledges_nothing(server: Server, reply: Reply) -> None:
    server.script(reply)
    with pytest.raises(SinkUnavailable) as caught:
        sink_of(server).send(sealed(1))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("status", [401, 403, 404, 405, 408, 415, 429, 500, 501, 502, 503, 504, 507])
def test_these_answers_keep_the_records_for_later(server: Server, status: int) -> None:
    server.script(Reply(status=status, headers=PROTOBUF))
    with pytest.raises(SinkUnavailable, match=str(status)):
        sink_of(server).send(sealed(1))


@pytest.mark.parametrize("status", [429, 503])
def test_the_wait_that_a_busy_receiver_asks_for_is_passed_on(server: Server, status: int) -> None:
    server.script(Reply(status=status, headers={"Retry-After": "17"}))
    with pytest.raises(SinkUnavailable) as caught:
        sink_of(server).send(sealed(1))
    assert caught.value.retry_after == 17


def test_there_is_one_request_a_send_whatever_comes_back(server: Server) -> None:
    server.default = Reply(status=503)
    with pytest.raises(SinkUnavailable):
        sink_of(server).send(sealed(1))
    assert len(server.received) == 1


def test_a_batch_that_is_too_large_is_refused(server: Server) -> None:
    server.script(Reply(status=413, body=b"too large", headers={"Content-Type": "text/html"}))
    with pytest.raises(RecordsRefused, match="413: too large"):
        sink_of(server).send(sealed(1))


@pytest.mark.parametrize("kind", ["application/x-protobuf", "application/octet-stream"])
def test_a_400_of_an_otlp_receiver_refuses_the_batch(server: Server, kind: str) -> None:
    body = Status(message="bad record").SerializeToString()
    server.script(Reply(status=400, body=body, headers={"Content-Type": kind}))
    with pytest.raises(RecordsRefused, match="400: bad record"):
        sink_of(server).send(sealed(1))


def test_a_400_of_just_any_server_gives_up_no_record(server: Server) -> None:
    refusal = Reply(status=400, body=b"Client sent an HTTP request to an HTTPS server.")
    server.script(refusal, Reply(), refusal)
    sink = sink_of(server)
    with pytest.raises(SinkUnavailable, match="is this an OTLP endpoint"):
        sink.send(sealed(1))
    sink.send(sealed(1))
    with pytest.raises(RecordsRefused):
        sink.send(sealed(1))


def test_a_receiver_that_hangs_is_left_at_the_deadline(server: Server) -> None:
    server.script(Reply(hang=True))
    sink = sink_of(server, timeout=0.2)
    with pytest.raises(SinkUnavailable):
        sink.send(sealed(1))
    sink.send(sealed(1))


@pytest.mark.parametrize(("compression", "unpack"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
def test_compressed_requests_say_so(server: Server, compression: Any, unpack: Callable[[bytes], bytes]) -> None:
    batch = sealed(50)
    sink_of(server, compression=compression).send(batch)
    (received,) = server.received
    assert received.headers["content-encoding"] == compression
    assert bodies([unpack(received.body)]) == [one.line.decode()[:-1] for one in batch]


def test_headers_come_from_the_environment_and_a_file_that_may_change(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-general=no")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "x-tenant=a%20b,authorization=old")
    file = tmp_path / "headers"
    file.write_text("Authorization: Bearer one\n")
    sink = sink_of(server, headers_file=str(file))
    sink.send(sealed(1))
    file.write_text("Authorization: Bearer two\n")
    sink.send(sealed(1))
    first, second = (received.headers for received in server.received)
    assert (first["authorization"], second["authorization"]) == ("Bearer one", "Bearer two")
    assert first["x-tenant"] == "a b"
    assert "x-general" not in first


def test_a_secret_that_the_receiver_repeats_is_in_no_message(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "headers"
    file.write_text("Authorization: Bearer hunter2\n")
    server.script(Reply(status=401, body=b"bad token: Bearer hunter2"))
    sink = sink_of(server, headers_file=str(file))
    with pytest.raises(SinkUnavailable) as caught:
        sink.send(sealed(1))
    assert "hunter2" not in str(caught.value)


def test_a_headers_file_that_goes_missing_is_a_failure_and_not_a_loss(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "headers"
    file.write_text("A: b\n")
    sink = sink_of(server, headers_file=str(file))
    file.unlink()
    with pytest.raises(SinkUnavailable, match="headers_file"):
        sink.send(sealed(1))
    assert server.received == []


def test_no_line_takes_its_batch_down(server: Server) -> None:
    good = sealed(2)
    bad = good[0]._replace(line=b"\xff\xfe not json \x00\n", seq=9)
    sink_of(server).send([good[0], bad, good[1]])
    assert len(bodies([server.received[0].body])) == 3


@pytest.mark.parametrize(
    ("variables", "path"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://{}"}, "/v1/logs"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://{}/base/"}, "/base/v1/logs"),
        ({"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://{}/mine?x=1"}, "/mine?x=1"),
        ({"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://{}"}, "/"),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://203.0.113.1",
                "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://{}/logs",
            },
            "/logs",
        ),
    ],
)
def test_the_standard_endpoint_variables_are_honoured(
    server: Server, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], path: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(server.host))
    OTLPSink.from_url("otlp:").send(sealed(1))
    assert server.received[0].path == path


def test_the_other_standard_variables_are_honoured(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{server.host}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/protobuf")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "30")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "0.2")
    server.script(Reply(hang=True))
    sink = OTLPSink.from_url("otlp:")
    with pytest.raises(SinkUnavailable):
        sink.send(sealed(1))
    assert server.received[0].headers["content-encoding"] == "gzip"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "snappy"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://user:hunter2@collector"),
        ("OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE", "/nowhere/ca.pem"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "https://collector:4318")
    if name == "OTEL_EXPORTER_OTLP_ENDPOINT":
        monkeypatch.delenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT")
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match="ca_file" if "CERTIFICATE" in name else name) as caught:
        OTLPSink.from_url("otlp:")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("otlp+tls://collector:4318", "did you mean"),
        ("otlp+https://collector:4318?timout=3", "did you mean 'timeout'"),
        ("otlp+https://collector:4318?resource=x", "no option 'resource'"),
        ("otlp+https:///v1/logs", "a host and port are needed"),
        ("otlp+https://me@collector:4318", "headers_file"),
        ("otlp+grpcs://collector:4317?compression=deflate", "deflate"),
        ("otlp+grpcs://collector:4317?minimum_tls_version=1.3", "gRPC has no"),
        ("otlp+https://169.254.169.254", "metadata"),
        ("otlp+grpcs://169.254.169.254:4317", "metadata"),
        ("otlp+http://127.0.0.1:1?ca_file=/ca.pem", "plain text"),
    ],
)
def test_a_wrong_url_says_what_is_wrong(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        OTLPSink.from_url(url)


def test_a_url_sets_endpoint_and_options(server: Server) -> None:
    OTLPSink.from_url(f"otlp+http://{server.host}/own?compression=gzip&name=x&timeout=3").send(sealed(1))
    assert server.received[0].path == "/own"
    assert server.received[0].headers["content-encoding"] == "gzip"


@pytest.mark.parametrize("url", ["otlp+http://127.0.0.1:4318", "otlp+grpc://127.0.0.1:4317"])
def test_plain_text_is_warned_of(url: str) -> None:
    with pytest.warns(RuntimeWarning, match="plain text"):
        OTLPSink.from_url(url)


def status(code: Any, details: str = "", trailers: Any = ()) -> Callable[[Any], bytes]:
    def behave(context: Any) -> bytes:
        context.set_trailing_metadata(trailers)
        context.abort(code, details)
        raise AssertionError

    return behave


def grpc_sink(receiver: GrpcReceiver, **options: Any) -> OTLPSink:
    return OTLPSink(endpoint=f"http://{receiver.host}", protocol="grpc", **{"timeout": 5, **options})


def test_grpc_carries_the_same_request(tmp_path: Path) -> None:
    headers = tmp_path / "headers"
    headers.write_text("Authorization: Bearer x\n")
    batch = sealed(300)
    with GrpcReceiver() as receiver:
        sink = grpc_sink(receiver, headers_file=str(headers), compression="gzip")
        sink.send(batch)
        sink.close()
    assert bodies([request.SerializeToString() for request in receiver.requests]) == [
        one.line.decode()[:-1] for one in batch
    ]
    assert receiver.metadata[0]["authorization"] == "Bearer x"


@pytest.mark.parametrize(
    "code",
    ["CANCELLED", "UNAVAILABLE", "INTERNAL", "UNKNOWN", "UNAUTHENTICATED", "UNIMPLEMENTED", "DATA_LOSS"],
)
def test_grpc_failures_keep_the_records(code: str) -> None:
    with GrpcReceiver(status(grpc.StatusCode[code], "why")) as receiver:
        sink = grpc_sink(receiver)
        with pytest.raises(SinkUnavailable, match=f"{code}: why"):
            sink.send(sealed(1))
        sink.send(sealed(1))
        sink.close()
    assert len(receiver.requests) == 1


def test_grpc_throttling_passes_the_wait_on() -> None:
    throttle = status(grpc.StatusCode.RESOURCE_EXHAUSTED, "slow down", retry_info(2.5))
    with GrpcReceiver(throttle) as receiver:
        sink = grpc_sink(receiver)
        with pytest.raises(SinkUnavailable) as caught:
            sink.send(sealed(1))
        sink.close()
    assert caught.value.retry_after == 2.5
    assert len(receiver.metadata) == 1


def test_grpc_refusals() -> None:
    invalid = status(grpc.StatusCode.INVALID_ARGUMENT, "bad")
    with GrpcReceiver(invalid, lambda _: rejecting(1, "no")) as receiver:
        sink = grpc_sink(receiver)
        with pytest.raises(RecordsRefused, match="INVALID_ARGUMENT: bad"):
            sink.send(sealed(1))
        with pytest.raises(RecordsRefused, match="1 of 2 records were rejected: no"):
            sink.send(sealed(2))
        sink.close()


def test_a_request_beyond_what_a_grpc_server_takes_is_refused() -> None:
    with GrpcReceiver() as receiver:
        sink = grpc_sink(receiver)
        with pytest.raises(RecordsRefused, match="larger than max"):
            sink.send([SealedLine("s", 1, b"x" * 5_000_000 + b"\n")])
        sink.close()


def test_grpc_garbage_acknowledges_nothing() -> None:
    with GrpcReceiver(lambda _: b"\xff\xffgarbage") as receiver:
        sink = grpc_sink(receiver)
        with pytest.raises(SinkUnavailable):
            sink.send(sealed(1))
        sink.close()


def test_a_grpc_server_that_comes_back_is_found_at_once() -> None:
    with GrpcReceiver() as receiver:
        sink = grpc_sink(receiver)
        sink.send(sealed(1))
    for _ in range(3):
        with pytest.raises(SinkUnavailable):
            sink.send(sealed(1))
    with GrpcReceiver(port=receiver.port):
        sink.send(sealed(1))
        sink.close()


def test_a_hanging_grpc_server_is_left_at_the_deadline() -> None:
    release = threading.Event()
    with GrpcReceiver(lambda _: (release.wait(20) and b"") or b"") as receiver:
        sink = grpc_sink(receiver, timeout=0.3)
        with pytest.raises(SinkUnavailable, match="DEADLINE_EXCEEDED"):
            sink.send(sealed(1))
        release.set()
        sink.close()


def test_grpc_over_mutual_tls(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", certificates.ca)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificates.client.cert)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", certificates.client.key)
    with GrpcReceiver(tls=certificates) as receiver:
        sink = OTLPSink.from_url(f"otlp+grpcs://localhost:{receiver.port}?timeout=5")
        sink.send(sealed(3))
        sink.close()
        stranger = OTLPSink(
            endpoint=f"https://localhost:{receiver.port}",
            protocol="grpc",
            timeout=2,
            tls=TlsSettings(cert_file=certificates.rogue_client.cert, key_file=certificates.rogue_client.key),
        )
        with pytest.raises(SinkUnavailable):
            stranger.send(sealed(1))
        stranger.close()
    assert len(receiver.requests) == 1


def test_a_grpc_certificate_for_another_name_is_refused(certificates: Certificates) -> None:
    with GrpcReceiver(tls=certificates) as receiver:
        sink = OTLPSink(
            endpoint=f"https://localhost:{receiver.port}",
            protocol="grpc",
            timeout=2,
            tls=TlsSettings(
                ca_file=certificates.ca,
                cert_file=certificates.client.cert,
                key_file=certificates.client.key,
                server_name="elsewhere.test",
            ),
        )
        with pytest.raises(SinkUnavailable):
            sink.send(sealed(1))
        sink.close()
    assert receiver.requests == []


def test_importing_the_package_imports_no_opentelemetry() -> None:
    code = "import otel_audit, sys; print({'opentelemetry', 'grpc', 'http.client'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
