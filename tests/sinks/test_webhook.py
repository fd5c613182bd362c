"""The webhook sink: NDJSON that was answered with a success, and nothing else, counts as delivered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_audit.errors import ConfigurationError
from otel_audit.sinks.base import RecordsRefused, Sink, SinkUnavailable
from otel_audit.sinks.posting import HttpSettings
from otel_audit.sinks.urls import read_options
from otel_audit.sinks.webhook import WebhookSink
from tests.sinks.http_server import Reply, Server
from tests.sinks.lines import sealed

pytestmark = pytest.mark.filterwarnings("ignore:audit records go to .* in plain text:RuntimeWarning")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(default=Reply(status=204)) as server:
        yield server


def sink_of(server: Server, **options: Any) -> WebhookSink:
    given = {"hosts": server.host, "scheme": "http", "allow": ("loopback",)}
    return WebhookSink(**read_options({**given, **options}, WebhookSink.__init__, server.host))


def test_a_batch_is_one_post_of_its_lines(server: Server) -> None:
    sink = WebhookSink.from_url(f"webhook+http://{server.host}/audit%20in?allow=loopback&timeout=3")
    assert isinstance(sink, Sink)
    batch = sealed(30)
    sink.send(batch)
    (received,) = server.received
    assert received.path == "/audit%20in"
    assert received.body == b"".join(one.line for one in batch)
    assert received.headers["content-type"] == "application/x-ndjson"


def test_the_same_batch_has_the_same_idempotency_key(server: Server) -> None:
    sink, batch = sink_of(server), sealed(4)
    for part in (batch, batch, batch[:2], batch[2:]):
        sink.send(part)
    keys = [received.headers["idempotency-key"] for received in server.received]
    assert keys[0] == keys[1] == f'"{batch[0].id}.4"'
    assert len(set(keys)) == 3


@pytest.mark.parametrize("status", [301, 401, 403, 404, 408, 409, 425, 429, 500, 502, 503])
def test_these_answers_keep_the_records_for_later(server: Server, status: int) -> None:
    server.script(Reply(status=status, headers={"Retry-After": "3"}))
    with pytest.raises(SinkUnavailable, match=str(status)) as caught:
        sink_of(server).send(sealed(1))
    assert caught.value.retry_after == 3
    assert len(server.received) == 1


@pytest.mark.parametrize("status", [400, 413, 422])
def test_these_answers_refuse_the_batch(server: Server, status: int) -> None:
    server.script(Reply(status=status, body=b"no such event"))
    with pytest.raises(RecordsRefused, match="no such event") as caught:
        sink_of(server).send(sealed(2))
    assert caught.value.ids is None


def test_what_authenticates_is_read_anew_and_never_shown(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "headers"
    file.write_text("Authorization: Bearer one\nX-Team: audit\n")
    sink = sink_of(server, headers_file=str(file))
    sink.send(sealed(1))
    file.write_text("Authorization: Bearer two\n")
    server.script(Reply(status=401, body=b"what is 'Bearer two'?"))
    with pytest.raises(SinkUnavailable) as caught:
        sink.send(sealed(1))
    assert [received.headers["authorization"] for received in server.received] == ["Bearer one", "Bearer two"]
    assert server.received[0].headers["x-team"] == "audit"
    assert "Bearer" not in f"{caught.value} {sink!r} {sink.name}"


@pytest.mark.parametrize("content", ["", "no colon\n", "A: b\nA b: c\n", "A: \x00\n"])
def test_a_headers_file_that_holds_no_headers_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "headers"
    file.write_text(content)
    with pytest.raises(ConfigurationError, match="headers_file"):
        WebhookSink(http=HttpSettings(hosts="hooks.example", headers_file=str(file)))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("webhook+https://127.0.0.1/x", "loopback"),
        ("webhook+https://10.0.0.1/x", "private"),
        ("webhook+https://hooks.example/x?hosts=elsewhere", "no option 'hosts'"),
        ("webhook+https://me@hooks.example/x", "headers_file"),
        ("webhook+tls://hooks.example/x", "unknown scheme"),
        ("webhook+https:///x", "a host is needed"),
        ("webhook+https://hooks.example/x?token=abc", "secret"),
    ],
)
def test_a_wrong_url_says_what_is_wrong(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        WebhookSink.from_url(url)
