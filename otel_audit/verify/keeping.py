"""Whether a bucket keeps what it was given: what lies above objects, what hides them, and what their locks promise.

The server's word is taken for all of it. Who owns its disks can make it lie; the chain, signatures and other copies
tell then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .archive import spell
from .findings import Finding, Findings
from .places import Unreadable

if TYPE_CHECKING:
    from otel_audit.sinks.bucketreader import Lock, Version
    from otel_audit.sinks.objectlock import ObjectLock

    from .archive import Archive, StoredObject

__all__ = ["Claim", "judge"]

_TOLERANCE: Final = timedelta(hours=1)
"""By which the clocks of writer and server may differ."""


class Claim(NamedTuple):
    """An `audit.anchor` record about an object in a bucket."""

    stream: str
    seq: int
    data: Mapping[str, Any]


def judge(archive: Archive, claims: Sequence[Claim], promises: Mapping[str, Sequence[str]], findings: Findings) -> None:
    """Report what the bucket did not keep as it should.

    Args:
        archive: what was read of it.
        claims: what the streams' records say was stored in buckets, if this one is an anchor's.
        promises: what each stream's first record says of where it is archived, and under which lock.
        findings: take what is found.
    """
    _Judge(archive, promises, findings).judge(claims)
    archive.reader.close()


class _Judge:
    def __init__(self, archive: Archive, promises: Mapping[str, Sequence[str]], findings: Findings) -> None:
        self._archive = archive
        self._promises = promises
        self._findings = findings
        self._grouped: dict[tuple[str, str], Finding] = {}
        """What is the same of many objects: one finding for each code and reason."""

    def judge(self, claims: Sequence[Claim]) -> None:
        if not self._archive.reader.knows_versions:
            self._findings.add(Finding("VERSIONS_UNCHECKED", str(self._archive)))
        for stored in self._archive.objects:
            self._judge_versions(stored)
        for path, since in self._archive.gone:
            self._findings.add(Finding("OBJECT_EXPIRED", path, detail=f"no version is left; deleted {spell(since)}"))
        self._judge_locks()
        self._judge_claims(claims)
        for found in self._grouped.values():
            if found.count > 1:
                found.detail = f"{found.detail}; of {found.count} objects this is the first"
            self._findings.add(found)

    def _judge_versions(self, stored: StoredObject) -> None:
        first, *above = stored.versions
        for version in above:
            if self._is_same(first, version):
                self._group("OBJECT_REPEATED", stored, "stored again")
                continue
            found = Finding("OBJECT_OVERWRITTEN", str(stored))
            found.expected = f"version {first.id} alone, stored {spell(first.stored)}"
            found.actual = f"version {version.id} above it, stored {spell(version.stored)}"
            self._findings.add(found)
        if stored.deleted is not None:
            lock = self._lock_of(stored)
            over = lock is not None and lock.until is not None and lock.until <= stored.deleted and not lock.hold
            code = "OBJECT_EXPIRED" if over else "OBJECT_HIDDEN"
            self._findings.add(Finding(code, str(stored), detail=f"hidden {spell(stored.deleted)}"))

    def _is_same(self, one: Version, other: Version) -> bool:
        if one.size != other.size:
            return False
        if one.etag and one.etag == other.etag:
            return True
        try:  # an ETag of an encrypted object says nothing of its content
            return all(left == right for left, right in zip(self._read(one), self._read(other), strict=True))
        except Unreadable:
            return False

    def _read(self, version: Version) -> Iterator[bytes]:
        from otel_audit.sinks.bucketreader import PIECE

        for start in range(0, version.size, PIECE):
            yield self._archive.fetch(version, start, min(PIECE, version.size - start))[0]

    # Locks.

    def _judge_locks(self) -> None:
        from otel_audit.sinks.base import SinkUnavailable
        from otel_audit.sinks.bucket import LockState

        place = str(self._archive)
        try:
            state = self._archive.reader.lock_state()
        except SinkUnavailable as error:
            self._findings.add(Finding("LOCK_UNCHECKED", place, detail=str(error)))
            return
        if state is LockState.NONE:
            self._findings.add(Finding("LOCK_MISSING", place, detail="the bucket was made without Object Lock"))
            return
        for stored in self._archive.objects:
            if stored.touched:
                self._judge_lock(stored)

    def _judge_lock(self, stored: StoredObject) -> None:
        asked, now = self._archive.reader.lock, datetime.now(timezone.utc)
        promised = self._promised(stored)
        lock = self._lock_of(stored, with_hold=asked.legal_hold or promised.legal_hold)
        if lock is None:
            self._group("LOCK_UNCHECKED", stored, "the server does not say what protects it")
            return
        wanted = _until(asked, stored)
        if (asked.legal_hold or promised.legal_hold) and not lock.hold:
            if lock.hold is None:
                self._group("LOCK_UNCHECKED", stored, "whether it is held may not be asked: s3:GetObjectLegalHold")
            else:
                self._group("LOCK_WEAK", stored, "it is not under a legal hold")
        if lock.mode is None:
            if not lock.hold:
                self._group("LOCK_MISSING", stored, "it has no retention")
            return
        if lock.mode != "COMPLIANCE" and asked.mode != "governance":
            self._group("LOCK_WEAK", stored, "whoever may bypass it can delete it", "COMPLIANCE", lock.mode)
        if wanted is not None and (lock.until is None or lock.until < wanted - _TOLERANCE):
            self._group(
                "LOCK_WEAK",
                stored,
                "it ends too early",
                spell(wanted),
                None if lock.until is None else spell(lock.until),
            )
        elif (said := _until(promised, stored)) is not None and (lock.until is None or lock.until < said - _TOLERANCE):
            ends = None if lock.until is None else spell(lock.until)
            self._group("LOCK_WEAK", stored, "it ends before its stream says that it does", spell(said), ends)
        elif lock.until is not None and lock.until <= now and not lock.hold:
            self._group("LOCK_ENDED", stored, f"it ended {spell(lock.until)}")

    def _promised(self, stored: StoredObject) -> ObjectLock:
        """Return the lock that the stream of a part says it asked for."""
        from otel_audit.errors import ConfigurationError
        from otel_audit.sinks.objectlock import ObjectLock, read_promise

        stream = stored.version.key.rpartition("/")[0].rpartition("/")[2]
        for text in self._promises.get(stream, ()):
            try:
                place, lock = read_promise(text)
            except ConfigurationError:  # somebody's own word, that binds nobody
                continue
            if stored.startswith(f"{place}{stream}/"):
                return lock
        return ObjectLock()

    def _lock_of(self, stored: StoredObject, *, with_hold: bool = False) -> Lock | None:
        from otel_audit.sinks.base import SinkUnavailable

        reader = self._archive.reader
        try:
            if stored.lock is None:
                stored.lock = reader.lock_of(stored.version)
            if with_hold and stored.lock is not None and stored.lock.hold is None:
                stored.lock = stored.lock._replace(hold=reader.is_held(stored.version))
        except SinkUnavailable:
            return None  # `LOCK_UNCHECKED`
        return stored.lock

    # What the trail says.

    def _judge_claims(self, claims: Sequence[Claim]) -> None:
        reader = self._archive.reader
        by_key = {stored.version.key: stored for stored in self._archive.objects}
        elsewhere: dict[str, Claim] = {}
        here: set[str] = set()
        for claim in claims:
            key = str(claim.data["key"])
            if claim.data["bucket"] != reader.name or not key.startswith(reader.prefix):
                elsewhere.setdefault(claim.stream, claim)
                continue
            here.add(claim.stream)
            self._judge_claim(claim, key, by_key.get(key))
        for stream, claim in elsewhere.items():
            if stream not in here:
                found = Finding("ANCHOR_ELSEWHERE", str(self._archive), stream=stream, seq=claim.seq)
                found.expected, found.actual = str(self._archive), f"s3://{claim.data['bucket']}/{claim.data['key']}"
                self._findings.add(found)

    def _judge_claim(self, claim: Claim, key: str, stored: StoredObject | None) -> None:
        version = claim.data.get("version") if self._archive.reader.knows_versions else None
        if stored is None or (version is not None and version not in {each.id for each in stored.versions}):
            found = Finding("ANCHOR_MISSING", f"s3://{self._archive.reader.name}/{key}")
            found.stream, found.seq = claim.stream, claim.seq
            found.detail = "no such object" if stored is None else f"no version {version} of it"
            self._findings.add(found)
            return
        said, lock = claim.data.get("retain_until"), self._lock_of(stored)
        if not isinstance(said, str) or lock is None:
            return
        until = "none" if lock.until is None else spell(lock.until)
        if until == "none" or until < said:
            self._group("LOCK_WEAK", stored, "it ends before the record says that it does", said, until)
        mode = str(claim.data.get("lock", "")).upper()
        if mode == "COMPLIANCE" and lock.mode not in {None, mode}:
            self._group("LOCK_WEAK", stored, "the record says that nobody can bypass it", mode, lock.mode)

    def _group(
        self, code: str, stored: StoredObject, why: str, expected: str | None = None, actual: str | None = None
    ) -> None:
        known = self._grouped.get((code, why))
        if known is not None:
            known.count += 1
            return
        found = Finding(code, str(stored), detail=why)
        found.expected, found.actual = expected, actual
        self._grouped[code, why] = found


def _until(lock: ObjectLock, stored: StoredObject) -> datetime | None:
    until: datetime | None = lock.parameters(stored.version.stored).get("ObjectLockRetainUntilDate")
    return until
