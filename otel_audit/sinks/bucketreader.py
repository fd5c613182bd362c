"""What lies in an S3 bucket: its objects with every version of them, their bytes piece by piece, their locks.

It goes the ways of `Bucket` (addresses, TLS, credentials) and never writes. A reader has no journal to wait in, so what
fails is tried a few times here.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final, NamedTuple

from otel_audit.errors import ConfigurationError

from .base import SinkUnavailable
from .bucket import Bucket, LockState, Refused, S3Settings, split_place
from .objectlock import ObjectLock
from .tls import DEFAULT_TLS, TlsSettings
from .urls import read_options, split_url

__all__ = ["PIECE", "BucketReader", "Entry", "Lock", "Version"]

PIECE: Final = 4 << 20
"""Most bytes that one request asks for: the memory that an object takes, however large it is."""

_FOR_WRITERS: Final = frozenset({"compress", "max_records", "max_bytes", "linger", "required", "every", "name"})
"""Options of sinks and anchors that mean nothing to a reader; their URL is taken as it stands in the settings."""

_TRIES: Final = 5
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 15.0
_NOT_FOR_US: Final = frozenset({403, 405, 501})
_NO_LOCK: Final = frozenset({"NoSuchObjectLockConfiguration", "ObjectLockConfigurationNotFoundError", "InvalidRequest"})
"""How servers say that an object, or its whole bucket, has no lock; the last one is Amazon's for a bucket."""


class Version(NamedTuple):
    """One version of an object."""

    key: str
    id: str | None
    """None in a bucket without versions, or where this account may not see them."""
    size: int
    etag: str
    stored: datetime


class Entry(NamedTuple):
    """One key, and all that was ever stored under it and is still there."""

    key: str
    versions: tuple[Version, ...]
    """The oldest first."""
    deleted: datetime | None
    """When it was hidden by a delete marker, if the newest is one."""


class Lock(NamedTuple):
    """What protects one version of an object."""

    mode: str | None
    until: datetime | None
    hold: bool | None
    """Whether it is held for ever; None if this account may not ask."""


class BucketReader:
    """Lists and reads a bucket. Not thread-safe.

    Args:
        bucket: where it is; what its `lock` asks for is what its objects are held to, not here.
        prefix: what the keys begin with; empty, or it ends with a slash.
        pause: waits for so many seconds between two tries.
    """

    def __init__(self, bucket: Bucket, prefix: str = "", pause: Callable[[float], object] = time.sleep) -> None:
        self.prefix = prefix
        self.knows_versions = True
        """Whether the server told all versions, as far as was listed."""
        self._bucket = bucket
        self._pause = pause
        self._answered = False
        self._may_ask_for_locks = True

    @classmethod
    def from_url(cls, url: str, what: str = "archive") -> BucketReader:
        """Return the reader of what the sink or the anchor with this URL stores; `what` it is, for messages.

        Raises:
            ConfigurationError: the URL or one of its options is unusable.
            ImportError: botocore is not installed.
        """
        parts = split_url(url, what)
        place = f"{what} {parts}"
        given = split_place(parts, place)
        options = {option: value for option, value in parts.options.items() if option not in _FOR_WRITERS}
        try:
            bucket = _open_bucket(**read_options(options, _open_bucket, parts, given=given, what=what))
        except ConfigurationError as error:
            said = str(error)
            raise ConfigurationError(said if said.startswith(place) else f"{place}: {said}") from error
        return cls(bucket, str(given["prefix"]))

    @property
    def name(self) -> str:
        """The bucket's name."""
        return self._bucket.name

    @property
    def lock(self) -> ObjectLock:
        """What each object is said to be protected by."""
        return self._bucket.lock

    def list(self, prefix: str) -> Iterator[Entry]:
        """Yield every key under a prefix, in order; of servers or accounts that hide versions, the newest of each.

        Raises:
            Refused: the bucket is not there, or may not be listed.
            SinkUnavailable: no answer, or none that makes sense.
        """
        try:
            first = self._ask("list_object_versions", Prefix=prefix)
        except Refused as refusal:
            if refusal.status not in _NOT_FOR_US:
                raise
            self.knows_versions = False
            yield from self._newest(prefix)
        else:
            yield from self._versions(prefix, first)

    def read(self, version: Version, start: int, length: int) -> tuple[bytes, Lock | None]:
        """Return bytes of one version, from `start` on, and its lock if the server tells it by the way.

        Raises:
            Refused: it is gone, changed meanwhile, or may not be read.
            SinkUnavailable: no answer, or another one than was asked for.
        """
        asked = {"Range": f"bytes={start}-{start + length - 1}", "IfMatch": version.etag}
        answer = self._ask("get_object", **_place(version), **asked)
        body = answer["Body"].read()
        if len(body) != length:
            raise SinkUnavailable(f"{self._bucket}/{version.key}: asked for {length} bytes, got {len(body)}")
        return body, _lock_in(answer)

    def lock_of(self, version: Version) -> Lock | None:
        """Return what protects a version; None if this account may not ask, or the server does not know.

        Raises:
            SinkUnavailable: no answer.
        """
        if not self._may_ask_for_locks:
            return None
        try:
            said = self._ask("get_object_retention", **_place(version)).get("Retention", {})
        except Refused as refusal:
            if refusal.code in _NO_LOCK:
                said = {}
            else:
                self._may_ask_for_locks = refusal.status not in _NOT_FOR_US
                return None
        return Lock(said.get("Mode"), said.get("RetainUntilDate"), self.is_held(version))

    def lock_state(self) -> LockState | None:
        """Return what the bucket does with objects that come without a lock; None if this account may not ask.

        Raises:
            SinkUnavailable: it could not be asked.
        """
        return self._bucket.lock_state()

    def close(self) -> None:
        """End the connection; the next request makes a new one."""
        self._bucket.close()

    def is_held(self, version: Version) -> bool | None:
        """Tell whether a version is under a legal hold; None if this account may not ask.

        Raises:
            SinkUnavailable: no answer.
        """
        try:
            answer = self._ask("get_object_legal_hold", **_place(version))
            return bool(answer.get("LegalHold", {}).get("Status") == "ON")
        except Refused as refusal:
            return False if refusal.code in _NO_LOCK else None

    def _versions(self, prefix: str, page: Any) -> Iterator[Entry]:
        begun: Entry | None = None
        """Of the key in which the last page ended; the next one may go on with it."""
        marker: tuple[str, str] | None = None
        while True:
            entries = list(_group(page, begun))
            if not page.get("IsTruncated"):
                yield from entries
                return
            begun = entries.pop() if entries else None
            yield from entries
            following = (str(page.get("NextKeyMarker", "")), str(page.get("NextVersionIdMarker", "")))
            if not following[0] or following == marker:
                raise SinkUnavailable(f"{self._bucket}: the list of its objects does not go on")
            marker = following
            page = self._ask("list_object_versions", Prefix=prefix, KeyMarker=marker[0], VersionIdMarker=marker[1])

    def _newest(self, prefix: str) -> Iterator[Entry]:
        asked: dict[str, str] = {}
        while True:
            page = self._ask("list_objects_v2", Prefix=prefix, **asked)
            for each in page.get("Contents", []):
                yield Entry(each["Key"], (_version(each),), None)
            following = page.get("NextContinuationToken")
            if not page.get("IsTruncated") or not following or following == asked.get("ContinuationToken"):
                return
            asked = {"ContinuationToken": following}

    def _ask(self, operation: str, **parameters: Any) -> Any:
        for left in reversed(range(_TRIES)):
            try:
                answer = self._bucket.call(operation, **parameters)
            except Refused as refusal:
                self._answered = True
                if refusal.status in _NOT_FOR_US or (refusal.status < 500 and refusal.status != 429):
                    raise
                problem = self._bucket.failure(refusal)
            except SinkUnavailable as error:
                if not self._answered:  # a wrong host or no credentials at all: waiting changes nothing
                    raise
                problem = error
            else:
                self._answered = True
                return answer
            if left:
                jitter = random.uniform(0, _FIRST_PAUSE * 2 ** (_TRIES - left))  # noqa: S311 - nothing secret
                self._pause(min(max(jitter, problem.retry_after or 0.0), _LONGEST_PAUSE))
        raise problem


def _open_bucket(
    *,
    s3: S3Settings,
    timeout: float = 60.0,
    allow: tuple[str, ...] = (),
    tls: TlsSettings = DEFAULT_TLS,
) -> Bucket:
    return Bucket(s3, timeout=timeout, allow=allow, tls=tls, what="requests for audit records")


def _place(version: Version) -> dict[str, str]:
    return {"Key": version.key} if version.id is None else {"Key": version.key, "VersionId": version.id}


def _group(page: Any, begun: Entry | None) -> Iterator[Entry]:
    """Yield what one page lists, key by key; it comes as two lists, the newest of each key first."""
    older: dict[str, list[Version]] = {}
    deleted: dict[str, datetime] = {}
    if begun is not None:
        older[begun.key] = [*begun.versions]
        if begun.deleted is not None:
            deleted[begun.key] = begun.deleted
    for each in page.get("Versions", []):
        older.setdefault(each["Key"], []).insert(0, _version(each))
    for each in page.get("DeleteMarkers", []):
        older.setdefault(each["Key"], [])
        if each["IsLatest"]:
            deleted[each["Key"]] = each["LastModified"]
    for key in sorted(older, key=str.encode):
        yield Entry(key, tuple(older[key]), deleted.get(key))


def _version(listed: Any) -> Version:
    given = listed.get("VersionId")
    return Version(
        listed["Key"],
        None if given == "null" and listed.get("IsLatest") else given,
        int(listed["Size"]),
        str(listed.get("ETag", "")),
        listed["LastModified"],
    )


def _lock_in(answer: Any) -> Lock | None:
    mode, hold = answer.get("ObjectLockMode"), answer.get("ObjectLockLegalHoldStatus")
    if mode is None:
        return None
    return Lock(mode, answer.get("ObjectLockRetainUntilDate"), None if hold is None else hold == "ON")
