"""The S3 sink's requests, and what it makes of answers that the real server of `tests/servers` does not give."""

from __future__ import annotations

import base64
import contextlib
import functools
import gc
import gzip
import json
import re
import socket
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from botocore import loaders, session

import otel_audit
from otel_audit.errors import ConfigurationError
from otel_audit.sinks.base import Archive, Batch, RecordsRefused, SealedLine, SinkUnavailable
from otel_audit.sinks.bucket import LockState, S3Settings
from otel_audit.sinks.objectlock import ObjectLock, read_promise, spell_promise
from otel_audit.sinks.s3 import S3Sink
from otel_audit.sinks.urls import read_options, split_url
from tests.certificates import Certificates
from tests.sinks.http_server import Received, Reply, Server
from tests.sinks.lines import sealed

pytestmark = pytest.mark.filterwarnings("ignore:audit records go to .* in plain text:RuntimeWarning")


@functools.cache
def _load(path: str | None) -> Any:
    return loaders.create_loader(path)


@pytest.fixture(autouse=True)
def one_reading_of_the_service_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "create_loader", lambda path=None: _load(path))


@pytest.fixture(autouse=True)
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


def sink_of(server: Server, **options: Any) -> S3Sink:
    given = {"bucket": "worm", "prefix": "audit/", "endpoint": f"http://{server.host}", "allow": ("loopback",)}
    return build(**{**given, **options})


def build(**options: Any) -> S3Sink:
    return S3Sink(**read_options(options, S3Sink.__init__, "s3://worm"))


def put(server: Server, batch: list[SealedLine] | None = None, **options: Any) -> Received:
    """Send something and return the request that it led to."""
    sink_of(server, **options).send(batch or sealed(3))
    (received,) = server.received
    return received


def lines_of(batch: list[SealedLine]) -> bytes:
    return b"".join([one.line for one in batch])


def refusal(status: int, code: str = "", message: str = "") -> Reply:
    return Reply(status, f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode())


TAKEN = refusal(412, "PreconditionFailed")


def head(body: bytes | None) -> Reply:
    digest = base64.b64encode(sha256(body).digest()).decode() if body is not None else None
    return Reply(headers={"x-amz-checksum-sha256": digest} if digest else {})


def test_a_batch_becomes_one_object_that_is_named_for_its_content(server: Server) -> None:
    received = put(server, batch := sealed(3, start=7))
    lines = lines_of(batch)

    assert received.method == "PUT"
    name = f"0000000000000007-0000000000000009-{sha256(lines).hexdigest()[:32]}.jsonl.gz"
    assert received.path == f"/worm/audit/{batch[0].stream}/{name}"
    assert gzip.decompress(received.body) == lines
    assert received.headers["if-none-match"] == "*"
    assert base64.b64decode(received.headers["x-amz-checksum-sha256"]) == sha256(received.body).digest()
    assert "x-amz-checksum-sha256" in received.headers["authorization"]


def test_a_batch_of_the_journal_is_sent_without_being_taken_apart(server: Server) -> None:
    lines = sealed(3)
    sink_of(server).send(batch := Batch(lines[0].stream, range(1, 4), lines_of(lines)))

    assert gzip.decompress(server.received[0].body) == batch.data
    assert batch._records is None


def test_streams_do_not_share_an_object(server: Server) -> None:
    sink_of(server).send([*sealed(1), *sealed(2)])

    assert [gzip.decompress(each.body).count(b"\n") for each in server.received] == [1, 2]


def test_it_is_an_archive_that_waits_a_minute_for_more(server: Server) -> None:
    sink = sink_of(server)

    assert isinstance(sink, Archive)
    assert sink.linger == 60


class Test_what_each_option_changes_in_the_request:
    def test_compress(self, server: Server) -> None:
        received = put(server, batch := sealed(3), compress="none")

        assert received.path.endswith(".jsonl")
        assert received.body == lines_of(batch)

    def test_prefix(self, server: Server) -> None:
        assert put(server, prefix="a/b/").path.startswith("/worm/a/b/0")

    def test_without_a_lock_nothing_is_asked_for(self, server: Server) -> None:
        assert not [name for name in put(server).headers if "object-lock" in name]

    def test_retain(self, server: Server) -> None:
        headers = put(server, retain="90d").headers
        until = datetime.fromisoformat(headers["x-amz-object-lock-retain-until-date"].replace("Z", "+00:00"))

        assert headers["x-amz-object-lock-mode"] == "COMPLIANCE"
        assert 89.9 < (until - datetime.now(timezone.utc)).total_seconds() / 86400 < 90.1

    def test_lock(self, server: Server) -> None:
        assert put(server, retain="1d", lock="governance").headers["x-amz-object-lock-mode"] == "GOVERNANCE"

    def test_legal_hold(self, server: Server) -> None:
        assert put(server, legal_hold=True).headers["x-amz-object-lock-legal-hold"] == "ON"

    def test_expected_owner(self, server: Server) -> None:
        received = put(server, expected_owner="111122223333")
        assert received.headers["x-amz-expected-bucket-owner"] == "111122223333"

    def test_region(self, server: Server) -> None:
        assert "/eu-central-1/s3/aws4_request" in put(server, region="eu-central-1").headers["authorization"]

    def test_the_region_of_the_environment(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
        assert "/eu-west-3/s3/" in put(server).headers["authorization"]

    def test_profile(self, server: Server, tmp_path: Path) -> None:
        (tmp_path / "credentials").write_text(
            "[archive]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = other\n"
        )
        assert "Credential=AKIAOTHER/" in put(server, profile="archive").headers["authorization"]

    def test_addressing(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        port = int(server.host.rpartition(":")[2])
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
        monkeypatch.setattr("otel_audit.sinks.hosts.socket.getaddrinfo", lambda *_, **__: found)
        received = put(server, addressing="virtual", endpoint=f"http://s3.test:{port}")

        assert received.headers["host"] == f"worm.s3.test:{port}"
        assert received.path.startswith("/audit/")

    def test_max_records_and_max_bytes(self, server: Server) -> None:
        sink = sink_of(server, max_records=5, max_bytes=3072)
        assert (sink.max_records, sink.max_bytes) == (5, 3072)

    def test_timeout(self, server: Server) -> None:
        server.script(Reply(hang=True))
        with pytest.raises(SinkUnavailable, match="did not answer before the deadline"):
            sink_of(server, timeout=0.1).send(sealed(1))


def test_tls_trusts_the_given_authority_and_not_what_the_environment_says(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", certificates.rogue_ca)
    options: dict[str, Any] = {"bucket": "worm", "allow": ("loopback",), "server_name": "localhost"}
    context = certificates.server_context(client_ca=certificates.ca)
    with Server(tls=context) as server:
        secure = {**options, "endpoint": f"https://{server.host}", "ca_file": certificates.ca}
        client = {"cert_file": certificates.client.cert, "key_file": certificates.client.key}
        encrypted = {
            "cert_file": certificates.client.cert,
            "key_file": certificates.client_key_encrypted,
            "key_password_file": certificates.key_password_file,
        }
        for pair in (client, encrypted):
            build(**secure, **pair, minimum_tls_version="1.3").send(sealed(1))
        assert len(server.received) == 2
        with pytest.raises(SinkUnavailable):
            build(**secure).send(sealed(1))
        with pytest.raises(SinkUnavailable, match="certificate"):
            build(**{**secure, **client, "ca_file": certificates.rogue_ca}).send(sealed(1))
        with pytest.raises(SinkUnavailable, match="certificate"):
            build(**{**secure, **client, "server_name": "other.example"}).send(sealed(1))


class Test_an_object_that_is_there_already:
    def test_counts_when_its_checksum_is_the_same(self, server: Server) -> None:
        batch = sealed(3)
        put(server, batch)
        server.script(TAKEN, head(server.received[0].body))
        sink_of(server).send(batch)

        assert [each.method for each in server.received] == ["PUT", "PUT", "HEAD"]
        assert server.received[2].headers["x-amz-checksum-mode"] == "ENABLED"

    @pytest.mark.parametrize("stored", ["the same bytes", "packed otherwise"])
    def test_counts_when_it_holds_these_lines(self, server: Server, stored: str) -> None:
        batch = sealed(3)
        body = gzip.compress(lines_of(batch), 6 if stored == "the same bytes" else 1, mtime=0)
        server.script(TAKEN, head(None), Reply(body=body))
        sink_of(server).send(batch)

        assert [each.method for each in server.received] == ["PUT", "HEAD", "GET"]

    @pytest.mark.parametrize("compress", ["gzip", "none"])
    @pytest.mark.parametrize("stored", [b"", b"no gzip", gzip.compress(b"other lines\n", mtime=0), b"other lines\n"])
    def test_refuses_the_records_when_it_holds_anything_else(
        self, server: Server, stored: bytes, compress: str
    ) -> None:
        batch = sealed(3)
        server.script(TAKEN, head(stored), Reply(body=stored))
        with pytest.raises(RecordsRefused, match="holds something else") as caught:
            sink_of(server, compress=compress).send(batch)

        assert caught.value.ids == {one.id for one in batch}
        assert [each.method for each in server.received].count("PUT") == 1

    def test_refuses_when_more_stands_behind_the_lines(self, server: Server) -> None:
        batch = sealed(3)
        server.script(TAKEN, head(None), Reply(body=gzip.compress(lines_of(batch)) + gzip.compress(b"more\n", mtime=0)))
        with pytest.raises(RecordsRefused):
            sink_of(server).send(batch)

    def test_is_taken_by_its_name_where_the_writer_may_not_read(
        self, server: Server, capfd: pytest.CaptureFixture[str]
    ) -> None:
        server.script(TAKEN, Reply(403))
        sink_of(server, name="by-name").send(sealed(3))

        assert "this account may not read it, and its name says it is these lines" in capfd.readouterr().err

    @pytest.mark.parametrize("status", [404, 500, 503])
    def test_is_asked_for_again_when_it_cannot_be_compared(self, server: Server, status: int) -> None:
        server.script(TAKEN, Reply(status))
        with pytest.raises(SinkUnavailable):
            sink_of(server).send(sealed(3))


class Test_a_part_that_is_not_known_to_be_stored_is_sent_again_later:
    @pytest.mark.parametrize(
        ("reply", "said"),
        [
            (refusal(403, "AccessDenied", "Access Denied"), "the writer needs s3:PutObject, s3:PutObjectRetention"),
            (refusal(403, "SignatureDoesNotMatch", "no"), "403 SignatureDoesNotMatch: no"),
            (refusal(404, "NoSuchBucket"), "make the bucket first"),
            (refusal(400, "InvalidRequest", "Bucket is missing Object Lock Configuration"), "with Object Lock"),
            (refusal(400, "XAmzContentChecksumMismatch"), "400 XAmzContentChecksumMismatch"),
            (refusal(409, "ConditionalRequestConflict"), "409 ConditionalRequestConflict"),
            (refusal(503, "SlowDown"), "503 SlowDown"),
            (refusal(301, "PermanentRedirect"), "is region the bucket's"),
            (Reply(500, b"<html>"), "answered 500"),
            (Reply(raw=b"SSH-2.0-OpenSSH_9.2\r\n"), "no HTTP answer"),
            (Reply(headers={"x-amz-checksum-sha256": "AAAA"}), "stored something else"),
        ],
    )
    def test_whatever_the_answer_is(self, server: Server, reply: Reply, said: str) -> None:
        server.script(reply)
        with pytest.raises(SinkUnavailable, match=re.escape(said)) as caught:
            sink_of(server, retain="1d").send(sealed(3))

        assert "s3cret" not in str(caught.value)
        sent = [each.method for each in server.received]
        assert sent.count("PUT") == 1, "the shipper tries again, nobody else"

    def test_when_it_is_asked_for(self, server: Server) -> None:
        server.script(Reply(503, headers={"Retry-After": "7"}))
        with pytest.raises(SinkUnavailable) as caught:
            sink_of(server).send(sealed(1))
        assert caught.value.retry_after == 7

    def test_without_credentials(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        with pytest.raises(SinkUnavailable, match="credentials"):
            sink_of(server).send(sealed(1))

    def test_when_the_server_sends_it_elsewhere(self, server: Server) -> None:
        elsewhere = "<Error><Code>TemporaryRedirect</Code><Endpoint>other.example</Endpoint></Error>"
        server.script(Reply(307, elsewhere.encode(), {"Location": "http://other.example/worm"}))
        with pytest.raises(SinkUnavailable):
            sink_of(server).send(sealed(1))
        assert [each.method for each in server.received].count("PUT") == 1

    @pytest.mark.parametrize("status", [301, 307, 308])
    def test_when_the_server_sends_everything_elsewhere(self, server: Server, status: int) -> None:
        server.script(*[Reply(status, headers={"Location": "http://other.example/worm"})] * 1000)
        with pytest.raises(SinkUnavailable, match=f"answered {status}"):
            sink_of(server).send(sealed(1))
        assert len(server.received) <= 4


class Test_the_host_policy:
    @pytest.mark.parametrize("host", ["127.0.0.1:1", "169.254.169.254", "10.0.0.1:9000", "[::1]:9000"])
    def test_refuses_addresses_when_the_sink_is_made(self, host: str) -> None:
        with pytest.raises(ConfigurationError, match="list it in `allow`"):
            S3Sink(s3=S3Settings(bucket="worm", endpoint=f"https://{host}"))

    def test_holds_for_what_a_name_resolves_to(self) -> None:
        with pytest.raises(SinkUnavailable, match="is a loopback address"):
            S3Sink(s3=S3Settings(bucket="worm", endpoint="https://localhost:9000")).send(sealed(1))

    def test_holds_for_the_hosts_that_botocore_chooses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[str] = []

        def resolve(host: str, port: int, **_: Any) -> list[Any]:
            asked.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.1.2.3", port))]

        monkeypatch.setattr("otel_audit.sinks.hosts.socket.getaddrinfo", resolve)
        with pytest.raises(SinkUnavailable, match=r"10\.1\.2\.3 is a private address"):
            S3Sink(s3=S3Settings(bucket="worm", region="eu-central-1")).send(sealed(1))
        assert asked == ["worm.s3.eu-central-1.amazonaws.com"]


def test_plain_text_takes_the_word_in_the_url(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{server.host}")
    with pytest.raises(SinkUnavailable, match="plain text takes an endpoint=http"):
        S3Sink(s3=S3Settings(bucket="worm", region="us-east-1"), allow=("loopback",)).send(sealed(1))
    assert not server.received
    with pytest.warns(RuntimeWarning, match="in plain text"):
        sink_of(server)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3:///audit", "write s3://bucket/prefix"),
        ("s3://AKIATEST@worm/audit", "never from the URL"),
        ("s3://AKIATEST:s3cret@worm/audit", "holds a password"),
        ("s3://worm/audit?secret_access_key=s3cret", "looks like a secret"),
        ("s3://Worm/audit?region=x", "is no bucket name"),
        ("s3://wo/audit?region=x", "is no bucket name"),
        ("s3://worm/a/../b?region=x", "the prefix"),
        ("s3://worm/a//b?region=x", "the prefix"),
        ("s3://worm/a%0Ab?region=x", "the prefix"),
        ("s3://worm/audit", "give region="),
        ("s3://worm/audit?region=x&retention=7y", "did you mean"),
        ("s3://worm/audit?region=x&retain=7", "such as 90d or 7y"),
        ("s3://worm/audit?region=x&retain=101y", "at most 100y"),
        ("s3://worm/audit?region=x&retain=0d", "such as 90d or 7y"),
        ("s3://worm/audit?region=x&lock=compliance", "needs retain="),
        ("s3://worm/audit?region=x&lock=complience&retain=1d", "did you mean 'compliance'"),
        ("s3://worm/audit?region=x&expected_owner=me", "12 digits"),
        ("s3://worm/audit?region=x&profile=none", "no profile 'none'"),
        ("s3://worm/audit?region=x&max_bytes=0", "at least 1"),
        ("s3://worm/audit?region=x&timeout=0", "not positive"),
        ("s3://worm/audit?region=x&ca_file=/nowhere.pem", "ca_file /nowhere.pem"),
        ("s3://worm/audit?endpoint=minio:9000", "write https://host"),
        ("s3://worm/audit?endpoint=https://minio:9000/path", "write https://host"),
        ("s3://worm/audit?endpoint=http://minio:9000&ca_file=/etc/ssl/certs/ca-certificates.crt", "plain text"),
    ],
)
def test_a_mistake_is_told_when_the_sink_is_made(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(said)) as caught:
        S3Sink.from_url(url)
    assert "s3cret" not in str(caught.value)


def test_a_broken_aws_configuration_is_told_when_the_sink_is_made(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[default\n")
    with pytest.raises(ConfigurationError, match="Unable to parse config file"):
        S3Sink(s3=S3Settings(bucket="worm"))


def test_a_url_says_it_all(server: Server) -> None:
    url = f"s3://worm/shop/audit?endpoint=http://{server.host}&allow=loopback&retain=7y&lock=governance&name=archive"
    sink = S3Sink.from_url(url)
    sink.send(sealed(1))

    assert sink.name == "archive"
    assert server.received[0].path.startswith("/worm/shop/audit/")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(ConfigurationError, match=re.escape("pip install 'otel-audit[s3]'")):
        S3Sink(s3=S3Settings(bucket="worm", region="x"))


@pytest.mark.parametrize(
    ("retain", "until"),
    [("90d", "2024-05-29"), ("1y", "2025-03-01"), ("4y", "2028-02-29"), ("100y", "2124-02-29")],
)
def test_years_are_calendar_years(retain: str, until: str) -> None:
    asked = ObjectLock(retain=retain).parameters(datetime(2024, 2, 29, 12, tzinfo=timezone.utc))

    assert f"{asked['ObjectLockRetainUntilDate']:%Y-%m-%d}" == until


@pytest.mark.parametrize(
    ("reply", "state"),
    [
        (Reply(403), None),
        (refusal(404, "ObjectLockConfigurationNotFoundError"), LockState.NONE),
        (Reply(body=b"<ObjectLockConfiguration/>"), LockState.NONE),
        (
            Reply(
                body=b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"
            ),
            LockState.BARE,
        ),
        (
            Reply(
                body=b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>"
                b"<Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>"
            ),
            LockState.GOVERNANCE,
        ),
    ],
)
def test_what_a_bucket_promises_is_read(server: Server, reply: Reply, state: LockState | None) -> None:
    server.script(reply)
    assert sink_of(server).bucket.lock_state() is state


@pytest.mark.parametrize("failure", ["nobody there", "no answer", "no HTTP", "503", "another object"])
def test_a_try_that_fails_leaves_nothing_in_memory(server: Server, failure: str) -> None:
    replies = {
        "no answer": [Reply(hang=True)],
        "no HTTP": [Reply(raw=b"SSH-2.0-OpenSSH_9.2\r\n")],
        "503": [Reply(503)],
        "another object": [TAKEN, head(None), Reply(body=b"other\n")],
    }
    sink = sink_of(server, timeout=0.2)
    sink.send(sealed(1))
    if failure == "nobody there":
        sink = sink_of(server, endpoint="http://127.0.0.1:9")
    server.script(*replies.get(failure, []))
    batch = Batch("0" * 32, range(1, 2), lines_of(sealed(1)))
    gc.collect()
    gc.disable()
    try:
        before = sys.getrefcount(batch.data)
        with contextlib.suppress(SinkUnavailable, RecordsRefused):
            sink.send(batch)
            pytest.fail("this was to fail")
        after = sys.getrefcount(batch.data)
    finally:
        gc.enable()
    assert after == before


@pytest.mark.parametrize(
    ("url", "said", "lock"),
    [
        ("s3://worm/a/b?region=r&retain=7y&profile=p", "s3://worm/a/b/?retain=7y", ObjectLock(retain="7y")),
        (
            "s3://worm/a?retain=9d&lock=governance&legal_hold=yes",
            "s3://worm/a/?lock=governance&retain=9d&legal_hold=yes",
            ObjectLock("governance", "9d", legal_hold=True),
        ),
        ("s3://worm?region=r", "s3://worm/", ObjectLock()),
    ],
)
def test_a_stream_can_say_where_it_is_archived_and_how_that_is_locked(url: str, said: str, lock: ObjectLock) -> None:
    assert spell_promise(split_url(url)) == said
    assert read_promise(said) == (said.partition("?")[0], lock)


def test_a_streams_first_record_says_it(server: Server, tmp_path: Path) -> None:
    url = f"s3://worm/audit?endpoint=http://{server.host}&allow=loopback&retain=7y"
    trail = otel_audit.configure(journal=tmp_path / "journal", sinks=[url])
    trail.record("invoice.pay")
    trail.close(10)
    (path,) = (tmp_path / "journal").glob("*.jsonl")
    first = json.loads(path.read_text().partition("\n")[0])

    assert first["data"]["archives"] == ["s3://worm/audit/?retain=7y"]
