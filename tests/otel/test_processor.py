from __future__ import annotations

import copy
import errno
import itertools
import json
import logging
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, InMemoryLogRecordExporter

from otel_audit import AuditHandler, RecordLost, bind
from otel_audit.errors import ConfigurationError
from otel_audit.otel import AuditLogRecordProcessor, install
from otel_audit.otel.installation import remove
from otel_audit.trail import AuditTrail
from tests.otel.logs import Collecting, emit, logged_through, provider_of, sdk_handler
from tests.writer.trails import open_trail, records, run_python, verified

AUDIT = {"audit.action": "DELETE", "audit.actor.id": "alice"}
ORIGINAL = "log.record.original"


def events_in(journal: Path) -> list[dict[str, Any]]:
    return [record for record in records(journal) if not record["event_name"].startswith("audit.")]


def numbers(collected: Collecting) -> list[int]:
    return [record.log_record.attributes["audit.sequence.number"] for record in collected.seen]


def test_an_audit_record_is_sealed_and_tagged_where_it_passes(trail: AuditTrail, journal: Path) -> None:
    behind = Collecting()
    emit(provider_of(AuditLogRecordProcessor(trail), behind), event_name="invoice.delete", attributes={**AUDIT, "n": 1})
    [sealed] = events_in(journal)
    attributes = behind.seen[0].log_record.attributes
    assert sealed["audit"] == {
        "action": "DELETE",
        "actor": {"id": "alice", "type": "user"},
        "outcome": "unknown",
    }
    assert (sealed["event_name"], sealed["message"], sealed["logger"]) == ("invoice.delete", "invoice deleted", "shop")
    assert sealed["data"] == {"n": 1}
    assert json.loads(attributes[ORIGINAL]) == sealed
    assert attributes["audit.record.id"] == f"{sealed['stream']}-{sealed['seq']}"
    assert attributes["audit.sequence.previous_hash"] == sealed["prev_hash"]
    assert attributes["n"] == 1
    assert behind.seen[0].log_record.body == "invoice deleted"


def test_other_records_pass_untouched(trail: AuditTrail, journal: Path) -> None:
    behind, wrapped = Collecting(), Collecting()
    emit(provider_of(AuditLogRecordProcessor(trail), behind), attributes={"n": 1})
    emit(provider_of(AuditLogRecordProcessor(trail, next=wrapped)), attributes={"n": 2})
    assert [dict(each.log_record.attributes) for each in behind.seen + wrapped.seen] == [{"n": 1}, {"n": 2}]
    assert not journal.exists() or events_in(journal) == []


@pytest.mark.parametrize(
    ("select", "chosen"),
    [
        (None, [1, 2, 3]),
        ({"attributes": "audit.action"}, [1]),
        ({"attributes": ["audit", "audit.action"]}, [1, 3]),
        ({"event_names": "user.*"}, [4, 5]),
        ({"loggers": ["shop"]}, [1, 6]),
        ({"loggers": "shop", "level": "error"}, [6]),
        (lambda record: record.log_record.body == 7, [7]),
    ],
)
def test_what_is_audit_is_chosen_by(trail: AuditTrail, journal: Path, select: Any, chosen: list[int]) -> None:
    provider = provider_of(AuditLogRecordProcessor(trail, select=select))
    emit(provider, 1, scope="shop.cart", attributes={"audit.action": "READ"})
    emit(provider, 2, scope="other", attributes={"audit.actor.id": "alice"})
    emit(provider, 3, scope="shopping", attributes={"audit": {"outcome": "success"}})
    emit(provider, 4, scope="other", event_name="user.login")
    emit(provider, 5, scope="other", attributes={"otel.event.name": "user.logout"})
    emit(provider, 6, scope="shop", severity_number=SeverityNumber.ERROR)
    emit(provider, 7, scope="other")
    assert [record["data"]["otel.body"] for record in events_in(journal)] == chosen


@pytest.mark.parametrize(
    "select", [{"logger": "shop"}, {"level": "loud"}, {"attributes": 7}, ["shop"]], ids=["key", "level", "name", "type"]
)
def test_a_selection_that_means_nothing_is_refused(select: Any) -> None:
    with pytest.raises(ConfigurationError, match="select"):
        AuditLogRecordProcessor(select=select)


def test_every_draft_name_finds_its_member(trail: AuditTrail, journal: Path) -> None:
    attributes = {
        "audit.actor.id": "alice",
        "audit.actor.type": "service",
        "audit.actor.name": "Alice",
        "auditx.actor.on_behalf_of.id": "bob",
        "audit.action": "void",
        "audit.outcome": "failure",
        "audit.target.id": "7",
        "audit.target.type": "invoice",
        "audit.source.id": "192.0.2.1",
        "audit.reason": "GDPR-1182",
        "auditx.tenant.id": "acme",
        "auditx.tenant.name": "ACME",
        "audit.schema.version": "shop/2",
    }
    behind = Collecting()
    emit(provider_of(AuditLogRecordProcessor(trail), behind), attributes=attributes)
    [sealed] = events_in(journal)
    assert sealed["audit"] == {
        "action": "VOID",
        "actor": {"id": "alice", "name": "Alice", "on_behalf_of": "bob", "type": "service"},
        "outcome": "failure",
        "reason": "GDPR-1182",
        "source": {"address": "192.0.2.1"},
        "target": {"id": "7", "type": "invoice"},
        "tenant": {"id": "acme", "name": "ACME"},
        "version": "shop/2",
    }
    assert "data" not in sealed
    tags = behind.seen[0].log_record.attributes
    assert {name: tags[name] for name in attributes} == {**attributes, "audit.action": "VOID"}


def test_names_that_only_the_trail_may_give_are_data(trail: AuditTrail, journal: Path) -> None:
    forged = {"audit.record.id": "x", "audit.sequence.number": 9, "audit.integrity.value": "y", "audit.altered": "z"}
    behind = Collecting()
    emit(provider_of(AuditLogRecordProcessor(trail), behind), attributes={**AUDIT, **forged})
    [sealed] = events_in(journal)
    assert sealed["data"] == forged
    assert "altered" not in sealed["audit"]
    assert behind.seen[0].log_record.attributes["audit.sequence.number"] == sealed["seq"]


def test_the_audit_mapping_of_a_logging_call_fills_the_schema(trail: AuditTrail, journal: Path) -> None:
    provider = provider_of(AuditLogRecordProcessor(trail))
    with logged_through(sdk_handler(provider)) as logger:
        logger.info("gone", extra={"audit": {"actor": "alice", "target": "invoice/7", "event": "invoice.delete"}})
        logger.info("in", extra={"audit": "user.login"})
    first, second = events_in(journal)
    assert first["audit"]["target"] == {"id": "7", "type": "invoice"}
    assert (first["event_name"], first["message"]) == ("invoice.delete", "gone")
    assert second["event_name"] == "user.login"


def test_who_acts_comes_from_the_bound_scope(trail: AuditTrail, journal: Path) -> None:
    provider = provider_of(AuditLogRecordProcessor(trail, select={"loggers": "shop"}))
    with bind(actor="alice", tenant="acme"):
        emit(provider)
    [sealed] = events_in(journal)
    assert (sealed["audit"]["actor"]["id"], sealed["audit"]["tenant"]) == ("alice", "acme")


def test_time_and_trace_are_the_records_own(trail: AuditTrail, journal: Path) -> None:
    from opentelemetry import trace
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

    span = NonRecordingSpan(SpanContext(0xABC, 0xDEF, False, TraceFlags(1)))
    provider = provider_of(AuditLogRecordProcessor(trail))
    emit(provider, timestamp=1_700_000_000_123_456_789, attributes=AUDIT, context=trace.set_span_in_context(span))
    emit(provider, timestamp=-5, observed_timestamp=1_700_000_000_000_000_001, attributes=AUDIT)
    first, second = events_in(journal)
    assert first["@timestamp"] == "2023-11-14T22:13:20.123456789Z"
    assert first["otel"] == {"span_id": f"{0xDEF:016x}", "trace_flags": 1, "trace_id": f"{0xABC:032x}"}
    assert second["@timestamp"] == "2023-11-14T22:13:20.000000001Z"
    assert second["audit"]["altered"] == [{"path": "/@timestamp", "why": "not a time"}]
    assert "otel" not in second


def test_a_body_that_is_no_text_is_data(trail: AuditTrail, journal: Path) -> None:
    emit(provider_of(AuditLogRecordProcessor(trail)), {"k": [1, b"\x00"]}, attributes=AUDIT)
    [sealed] = events_in(journal)
    assert sealed["data"] == {"otel.body": {"k": [1, "AA=="]}}
    assert "message" not in sealed


def test_secrets_are_masked_in_the_trail(trail: AuditTrail, journal: Path) -> None:
    emit(provider_of(AuditLogRecordProcessor(trail)), attributes={**AUDIT, "password": "hunter2"})
    assert events_in(journal)[0]["data"] == {"password": "[redacted]"}


def test_what_the_sdk_limits_took_is_noted(trail: AuditTrail, journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_ATTRIBUTE_COUNT_LIMIT", "3")
    monkeypatch.setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "8")
    provider = provider_of(AuditLogRecordProcessor(trail))
    with pytest.warns(UserWarning, match="dropped"):
        emit(provider, attributes={"first": 1, "note": "a long one", **AUDIT})
    [sealed] = events_in(journal)
    assert sealed["data"] == {"note": "a long o"}
    assert sealed["audit"]["altered"] == [
        {"length": 1, "path": "/data", "why": "attributes dropped by the SDK"},
        {"length": 8, "path": "/data/note", "why": "perhaps cut by the SDK"},
    ]


@pytest.mark.filterwarnings("ignore:Log record attributes were dropped")
def test_a_record_that_may_have_lost_what_made_it_audit_is_recorded(
    trail: AuditTrail, journal: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_ATTRIBUTE_COUNT_LIMIT", "3")  # the SDK drops the first attributes, not the last
    provider = provider_of(AuditLogRecordProcessor(trail))
    emit(provider, "audit", attributes={**AUDIT, "a": 1, "b": 2, "c": 3})
    emit(provider, "as many as may be", attributes={"a": 1, "b": 2, "c": 3})
    [sealed] = events_in(journal)
    assert sealed["message"] == "audit"
    assert sealed["audit"]["altered"] == [{"length": 2, "path": "/data", "why": "attributes dropped by the SDK"}]
    assert "OTEL_ATTRIBUTE_COUNT_LIMIT is set" in capfd.readouterr().err


@pytest.mark.filterwarnings("ignore:Log record attributes were dropped")
def test_limits_mutating_processors_and_a_short_queue_change_nothing_that_is_sealed(
    trail: AuditTrail, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_ATTRIBUTE_COUNT_LIMIT", "2")
    monkeypatch.setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "16")

    def vandal(record: Any) -> None:
        attributes = record.log_record.attributes
        for name in list(attributes):
            attributes[name] = "changed"
        record.log_record.body = "changed"

    exporter = InMemoryLogRecordExporter()
    batch = BatchLogRecordProcessor(exporter, max_queue_size=1, max_export_batch_size=1, schedule_delay_millis=1)
    own = Collecting()
    provider = provider_of(AuditLogRecordProcessor(trail, next=own), Collecting(vandal), batch)
    for number in range(200):
        emit(provider, str(number), attributes=AUDIT)
    provider.shutdown()
    lines = [record["message"] for record in events_in(journal)]
    assert lines == [str(number) for number in range(200)]
    handed = [json.loads(record.log_record.attributes[ORIGINAL]) for record in own.seen]
    assert handed == events_in(journal)
    assert all(record.log_record.attributes["audit.actor.id"] == "alice" for record in own.seen)
    trail.close()
    assert verified(journal).exit_code == 0


def test_next_is_given_a_copy_of_its_own(trail: AuditTrail) -> None:
    wrapped, behind = Collecting(), Collecting()
    emit(provider_of(AuditLogRecordProcessor(trail, next=wrapped), behind), attributes=AUDIT)
    handed, passing = wrapped.seen[0], behind.seen[0]
    passing.log_record.attributes["audit.actor.id"] = "mallory"
    passing.log_record.body = "nothing happened"
    assert handed.log_record.attributes["audit.actor.id"] == "alice"
    assert handed.log_record.body == "invoice deleted"
    assert handed.resource is passing.resource


def test_next_sees_records_in_the_order_of_their_numbers(journal: Path) -> None:
    wrapped = Collecting()
    with open_trail(journal) as trail:
        provider = provider_of(AuditLogRecordProcessor(trail, next=wrapped))

        def work() -> None:
            for _ in range(500):
                emit(provider, attributes=AUDIT)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert numbers(wrapped) == list(range(2, 2002))
    assert verified(journal).exit_code == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_four_threads_with_fifty_thousand_records_each_leave_no_hole_and_no_inversion(journal: Path) -> None:
    wrapped = Collecting(lambda record: record.log_record.attributes["audit.sequence.number"])
    with open_trail(journal) as trail:
        provider = provider_of(AuditLogRecordProcessor(trail, next=wrapped))

        def work() -> None:
            for _ in range(50_000):
                emit(provider, attributes=AUDIT)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrapped.seen == list(range(2, 200_002))
    assert verified(journal).exit_code == 0


def test_what_next_logs_while_it_is_handed_a_record_comes_after_that_record(trail: AuditTrail) -> None:
    class Talking(Collecting):
        def on_emit(self, log_record: Any) -> None:
            if log_record.log_record.body == "first":
                emit(provider, "second", attributes=AUDIT)
            super().on_emit(log_record)

    wrapped = Talking()
    provider = provider_of(AuditLogRecordProcessor(trail, next=wrapped))
    emit(provider, "first", attributes=AUDIT)
    assert [record.log_record.body for record in wrapped.seen] == ["first", "second"]
    assert numbers(wrapped) == [2, 3]


def test_two_processors_seal_a_record_once(trail: AuditTrail, journal: Path) -> None:
    emit(provider_of(AuditLogRecordProcessor(trail), AuditLogRecordProcessor(trail)), attributes=AUDIT)
    assert len(events_in(journal)) == 1


class Full:
    """A store whose disk is full."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.full = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def append(self, lines: bytes) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._store.append(lines)


def fill_disk(trail: AuditTrail) -> None:
    full = Full(trail.stream.store)
    trail.stream.store = full  # type: ignore[assignment]


def test_a_record_that_cannot_be_sealed_goes_on_and_the_caller_sees_nothing(
    trail: AuditTrail, capfd: pytest.CaptureFixture[str]
) -> None:
    fill_disk(trail)
    behind, wrapped = Collecting(), Collecting()
    emit(provider_of(AuditLogRecordProcessor(trail), behind), attributes=AUDIT)
    emit(provider_of(AuditLogRecordProcessor(trail, next=wrapped)), attributes=AUDIT)
    for record in (*behind.seen, *wrapped.seen):
        assert dict(record.log_record.attributes) == AUDIT
    assert "No space left" in capfd.readouterr().err
    assert trail.stream.lost == 2


def test_with_on_error_raise_the_caller_gets_the_error_and_nobody_the_record(trail: AuditTrail) -> None:
    fill_disk(trail)
    behind, wrapped = Collecting(), Collecting()
    with pytest.raises(RecordLost):
        emit(provider_of(AuditLogRecordProcessor(trail, on_error="raise"), behind), attributes=AUDIT)
    with (
        logged_through(
            sdk_handler(provider_of(AuditLogRecordProcessor(trail, next=wrapped, on_error="raise")))
        ) as logger,
        pytest.raises(RecordLost),
    ):
        logger.info("x", extra=AUDIT)
    assert behind.seen == wrapped.seen == []


def test_a_failing_next_does_not_reach_the_caller_unless_asked(
    trail: AuditTrail, journal: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(_: Any) -> None:
        raise ValueError("broken exporter")

    for attributes in (AUDIT, {}):
        emit(provider_of(AuditLogRecordProcessor(trail, next=Collecting(fail))), attributes=attributes)
    said = capfd.readouterr().err
    assert "`next` did not take a record: ValueError: broken exporter" in said
    assert "not sealed" not in said
    with pytest.raises(ValueError, match="broken exporter"):
        emit(provider_of(AuditLogRecordProcessor(trail, next=Collecting(fail), on_error="raise")), attributes=AUDIT)
    assert len(events_in(journal)) == 2


def test_a_failing_select_records_rather_than_not(
    trail: AuditTrail, journal: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(_: Any) -> bool:
        raise KeyError("tenant")

    emit(provider_of(AuditLogRecordProcessor(trail, select=fail)))
    assert len(events_in(journal)) == 1
    assert "it is recorded: KeyError" in capfd.readouterr().err


@pytest.mark.parametrize("attributes", [{**AUDIT, 7: "seven"}, [1, 2]], ids=["key", "type"])
def test_what_another_processor_made_of_the_attributes_neither_loses_an_event_nor_reaches_the_caller(
    trail: AuditTrail, journal: Path, attributes: Any
) -> None:
    def replace(record: Any) -> None:
        record.log_record.attributes = attributes

    emit(provider_of(Collecting(replace), AuditLogRecordProcessor(trail)))
    assert [record["message"] for record in events_in(journal)] == ["invoice deleted"]


def test_names_may_be_of_a_kind_of_string(trail: AuditTrail, journal: Path) -> None:
    class Name(str):
        __slots__ = ()

    emit(provider_of(AuditLogRecordProcessor(trail)), attributes={Name(name): value for name, value in AUDIT.items()})
    assert events_in(journal)[0]["audit"]["actor"]["id"] == "alice"


@pytest.mark.parametrize("argument", ["trail", "next"])
def test_an_argument_of_the_wrong_kind_is_refused_at_once(argument: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{argument} must be .*, not str"):
        AuditLogRecordProcessor(**{argument: "batch"})  # type: ignore[arg-type]


@pytest.mark.parametrize("first", ["handler", "sdk"])
def test_a_call_that_reaches_handler_and_processor_is_recorded_once(
    trail: AuditTrail, journal: Path, first: str
) -> None:
    provider = provider_of(AuditLogRecordProcessor(trail, select={"loggers": "tests"}))
    both = [AuditHandler(trail), sdk_handler(provider)]
    with logged_through(*(both if first == "handler" else reversed(both))) as logger:
        for number in range(5):
            logger.info("call %s", number)
    assert [record["message"] for record in events_in(journal)] == [f"call {number}" for number in range(5)]


def test_with_a_clock_that_stands_still_every_call_is_recorded_once(
    trail: AuditTrail, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = provider_of(AuditLogRecordProcessor(trail, select={"loggers": "tests"}))
    factory = logging.getLogRecordFactory()

    def frozen(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = factory(*args, **kwargs)
        record.created = 1_700_000_000.0
        return record

    monkeypatch.setattr(logging, "_logRecordFactory", frozen)
    each = [AuditHandler(trail)], [sdk_handler(provider)], [AuditHandler(trail), sdk_handler(provider)]
    for number, handlers in enumerate(each):
        with logged_through(*handlers, name=f"tests.{number}") as logger:
            logger.info("one")
            logger.info("two")
    assert [record["message"] for record in events_in(journal)] == ["one", "two"] * 3


def test_two_trails_each_get_the_call(tmp_path: Path) -> None:
    with open_trail(tmp_path / "a") as one, open_trail(tmp_path / "b") as other:
        provider = provider_of(AuditLogRecordProcessor(other, select={"loggers": "tests"}))
        with logged_through(AuditHandler(one), sdk_handler(provider)) as logger:
            logger.info("x")
        assert len(events_in(tmp_path / "a")) == len(events_in(tmp_path / "b")) == 1


def test_install_goes_before_what_is_there(trail: AuditTrail, journal: Path) -> None:
    behind = Collecting(lambda record: ORIGINAL in record.log_record.attributes)
    provider = provider_of(behind)
    processor = install(provider, trail=trail)
    assert install(provider, trail=trail) is processor
    emit(provider, attributes=AUDIT)
    remove(provider, processor)
    emit(provider, attributes=AUDIT)
    assert behind.seen == [True, False]
    assert len(events_in(journal)) == 1


def concurrent() -> Any:
    from opentelemetry.sdk._logs import _internal

    return _internal.ConcurrentMultiLogRecordProcessor()


def test_processors_that_run_at_once_are_refused(trail: AuditTrail, capfd: pytest.CaptureFixture[str]) -> None:
    provider = LoggerProvider(shutdown_on_exit=False, multi_log_record_processor=concurrent())
    with pytest.raises(ConfigurationError, match="in other threads and in no order"):
        install(provider, trail=trail)
    provider.add_log_record_processor(AuditLogRecordProcessor(trail, on_error="raise"))
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="in other threads and in no order"):
            emit(provider, attributes=AUDIT)


def test_a_place_behind_others_is_refused_or_told(trail: AuditTrail, capfd: pytest.CaptureFixture[str]) -> None:
    emit(provider_of(Collecting(), AuditLogRecordProcessor(trail)), attributes=AUDIT)
    assert "registered behind Collecting" in capfd.readouterr().err
    with pytest.raises(ConfigurationError, match="registered behind Collecting"):
        emit(provider_of(Collecting(), AuditLogRecordProcessor(trail, on_error="raise")), attributes=AUDIT)


def test_install_says_what_a_provider_lacks(trail: AuditTrail) -> None:
    with pytest.raises(ConfigurationError, match="not an OpenTelemetry SDK LoggerProvider"):
        install(object(), trail=trail)

    strange = provider_of()
    strange._multi_log_record_processor = object()  # type: ignore[assignment]
    with pytest.raises(ConfigurationError, match="no order known here"):
        install(strange, trail=trail)


def test_flush_and_shutdown_reach_the_trail_and_next(trail: AuditTrail, journal: Path) -> None:
    wrapped = Collecting()
    provider = provider_of(AuditLogRecordProcessor(trail, next=wrapped))
    emit(provider, attributes=AUDIT)
    assert provider.force_flush(5000) is True
    provider.shutdown()
    assert wrapped.shut_down
    emit(provider, attributes=AUDIT)
    assert len(events_in(journal)) == 2


def test_a_flush_that_a_sink_does_not_confirm_is_none(trail: AuditTrail) -> None:
    class Deaf:
        required = False

        def wait_for(self, *_: Any, **__: Any) -> bool:
            return False

        def __getattr__(self, name: str) -> Any:
            if name in {"health", "troubles"}:
                raise AttributeError(name)
            return lambda *_, **__: None

    trail.accompany(Deaf())  # type: ignore[arg-type]
    provider = provider_of(AuditLogRecordProcessor(trail))
    emit(provider, attributes=AUDIT)
    assert provider.force_flush(100) is False


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_forked_while_a_record_is_handed_on_records_in_a_stream_of_its_own(journal: Path) -> None:
    holding, release = threading.Event(), threading.Event()

    class Slow(Collecting):
        def on_emit(self, log_record: Any) -> None:
            if log_record.log_record.body == "slow":
                holding.set()
                release.wait(30)

    with open_trail(journal) as trail:
        provider = provider_of(AuditLogRecordProcessor(trail, next=Slow()))
        thread = threading.Thread(target=emit, args=(provider, "slow"), kwargs={"attributes": AUDIT})
        thread.start()
        assert holding.wait(10)
        child = os.fork()
        if child == 0:
            emit(provider, "child", attributes=AUDIT)
            trail.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        release.set()
        thread.join()
    assert sorted(record["message"] for record in events_in(journal)) == ["child", "slow"]
    assert verified(journal).exit_code == 0


def test_with_the_sdk_disabled_the_rest_records_and_start_says_so(
    tmp_path: Path,
) -> None:
    script = """
import logging, sys
import otel_audit
from otel_audit.otel import AuditLogRecordProcessor
from opentelemetry.sdk._logs import LoggerProvider
trail = otel_audit.configure(journal=sys.argv[1], sinks=[])
provider = LoggerProvider()
provider.add_log_record_processor(AuditLogRecordProcessor())
provider.get_logger("shop").emit(body="x", attributes={"audit.action": "READ"})
logging.getLogger("shop").addHandler(otel_audit.AuditHandler())
logging.getLogger("shop").warning("by handler")
otel_audit.record("invoice.delete")
"""
    done = run_python(script, str(tmp_path / "journal"), env={"OTEL_SDK_DISABLED": "true"})
    assert done.returncode == 0, done.stderr
    assert "no log record reaches the audit processor" in done.stderr
    assert [record.get("message", record["event_name"]) for record in events_in(tmp_path / "journal")] == [
        "by handler",
        "invoice.delete",
    ]


def test_tags_are_a_mapping_like_any_other(trail: AuditTrail) -> None:
    behind = Collecting()
    emit(provider_of(AuditLogRecordProcessor(trail), behind), attributes=AUDIT)
    tags = behind.seen[0].log_record.attributes
    assert dict(tags) == tags.copy() == {name: tags[name] for name in tags}
    assert len(tags) == len(list(itertools.chain(tags)))
    tags["more"] = 1
    del tags["audit.action"]
    assert "audit.action" not in tags
    assert "more" in repr(tags)
    assert dict(copy.copy(tags)) == dict(tags)
