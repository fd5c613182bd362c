"""AuditHandler: what of a logging call lands where, and what a caller sees of a failure."""

from __future__ import annotations

import asyncio
import logging
import logging.config
import logging.handlers
import queue
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import otel_audit
from otel_audit import AuditHandler, config
from otel_audit.errors import ConfigurationError, RecordLost
from otel_audit.trail import AuditTrail
from tests.writer.trails import events, named, open_trail, records, run_python, verified


def last(journal: Path) -> dict[str, Any]:
    return records(journal)[-1]


def test_a_plain_call_gets_honest_defaults(logger: logging.Logger, journal: Path) -> None:
    logger.warning("cart %s emptied", 7)
    record = last(journal)
    record = {name: record[name] for name in ("audit", "event_name", "level", "logger", "message")}
    assert record == {
        "audit": {"action": "LOG", "actor": {"id": "anonymous", "type": "anonymous"}, "outcome": "unknown"},
        "event_name": "log.record",
        "level": "WARNING",
        "logger": "shop.cart",
        "message": "cart 7 emptied",
    }


def test_the_time_is_the_logging_records(logger: logging.Logger, journal: Path) -> None:
    record = logger.makeRecord("shop", 20, "f", 1, "x", (), None)
    record.created = 1_700_000_000.123456
    logger.handle(record)
    assert last(journal)["@timestamp"] == "2023-11-14T22:13:20.123456000Z"


def test_extras_go_to_data(logger: logging.Logger, journal: Path) -> None:
    logger.info("x", extra={"order": 7, "nested": {"a": [1]}})
    assert last(journal)["data"] == {"order": 7, "nested": {"a": [1]}}


def test_an_audit_mapping_fills_the_schema(logger: logging.Logger, journal: Path) -> None:
    audit = {
        "event_name": "invoice.delete",
        "actor": {"id": "alice", "type": "user", "roles": ["admin"]},
        "on_behalf_of": "bob",
        "target": "invoice/7",
        "outcome": "denied",
        "reason": "not hers",
        "tenant": "acme",
        "source": "192.0.2.1",
        "colour": "red",
    }
    logger.info("x", extra={"audit": audit, "order": 7})
    record = last(journal)
    assert record["event_name"] == "invoice.delete"
    assert record["audit"] == {
        "action": "DELETE",
        "actor": {"id": "alice", "type": "user", "roles": ["admin"], "on_behalf_of": "bob"},
        "target": {"id": "7", "type": "invoice"},
        "outcome": "failure",
        "decision": "denied",
        "reason": "not hers",
        "tenant": "acme",
        "source": {"address": "192.0.2.1"},
    }
    assert record["data"] == {"colour": "red", "order": 7}


def test_an_audit_text_is_the_events_name(logger: logging.Logger, journal: Path) -> None:
    logger.info("x", extra={"audit": "invoice.delete"})
    record = last(journal)
    assert (record["event_name"], record["audit"]["action"]) == ("invoice.delete", "DELETE")


def test_the_bound_actor_is_in_every_record(logger: logging.Logger, journal: Path) -> None:
    with otel_audit.bind(actor="alice", tenant="acme", batch=3):
        logger.info("plain")
        logger.info("own", extra={"audit": {"actor": "bob"}, "batch": 4})
    logger.info("outside")
    plain, own, outside = records(journal)[-3:]
    assert plain["audit"]["actor"] == {"id": "alice", "type": "user"}
    assert (plain["audit"]["tenant"], plain["data"]) == ("acme", {"batch": 3})
    assert (own["audit"]["actor"]["id"], own["audit"]["tenant"], own["data"]) == ("bob", "acme", {"batch": 4})
    assert outside["audit"]["actor"]["id"] == "anonymous"


def test_an_exception_is_recorded_with_its_trace(logger: logging.Logger, journal: Path) -> None:
    try:
        {}["missing"]
    except KeyError:
        logger.exception("failed", stack_info=True)
    data = last(journal)["data"]
    assert (data["exception"]["type"], data["exception"]["message"]) == ("KeyError", "'missing'")
    assert "test_handler.py" in data["exception"]["stacktrace"]
    assert "Stack (most recent call last)" in data["stack"]


def test_exc_info_without_an_exception_is_none(logger: logging.Logger, journal: Path) -> None:
    logger.info("x", exc_info=True)
    assert "data" not in last(journal)


def test_an_exception_that_another_handler_formatted_and_dropped_is_kept(logger: logging.Logger, journal: Path) -> None:
    """A QueueHandler's `prepare` turns the exception into text."""
    held: queue.SimpleQueue[Any] = queue.SimpleQueue()
    sender = logging.Logger("shop")
    sender.addHandler(logging.handlers.QueueHandler(held))
    listener = logging.handlers.QueueListener(held, *logger.handlers)
    listener.start()
    try:
        raise ValueError("x")
    except ValueError:
        sender.exception("failed %s", 1)
    listener.stop()
    record = last(journal)
    assert "ValueError: x" in str(record)
    assert record["message"].startswith("failed 1")


@pytest.mark.parametrize(
    ("message", "args", "start"),
    [
        ("%d items", ("many",), "%d items [arguments do not fit: TypeError]"),
        ("%s %s", ("one",), "%s %s [arguments do not fit: TypeError]"),
        ("none", ("one",), "none [arguments do not fit: TypeError]"),
        ("%(a)s", ({"b": 1},), "%(a)s [arguments do not fit: KeyError]"),
        ("100 %", (), "100 %"),
    ],
)
def test_arguments_that_do_not_fit_lose_no_record(
    logger: logging.Logger, journal: Path, message: str, args: tuple[Any, ...], start: str
) -> None:
    logger.info(message, *args)
    assert last(journal)["message"] == start


def test_a_formatter_of_another_handler_leaves_no_mark(logger: logging.Logger, journal: Path) -> None:
    stream = logging.StreamHandler()
    stream.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger.handlers.insert(0, stream)
    logger.info("x", extra={"order": 7})
    assert last(journal)["data"] == {"order": 7}


def test_a_logger_adapter_and_a_record_factory(logger: logging.Logger, journal: Path) -> None:
    before = logging.getLogRecordFactory()

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = before(*args, **kwargs)
        record.hostname = "h1"
        return record

    logging.setLogRecordFactory(factory)
    try:
        logging.LoggerAdapter(logger, {"order": 7}).info("x")
    finally:
        logging.setLogRecordFactory(before)
    assert last(journal)["data"] == {"hostname": "h1", "order": 7}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="LogRecord.taskName came with Python 3.12")
def test_the_name_of_the_task_is_data(logger: logging.Logger, journal: Path) -> None:
    async def main() -> None:
        asyncio.current_task().set_name("billing")  # type: ignore[union-attr]
        logger.info("x")
        logger.info("x", extra={"audit": "a.b"})

    asyncio.run(main())
    assert [record["data"]["taskName"] for record in records(journal)[-2:]] == ["billing"] * 2


def test_a_task_name_given_by_hand_is_data_on_every_python(logger: logging.Logger, journal: Path) -> None:
    record = logger.makeRecord("shop", 20, "f", 1, "x", (), None)
    record.taskName = "billing"
    logger.handle(record)
    assert last(journal)["data"] == {"taskName": "billing"}


def test_the_ids_of_the_active_span_are_recorded(logger: logging.Logger, journal: Path, trail: AuditTrail) -> None:
    trace = pytest.importorskip("opentelemetry.trace")
    span = trace.NonRecordingSpan(trace.SpanContext(0xAB, 0xCD, is_remote=False, trace_flags=trace.TraceFlags(1)))
    with trace.use_span(span):
        logger.info("plain")
        logger.info("full", extra={"audit": "a.b"})
        trail.record("a.b")
    logger.info("outside")
    *inside, outside = records(journal)[-4:]
    for record in inside:
        assert (record["otel"]["trace_id"], record["otel"]["span_id"]) == (f"{0xAB:032x}", f"{0xCD:016x}")
    assert "otel" not in outside
    trail.close()
    report = verified(journal)
    assert report.exit_code == 0, report.findings.listed


def test_the_handlers_level_and_filters_count(trail: AuditTrail, journal: Path) -> None:
    handler = AuditHandler(trail, level="WARNING")
    handler.addFilter(lambda record: record.getMessage() != "no")
    logger = logging.Logger("shop")
    logger.addHandler(handler)
    for level, message in (("info", "low"), ("warning", "no"), ("warning", "yes")):
        getattr(logger, level)(message)
    assert [record["message"] for record in named(journal, "log.record")] == ["yes"]


def test_under_warn_a_logging_call_never_raises(small_quota: tuple[logging.Logger, AuditTrail]) -> None:
    logger, trail = small_quota
    for _ in range(50):
        logger.info("x" * 1000)
    assert trail.stream.lost > 0


@pytest.fixture
def small_quota(journal: Path, request: pytest.FixtureRequest) -> Any:
    marker = request.node.get_closest_marker("parametrize")
    policy = "raise" if marker is not None else "warn"
    with open_trail(journal, quota=20_000, on_failure=policy) as trail:
        logger = logging.Logger("shop")
        logger.addHandler(AuditHandler(trail))
        yield logger, trail


@pytest.mark.parametrize("raise_exceptions", [True, False])
def test_under_raise_the_caller_is_told_whatever_logging_does_with_errors(
    small_quota: tuple[logging.Logger, AuditTrail], monkeypatch: pytest.MonkeyPatch, raise_exceptions: bool
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", raise_exceptions)
    logger, _ = small_quota

    def fill() -> None:
        while True:
            logger.info("x" * 1000)

    with pytest.raises(RecordLost):
        fill()


def test_handlers_of_one_trail_share_its_stream(trail: AuditTrail, journal: Path) -> None:
    for name in ("one", "two"):
        logger = logging.Logger(name)
        logger.addHandler(AuditHandler(trail))
        logger.info("x")
    assert len({record["stream"] for record in records(journal)}) == 1


def test_a_closed_handler_works_on(logger: logging.Logger, journal: Path) -> None:
    """`dictConfig` and `logging.shutdown` close handlers that are used again."""
    logger.handlers[0].close()
    logger.info("after")
    assert last(journal)["message"] == "after"


SETTING = {
    "version": 1,
    "handlers": {
        "audit": {"class": "otel_audit.AuditHandler", "level": "INFO", "select": {"loggers": ["shop"], "level": 20}}
    },
    "root": {"handlers": ["audit"], "level": "DEBUG"},
}
CONFIGURED = """
import logging, logging.config, os, sys, yaml
from otel_audit import AuditHandler
{setup}
log = logging.getLogger("shop.cart")
log.info("recorded")
log.debug("too low")
logging.getLogger("other").warning("not selected")
"""


@pytest.mark.parametrize(
    "setup",
    [
        f"logging.config.dictConfig({SETTING!r})",
        f"logging.config.dictConfig(yaml.safe_load({yaml.safe_dump(SETTING)!r}))",
        "logging.basicConfig(level='DEBUG', handlers=[AuditHandler(level='INFO', select={'loggers': 'shop'})])",
        "logging.root.addHandler(AuditHandler(select=lambda r: r.name == 'shop.cart')); logging.root.setLevel('INFO')",
    ],
    ids=["dict", "yaml", "basicConfig", "code"],
)
def test_the_usual_ways_to_configure_logging(journal: Path, setup: str) -> None:
    environment = {"OTEL_PYTHON_AUDIT_JOURNAL": str(journal), "OTEL_PYTHON_AUDIT_SINKS": ""}
    run_python(CONFIGURED.format(setup=setup), env=environment)
    assert [record["message"] for record in named(journal, "log.record")] == ["recorded"]
    assert events(journal)[-1] == "audit.stream.close"
    assert verified(journal).exit_code == 0


def test_a_logging_configuration_in_ini_form(journal: Path, tmp_path: Path) -> None:
    ini = tmp_path / "logging.ini"
    ini.write_text(
        "[loggers]\nkeys=root\n[handlers]\nkeys=audit\n[formatters]\nkeys=\n"
        "[logger_root]\nlevel=INFO\nhandlers=audit\n"
        "[handler_audit]\nclass=otel_audit.AuditHandler\nargs=()\n"
    )
    environment = {"OTEL_PYTHON_AUDIT_JOURNAL": str(journal), "OTEL_PYTHON_AUDIT_SINKS": ""}
    run_python(
        f"import logging, logging.config; logging.config.fileConfig({str(ini)!r}); logging.info('x')", env=environment
    )
    assert [record["message"] for record in named(journal, "log.record")] == ["x"]


def test_without_a_trail_of_its_own_a_handler_follows_the_configured_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.Logger("shop")
    logger.addHandler(AuditHandler())
    for name in ("one", "two"):
        with open_trail(tmp_path / name) as trail:
            monkeypatch.setattr(config, "_trail", trail)
            logger.info(name)
    for name in ("one", "two"):
        assert [record["message"] for record in named(tmp_path / name, "log.record")] == [name]


@pytest.mark.parametrize(
    ("select", "chosen"),
    [
        ({"loggers": "shop"}, {"shop", "shop.cart"}),
        ({"loggers": ["shop.cart", "oth*"]}, {"shop.cart", "other"}),
        ({"level": "WARNING"}, {"other"}),
        ({"level": 30}, {"other"}),
        ({"marker": "audited"}, {"shopping"}),
        ({"marker": "audited", "level": "ERROR"}, set()),
        ({"loggers": []}, set()),
        (lambda record: record.name == "shop", {"shop"}),
        (None, {"shop", "shop.cart", "shopping", "other"}),
        ({}, {"shop", "shop.cart", "shopping", "other"}),
    ],
)
def test_selection(trail: AuditTrail, journal: Path, select: Any, chosen: set[str]) -> None:
    handler = AuditHandler(trail, select=select)
    for name, level in (("shop", 20), ("shop.cart", 20), ("shopping", 20), ("other", 30)):
        record = logging.makeLogRecord({"name": name, "levelno": level, "msg": "x"})
        if name == "shopping":
            record.audited = True
        handler.handle(record)
    trail.record("a.last")
    assert {record["logger"] for record in named(journal, "log.record")} == chosen


@pytest.mark.parametrize("select", [{"logger": "shop"}, {"level": "LOUD"}, "shop", 7])
def test_an_unusable_selection_is_refused_when_it_is_made(select: Any) -> None:
    with pytest.raises(ConfigurationError, match="select"):
        AuditHandler(select=select)
