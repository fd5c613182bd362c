"""From settings to the process's trail: arguments, else the environment, else a YAML file, else defaults.

Nothing is read before it is needed: the first record of a process that never called `configure` builds the trail
that the environment describes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..durability import Durability, OnFailure
from ..trail import AuditTrail

if TYPE_CHECKING:
    from .settings import Settings

__all__ = ["build_trail", "configure", "current_trail"]


def configure(
    *,
    config: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    journal: str | os.PathLike[str] | None = None,
    memory_bytes: int | str | None = None,
    segment_bytes: int | str | None = None,
    quota: int | str | None = None,
    retention: float | str | None = None,
    retention_bytes: int | str | None = None,
    sinks: Sequence[str | Mapping[str, Any]] | None = None,
    durability: Durability | None = None,
    on_failure: OnFailure | None = None,
    block_timeout: float | str | None = None,
    ack_timeout: float | str | None = None,
    fast_fail: bool | None = None,
    flush_on_sigterm: bool | None = None,
    metrics: bool | None = None,
    sync_interval: float | str | None = None,
    heartbeat: float | str | None = None,
    service: str | None = None,
    resource: Mapping[str, Any] | None = None,
    loggers: Sequence[str] | None = None,
    select: Mapping[str, Any] | None = None,
    redact: Sequence[str] | None = None,
    redact_except: Sequence[str] | None = None,
    redact_text: bool | None = None,
    redact_paths: Sequence[str] | None = None,
    redact_patterns: Sequence[str] | None = None,
    redact_allow: Mapping[str, Sequence[str]] | None = None,
    pseudonyms: Sequence[str] | None = None,
    pseudonym_key_file: str | os.PathLike[str] | None = None,
    sealed: Sequence[str] | None = None,
    subject_path: str | None = None,
    subject_keys: str | os.PathLike[str] | None = None,
    record_bytes: int | str | None = None,
    text_bytes: int | str | None = None,
    max_items: int | None = None,
    max_depth: int | None = None,
    signing_key_file: str | os.PathLike[str] | None = None,
    second_signing_key_file: str | os.PathLike[str] | None = None,
    record_signatures: bool | None = None,
    mac_key_file: str | os.PathLike[str] | None = None,
    checkpoint_interval: float | str | None = None,
    checkpoint_records: int | None = None,
    anchors: Sequence[str | Mapping[str, Any]] | None = None,
    **unknown: Any,
) -> AuditTrail:
    """Build the process's audit trail and make it the one that handlers and the API use.

    A trail configured before is closed. What is not given comes from the environment (`OTEL_PYTHON_AUDIT_*`), then
    from the YAML file, then from the defaults; without any setting, sealed lines go to stdout and nothing to disk.
    Times are seconds or text such as `20ms`, sizes are bytes or text such as `64MiB`. See docs/configuration.md.

    Args:
        config: a YAML file, or a mapping of the same settings.
        journal: directory of stream files; `memory` for a bounded queue in memory; empty for none.
        memory_bytes: most bytes that `journal="memory"` holds.
        segment_bytes: size at which the next file of a stream begins.
        quota: most bytes that the journal's directory may hold.
        retention: how long the journal keeps records that every sink has; for ever if not given.
        retention_bytes: size of the journal above which its oldest records go that every sink has.
        sinks: URLs (`stdout:`, `file:///path`, `logstash+tls://host:5044`) or mappings with a `url`.
        durability: when a logging call returns: `process`, `relaxed`, `always`, `ack`.
        on_failure: what a caller sees when a record cannot be kept: `warn`, `raise`, `block`.
        block_timeout: how long `block` keeps trying.
        ack_timeout: how long `durability="ack"` waits for the required sinks.
        fast_fail: do not wait for a sink that is known to be down.
        flush_on_sigterm: deliver what waits for the sinks before SIGTERM's default action ends the process.
        metrics: report counts, queues and durations through the OpenTelemetry metrics API.
        sync_interval: longest time from a write to its fdatasync.
        heartbeat: time between `audit.heartbeat` records; 0 for none.
        service: the service's name (`OTEL_SERVICE_NAME`).
        resource: resource attributes (`OTEL_RESOURCE_ATTRIBUTES`).
        loggers: existing loggers whose records, and those of their children, become audit records.
        select: which of those records: a mapping with `level`, `marker`, `loggers`.
        redact: names whose values are masked, beside the usual ones.
        redact_except: names whose values are not masked after all.
        redact_text: whether secrets inside text are masked as well.
        redact_paths: paths whose values are masked (`customer.iban`, `actor.name`, `**.iban`).
        redact_patterns: regular expressions that are masked in every text.
        redact_allow: event name -> paths that records by that name may show.
        pseudonyms: paths whose values are replaced by keyed pseudonyms.
        pseudonym_key_file: their keys.
        sealed: paths whose values are encrypted under a key for each data subject.
        subject_path: where a record says whom it is about; `data_subject` by default.
        subject_keys: directory of the data subjects' keys.
        record_bytes: size of a record above which its long texts are cut.
        text_bytes: bytes that are left of such a text.
        max_items: members of one object or array.
        max_depth: levels of nesting.
        signing_key_file: private key, or epoch keys, that sign checkpoints.
        second_signing_key_file: private key of another type (ML-DSA-44) and the same name that signs them as well.
        record_signatures: sign each record by itself as well.
        mac_key_file: key of an evolving MAC over every record.
        checkpoint_interval: longest time from a record to its signature.
        checkpoint_records: records after which a checkpoint is signed sooner.
        anchors: where checkpoints go as well: URLs (`directory:///path`) or mappings with a `url`.
        unknown: refused, with the nearest name that exists.

    Raises:
        ConfigurationError: a setting is unusable; a line for each says which, where it is from and what to do.
    """
    given = {name: value for name, value in locals().items() if value is not None and name != "unknown"} | unknown
    trail, settings = _build(given, os.environ)
    _install(trail)
    _listen(settings)
    _arm(settings)
    _report(trail, settings)
    return trail


def build_trail(given: Mapping[str, Any], environ: Mapping[str, str]) -> AuditTrail:
    """Build a trail from settings, without making it the configured one and without touching any logger.

    Raises:
        ConfigurationError: as `configure`.
    """
    return _build(given, environ)[0]


class _Building(threading.local):
    """Whether this thread is in the middle of building a trail."""

    active = False


_trail: AuditTrail | None = None
_lock = threading.Lock()
_building = _Building()


def current_trail() -> AuditTrail:
    """Return the configured trail; build it from the environment if `configure` was not called.

    Raises:
        ConfigurationError: the environment describes no usable trail.
    """
    trail = _trail
    if trail is not None:
        return trail
    if _building.active:  # a warning about a setting, on its way through `logging` to an AuditHandler
        return _stopgap_trail()
    with _lock:
        if _trail is not None:
            return _trail
        trail, settings = _build({}, os.environ)
        _set(trail)
    _listen(settings)
    _arm(settings)
    _report(trail, settings)
    return trail


def _build(given: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[AuditTrail, Settings]:
    from .assembly import assemble
    from .resolving import resolve

    _building.active = True
    try:
        effective = resolve(given, environ)
        return assemble(effective), effective.settings
    finally:
        _building.active = False


def _stopgap_trail() -> AuditTrail:
    from ..sinks.local import LocalStore, StandardTarget

    return AuditTrail(LocalStore([StandardTarget("stderr")]))


def _listen(settings: Settings) -> None:
    from .loggers import listen_to

    listen_to(settings.loggers, settings.select)


def _arm(settings: Settings) -> None:
    """Have SIGTERM close the trail first, if there is a sink that might not have everything by then."""
    if settings.flush_on_sigterm and settings.journal is not None:
        from ..signals import flush_on_sigterm

        flush_on_sigterm(_close_current)


def _report(trail: AuditTrail, settings: Settings) -> None:
    if settings.metrics:
        from ..otel.metrics import observe

        observe(trail)


def _close_current() -> None:
    if _trail is not None:
        _trail.close()


def _install(trail: AuditTrail) -> None:
    with _lock:
        before = _trail
        _set(trail)
    if before is not None:
        before.close()


def _set(trail: AuditTrail) -> None:
    global _trail
    _trail = trail


def _forget_lock() -> None:
    """In a forked child: another thread of the parent may have held it."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_lock)
