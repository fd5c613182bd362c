"""Whether audit records would be written and would arrive, from here, now: what `otel-audit doctor` looks at.

Each check is a small function that returns what it found and what to do. One that cannot be made says so: it is
never a pass.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from otel_audit.errors import ConfigurationError

from .anchors import check_anchors
from .application import check_app, check_sdk
from .check import Check, Status
from .journal import check_directory, check_filesystem, check_key, check_locks, check_sinks, check_space, check_sync
from .machine import check_clock, check_native, check_synchronization, check_versions

if TYPE_CHECKING:
    from otel_audit.config.resolving import Effective

__all__ = ["Check", "Status", "examine"]


def examine(
    config: str | None = None, *, app: str | None = None, canary: bool = True, timeout: float = 10.0
) -> Iterator[Check]:
    """Yield what each check found, as it is found.

    Args:
        config: YAML file in place of the one that the environment names.
        app: `MODULE` or `MODULE:ATTRIBUTE` whose logging to look at; imported.
        canary: send a record to each sink.
        timeout: seconds for each connection, and for all canaries together.
    """
    yield check_versions()
    yield check_native()
    yield check_clock()
    yield from _try("time source", check_synchronization)
    yield from check_sdk(os.environ)
    effective = None
    try:
        effective = _resolve(config)
    except ConfigurationError as error:
        for line in str(error).splitlines():
            yield Check("settings", "fail", line, "see `otel-audit config check`")
    if effective is not None:
        yield Check("settings", "ok", "usable")
        yield from _examine_journal(effective)
        yield from _examine_sinks(effective, canary=canary, timeout=timeout)
        yield from check_anchors(effective.settings, timeout=timeout)
    if app is not None:
        yield from check_app(app)


def _resolve(config: str | None) -> Effective:
    from otel_audit.config.assembly import check
    from otel_audit.config.resolving import resolve

    effective = resolve({} if config is None else {"config": config}, os.environ)
    check(effective)
    return effective


def _examine_journal(effective: Effective) -> Iterator[Check]:
    settings = effective.settings
    if settings.signing_key_file is not None:
        key = settings.signing_key_file
        yield from _try("signing key", lambda: check_key(key))
    if settings.journal is None or settings.journal == "memory":
        where = "in memory: what waits there dies with the process" if settings.journal else "on the sinks alone"
        yield Check("journal directory", "warn", f"none; records live {where}", "set OTEL_PYTHON_AUDIT_JOURNAL")
        return
    directory = Path(settings.journal)
    yield check_directory(directory)
    yield from _try("filesystem", lambda: check_filesystem(directory))
    yield from _try(
        "disk space", lambda: check_space(directory, segment_bytes=settings.segment_bytes, quota=settings.quota)
    )
    yield from _try("file locks", lambda: check_locks(directory))
    yield from _try("disk sync", lambda: check_sync(directory))


def _examine_sinks(effective: Effective, *, canary: bool, timeout: float) -> Iterator[Check]:
    from otel_audit.config.assembly import configure_sinks

    from .canary import send_canary
    from .tls import check_tls

    settings = effective.settings
    configured = configure_sinks(effective)
    if settings.journal not in {None, "memory"}:
        yield from check_sinks(Path(str(settings.journal)), frozenset(one.name for one in configured))
    for sink, one in zip(settings.sinks, configured, strict=True):
        if not sink.is_local:
            yield from check_tls(sink.parts, one.name, timeout=timeout)
        if sink.parts.scheme == "s3":
            from otel_audit.sinks.s3 import S3Sink

            from .s3 import check_lock

            yield check_lock(S3Sink.from_url(sink.url))
    standard = {"stdout", "stderr"}
    far = [one for sink, one in zip(settings.sinks, configured, strict=True) if sink.parts.scheme not in standard]
    for one in configured:
        if one not in far:
            yield Check(f"canary to {one.name}", "unknown", "not sent: it would stand in the middle of this report")
    if canary and far:
        yield from send_canary(far, timeout=timeout)
    if not settings.sinks:
        yield Check("sinks", "warn", "none: records stay in the journal", "set OTEL_PYTHON_AUDIT_SINKS, or run `ship`")


def _try(name: str, check: Callable[[], Check]) -> Iterable[Check]:
    """Make one check; where the system refuses, say that it could not be made."""
    try:
        return [check()]
    except OSError as error:
        return [
            Check(name, "fail", f"cannot be looked at: {error.strerror or error}", "run this as the application's user")
        ]
