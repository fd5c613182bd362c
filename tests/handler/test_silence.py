"""What silences a logger in real life is noticed by the canary, recorded with its cause, and its end as well."""

from __future__ import annotations

import logging
import logging.config
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from otel_audit import AuditHandler, keeper
from otel_audit.trail import AuditTrail
from tests.writer.trails import codes, data_of, eventually, open_trail, verified

TICK = keeper._TICK


@pytest.fixture(autouse=True)
def the_keeper_looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "_TICK", 0.05)


@pytest.fixture
def heard(trail: AuditTrail) -> Iterator[logging.Logger]:
    """A logger that has been heard, its handler on the logger above it."""
    above = logging.getLogger(f"above{uuid.uuid4().hex}")
    above.propagate = False
    above.setLevel("DEBUG")
    above.addHandler(AuditHandler(trail))
    logger = logging.getLogger(f"{above.name}.shop")
    logger.info("heard")
    manager = logging.root.manager
    yield logger
    logging.disable(logging.NOTSET)
    for name in (above.name, logger.name):
        del manager.loggerDict[name]


def wait_for_ticks(trail: AuditTrail) -> None:
    ticks: list[int] = []
    trail.watch(lambda: ticks.append(1) or {})  # type: ignore[func-returns-value]
    eventually(lambda: len(ticks) > 2)


def disable_existing(logger: logging.Logger) -> Callable[[], None]:
    others = [known for known in logging.root.manager.loggerDict.values() if isinstance(known, logging.Logger)]
    before = {known: known.disabled for known in others}
    handlers, level = logging.root.handlers[:], logging.root.level
    logging.config.dictConfig({"version": 1})  # `disable_existing_loggers` is true unless one says otherwise
    assert logger.disabled

    def undo() -> None:
        for known, disabled in before.items():
            known.disabled = disabled
        logging.root.handlers[:], logging.root.level = handlers, level

    return undo


def disable_all(logger: logging.Logger) -> Callable[[], None]:
    logging.disable(logging.WARNING)
    return lambda: logging.disable(logging.NOTSET)


def clear_handlers(logger: logging.Logger) -> Callable[[], None]:
    above = logger.parent
    assert above is not None
    handlers = above.handlers[:]
    above.handlers.clear()
    return lambda: above.handlers.extend(handlers)


def raise_level(logger: logging.Logger) -> Callable[[], None]:
    logger.setLevel("ERROR")
    return lambda: logger.setLevel("NOTSET")


def raise_the_level_above(logger: logging.Logger) -> Callable[[], None]:
    assert logger.parent is not None
    logger.parent.setLevel("ERROR")
    return lambda: logger.parent.setLevel("DEBUG")  # type: ignore[union-attr]


def stop_propagation(logger: logging.Logger) -> Callable[[], None]:
    logger.propagate = False
    return lambda: setattr(logger, "propagate", True)


def raise_handler_level(logger: logging.Logger) -> Callable[[], None]:
    assert logger.parent is not None
    logger.parent.handlers[0].setLevel("ERROR")
    return lambda: logger.parent.handlers[0].setLevel("NOTSET")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("silence", "by"),
    [
        (disable_existing, "disabled"),
        (disable_all, "logging.disable"),
        (clear_handlers, "handler removed"),
        (raise_level, "level"),
        (raise_the_level_above, "level"),
        (stop_propagation, "handler removed"),
        (raise_handler_level, "handler level"),
    ],
)
def test_a_silenced_logger_is_noticed_and_its_recovery_too(
    heard: logging.Logger,
    trail: AuditTrail,
    journal: Path,
    silence: Callable[[logging.Logger], Callable[[], None]],
    by: str,
) -> None:
    undo = silence(heard)
    try:
        (found,) = eventually(lambda: data_of(journal, "audit.pipeline.degraded"))
        assert found == {"cause": "logger silenced", "logger": heard.name, "by": by}
        assert not trail.health().ok
    finally:
        undo()
    (over,) = eventually(lambda: data_of(journal, "audit.pipeline.recovered"))
    assert over == found
    eventually(lambda: trail.health().ok)
    trail.close()
    report = verified(journal)
    assert (report.exit_code, codes(report)) == (3, {"PIPELINE_DEGRADED"})


class Shut:
    """A filter that lets nothing through as long as it is shut, and keeps what it was asked about."""

    def __init__(self, *, shut: bool = True) -> None:
        self.shut = shut
        self.asked: list[str] = []

    def filter(self, record: logging.LogRecord) -> bool:
        self.asked.append(record.getMessage())
        return not self.shut


def place_of(heard: logging.Logger, by: str) -> logging.Filterer:
    assert heard.parent is not None
    return heard if by == "filter" else heard.parent.handlers[0]


def log_until(logger: logging.Logger, journal: Path, event: str, *, at_most: int = 400) -> list[dict]:
    """Go on logging, as a program does, until the canary has said something."""
    for number in range(at_most):
        logger.info("event %s", number)
        if found := data_of(journal, event):
            return found
        time.sleep(0.01)
    raise AssertionError(f"no {event} within {at_most} events")


@pytest.mark.parametrize("by", ["filter", "handler filter"])
def test_a_filter_that_drops_everything_is_noticed_and_its_recovery_too(
    heard: logging.Logger, trail: AuditTrail, journal: Path, by: str
) -> None:
    place, shut = place_of(heard, by), Shut()
    place.addFilter(shut)
    (found,) = log_until(heard, journal, "audit.pipeline.degraded")
    assert found == {"cause": "logger silenced", "logger": heard.name, "by": by}
    assert not trail.health().ok
    shut.shut = False
    (over,) = log_until(heard, journal, "audit.pipeline.recovered")
    assert over == found
    eventually(lambda: trail.health().ok)


@pytest.mark.parametrize("by", ["filter", "handler filter"])
def test_a_shut_filter_that_is_taken_away_is_the_end_of_it(
    heard: logging.Logger, trail: AuditTrail, journal: Path, by: str
) -> None:
    place, shut = place_of(heard, by), Shut()
    place.addFilter(shut)
    log_until(heard, journal, "audit.pipeline.degraded")
    place.removeFilter(shut)
    eventually(lambda: data_of(journal, "audit.pipeline.recovered"))
    eventually(lambda: "filter" not in heard.__dict__)


@pytest.mark.parametrize("by", ["filter", "handler filter"])
def test_filters_are_asked_about_real_records_alone(
    heard: logging.Logger, trail: AuditTrail, journal: Path, by: str
) -> None:
    """One that counts, or drops what it has seen, would answer otherwise after a question of ours."""
    spy = Shut(shut=False)
    place_of(heard, by).addFilter(spy)
    wait_for_ticks(trail)
    heard.info("one")
    wait_for_ticks(trail)
    heard.info("two")
    assert spy.asked == ["one", "two"]


@pytest.mark.parametrize("by", ["filter", "handler filter"])
def test_a_filter_that_leaves_out_some_records_is_doing_its_work(
    heard: logging.Logger, trail: AuditTrail, journal: Path, by: str
) -> None:
    place_of(heard, by).addFilter(lambda record: "event 0" in record.getMessage())
    heard.info("event 0")
    wait_for_ticks(trail)
    heard.info("event 0")
    for number in range(1, 200):
        heard.info("event %s", number)
    wait_for_ticks(trail)
    assert data_of(journal, "audit.pipeline.degraded") == []


@pytest.mark.parametrize("by", ["filter", "handler filter"])
def test_a_filter_that_was_there_before_the_first_record_let_that_through(
    trail: AuditTrail, journal: Path, by: str
) -> None:
    logger = logging.getLogger(f"filtered{uuid.uuid4().hex}")
    logger.propagate = False
    logger.setLevel("DEBUG")
    handler = AuditHandler(trail)
    logger.addHandler(handler)
    (logger if by == "filter" else handler).addFilter(lambda record: record.getMessage() == "once")
    try:
        logger.info("once")
        wait_for_ticks(trail)
        for _ in range(20):
            logger.info("again")
        wait_for_ticks(trail)
        assert data_of(journal, "audit.pipeline.degraded") == []
    finally:
        del logging.root.manager.loggerDict[logger.name]


def test_what_one_filter_dropped_is_not_laid_at_the_next_ones_door(
    heard: logging.Logger, trail: AuditTrail, journal: Path
) -> None:
    shut = Shut()
    heard.addFilter(shut)
    log_until(heard, journal, "audit.pipeline.degraded")
    heard.removeFilter(shut)
    eventually(lambda: data_of(journal, "audit.pipeline.recovered"))
    heard.addFilter(Shut())
    wait_for_ticks(trail)
    assert len(data_of(journal, "audit.pipeline.degraded")) == 1


def test_what_a_filter_drops_below_the_level_that_was_heard_is_no_silence(
    heard: logging.Logger, trail: AuditTrail, journal: Path
) -> None:
    heard.addFilter(lambda record: record.levelno >= logging.INFO)
    wait_for_ticks(trail)
    for _ in range(20):
        heard.debug("never heard")
    wait_for_ticks(trail)
    assert data_of(journal, "audit.pipeline.degraded") == []


def test_basic_config_with_force_is_noticed(journal: Path) -> None:
    with open_trail(journal) as trail:
        root = logging.root
        before, level = root.handlers[:], root.level
        try:
            root.handlers[:] = [AuditHandler(trail)]
            root.setLevel("INFO")
            logging.info("heard")
            logging.basicConfig(force=True)
            (found,) = eventually(lambda: data_of(journal, "audit.pipeline.degraded"))
            assert (found["logger"], found["by"]) == ("root", "handler removed")
        finally:
            root.handlers[:] = before
            root.setLevel(level)


def test_a_logger_that_speaks_louder_than_it_was_heard_is_not_silenced(
    heard: logging.Logger, trail: AuditTrail, journal: Path
) -> None:
    heard.setLevel("INFO")  # it was heard at INFO: nothing that spoke is silent now
    wait_for_ticks(trail)
    assert data_of(journal, "audit.pipeline.degraded") == []


def test_records_that_come_through_a_queue_say_nothing_of_their_logger(trail: AuditTrail, journal: Path) -> None:
    """The logger that they name has no audit handler, and never had."""
    names = set(logging.root.manager.loggerDict)
    AuditHandler(trail).handle(logging.makeLogRecord({"name": "elsewhere.entirely", "levelno": 20}))
    wait_for_ticks(trail)
    assert data_of(journal, "audit.pipeline.degraded") == []
    assert set(logging.root.manager.loggerDict) == names, "looking at a logger made one"


def test_it_is_noticed_within_two_seconds_by_default(
    monkeypatch: pytest.MonkeyPatch, heard: logging.Logger, trail: AuditTrail, journal: Path
) -> None:
    monkeypatch.setattr(keeper, "_TICK", TICK)
    raise_level(heard)
    eventually(lambda: data_of(journal, "audit.pipeline.degraded"), within=2)
