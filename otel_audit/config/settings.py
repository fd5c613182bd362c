"""Every setting, once: name, kind, default, environment variable, what it is for.

From this table come the environment variables, the keys of the YAML file, `otel_audit.configure`'s arguments, the
published JSON Schema and the documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, cast, get_args

from otel_audit.canonical import Limits
from otel_audit.durability import Durability, FailurePolicy, OnFailure
from otel_audit.journal.writer import DEFAULT_SEGMENT_BYTES
from otel_audit.keeper import Intervals
from otel_audit.record import MAX_LINE

from .anchors import ANCHORS, AnchorSettings
from .kinds import (
    ALLOW,
    ATTRIBUTES,
    NAMES,
    PATH,
    PATHS,
    PATTERNS,
    RULES,
    SUBJECT,
    TEXT,
    TRUTH,
    Kind,
    choice,
    count,
    duration,
    size,
)
from .schemes import TYPES
from .sinks import SINKS, SinkSettings

__all__ = ["CONFIG_VARIABLE", "PREFIX", "SCHEMA", "SECRET_VARIABLES", "START_VARIABLES", "Setting", "Settings"]

PREFIX: Final = "OTEL_PYTHON_AUDIT_"
CONFIG_VARIABLE: Final = f"{PREFIX}CONFIG"

SECRET_VARIABLES: Final[dict[str, str]] = {
    name: text for kind in TYPES for name, text in (kind.variables or {}).items()
}
"""Variables of ours that sinks read themselves, for secrets that stand in no file."""

START_VARIABLES: Final[dict[str, str]] = {
    f"{PREFIX}ENABLED": "`true`: `opentelemetry-instrument` starts the trail.",
    f"{PREFIX}FILE_PATH": "File that the logs exporter `audit_file` writes.",
    f"{PREFIX}LOGSTASH_URL": "Where the logs exporter `audit_logstash` sends: a sink's URL.",
}
"""Variables of ours that say how a program is started, and nothing about a trail."""


@dataclass(frozen=True)
class Setting:
    """One row of the table."""

    name: str
    kind: Kind
    default: Any
    variable: str | None
    description: str


def _setting(default: Any, kind: Kind, description: str, variable: str | None = None) -> Any:
    return field(default=default, metadata={"kind": kind, "description": description, "variable": variable})


_INTERVALS: Final = Intervals()
_LIMITS: Final = Limits()


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a trail is built from: every setting with its value."""

    journal: str | None = _setting(
        None,
        PATH,
        "Directory of stream files; `memory` for a bounded queue in memory, where there is no disk; empty for none.",
    )
    memory_bytes: int = _setting(
        64 << 20,
        size(least=MAX_LINE),
        "Most bytes that `journal: memory` holds; what comes then is handled as `on_failure` says.",
    )
    segment_bytes: int = _setting(
        DEFAULT_SEGMENT_BYTES, size(least=1), "Size at which the next file of a stream begins."
    )
    quota: int | None = _setting(
        None, size(least=MAX_LINE), "Most bytes that the journal's directory may hold; no limit by default."
    )
    retention: float | None = _setting(
        None,
        duration(above=True),
        "How long records are kept at least: a file of a stream that was last written longer ago is removed, once "
        "every sink has it and an `audit.prune` record says so. For ever by default.",
    )
    retention_bytes: int | None = _setting(
        None,
        size(least=MAX_LINE),
        "Size of the journal above which its oldest files are removed in the same way; must be less than `quota`.",
    )
    sinks: tuple[SinkSettings, ...] = _setting(
        (SinkSettings("stdout:"),), SINKS, "Where records go. Empty: nowhere but the journal."
    )
    durability: Durability = _setting(  # noqa: RUF009 - a field
        "process",
        choice(*get_args(Durability)),
        "When a logging call returns: the kernel has the line (`process`), it is queued (`relaxed`), the disk has it "
        "(`always`), the required sinks have it (`ack`).",
    )
    on_failure: OnFailure = _setting(  # noqa: RUF009 - a field
        "warn",
        choice(*get_args(OnFailure)),
        "What a caller sees when a record cannot be kept; the loss always becomes an `audit.gap` record.",
    )
    block_timeout: float = _setting(
        FailurePolicy().block_timeout, duration(), "How long `on_failure: block` keeps trying before it raises."
    )
    ack_timeout: float = _setting(
        10.0, duration(above=True), "How long `durability: ack` waits for the required sinks."
    )
    fast_fail: bool = _setting(False, TRUTH, "`durability: ack` does not wait for a sink that is known to be down.")
    flush_on_sigterm: bool = _setting(
        True,
        TRUTH,
        "Where SIGTERM has its default action, deliver what waits for the sinks before the process ends of it.",
    )
    metrics: bool = _setting(False, TRUTH, "Report counts, queues and durations through the OpenTelemetry metrics API.")
    sync_interval: float = _setting(
        _INTERVALS.sync, duration(above=True), "Longest time from a write to the fdatasync behind it."
    )
    heartbeat: float = _setting(_INTERVALS.heartbeat, duration(), "Time between `audit.heartbeat` records; 0 for none.")
    service: str | None = _setting(
        None,
        TEXT,
        "The service's name; `service.name` of the resource by default.",
        "OTEL_SERVICE_NAME",
    )
    resource: Mapping[str, Any] | None = _setting(
        None,
        ATTRIBUTES,
        "Resource attributes: `service.*` stand in each stream's first record, all go out over OTLP.",
        "OTEL_RESOURCE_ATTRIBUTES",
    )
    loggers: tuple[str, ...] = _setting(
        (),
        NAMES,
        "Existing loggers, with their children, whose records become audit records; `root` for all.",
    )
    select: Mapping[str, Any] | None = _setting(
        None, RULES, "Which records of those loggers are audit events: `level`, `marker`, `loggers`."
    )
    redact: tuple[str, ...] = _setting(
        (),
        NAMES,
        "Names, beside the usual ones, whose values are masked before anything is written; `*` stands for anything.",
    )
    redact_except: tuple[str, ...] = _setting((), NAMES, "Names whose values are not masked after all.")
    redact_text: bool = _setting(
        True, TRUTH, "Mask secrets inside text as well: `password=...`, tokens, credentials in URLs, private keys."
    )
    redact_paths: tuple[str, ...] = _setting(
        (), PATHS, "Paths whose values are masked: `customer.iban`, `actor.name`; `*` is any name, `**` any levels."
    )
    redact_patterns: tuple[str, ...] = _setting(
        (), PATTERNS, "Regular expressions that are masked in every text; of one with a group `secret`, only the group."
    )
    redact_allow: Mapping[str, tuple[str, ...]] | None = _setting(
        None, ALLOW, "Event name -> paths that records by that name may show; what is not listed is masked."
    )
    pseudonyms: tuple[str, ...] = _setting(
        (), PATHS, "Paths whose values are replaced by keyed pseudonyms. Needs `pseudonym_key_file`."
    )
    pseudonym_key_file: str | None = _setting(
        None, PATH, "Keys of pseudonyms (mode 0600; `otel-audit keys pseudonym` makes it); the last one is used."
    )
    sealed: tuple[str, ...] = _setting(
        (), PATHS, "Paths whose values are encrypted under a key for each data subject. Needs `subject_keys`."
    )
    subject_path: str = _setting("data_subject", SUBJECT, "Path of the id of the person that a record is about.")
    subject_keys: str | None = _setting(
        None,
        PATH,
        "Directory of the data subjects' keys (mode 0700); made when first needed. `otel-audit erase` destroys one.",
    )
    record_bytes: int = _setting(
        _LIMITS.record,
        size(least=1024, most=MAX_LINE - 1024),
        "Size of a record above which its long texts are cut; `audit.altered` then says their length and SHA-256.",
    )
    text_bytes: int = _setting(_LIMITS.text, size(least=64), "Bytes that are left of such a text.")
    max_items: int = _setting(_LIMITS.items, count(least=64), "Members of one object or array; more are cut.")
    max_depth: int = _setting(_LIMITS.depth, count(least=16, most=64), "Levels of nesting; what is deeper is cut.")
    signing_key_file: str | None = _setting(
        None, PATH, "Private key (PKCS#8 PEM or epoch keys, mode 0600, or a `pkcs11:` URI) that signs checkpoints."
    )
    second_signing_key_file: str | None = _setting(
        None,
        PATH,
        "Private key of another type and the same name that signs each checkpoint as well: ML-DSA-44, against later "
        "quantum computers. Needs `signing_key_file`.",
    )
    record_signatures: bool = _setting(
        False,
        TRUTH,
        "Sign each record by itself as well (`audit.signatures` records), in the background; needs an Ed25519 "
        "`signing_key_file`.",
    )
    mac_key_file: str | None = _setting(
        None,
        PATH,
        "Key (`otel-audit keys mac`, mode 0600) of an evolving MAC over every record; costs the caller some "
        "microseconds a record.",
    )
    checkpoint_interval: float = _setting(1.0, duration(above=True), "Longest time from a record to its signature.")
    checkpoint_records: int = _setting(1024, count(least=1), "Records after which a checkpoint is signed sooner.")
    anchors: tuple[AnchorSettings, ...] = _setting(
        (),
        ANCHORS,
        "Where checkpoints go as well, out of the log's reach. Needs `signing_key_file`.",
    )


SCHEMA: Final[dict[str, Setting]] = {
    each.name: Setting(
        each.name,
        cast("Kind", each.metadata["kind"]),
        each.default,
        each.metadata["variable"] or (f"{PREFIX}{each.name.upper()}" if each.metadata["kind"].scalar else None),
        each.metadata["description"],
    )
    for each in fields(Settings)
}
"""The table: name -> setting, in the order of the documentation."""
