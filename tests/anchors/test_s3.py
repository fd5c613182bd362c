"""The S3 anchor's requests; what a real server makes of them is in `tests/servers`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from otel_audit.anchors.s3 import S3Anchor
from otel_audit.errors import ConfigurationError
from otel_audit.integrity.checkpoint import Checkpoint
from otel_audit.integrity.publishing import AnchorError, AnchorRefused, SignedHead
from otel_audit.sinks.bucket import S3Settings
from tests.sinks.http_server import Received, Reply, Server

pytestmark = pytest.mark.filterwarnings("ignore:checkpoints go to .* in plain text:RuntimeWarning")

STREAM = "01a217fca46c72b6adbac5911448e95a"
TAKEN = Reply(412, b"<Error><Code>PreconditionFailed</Code></Error>")


@pytest.fixture(autouse=True)
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


def head(size: int = 7) -> SignedHead:
    checkpoint = Checkpoint(f"shop.example/audit/{STREAM}", size, b"\x01" * 32)
    return SignedHead(f"{checkpoint.encode()}\n\u2014 shop.example/audit AAAA\n", checkpoint, lambda old: [])


def anchor_of(server: Server, **options: str) -> S3Anchor:
    query = "".join(f"&{name}={value}" for name, value in options.items())
    return S3Anchor.from_url(f"s3://keeper/checkpoints?endpoint=http://{server.host}&allow=loopback{query}")


def put(server: Server, **options: str) -> Received:
    anchor_of(server, **options).publish(head())
    return server.received[0]


def test_a_checkpoint_becomes_an_object_that_is_named_for_it(server: Server) -> None:
    received = put(server)
    note = head().note.encode()

    assert received.method == "PUT"
    name = f"0000000000000007-{sha256(note).hexdigest()[:32]}.checkpoint"
    assert received.path == f"/keeper/checkpoints/{STREAM}/{name}"
    assert received.body == note
    assert received.headers["if-none-match"] == "*"


def test_the_receipt_says_where_it_is(server: Server) -> None:
    server.script(Reply(headers={"x-amz-version-id": "v1"}), Reply())
    anchor = anchor_of(server)
    first, second = anchor.publish(head()), anchor.publish(head(8))

    key = server.received[0].path.removeprefix("/keeper/")
    assert first.facts == {"bucket": "keeper", "key": key, "version": "v1"}
    assert "version" not in second.facts


@pytest.mark.parametrize(
    ("options", "header", "value"),
    [
        ({"retain": "7y"}, "x-amz-object-lock-mode", "COMPLIANCE"),
        ({"retain": "7y", "lock": "governance"}, "x-amz-object-lock-mode", "GOVERNANCE"),
        ({"legal_hold": "true"}, "x-amz-object-lock-legal-hold", "ON"),
        ({"expected_owner": "111122223333"}, "x-amz-expected-bucket-owner", "111122223333"),
        ({"region": "eu-west-3"}, "authorization", "/eu-west-3/s3/"),
    ],
)
def test_what_an_option_changes(server: Server, options: dict[str, str], header: str, value: str) -> None:
    assert value in put(server, **options).headers[header]


def test_a_checkpoint_that_is_there_counts(server: Server) -> None:
    server.script(TAKEN, Reply(), Reply(body=head().note.encode()))
    assert anchor_of(server).publish(head()).facts["bucket"] == "keeper"


def test_another_one_under_its_name_is_refused(server: Server) -> None:
    server.script(TAKEN, Reply(), Reply(body=b"forged"))
    with pytest.raises(AnchorRefused, match="holds something else"):
        anchor_of(server).publish(head())


def test_a_server_that_fails_is_tried_again(server: Server) -> None:
    server.script(Reply(503, headers={"Retry-After": "9"}))
    with pytest.raises(AnchorError, match="answered 503") as caught:
        anchor_of(server).publish(head())
    assert not isinstance(caught.value, AnchorRefused)
    assert caught.value.retry_after == 9


def test_an_answer_that_does_not_come_is_not_waited_for_long(server: Server) -> None:
    server.script(Reply(hang=True))
    with pytest.raises(AnchorError, match="deadline"):
        anchor_of(server, timeout="100ms").publish(head())


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3:///checkpoints", "anchor s3:///checkpoints: write s3://bucket/prefix"),
        ("s3://AKIA@keeper/x", "never from the URL"),
        ("s3://keeper/x", "anchor s3: no region"),
        ("s3://keeper/x?region=x&retan=1d", "did you mean 'retain'"),
        ("s3://keeper/x?region=x&lock=governance", "needs retain="),
        ("s3://keeper/x?endpoint=https://10.0.0.1", "list it in `allow`"),
    ],
)
def test_a_mistake_is_told_when_the_anchor_is_made(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        S3Anchor.from_url(url)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(ConfigurationError, match=re.escape("pip install 'otel-audit[s3]'")):
        S3Anchor(s3=S3Settings(bucket="keeper", region="x"))


def test_plain_text_is_warned_of(server: Server) -> None:
    with pytest.warns(RuntimeWarning, match="checkpoints go to"):
        anchor_of(server)


def test_options_that_the_sink_has_too_mean_the_same() -> None:
    from otel_audit.config.schemes import ANCHOR_TYPES, TYPES

    def options(kinds: Any) -> dict[str, Any]:
        (kind,) = (each for each in kinds if each.schemes == ("s3",))
        return dict(kind.options())

    sink, anchor = options(TYPES), options(ANCHOR_TYPES)
    assert sink.keys() - anchor.keys() == {"compress", "max_bytes", "max_records"}
    assert {name for name in anchor if anchor[name] != sink[name]} == {"timeout"}
