"""From settings that hold to a trail: its store, its door, and a shipper for each sink."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from ..canonical import Limits, canonicalize, make_safe
from ..door import Door
from ..durability import FailurePolicy
from ..errors import ConfigurationError
from ..keeper import Intervals
from ..selection import make_selection
from ..sinks.base import Sink
from ..trail import AuditTrail, Watch
from .redacting import make_redactor
from .resolving import Effective
from .schemes import find_type
from .settings import SCHEMA, Settings
from .sinks import SinkSettings

if TYPE_CHECKING:
    from ..integrity.signatures import Signer
    from ..journal.memory import MemoryJournal
    from ..journal.writer import JournalWriter
    from ..shipping import Source
    from ..sinks.local import LocalStore

__all__ = ["ConfiguredSink", "assemble", "configure_sinks", "describe"]

MEMORY: Final = "memory"


@dataclass(frozen=True, slots=True)
class ConfiguredSink:
    """One sink behind a journal, and what its shipper is told."""

    name: str
    make_sink: Callable[[], Sink]
    required: bool
    linger: float | None
    route: Callable[[bytes], bool] | None


def check(effective: Effective) -> None:
    """See whether a trail can be built. Nothing is built, written or connected that would outlive the call.

    Raises:
        ConfigurationError: as `assemble`.
    """
    assemble(effective)


def assemble(effective: Effective) -> AuditTrail:
    """Build the trail. Nothing is written, connected or started before its first record.

    Raises:
        ConfigurationError: settings do not go together, or a sink cannot be built; a line for each.
    """
    signers = _open_signers(effective.settings)  # first: none must have left the epoch that the stream begins in
    trail = _assemble(effective)
    if effective.settings.mac_key_file is not None:
        _mark(trail, effective.settings.mac_key_file)
    if signers:
        _sign(trail, effective.settings, signers)
    return trail


def _assemble(effective: Effective) -> AuditTrail:
    settings = effective.settings
    sinks = configure_sinks(effective)
    _check_retention(settings)
    make_selection(settings.select)
    if settings.metrics and find_spec("opentelemetry") is None:
        raise ConfigurationError("metrics need the OpenTelemetry API: pip install 'otel-audit[otel]'")
    if settings.durability == "ack" and not any(sink.required for sink in sinks):
        raise ConfigurationError("durability is 'ack' and no sink is required: give one of them `required: true`")
    if settings.journal is None:
        return _make_trail(effective, _local_store(effective))
    source: Source
    if settings.journal == MEMORY:
        source = memory = _memory_journal(settings, len(sinks))
        trail = _make_trail(effective, memory)
    else:
        from ..journal.writer import JournalWriter

        directory = Path(settings.journal)
        store = JournalWriter(directory, segment_bytes=settings.segment_bytes, quota=settings.quota)
        trail = _make_trail(effective, store)
        _retain(trail, store, settings, [sink.name for sink in sinks])
        if sinks:
            from ..shipping.source import JournalSource

            source = JournalSource(directory)
    if sinks:
        _introduce_archives(trail, settings)
        _ship(trail, source, sinks)
    return trail


def _make_trail(effective: Effective, store: Any) -> AuditTrail:
    settings = effective.settings
    limits = Limits(settings.max_depth, settings.max_items, settings.text_bytes, settings.record_bytes)
    redactor = make_redactor(settings)
    trail = AuditTrail(
        store,
        door=Door(limits=limits, redactor=redactor),
        durability=settings.durability,
        policy=FailurePolicy(settings.on_failure, settings.block_timeout),
        intervals=Intervals(sync=settings.sync_interval, heartbeat=settings.heartbeat),
        service=_service(settings),
        config_digest=sha256(canonicalize(make_safe(describe(effective), Limits())[0])).hexdigest(),
        ack_timeout=settings.ack_timeout,
        fast_fail=settings.fast_fail,
    )
    for rule in redactor.rules:
        troubles: Watch | None = getattr(rule.change, "troubles", None)
        if troubles is not None:
            trail.watch(troubles)
    return trail


def _open_signers(settings: Settings) -> list[Signer]:
    first, second = settings.signing_key_file, settings.second_signing_key_file
    if first is None:
        if settings.anchors:
            raise ConfigurationError("anchors keep signed checkpoints: give a signing_key_file, or leave anchors out")
        if settings.record_signatures:
            raise ConfigurationError("record_signatures needs a key: give signing_key_file, or leave it out")
        if second is not None:
            raise ConfigurationError("second_signing_key_file signs beside another key: give signing_key_file as well")
        return []
    signers = [_open_signer("signing_key_file", first)]
    if second is not None:
        signers.append(_open_signer("second_signing_key_file", second))
        _check_pair(*signers)
    return signers


def _open_signer(setting: str, path: str) -> Signer:
    from ..integrity.opening import open_signer

    with _reading_key(setting, path, "otel-audit keys"):
        return open_signer(path)


@contextmanager
def _reading_key(setting: str, path: str, command: str) -> Iterator[None]:
    """Say which setting names a key that cannot be used, and which command makes one."""
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"{setting}: {path}: {error.strerror or error}; make one with `{command}`") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{setting}: {error}") from error


def _check_pair(first: Signer, second: Signer) -> None:
    from ..integrity.note import split_vkey

    kinds = {split_vkey(signer.vkey)[1][0] for signer in (first, second)}
    if len(kinds) == 1:
        raise ConfigurationError(
            "second_signing_key_file: it is of the same type as signing_key_file; a second key of another type helps "
            "where the first one's algorithm is broken: make one with `otel-audit keys generate --type ml-dsa-44`"
        )
    if first.name != second.name:
        raise ConfigurationError(
            f"second_signing_key_file: its name is {second.name!r}, and that of signing_key_file {first.name!r}; both "
            "sign for one log and need one name"
        )


def _sign(trail: AuditTrail, settings: Settings, signers: Sequence[Signer]) -> None:
    from ..checkpoints import Checkpoints
    from ..integrity import CHECKPOINTS
    from .anchors import plan_anchors

    on_disk = settings.journal is not None and settings.journal != MEMORY
    checkpoints = Checkpoints(
        trail,
        signers,
        directory=Path(cast("str", settings.journal)) / CHECKPOINTS if on_disk else None,
        anchors=plan_anchors(settings.anchors, _resource(settings)),
        interval=settings.checkpoint_interval,
        every=settings.checkpoint_records,
        each_record=settings.record_signatures,
    )
    trail.accompany(checkpoints)


def _mark(trail: AuditTrail, path: str) -> None:
    from ..marks import Marks

    with _reading_key("mac_key_file", path, "otel-audit keys mac"):
        trail.accompany(Marks(trail, path))


def _check_retention(settings: Settings) -> None:
    limited = [name for name in ("retention", "retention_bytes") if getattr(settings, name) is not None]
    if limited and settings.journal in {None, MEMORY}:
        raise ConfigurationError(f"{limited[0]} is about a journal on disk: give journal=<directory>, or leave it out")
    size, quota = settings.retention_bytes, settings.quota
    if size is not None and quota is not None and size >= quota:
        raise ConfigurationError(
            f"retention_bytes is {size} and quota is {quota}: the quota would stop the journal before retention makes "
            "room; make retention_bytes smaller, by what is written in a minute and some segments"
        )


def _retain(trail: AuditTrail, store: JournalWriter, settings: Settings, sinks: Sequence[str]) -> None:
    if settings.retention is None and settings.retention_bytes is None:
        return
    from ..journal.retention import Limits
    from ..retention import Retention

    limits = Limits(settings.retention, settings.retention_bytes)
    trail.accompany(Retention(trail, store, limits, sinks=sinks))


def _introduce_archives(trail: AuditTrail, settings: Settings) -> None:
    """Have each stream say where it is archived and how that is locked: a verifier holds the bucket to it."""
    archived = [sink.parts for sink in settings.sinks if sink.parts.scheme == "s3"]
    if archived:
        from ..sinks.objectlock import spell_promise

        trail.introduce(archives=[spell_promise(parts) for parts in archived])


def _ship(trail: AuditTrail, source: Source, sinks: list[ConfiguredSink]) -> None:
    from ..shipping import Shipper

    for sink in sinks:
        shipper = Shipper(
            source,
            sink.make_sink,
            name=sink.name,
            required=sink.required,
            route=sink.route,
            own=lambda: trail.stream.id,
            linger=sink.linger,
            report=partial(trail.record_control, action="DEGRADE"),
        )
        trail.accompany(shipper)


def describe(effective: Effective) -> dict[str, Any]:
    """Return every setting with its value as plain JSON. There are no secrets among them."""
    shown = {name: getattr(effective.settings, name) for name in SCHEMA}
    places = {name: [place.as_json() for place in shown[name]] for name in ("sinks", "anchors")}
    return {**shown, **places}


def _service(settings: Settings) -> dict[str, Any]:
    resource = _resource(settings)
    return {name.removeprefix("service."): value for name, value in resource.items() if name.startswith("service.")}


def _resource(settings: Settings) -> Mapping[str, Any]:
    resource = dict(settings.resource or {})
    if settings.service:
        resource["service.name"] = settings.service
    return resource


def _memory_journal(settings: Settings, readers: int) -> MemoryJournal:
    if not readers:
        raise ConfigurationError('journal is "memory" and there is no sink: nothing would ever leave it; give sinks')
    from ..journal.memory import MemoryJournal

    return MemoryJournal(settings.memory_bytes, readers=readers)


def _local_store(effective: Effective) -> LocalStore:
    if not effective.settings.sinks:
        raise ConfigurationError("there is no journal and no sink: nothing would be kept; give a journal, or sinks")
    from ..sinks.local import FileTarget, LocalStore, StandardTarget

    targets: list[StandardTarget | FileTarget] = []
    for sink in effective.settings.sinks:
        parts = sink.parts
        targets.append(FileTarget(Path(parts.path)) if parts.scheme == "file" else StandardTarget(parts.scheme))
    return LocalStore(targets)


def configure_sinks(effective: Effective) -> list[ConfiguredSink]:
    """Build each sink once, to see that it can be, and return how to build it again.

    Raises:
        ConfigurationError: one cannot be built, needs a journal, or has another's name; a line for each.
    """
    settings = effective.settings
    place = _place("sinks", effective.origins["sinks"])
    found: list[ConfiguredSink] = []
    wrong: list[str] = []
    for index, sink in enumerate(settings.sinks):
        try:
            one = _configure(sink, settings)
            if any(one.name == other.name for other in found):
                raise ConfigurationError(f"sink {sink.parts}: another sink is called {one.name!r}; give it a name=")
            found.append(one)
        except ConfigurationError as error:  # noqa: PERF203 - every mistake is told
            wrong.append(f"{place}[{index}]: {error}")
    if wrong:
        raise ConfigurationError("\n".join(wrong))
    return found


def _place(name: str, origin: str) -> str:
    if origin == "argument" or origin.startswith("OTEL_"):
        return name if origin == "argument" else origin
    return f"{origin}: {name}"


def _configure(sink: SinkSettings, settings: Settings) -> ConfiguredSink:
    parts = sink.parts
    if settings.journal is None and (not sink.is_local or parts.options or sink.as_json() != {"url": sink.url}):
        what = "is delivered" if not sink.is_local else "has options, which work"
        raise ConfigurationError(
            f'sink {parts} {what} from a journal: give journal=<directory>, or journal="memory" if there is no disk '
            "(OTEL_PYTHON_AUDIT_JOURNAL)"
        )
    make = partial(find_type(parts.scheme).make, sink.url, _resource(settings))
    built = make()
    built.close()
    if sink.required and built.window and settings.durability == "ack":
        warnings.warn(
            f"sink {built.name}: durability is 'ack', and this protocol has no acknowledgement: a call returns when "
            "the connection has been quiet for settle_after, which does not prove that anybody has read the record; "
            "use a sink that answers, such as beats+tls: or otlp+https:",
            RuntimeWarning,
            stacklevel=2,
        )
    route = None
    if sink.route is not None:
        from ..routing import make_line_route

        route = make_line_route(sink.route)
    return ConfiguredSink(built.name, cast("Callable[[], Sink]", make), sink.required, sink.linger, route)
