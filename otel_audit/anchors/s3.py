"""S3 with Object Lock: every checkpoint that it gets stays, `s3://bucket/prefix?region=eu-central-1&retain=7y`.

    <prefix>/<stream>/<size>-<digest>.checkpoint

The digest is the beginning of the SHA-256 of the note. `otel-audit verify --anchor` reads the same URL, or a downloaded
prefix.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from otel_audit.errors import ConfigurationError
from otel_audit.integrity.checkpoint import stream_of
from otel_audit.integrity.publishing import AnchorError, AnchorRefused, Receipt, SignedHead
from otel_audit.sinks.base import SinkUnavailable
from otel_audit.sinks.bucket import Addressing, Bucket, KeyTaken, split_place
from otel_audit.sinks.objectlock import LockMode, ObjectLock
from otel_audit.sinks.tls import TlsVersion
from otel_audit.sinks.urls import read_options, split_url

__all__ = ["S3Anchor"]


class S3Anchor:
    """Stores each checkpoint as an object of its own, which it never writes over.

    Args:
        bucket: name of the bucket; of another account than the log's, if it can be.
        prefix: what the keys begin with.
        region, endpoint, addressing, profile, expected_owner, timeout, allow: see `Bucket`.
        lock, retain, legal_hold: see `ObjectLock`.
        ca_file, cert_file, key_file, key_password_file, server_name, minimum_tls_version: see `TlsSettings`.
        name: the anchor's name.

    Raises:
        ConfigurationError: a setting cannot be used, or botocore is not installed.
    """

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
        timeout: float = 10.0,
        allow: tuple[str, ...] = (),
        ca_file: str | None = None,
        cert_file: str | None = None,
        key_file: str | None = None,
        key_password_file: str | None = None,
        server_name: str | None = None,
        minimum_tls_version: TlsVersion = "1.2",
        name: str = "s3",
    ) -> None:
        self.name = name
        self._prefix = prefix
        try:
            self._bucket = Bucket(
                bucket,
                region=region,
                endpoint=endpoint,
                addressing=addressing,
                profile=profile,
                expected_owner=expected_owner,
                lock=ObjectLock(lock, retain, legal_hold),
                timeout=timeout,
                allow=allow,
                ca_file=ca_file,
                cert_file=cert_file,
                key_file=key_file,
                key_password_file=key_password_file,
                server_name=server_name,
                minimum_tls_version=minimum_tls_version,
                what="checkpoints",
            )
        except ImportError as error:
            raise ConfigurationError(f"anchor {name}: S3 needs pip install 'otel-audit[s3]'") from error
        except ConfigurationError as error:
            raise ConfigurationError(f"anchor {name}: {error}") from error

    @classmethod
    def from_url(cls, url: str) -> S3Anchor:
        """Return the anchor of `s3://bucket/prefix`.

        Raises:
            ConfigurationError: the URL or one of its options is unusable.
        """
        parts = split_url(url, "anchor")
        bucket, prefix = split_place(parts, f"anchor {parts}")
        given: dict[str, Any] = {"bucket": bucket, "prefix": prefix}
        return cls(**given, **read_options(parts.options, cls.__init__, parts, given=given, what="anchor"))

    def publish(self, head: SignedHead) -> Receipt:
        """Store the note under a key of its own, locked as asked.

        Raises:
            AnchorRefused: the key holds something else.
            AnchorError: it is not known to be stored.
        """
        note, origin = head.note.encode(), head.checkpoint.origin
        name = f"{head.checkpoint.size:016d}-{sha256(note).hexdigest()[:32]}.checkpoint"
        key = f"{self._prefix}{stream_of(origin) or origin.replace('/', '_')}/{name}"
        try:
            stored = self._bucket.put(key, note, content_type="text/plain; charset=utf-8")
        except KeyTaken as error:
            raise AnchorRefused(str(error)) from error
        except SinkUnavailable as error:
            raise AnchorError(str(error), retry_after=error.retry_after) from error
        facts = {"bucket": self._bucket.name, "key": key}
        if stored.version is not None:
            facts["version"] = stored.version
        if stored.until is not None:  # what the verifier holds the bucket to
            facts["lock"] = self._bucket.lock.mode or "compliance"
            facts["retain_until"] = f"{stored.until:%Y-%m-%dT%H:%M:%SZ}"
        return Receipt(facts)

    def close(self) -> None:
        """End the connection; the next checkpoint makes a new one."""
        self._bucket.close()
