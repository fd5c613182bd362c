"""The HTTP client under the sinks: keeps one connection, and believes no more than what was said."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest

from otel_audit.errors import ConfigurationError
from otel_audit.sinks.base import SinkUnavailable
from otel_audit.sinks.http import HttpClient, check_headers, excerpt
from otel_audit.sinks.tls import TlsSettings
from tests.certificates import Certificates
from tests.sinks.http_server import Reply, Server

pytestmark = pytest.mark.filterwarnings("ignore:audit records go to .* in plain text:RuntimeWarning")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(default=Reply(body=b"ok", headers={"Content-Type": "Text/Plain; charset=utf-8"})) as server:
        yield server


def client_of(server: Server, timeout: float = 5) -> HttpClient:
    return HttpClient(hosts=server.host, plaintext=True, timeout=timeout, allow=("loopback",))


def test_a_request_arrives_as_it_was_given(server: Server) -> None:
    answer = client_of(server).post("/a?b=c", b"body", {"X-One": "1"})
    (received,) = server.received
    assert (received.path, received.body, received.headers["x-one"]) == ("/a?b=c", b"body", "1")
    assert received.headers["host"] == server.host
    assert answer[:4] == (200, "text/plain", b"ok", None)
    assert answer.headers["Content-Length"] == "2"


def test_one_connection_serves_many_requests(server: Server) -> None:
    client = client_of(server)
    for _ in range(5):
        client.post("/", b"x", {})
    assert {received.connection for received in server.received} == {1}


def test_a_kept_connection_that_the_server_ended_costs_no_failure(server: Server) -> None:
    client = client_of(server)
    server.script(Reply(close=True))
    client.post("/", b"1", {})
    client.post("/", b"2", {})
    assert [received.body for received in server.received] == [b"1", b"2"]


def test_an_answer_that_announces_the_end_of_the_connection_is_read_whole(server: Server) -> None:
    client = client_of(server)
    server.script(Reply(raw=b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 300_000))
    assert len(client.post("/", b"1", {}).body) == 300_000
    assert client.post("/", b"2", {}).body == b"ok"


def test_a_chunked_answer_is_read_whole(server: Server) -> None:
    server.script(Reply(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"))
    assert client_of(server).post("/", b"1", {}).body == b"abc"


def test_an_answer_that_comes_before_the_body_is_read_counts(server: Server) -> None:
    server.script(Reply(status=413, early=True))
    assert client_of(server).post("/", b"x" * 8_000_000, {}).status == 413


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"HTTP/1.1 20",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"x" * 100_000,
    ],
)
def test_what_is_no_whole_answer_is_no_answer(server: Server, raw: bytes) -> None:
    server.script(Reply(raw=raw))
    with pytest.raises(SinkUnavailable):
        client_of(server).post("/", b"1", {})


def test_an_answer_without_end_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_audit.sinks.http._MAX_ANSWER", 1000)
    server.script(Reply(body=b"x" * 1001))
    with pytest.raises(SinkUnavailable, match="longer than 1000 bytes"):
        client_of(server).post("/", b"1", {})


def test_a_silent_server_is_given_up_at_the_deadline(server: Server) -> None:
    server.script(Reply(hang=True))
    begun = time.monotonic()
    with pytest.raises(SinkUnavailable, match="did not answer"):
        client_of(server, timeout=0.2).post("/", b"1", {})
    assert time.monotonic() - begun < 3


def test_a_server_that_never_comes_to_its_answer_is_given_up_at_the_deadline() -> None:
    def say_continue(listener: socket.socket) -> None:
        with contextlib.suppress(OSError), listener.accept()[0] as peer:
            while True:
                peer.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=say_continue, args=(listener,), daemon=True).start()
        client = HttpClient(
            hosts=f"127.0.0.1:{listener.getsockname()[1]}", plaintext=True, timeout=0.3, allow=("loopback",)
        )
        begun = time.monotonic()
        with pytest.raises(SinkUnavailable, match="before the deadline"):
            client.post("/", b"1", {})
        assert time.monotonic() - begun < 3


def test_after_a_late_answer_the_next_request_does_not_get_it(server: Server) -> None:
    client = client_of(server, timeout=0.2)
    server.script(Reply(hang=True))
    with pytest.raises(SinkUnavailable):
        client.post("/", b"1", {})
    assert client.post("/", b"2", {}).body == b"ok"


def test_nobody_listening_is_a_failure_that_names_the_host() -> None:
    with Server() as server:
        host = server.host
    client = HttpClient(hosts=host, plaintext=True, timeout=1, allow=("loopback",))
    with pytest.raises(SinkUnavailable, match=host):
        client.post("/", b"1", {})


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("999999999", 3600.0),
        (format_datetime(datetime.now(timezone.utc) + timedelta(days=9), usegmt=True), 3600.0),
        (format_datetime(datetime.now(timezone.utc) - timedelta(days=9), usegmt=True), 0.0),
        ("soon", None),
    ],
    ids=["seconds", "too many seconds", "a date to come", "a date gone by", "neither"],
)
def test_retry_after_is_read_in_both_forms_and_bounded(server: Server, value: str, seconds: float | None) -> None:
    server.script(Reply(status=503, headers={"Retry-After": value}))
    assert client_of(server).post("/", b"1", {}).retry_after == seconds


def test_loopback_is_refused_unless_allowed(server: Server) -> None:
    with pytest.raises(ConfigurationError, match="loopback"):
        HttpClient(hosts=server.host, plaintext=False, timeout=1)


def test_plain_text_is_warned_of() -> None:
    with pytest.warns(RuntimeWarning, match="plain text"):
        HttpClient(hosts="203.0.114.1", plaintext=True, timeout=1)


def test_tls_with_a_client_certificate_works_whatever_the_environment_says(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, certificates.rogue_ca)
    with Server(tls=certificates.server_context(client_ca=certificates.ca)) as server:
        client = HttpClient(
            hosts=server.host,
            plaintext=False,
            timeout=5,
            allow=("loopback",),
            tls=TlsSettings(
                ca_file=certificates.ca, cert_file=certificates.client.cert, key_file=certificates.client.key
            ),
        )
        assert client.post("/", b"1", {}).status == 200
        assert client.post("/", b"2", {}).status == 200


def test_a_server_of_an_unknown_authority_gets_nothing(certificates: Certificates) -> None:
    with Server(tls=certificates.server_context(certificates.rogue_server)) as server:
        tls = TlsSettings(ca_file=certificates.ca)
        client = HttpClient(hosts=server.host, plaintext=False, timeout=5, allow=("loopback",), tls=tls)
        with pytest.raises(SinkUnavailable, match="TLS"):
            client.post("/", b"secret", {})
        assert server.received == []


@pytest.mark.parametrize("headers", [{"a b": "x"}, {"a": "x\r\nY: z"}, {"a": ""}, {"": "x"}, {"a": "é"}])
def test_a_header_that_would_break_a_request_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_headers(headers, "place")
    assert "Y: z" not in str(caught.value)


def test_an_excerpt_repeats_no_secret_and_no_control_character() -> None:
    assert excerpt(b"token=hunter2\x1b[31m\n" + b"x" * 500, ["hunter2"]).startswith("token=*** [31m")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_other_methods_go_over_the_same_connection(server: Server, method: str) -> None:
    client = client_of(server)
    server.script(Reply(body=b"found", headers={"X-Two": "2"}))
    answer = client.request(method, "/a", b"", {})
    client.post("/", b"x", {})

    assert (answer.status, answer.body, answer.headers["X-Two"]) == (200, b"" if method == "HEAD" else b"found", "2")
    assert [each.method for each in server.received] == [method, "POST"]
    assert {each.connection for each in server.received} == {1}
