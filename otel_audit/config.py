"""From settings to a trail: keyword arguments, else the environment, else defaults.

Nothing is read before it is needed: the first record of a process that never called `configure` builds the trail
that the environment describes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, cast, get_args
from urllib.parse import unquote, urlsplit

from .canonical import canonicalize
from .errors import ConfigurationError
from .journal.writer import DEFAULT_SEGMENT_BYTES, JournalWriter
from .sinks.local import FileTarget, LocalStore, StandardTarget
from .stream import Durability, FailurePolicy, OnFailure, Store
from .trail import AuditTrail, Intervals

__all__ = ["build_trail", "configure", "current_trail"]

PREFIX: Final = "OTEL_PYTHON_AUDIT_"


def configure(
    *,
    journal: str | os.PathLike[str] | None = None,
    sinks: Sequence[str] | None = None,
    durability: Durability | None = None,
    on_failure: OnFailure | None = None,
    block_timeout: float | None = None,
    sync_interval: float | None = None,
    heartbeat: float | None = None,
    segment_bytes: int | None = None,
    quota: int | None = None,
    service: str | None = None,
) -> AuditTrail:
    """Build the process's audit trail and make it the one that handlers and the API use.

    A trail configured before is closed. What is not given comes from the environment, then from the defaults; without
    any setting, sealed lines go to stdout and nothing to disk.

    Args:
        journal: directory of stream files (`OTEL_PYTHON_AUDIT_JOURNAL`).
        sinks: URLs: `stdout:`, `stderr:`, `file:///path` (`OTEL_PYTHON_AUDIT_SINKS`, comma-separated).
        durability: when a logging call returns: `process`, `relaxed`, `always`.
        on_failure: what a caller sees when a record cannot be kept: `warn`, `raise`, `block`.
        block_timeout: seconds that `block` keeps trying.
        sync_interval: longest time in seconds from a write to its fdatasync.
        heartbeat: seconds between `audit.heartbeat` records; 0 for none.
        segment_bytes: size at which the next file of a stream begins.
        quota: most bytes that the journal directory may hold.
        service: the service's name (`OTEL_SERVICE_NAME`).

    Raises:
        ConfigurationError: a setting is unusable; the message says which and what to do.
    """
    given = {name: value for name, value in locals().items() if value is not None}
    return _install(build_trail(given, os.environ))


def build_trail(given: Mapping[str, Any], environ: Mapping[str, str]) -> AuditTrail:
    """Build a trail from settings, without making it the configured one."""
    settings = {**_read_environment(environ), **given}
    journal, sinks = settings.get("journal"), settings.get("sinks")
    store: Store
    if journal:
        store = JournalWriter(
            Path(journal),
            segment_bytes=int(settings.get("segment_bytes", DEFAULT_SEGMENT_BYTES)),
            quota=settings.get("quota"),
        )
    else:
        store = LocalStore([_local_target(url) for url in (["stdout:"] if sinks is None else sinks)])
    durability = _one_of("durability", settings.get("durability", "process"), get_args(Durability))
    on_failure = _one_of("on_failure", settings.get("on_failure", "warn"), get_args(OnFailure))
    policy = FailurePolicy(cast("OnFailure", on_failure), float(settings.get("block_timeout", 10.0)))
    defaults = Intervals()
    intervals = Intervals(
        sync=float(settings.get("sync_interval", defaults.sync)),
        heartbeat=float(settings.get("heartbeat", defaults.heartbeat)),
    )
    return AuditTrail(
        store,
        durability=cast("Durability", durability),
        policy=policy,
        intervals=intervals,
        service={"name": str(settings["service"])} if settings.get("service") else None,
        config_digest=_digest(settings),
    )


def _read_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for name in ("journal", "durability", "on_failure"):
        if value := environ.get(PREFIX + name.upper()):
            settings[name] = value
    if (sinks := environ.get(PREFIX + "SINKS")) is not None:
        settings["sinks"] = [url.strip() for url in sinks.split(",") if url.strip()]
    if service := environ.get("OTEL_SERVICE_NAME"):
        settings["service"] = service
    return settings


def _local_target(url: str) -> StandardTarget | FileTarget:
    scheme, _, rest = url.partition(":")
    if scheme in {"stdout", "stderr"} and not rest:
        return StandardTarget(scheme)
    if scheme == "file":
        return FileTarget(Path(unquote(urlsplit(url).path)))
    raise ConfigurationError(
        f"sink {url!r} needs a journal to be delivered from: give journal=<directory>, or set {PREFIX}JOURNAL"
    )


def _one_of(name: str, value: Any, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise ConfigurationError(f"{name} is {value!r}; it must be one of {', '.join(allowed)}")
    return str(value)


def _digest(settings: Mapping[str, Any]) -> str:
    plain = {
        name: value if isinstance(value, (int, bool)) else str(value) for name, value in settings.items()
    }
    return sha256(canonicalize(plain)).hexdigest()


_trail: AuditTrail | None = None
_lock = threading.Lock()


def current_trail() -> AuditTrail:
    """Return the configured trail; build it from the environment if `configure` was not called."""
    trail = _trail
    if trail is not None:
        return trail
    with _lock:
        if _trail is None:
            _set(build_trail({}, os.environ))
        return cast("AuditTrail", _trail)


def _install(trail: AuditTrail) -> AuditTrail:
    with _lock:
        before = _trail
        _set(trail)
    if before is not None:
        before.close()
    return trail


def _set(trail: AuditTrail) -> None:
    global _trail
    _trail = trail
