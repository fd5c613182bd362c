"""S3 with Object Lock: every checkpoint that it gets stays, `s3://bucket/prefix?region=eu-central-1&retain=7y`.

    <prefix>/<stream>/<size>-<digest>.checkpoint

The digest is the beginning of the SHA-256 of the note. `otel-audit verify --anchor` reads the same URL, or a downloaded
prefix.
"""

from __future__ import annotations

from hashlib import sha256

from otel_audit.integrity.checkpoint import file_stem_of
from otel_audit.integrity.publishing import AnchorError, AnchorRefused, Receipt, SignedHead
from otel_audit.sinks.base import SinkUnavailable
from otel_audit.sinks.bucket import Bucket, KeyTaken, S3Settings, speaking_for, split_place
from otel_audit.sinks.tls import DEFAULT_TLS, TlsSettings
from otel_audit.sinks.urls import read_options, split_url

__all__ = ["S3Anchor"]


class S3Anchor:
    """Stores each checkpoint as an object of its own, which it never writes over.

    Args:
        s3: the bucket, of another account than the log's, if it can be; and what protects the objects.
        timeout, allow: see `Bucket`.
        tls: whom to trust, and as whom to appear.
        name: the anchor's name.

    Raises:
        ConfigurationError: a setting cannot be used, or botocore is not installed.
    """

    def __init__(
        self,
        *,
        s3: S3Settings,
        timeout: float = 10.0,
        allow: tuple[str, ...] = (),
        tls: TlsSettings = DEFAULT_TLS,
        name: str = "s3",
    ) -> None:
        self.name = name
        self._prefix = s3.prefix
        with speaking_for(f"anchor {name}"):
            self._bucket = Bucket(s3, timeout=timeout, allow=allow, tls=tls, what="checkpoints")

    @classmethod
    def from_url(cls, url: str) -> S3Anchor:
        """Return the anchor of `s3://bucket/prefix`.

        Raises:
            ConfigurationError: the URL or one of its options is unusable.
        """
        parts = split_url(url, "anchor")
        given = split_place(parts, f"anchor {parts}")
        return cls(**read_options(parts.options, cls.__init__, parts, given=given, what="anchor"))

    def publish(self, head: SignedHead) -> Receipt:
        """Store the note under a key of its own, locked as asked.

        Raises:
            AnchorRefused: the key holds something else.
            AnchorError: it is not known to be stored.
        """
        note = head.note.encode()
        name = f"{head.checkpoint.size:016d}-{sha256(note).hexdigest()[:32]}.checkpoint"
        key = f"{self._prefix}{file_stem_of(head.checkpoint.origin)}/{name}"
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
