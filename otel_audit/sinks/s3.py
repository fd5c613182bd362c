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
from typing import Final, Literal

from otel_audit.errors import ConfigurationError
from otel_audit.notices import notice

from .base import AnsweredSink, Batch, RecordsRefused, SealedLine
from .bucket import Bucket, How, KeyTaken, S3Settings, speaking_for, split_place
from .tls import DEFAULT_TLS, TlsSettings
from .urls import read_options, split_url

__all__ = ["S3Sink", "part_name"]

_LEVEL: Final = 6


class S3Sink(AnsweredSink):
    """Archives each batch as one object, which it never writes over.

    Args:
        s3: the bucket, and what protects the objects; it should have been made with Object Lock.
        compress: how objects are packed; the name tells.
        timeout, allow: see `Bucket`.
        tls: whom to trust, and as whom to appear.
        max_records, max_bytes: most of one object, in records and in bytes of lines.

    Raises:
        ConfigurationError: a setting cannot be used, or botocore is not installed.
    """

    linger = 60.0

    def __init__(
        self,
        *,
        s3: S3Settings,
        compress: Literal["gzip", "none"] = "gzip",
        timeout: float = 60.0,
        allow: tuple[str, ...] = (),
        tls: TlsSettings = DEFAULT_TLS,
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
        self._prefix = s3.prefix
        with speaking_for(f"sink {name}"):
            self.bucket = Bucket(s3, timeout=timeout, most_bytes=max_bytes, allow=allow, tls=tls)

    @classmethod
    def from_url(cls, url: str) -> S3Sink:
        """Return the sink of `s3://bucket/prefix`.

        Raises:
            ConfigurationError: the URL or one of its options is unusable.
        """
        parts = split_url(url)
        given = split_place(parts, f"sink {parts}")
        return cls(**read_options(parts.options, cls.__init__, parts, given=given))

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
