"""The S3 reader's requests, and what it makes of answers that the real server of `tests/servers` does not give."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from otel_audit.errors import ConfigurationError
from otel_audit.sinks.base import SinkUnavailable
from otel_audit.sinks.bucket import Refused
from otel_audit.sinks.bucketreader import BucketReader, Version
from tests.sinks.http_server import Reply, Server
from tests.sinks.test_s3 import credentials, one_reading_of_the_service_models, refusal, server

__all__ = ["credentials", "one_reading_of_the_service_models", "server"]

pytestmark = pytest.mark.filterwarnings("ignore:.* in plain text:RuntimeWarning")

VERSION = Version("audit/part", "v1", 6, '"tag"', datetime(2026, 1, 1, tzinfo=timezone.utc))


def url_of(server: Server, **options: str) -> str:
    more = "".join(f"&{name}={value}" for name, value in options.items())
    return f"s3://worm/audit?endpoint=http://{server.host}&allow=loopback{more}"


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def reader(server: Server, pauses: list[float]) -> Iterator[BucketReader]:
    reader = BucketReader.from_url(url_of(server))
    reader._pause = pauses.append
    yield reader
    reader.close()


def listing(*keys: str, after: str | None = None) -> Reply:
    entries = "".join(
        f"<Version><Key>{key}</Key><VersionId>v-{key}</VersionId><IsLatest>true</IsLatest><ETag>x</ETag><Size>6</Size>"
        "<LastModified>2026-01-01T00:00:00Z</LastModified></Version>"
        for key in keys
    )
    more = f"<IsTruncated>true</IsTruncated><NextKeyMarker>{after}</NextKeyMarker>" if after is not None else ""
    return Reply(body=f"<ListVersionsResult>{more}{entries}</ListVersionsResult>".encode())


def test_what_is_asked_for_is_one_version_as_it_was_listed(server: Server, reader: BucketReader) -> None:
    server.script(Reply(206, b"cde"))
    assert reader.read(VERSION, 2, 3) == (b"cde", None)
    (received,) = server.received
    assert received.path == "/worm/audit/part?versionId=v1"
    assert (received.headers["range"], received.headers["if-match"]) == ("bytes=2-4", '"tag"')


def test_the_lock_comes_with_the_bytes(server: Server, reader: BucketReader) -> None:
    until = {"x-amz-object-lock-mode": "COMPLIANCE", "x-amz-object-lock-retain-until-date": "2033-01-01T00:00:00Z"}
    server.script(Reply(206, b"abcdef", until))
    _, lock = reader.read(VERSION, 0, 6)
    assert lock is not None
    assert (lock.mode, lock.until, lock.hold) == ("COMPLIANCE", datetime(2033, 1, 1, tzinfo=timezone.utc), None)


def test_fewer_bytes_than_were_asked_for_are_no_answer(server: Server, reader: BucketReader) -> None:
    server.script(Reply(206, b"abc"))
    with pytest.raises(SinkUnavailable, match="asked for 6 bytes, got 3"):
        reader.read(VERSION, 0, 6)


def test_a_busy_server_is_asked_again(server: Server, reader: BucketReader, pauses: list[float]) -> None:
    busy = Reply(503, b"<Error><Code>SlowDown</Code></Error>", {"Retry-After": "7"})
    server.script(busy, busy, Reply(206, b"abcdef"))
    assert reader.read(VERSION, 0, 6)[0] == b"abcdef"
    assert pauses == [7.0, 7.0]


def test_but_not_for_ever(server: Server, reader: BucketReader, pauses: list[float]) -> None:
    server.default = refusal(503, "SlowDown")
    with pytest.raises(SinkUnavailable, match="SlowDown"):
        reader.read(VERSION, 0, 6)
    assert (len(server.received), len(pauses)) == (5, 4)


def test_a_connection_that_breaks_is_made_again(server: Server, reader: BucketReader) -> None:
    server.script(listing("audit/a"), Reply(raw=b""), Reply(raw=b""), Reply(206, b"abcdef"))
    assert [each.key for each in reader.list("audit/")] == ["audit/a"]
    assert reader.read(VERSION, 0, 6)[0] == b"abcdef"


def test_a_server_that_was_never_there_is_not_waited_for(server: Server, pauses: list[float]) -> None:
    reader = BucketReader.from_url(url_of(server).replace(server.host, "127.0.0.1:1"))
    reader._pause = pauses.append
    with pytest.raises(SinkUnavailable, match="refused"):
        list(reader.list("audit/"))
    assert pauses == []


def test_what_is_refused_is_not_asked_again(server: Server, reader: BucketReader) -> None:
    server.default = refusal(404, "NoSuchVersion")
    with pytest.raises(Refused):
        reader.read(VERSION, 0, 6)
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("status", "code"), [(403, "AccessDenied"), (501, "NotImplemented"), (405, "MethodNotAllowed")]
)
def test_who_may_not_see_versions_gets_the_newest(server: Server, reader: BucketReader, status: int, code: str) -> None:
    newest = "<Key>audit/a</Key><ETag>x</ETag><Size>6</Size><LastModified>2026-01-01T00:00:00Z</LastModified>"
    page = "<ListBucketResult><IsTruncated>{}</IsTruncated>{}<Contents>{}</Contents></ListBucketResult>"
    token = "<NextContinuationToken>t</NextContinuationToken>"
    server.script(
        refusal(status, code),
        Reply(body=page.format("true", token, newest).encode()),
        Reply(body=page.format("false", "", newest.replace("/a", "/b")).encode()),
    )
    found = list(reader.list("audit/"))

    assert [(each.key, each.versions[0].id) for each in found] == [("audit/a", None), ("audit/b", None)]
    assert not reader.knows_versions
    assert "continuation-token=t" in server.received[-1].path


@pytest.mark.parametrize("after", ["", "audit/a"])
def test_a_list_that_does_not_go_on_ends(server: Server, reader: BucketReader, after: str) -> None:
    server.default = listing("audit/a", after=after)
    with pytest.raises(SinkUnavailable, match="does not go on"):
        list(reader.list("audit/"))
    assert len(server.received) <= 2


def test_who_may_not_ask_for_a_lock_is_not_asked_to_for_each(server: Server, reader: BucketReader) -> None:
    server.default = refusal(403, "AccessDenied")
    assert [reader.lock_of(VERSION) for _ in range(5)] == [None] * 5
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "NoSuchObjectLockConfiguration"), (404, "ObjectLockConfigurationNotFoundError"), (400, "InvalidRequest")],
)
def test_no_lock_is_an_answer(server: Server, reader: BucketReader, status: int, code: str) -> None:
    server.default = refusal(status, code)
    assert reader.lock_of(VERSION) == (None, None, False)


def test_the_url_of_the_sink_or_the_anchor_is_taken_as_it_is(server: Server) -> None:
    url = url_of(
        server, retain="7y", linger="1s", max_bytes="4MiB", compress="none", required="true", every="10s", name="x"
    )
    reader = BucketReader.from_url(url)
    assert (reader.name, reader.prefix, reader.lock.retain) == ("worm", "audit/", "7y")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "s3://worm/audit?region=r&retian=7y",
            r"archive s3://worm/audit: there is no option 'retian'; did you mean 'retain'",
        ),
        ("s3://worm/audit?region=r&lock=governance", r"archive s3://worm/audit: lock=governance needs retain"),
        ("s3://worm/audit", r"archive s3://worm/audit: no region"),
        ("s3://Worm/audit?region=r", r"archive s3://Worm/audit: 'Worm' is no bucket name"),
        ("s3://a:b@worm/audit?region=r", "the URL holds a password"),
        ("s3://worm/audit?region=r&secret_key=x", "looks like a secret"),
        ("s3://worm/audit?endpoint=http://127.0.0.1:9", "loopback address"),
    ],
)
def test_a_url_that_cannot_be_used(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        BucketReader.from_url(url)


def test_a_profile_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no profile 'auditor'"):
        BucketReader.from_url("s3://worm/audit?region=r&profile=auditor")
