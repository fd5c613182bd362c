"""S3 with Object Lock: `s3://bucket/prefix?region=eu-central-1&retain=7y`.

A stream is archived in parts, each an object of whole sealed lines:

    <prefix>/<stream>/<first seq>-<last seq>-<digest>.jsonl.gz

The digest is the beginning of the SHA-256 of the lines, so that a name stands for its content: sending a part again
finds the object that is there, and nobody can take a part's name before the part is known. `verify` reads a
downloaded prefix as it lies there.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from hashlib import sha256
from itertools import groupby
from typing import Any, Final, Literal

from otel_audit.errors import ConfigurationError
from otel_audit.notices import notice

from .base import Batch, RecordsRefused, SealedLine
from .bucket import Addressing, Bucket, How, KeyTaken, split_place
from .objectlock import LockMode, ObjectLock
from .tls import TlsVersion
from .urls import read_options, split_url

__all__ = ["S3Sink", "part_name"]

_LEVEL: Final = 6


class S3Sink:
    """Archives each batch as one object, which it never writes over.

    Args:
        bucket: name of the bucket; it should have been made with Object Lock.
        prefix: what the keys begin with.
        region, endpoint, addressing, profile, expected_owner, timeout, allow: see `Bucket`.
        lock: `compliance` (with `retain`, if not said) or `governance`.
        retain: `7y`, `90d`: how long each object is locked from when it is stored; else the bucket's default.
        legal_hold: put a legal hold on each object.
        compress: how objects are packed; the name tells.
        ca_file, cert_file, key_file, key_password_file, server_name, minimum_tls_version: see `TlsSettings`.
        max_records, max_bytes: most of one object, in records and in bytes of lines.

    Raises:
        ConfigurationError: a setting cannot be used, or botocore is not installed.
    """

    window = 0
    linger = 60.0

    def __init__(
        self,
        *,
        bucket: str,
        prefix: str = "",
        region: str | None = None,
        endpoint: str | None = None,
        addressing: Addressing = "auto",
        profile: str | None = None,
        expected_owner: str | None = None,
        lock: LockMode | None = None,
        retain: str | None = None,
        legal_hold: bool = False,
        compress: Literal["gzip", "none"] = "gzip",
        timeout: float = 60.0,
        allow: tuple[str, ...] = (),
        ca_file: str | None = None,
        cert_file: str | None = None,
        key_file: str | None = None,
        key_password_file: str | None = None,
        server_name: str | None = None,
        minimum_tls_version: TlsVersion = "1.2",
        max_records: int = 100_000,
        max_bytes: int = 2 << 20,
        name: str = "s3",
    ) -> None:
        if max_records < 1 or max_bytes < 1:
            raise ConfigurationError(f"sink {name}: max_records and max_bytes are at least 1")
        self.name = name
        self.max_records = max_records
        self.max_bytes = max_bytes
        self._packs = compress == "gzip"
        self._prefix = prefix
        try:
            self.bucket = Bucket(
                bucket,
                region=region,
                endpoint=endpoint,
                addressing=addressing,
                profile=profile,
                expected_owner=expected_owner,
                lock=ObjectLock(lock, retain, legal_hold),
                timeout=timeout,
                most_bytes=max_bytes,
                allow=allow,
                ca_file=ca_file,
                cert_file=cert_file,
                key_file=key_file,
                key_password_file=key_password_file,
                server_name=server_name,
                minimum_tls_version=minimum_tls_version,
            )
        except ImportError as error:
            raise ConfigurationError(f"sink {name}: S3 needs pip install 'otel-audit[s3]'") from error
        except ConfigurationError as error:
            raise ConfigurationError(f"sink {name}: {error}") from error

    @classmethod
    def from_url(cls, url: str) -> S3Sink:
        """Return the sink of `s3://bucket/prefix`.

        Raises:
            ConfigurationError: the URL or one of its options is unusable.
        """
        parts = split_url(url)
        bucket, prefix = split_place(parts, f"sink {parts}")
        given: dict[str, Any] = {"bucket": bucket, "prefix": prefix}
        return cls(**given, **read_options(parts.options, cls.__init__, parts, given=given))

    def send(self, batch: Sequence[SealedLine]) -> None:
        """Store a batch as one object a stream; return when it is there.

        Raises:
            SinkUnavailable: it is not known to be stored.
            RecordsRefused: an object that is not these lines has their name.
        """
        if isinstance(batch, Batch):
            self._store(batch.stream, batch.seqs, batch.data)
            return
        for stream, records in groupby(batch, lambda one: one.stream):
            lines = list(records)
            self._store(stream, [one.seq for one in lines], b"".join([one.line for one in lines]))

    def settled(self) -> bool:
        """Return True: what was sent is stored when `send` returns."""
        return True

    def close(self) -> None:
        """End the connection; the next send makes a new one."""
        self.bucket.close()

    def _store(self, stream: str, seqs: Sequence[int], lines: bytes) -> None:
        key = f"{self._prefix}{stream}/{part_name(seqs[0], seqs[-1], lines)}"
        try:
            if self._packs:
                key, body = f"{key}.gz", gzip.compress(lines, _LEVEL, mtime=0)
                stored = self.bucket.put(key, body, content_type="application/gzip", is_same=_Unpacked(lines))
            else:
                stored = self.bucket.put(key, lines, content_type="application/x-ndjson")
        except KeyTaken as error:
            raise RecordsRefused(str(error), ids=frozenset(f"{stream}-{seq}" for seq in seqs)) from error
        if stored.how is How.UNREAD:
            notice(
                f"sink {self.name}: {key} was there; this account may not read it, and its name says it is these lines",
                subject=self.name,
            )


class _Unpacked:
    """Tells whether a stored object is these lines, packed by whatever version of zlib."""

    def __init__(self, lines: bytes) -> None:
        self._lines = lines

    def __call__(self, stored: bytes) -> bool:
        unpacker = zlib.decompressobj(wbits=31)
        try:
            found = unpacker.decompress(stored, len(self._lines) + 1)
        except zlib.error:
            return False
        return found == self._lines and unpacker.eof and not unpacker.unused_data


def part_name(first: int, last: int, lines: bytes) -> str:
    """Return the last part of an object's key, without what packing adds."""
    return f"{first:016d}-{last:016d}-{sha256(lines).hexdigest()[:32]}.jsonl"
