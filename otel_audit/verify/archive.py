"""Archives and anchors in a bucket, read where they lie: what the S3 sink and the S3 anchor stored.

What is read of each object is its oldest version: the one that was stored when the record was written, and that a lock
holds whatever is put above it. Whether the bucket keeps what it was given is for `keeping`. This is the only part of
the verifier that talks to a network, and it is imported for a path that begins with `s3://` alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import IO, TYPE_CHECKING, Any, Final, cast

from otel_audit.errors import ConfigurationError

from .places import ENDINGS, Elsewhere, Missing, Unreadable

if TYPE_CHECKING:
    from otel_audit.sinks.bucketreader import BucketReader, Entry, Lock, Version

__all__ = ["Archive", "StoredObject", "spell"]

_NOTE: Final = re.compile(
    r"(?:.*/)?(?:[0-9a-f]{32}/[0-9]{16}-[0-9a-f]{32}|[0-9a-f]{32}(?:\.[A-Za-z0-9_-]+)?)\.checkpoint"
)
"""As anchors name what they keep: `<stream>/<size>-<digest>.checkpoint`, `<stream>[.<anchor>].checkpoint`."""


class StoredObject(Elsewhere):
    """`s3://bucket/key`: one object of an archive."""

    __slots__ = ("archive", "deleted", "lock", "touched", "versions")

    archive: Archive
    versions: tuple[Version, ...]
    """The oldest first; that one is read."""
    deleted: datetime | None
    """When it was hidden, if a delete marker lies above it."""
    lock: Lock | None
    """What protects it, where the server told while it was read."""
    touched: bool
    """Whether it was read."""

    @classmethod
    def of(cls, archive: Archive, entry: Entry) -> StoredObject:
        """Return an object that a bucket lists."""
        made = cls(f"s3://{archive.reader.name}/{entry.key}")
        made.archive, made.versions, made.deleted = archive, entry.versions, entry.deleted
        made.lock, made.touched = None, False
        return made

    @property
    def version(self) -> Version:
        """The version that is read."""
        return self.versions[0]

    def open_bytes(self) -> tuple[IO[bytes], int]:
        """Return the bytes of the oldest version, fetched piece by piece, and how many there are."""
        self.touched = True
        return cast("IO[bytes]", _Pieces(self, self.version)), self.version.size

    def as_json(self) -> dict[str, Any]:
        """Return what was read and what protects it."""
        lock = self.lock
        return {
            "object": str(self),
            "version": self.version.id,
            "bytes": self.version.size,
            "stored": spell(self.version.stored),
            "lock": None if lock is None or lock.mode is None else lock.mode.lower(),
            "retain_until": None if lock is None or lock.until is None else spell(lock.until),
        }


class _Unlisted(Elsewhere):
    """A bucket that could not be listed to its end."""

    __slots__ = ("why",)

    why: str

    def open_bytes(self) -> tuple[IO[bytes], int]:
        raise Unreadable(self.why)


class Archive:
    """All that lies under one prefix of a bucket.

    Args:
        url: of the sink or the anchor, as it stands in the settings. Its `retain`, `lock` and `legal_hold` are what
            each object is held to.

    Raises:
        ConfigurationError: it cannot be used, or botocore is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            from otel_audit.sinks.bucketreader import BucketReader

            self.reader: BucketReader = BucketReader.from_url(url)
        except ImportError as error:
            raise ConfigurationError("an s3:// path needs the whole package: pip install 'otel-audit[s3]'") from error
        self.objects: list[StoredObject] = []
        """What was found, in the order of the keys."""
        self.gone: list[tuple[str, datetime]] = []
        """What only a delete marker is left of, and since when."""

    def __str__(self) -> str:
        return f"s3://{self.reader.name}/{self.reader.prefix}"

    def parts(self) -> Iterator[str | Missing]:
        """Yield what may hold records, by a file's name: `*.jsonl` and `*.json` (gz, zst)."""
        return self._choose(lambda key: key.endswith(ENDINGS))

    def notes(self) -> Iterator[str | Missing]:
        """Yield what holds checkpoints, by the names that anchors give."""
        return self._choose(lambda key: _NOTE.fullmatch(key) is not None)

    def fetch(self, version: Version, start: int, length: int) -> tuple[bytes, Lock | None]:
        """Return bytes of one version of an object, and its lock if the server tells it by the way.

        Raises:
            Unreadable: they cannot be had.
        """
        from otel_audit.sinks.base import SinkUnavailable
        from otel_audit.sinks.bucket import Refused

        try:
            return self.reader.read(version, start, length)
        except Refused as refusal:
            raise Unreadable(f"{_said(refusal)}{_READING.get(refusal.status, '')}") from refusal
        except SinkUnavailable as error:
            raise Unreadable(str(error)) from error

    def _choose(self, wanted: Callable[[str], bool]) -> Iterator[str | Missing]:
        from otel_audit.sinks.base import SinkUnavailable
        from otel_audit.sinks.bucket import Refused

        before = len(self.objects)
        try:
            for entry in self._entries(wanted):
                if entry.versions:
                    self.objects.append(StoredObject.of(self, entry))
                    yield self.objects[-1]
                elif entry.deleted is not None:
                    self.gone.append((f"s3://{self.reader.name}/{entry.key}", entry.deleted))
        except Refused as refusal:
            if refusal.status == 404:
                yield Missing(str(self), "there is no such bucket")
            else:
                yield self._unlisted(f"{_said(refusal)}{_LISTING.get(refusal.status, '')}")
        except SinkUnavailable as error:
            yield self._unlisted(str(error))
        else:
            if len(self.objects) == before:
                gone = f"; {len(self.gone)} delete markers are left of what lay there" if self.gone else ""
                yield Missing(str(self), f"nothing of the kind lies under it{gone}")

    def _entries(self, wanted: Callable[[str], bool]) -> Iterator[Entry]:
        reader = self.reader
        named = reader.prefix.removesuffix("/")
        for entry in reader.list(reader.prefix):
            if wanted(entry.key):
                yield entry
        if named and not self.objects:  # one object's own name
            yield from (entry for entry in reader.list(named) if entry.key == named)

    def _unlisted(self, why: str) -> _Unlisted:
        made = _Unlisted(str(self))
        made.why = why
        return made


class _Pieces:
    """The bytes of one version, of which one piece is in memory."""

    def __init__(self, stored: StoredObject, version: Version) -> None:
        self._stored = stored
        self._version = version
        self._place = 0
        self._piece = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        if not self._piece:
            self._fetch()
        taken, self._piece = self._piece[:size], self._piece[size:]
        return bytes(taken)

    def _fetch(self) -> None:
        from otel_audit.sinks.bucketreader import PIECE

        length = min(PIECE, self._version.size - self._place)
        if length:
            body, lock = self._stored.archive.fetch(self._version, self._place, length)
            self._stored.lock = self._stored.lock or lock
            self._place += length
            self._piece = memoryview(body)


_READING: Final = {
    403: " (the reader needs s3:GetObject and s3:GetObjectVersion)",
    404: " (it is gone since it was listed)",
    412: " (it was changed since it was listed)",
}
_LISTING: Final = {
    301: " (is region the bucket's?)",
    307: " (is region the bucket's?)",
    403: " (the reader needs s3:ListBucketVersions, or s3:ListBucket)",
}


def _said(refusal: Any) -> str:
    return f"the bucket answered {refusal.status} {refusal.code}{f': {refusal.said}' if refusal.said else ''}"


def spell(moment: datetime) -> str:
    """Return a moment in words, UTC, to the second."""
    return f"{moment.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
