"""What silences a logger in real life is noticed by the canary, recorded with its cause, and its end as well."""

from __future__ import annotations

import logging
import logging.config
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from otel_audit import AuditHandler
from otel_audit import trail as trails
from otel_audit.trail import AuditTrail
from tests.writer.trails import codes, data_of, eventually, open_trail, verified

TICK = trails._TICK


@pytest.fixture(autouse=True)
def the_keeper_looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trails, "_TICK", 0.05)


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
    assert trail.health().ok
    trail.close()
    report = verified(journal)
    assert (report.exit_code, codes(report)) == (3, {"PIPELINE_DEGRADED"})


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
    ticks: list[int] = []
    trail.watch(lambda: ticks.append(1) or {})  # type: ignore[func-returns-value]
    eventually(lambda: len(ticks) > 2)
    assert data_of(journal, "audit.pipeline.degraded") == []


def test_records_that_come_through_a_queue_say_nothing_of_their_logger(trail: AuditTrail, journal: Path) -> None:
    """The logger that they name has no audit handler, and never had."""
    names = set(logging.root.manager.loggerDict)
    AuditHandler(trail).handle(logging.makeLogRecord({"name": "elsewhere.entirely", "levelno": 20}))
    ticks: list[int] = []
    trail.watch(lambda: ticks.append(1) or {})  # type: ignore[func-returns-value]
    eventually(lambda: len(ticks) > 2)
    assert data_of(journal, "audit.pipeline.degraded") == []
    assert set(logging.root.manager.loggerDict) == names, "looking at a logger made one"


def test_it_is_noticed_within_two_seconds_by_default(
    monkeypatch: pytest.MonkeyPatch, heard: logging.Logger, trail: AuditTrail, journal: Path
) -> None:
    monkeypatch.setattr(trails, "_TICK", TICK)
    raise_level(heard)
    eventually(lambda: data_of(journal, "audit.pipeline.degraded"), within=2)
