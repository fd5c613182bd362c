"""S3 buckets: whether what is archived there can be deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_audit.sinks.base import SinkUnavailable
from otel_audit.sinks.bucket import LockState

from .check import Check

if TYPE_CHECKING:
    from otel_audit.sinks.s3 import S3Sink

__all__ = ["check_lock"]


def check_lock(sink: S3Sink) -> Check:
    """Compare what the bucket promises with what the sink asks for."""
    label = f"lock of {sink.name}"
    lock = sink.bucket.lock
    try:
        state = sink.bucket.lock_state()
    except SinkUnavailable as error:
        return Check(label, "fail", str(error), "see the canary")
    finally:
        sink.close()
    asked = "" if lock.retain is None else f"{(lock.mode or 'compliance').upper()} for {lock.retain} is asked for"
    if state is None:
        said = f"this account may not ask what the bucket promises{f'; {asked}' if asked else ''}"
        return Check(label, "unknown", said, "look at it with an auditor's rights: s3:GetBucketObjectLockConfiguration")
    if state is LockState.NONE:
        todo = "make a bucket with Object Lock (docs/how-to/worm-bucket.md)"
        return Check(label, "fail" if lock.asked else "warn", f"{state.value}: what is there can be deleted", todo)
    if lock.retain is not None:
        return Check(label, "ok", f"{state.value}; {asked}")
    if state is LockState.BARE:
        todo = "set retain=..., or a default retention of the bucket"
        return Check(label, "warn", f"{state.value}: what is stored can be deleted", todo)
    if state is LockState.GOVERNANCE:
        todo = "use COMPLIANCE where nobody is to be able to lift it"
        return Check(label, "warn", f"{state.value}: s3:BypassGovernanceRetention lifts it", todo)
    return Check(label, "ok", state.value)
