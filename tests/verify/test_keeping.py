"""Whether a bucket keeps what it was given, where no server can be brought to it: locks that ended, missing rights.

The bucket is a stand-in. `tests/servers/test_s3_verified.py` asks a real one for the rest.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from otel_audit.sinks.base import SinkUnavailable
from otel_audit.sinks.bucket import LockState, Refused
from otel_audit.sinks.bucketreader import BucketReader, Entry, Lock, Version
from otel_audit.sinks.objectlock import ObjectLock
from otel_audit.sinks.s3 import part_name
from otel_audit.verify import Report, verify
from otel_audit.verify.archive import Archive
from tests.verify.histories import Writer, whole

STORED = datetime(2020, 2, 29, tzinfo=timezone.utc)
LATER = datetime.now(timezone.utc) + timedelta(days=1000)
LOCKED = Lock("COMPLIANCE", LATER, hold=False)


def refusal(status: int, code: str = "AccessDenied") -> Refused:
    return Refused({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}})


@dataclass
class Bucket:
    """Stands in for a bucket and its reader: what it holds, and what it says of that."""

    prefix: str = "audit/"
    name: str = "worm"
    lock: ObjectLock = field(default_factory=ObjectLock)
    knows_versions: bool = True
    state: LockState | Exception | None = LockState.COMPLIANCE
    locks: dict[str, Lock | None] = field(default_factory=dict)
    told: bool = True
    """Whether a lock is told with the bytes."""
    held: bool | None = None
    bodies: dict[str, bytes] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    fails: Exception | None = None

    def put(self, key: str, body: bytes, lock: Lock | None = LOCKED, **more: Any) -> str:
        number = f"v{len(self.bodies)}"
        self.bodies[number], self.locks[number] = body, lock
        version = Version(key, number, len(body), more.pop("etag", f'"{number}"'), STORED)
        known = next((place for place, each in enumerate(self.entries) if each.key == key), None)
        if known is None:
            self.entries.append(Entry(key, (version,), more.get("deleted")))
        else:
            before = self.entries[known]
            self.entries[known] = Entry(key, (*before.versions, version), more.get("deleted"))
        return number

    def archive(self, writer: Writer, place: str = "audit/") -> None:
        """Put a whole stream into it, in two parts."""
        for first, last in ((1, 12), (13, 20)):
            lines = b"".join(writer.lines[first - 1 : last])
            self.put(f"{place}{writer.stream}/{part_name(first, last, lines)}.gz", gzip.compress(lines))

    def list(self, prefix: str) -> Iterator[Entry]:
        yield from (each for each in self.entries if each.key.startswith(prefix))
        if self.fails is not None:
            raise self.fails

    def read(self, version: Version, start: int, length: int) -> tuple[bytes, Lock | None]:
        body = self.bodies[version.id or ""][start : start + length]
        return body, self.locks[version.id or ""] if self.told else None

    def lock_of(self, version: Version) -> Lock | None:
        return self.locks[version.id or ""]

    def is_held(self, version: Version) -> bool | None:
        return self.held

    def lock_state(self) -> LockState | None:
        if isinstance(self.state, Exception):
            raise self.state
        return self.state

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A bucket that every s3:// path leads to; it holds a whole stream in two parts."""
    bucket = Bucket()
    monkeypatch.setattr(BucketReader, "from_url", lambda url: bucket)
    bucket.archive(whole())
    return bucket


def check() -> tuple[int, set[str]]:
    report = look()
    return report.exit_code, set(report.findings.counts())


def look() -> Report:
    return verify(["s3://worm/audit"])


def lock_all(bucket: Bucket, lock: Lock | None) -> None:
    bucket.locks = dict.fromkeys(bucket.locks, lock)


def test_a_bucket_that_keeps_what_it_got(bucket: Bucket) -> None:
    assert check() == (0, set())


YEARS = ObjectLock("compliance", "7y")
ENDED = Lock("COMPLIANCE", datetime(2021, 1, 1, tzinfo=timezone.utc), hold=False)
SEVEN_YEARS = datetime(2027, 3, 1, tzinfo=timezone.utc)


@pytest.mark.parametrize("told", [True, False], ids=["told with the bytes", "asked for"])
@pytest.mark.parametrize(
    ("lock", "asked", "exit_code", "code"),
    [
        pytest.param(ENDED, ObjectLock(), 0, "LOCK_ENDED", id="ended"),
        pytest.param(ENDED._replace(hold=True), ObjectLock(), 0, None, id="ended, and held"),
        pytest.param(ENDED, ObjectLock("compliance", "90d"), 0, "LOCK_ENDED", id="ended as asked"),
        pytest.param(ENDED, YEARS, 3, "LOCK_WEAK", id="ended too early"),
        pytest.param(Lock("COMPLIANCE", SEVEN_YEARS, None), YEARS, 0, None, id="seven years from a leap day"),
        pytest.param(
            Lock("COMPLIANCE", SEVEN_YEARS - timedelta(minutes=59), None), YEARS, 0, None, id="clocks that differ"
        ),
        pytest.param(
            Lock("COMPLIANCE", SEVEN_YEARS - timedelta(minutes=61), None), YEARS, 3, "LOCK_WEAK", id="an hour short"
        ),
        pytest.param(Lock("COMPLIANCE", None, None), YEARS, 3, "LOCK_WEAK", id="no end"),
        pytest.param(Lock("GOVERNANCE", LATER, None), ObjectLock(), 3, "LOCK_WEAK", id="governance"),
        pytest.param(
            Lock("GOVERNANCE", LATER, None), ObjectLock("governance", "1y"), 0, None, id="governance as asked for"
        ),
        pytest.param(Lock(None, None, hold=False), ObjectLock(), 3, "LOCK_MISSING", id="none"),
        pytest.param(Lock(None, None, None), ObjectLock(), 3, "LOCK_MISSING", id="none, and a hold may not be asked"),
        pytest.param(Lock(None, None, hold=True), ObjectLock(), 0, None, id="held"),
        pytest.param(None, ObjectLock(), 4, "LOCK_UNCHECKED", id="it may not be asked"),
    ],
)
def test_case_55_what_a_lock_comes_to(
    bucket: Bucket, told: bool, lock: Lock | None, asked: ObjectLock, exit_code: int, code: str | None
) -> None:
    bucket.told, bucket.lock = told, asked
    lock_all(bucket, lock)

    assert check() == (exit_code, {code} if code else set())


def test_case_55_a_bucket_without_object_lock(bucket: Bucket) -> None:
    bucket.state = LockState.NONE
    assert check() == (3, {"LOCK_MISSING"})


@pytest.mark.parametrize(
    ("held", "exit_code", "code"), [(True, 0, None), (False, 3, "LOCK_WEAK"), (None, 4, "LOCK_UNCHECKED")]
)
def test_case_55_a_hold_that_was_asked_for(bucket: Bucket, held: bool | None, exit_code: int, code: str | None) -> None:
    bucket.held, bucket.lock = held, ObjectLock(legal_hold=True)
    lock_all(bucket, LOCKED._replace(hold=None))

    assert check() == (exit_code, {code} if code else set())


@pytest.mark.parametrize(
    ("said", "lock", "exit_code", "code"),
    [
        pytest.param("s3://worm/audit/?retain=7y", ENDED, 3, "LOCK_WEAK", id="shorter than it says"),
        pytest.param("s3://worm/audit/?retain=90d", ENDED, 0, "LOCK_ENDED", id="ended as it says"),
        pytest.param("s3://worm/audit/?retain=7y", LOCKED, 0, None, id="longer than it says"),
        pytest.param("s3://worm/audit/?retain=7y", Lock(None, None, hold=False), 3, "LOCK_MISSING", id="none at all"),
        pytest.param("s3://worm/audit/?legal_hold=true", LOCKED, 3, "LOCK_WEAK", id="a hold that was lifted"),
        pytest.param("s3://worm/audit/", ENDED, 0, "LOCK_ENDED", id="nothing said of a lock"),
        pytest.param("s3://other/audit/?retain=7y", ENDED, 0, "LOCK_ENDED", id="of another bucket"),
        pytest.param("s3://worm/audit/more/?retain=7y", ENDED, 0, "LOCK_ENDED", id="of another prefix"),
        pytest.param("s3://worm/audit/?retain=soon", ENDED, 0, "LOCK_ENDED", id="no period"),
        pytest.param("s3://worm/audit/?x=y", ENDED, 0, "LOCK_ENDED", id="no lock"),
        pytest.param("", ENDED, 0, "LOCK_ENDED", id="no URL"),
        pytest.param(7, ENDED, 0, "LOCK_ENDED", id="no text"),
    ],
)
def test_case_55_what_the_stream_says_of_its_lock(
    bucket: Bucket, said: object, lock: Lock, exit_code: int, code: str | None
) -> None:
    bucket.entries.clear()
    bucket.archive(whole(archives=["s3://elsewhere/?retain=1d", said]))
    lock_all(bucket, lock)

    assert check() == (exit_code, {code} if code else set())


@pytest.mark.parametrize("archives", [7, {}, "s3://worm/audit/", [[]]])
def test_what_a_stream_says_of_archives_may_be_anything(bucket: Bucket, archives: object) -> None:
    bucket.entries.clear()
    bucket.archive(whole(archives=archives))

    assert check() == (0, set())


def test_where_the_bucket_may_not_be_asked_its_objects_say_it(bucket: Bucket) -> None:
    bucket.state = None
    assert check() == (0, set())


def test_where_nothing_can_be_asked_nothing_is_a_pass(bucket: Bucket) -> None:
    bucket.state = SinkUnavailable("no answer")
    assert check() == (4, {"LOCK_UNCHECKED"})


def test_where_only_the_newest_is_listed_it_is_no_pass(bucket: Bucket) -> None:
    bucket.knows_versions = False
    assert check() == (4, {"VERSIONS_UNCHECKED"})


class Test_a_delete_marker:
    def hide(self, bucket: Bucket, deleted: datetime) -> None:
        bucket.entries[0] = bucket.entries[0]._replace(deleted=deleted)

    def test_while_a_lock_holds(self, bucket: Bucket) -> None:
        self.hide(bucket, datetime.now(timezone.utc))
        assert check() == (1, {"OBJECT_HIDDEN"})

    def test_when_it_had_ended(self, bucket: Bucket) -> None:
        lock_all(bucket, ENDED)
        assert ENDED.until is not None
        self.hide(bucket, ENDED.until)
        assert check() == (3, {"OBJECT_EXPIRED", "LOCK_ENDED"})

    def test_before_it_had_ended(self, bucket: Bucket) -> None:
        lock_all(bucket, ENDED)
        assert ENDED.until is not None
        self.hide(bucket, ENDED.until - timedelta(seconds=1))
        assert check() == (1, {"OBJECT_HIDDEN", "LOCK_ENDED"})

    def test_where_no_lock_can_be_asked_for(self, bucket: Bucket) -> None:
        lock_all(bucket, None)
        self.hide(bucket, datetime.now(timezone.utc))
        assert check() == (1, {"OBJECT_HIDDEN", "LOCK_UNCHECKED"})

    def test_of_which_nothing_is_left_below(self, bucket: Bucket) -> None:
        bucket.entries.append(Entry("audit/x.jsonl", (), STORED))
        assert check() == (3, {"OBJECT_EXPIRED"})


class Test_a_second_version:
    @pytest.mark.parametrize("etag", ['"another"', '"v0"'])
    def test_of_the_same_bytes(self, bucket: Bucket, etag: str) -> None:
        """An encrypted object's ETag says nothing of its content."""
        bucket.put(bucket.entries[0].key, bucket.bodies["v0"], etag=etag)
        assert check() == (0, {"OBJECT_REPEATED"})

    def test_of_as_many_bytes(self, bucket: Bucket) -> None:
        bucket.put(bucket.entries[0].key, bucket.bodies["v0"][:-1] + b"x")
        assert check() == (1, {"OBJECT_OVERWRITTEN"})


def test_what_was_found_before_a_list_broke_off_is_checked(bucket: Bucket) -> None:
    bucket.fails = SinkUnavailable("the connection broke")
    report = look()
    assert (report.exit_code, set(report.findings.counts()), report.records) == (2, {"UNREADABLE"}, 20)


def test_an_object_that_may_not_be_read(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object) -> tuple[bytes, None]:
        raise refusal(403)

    monkeypatch.setattr(bucket, "read", read)
    report = look()
    assert report.exit_code == 2
    assert "s3:GetObjectVersion" in report.findings.listed[0].detail


def test_an_archive_says_what_it_is_without_its_options(bucket: Bucket) -> None:
    assert str(Archive("s3://worm/audit?endpoint=https://example.com")) == "s3://worm/audit/"
