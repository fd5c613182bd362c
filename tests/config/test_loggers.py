"""Loggers named in the settings become audit, each record once."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import otel_audit
from otel_audit.handler import AuditHandler


@pytest.fixture(autouse=True)
def loggers_as_before() -> Iterator[None]:
    names = ("shop", "shop.cart", "loose", "loose.end")
    yield
    for name in names:
        logger = logging.getLogger(name)
        logger.setLevel(logging.NOTSET)
        logger.propagate = True
        logger.handlers.clear()


def listen(directory: Path, *names: str, **settings: Any) -> None:
    otel_audit.configure(journal=directory, sinks=[], loggers=names, **settings)


def messages(directory: Path) -> list[str]:
    lines = [line for path in sorted(directory.glob("*.jsonl")) for line in path.read_text().splitlines()]
    return [record["message"] for line in lines if "message" in (record := json.loads(line))]


def handlers(name: str) -> list[logging.Handler]:
    return [each for each in logging.getLogger(name).handlers if isinstance(each, AuditHandler)]


def test_a_logger_and_its_children_are_recorded(tmp_path: Path) -> None:
    listen(tmp_path, "shop")
    logging.getLogger("shop").info("one")
    logging.getLogger("shop.cart").info("two")
    logging.getLogger("other").warning("not this")

    assert messages(tmp_path) == ["one", "two"]


@pytest.mark.parametrize("names", [("shop", "shop.cart"), ("shop.cart", "shop"), ("shop.cart", "root", "shop")])
def test_a_record_that_several_named_loggers_see_is_recorded_once(tmp_path: Path, names: tuple[str, ...]) -> None:
    listen(tmp_path, *names)
    logging.getLogger("shop.cart").info("once")

    assert messages(tmp_path) == ["once"]


def test_a_child_that_does_not_propagate_gets_a_handler_of_its_own(tmp_path: Path) -> None:
    logging.getLogger("loose.end").propagate = False
    listen(tmp_path, "loose", "loose.end")
    logging.getLogger("loose.end").info("heard")

    assert messages(tmp_path) == ["heard"]


def test_a_handler_that_the_program_attached_is_enough(tmp_path: Path) -> None:
    logging.getLogger("shop").addHandler(AuditHandler())
    listen(tmp_path, "shop", "shop.cart")
    logging.getLogger("shop.cart").info("once")

    assert messages(tmp_path) == ["once"]


def test_configuring_again_leaves_one_handler(tmp_path: Path) -> None:
    listen(tmp_path, "shop")
    listen(tmp_path, "shop")

    assert len(handlers("shop")) == 1


def test_configuring_without_the_logger_takes_the_handler_away(tmp_path: Path) -> None:
    listen(tmp_path, "shop")
    listen(tmp_path, "loose")

    assert handlers("shop") == []
    assert len(handlers("loose")) == 1


def test_a_level_that_the_program_chose_is_kept(tmp_path: Path) -> None:
    logging.getLogger("shop").setLevel(logging.ERROR)
    listen(tmp_path, "shop")
    logging.getLogger("shop").warning("too low")

    assert messages(tmp_path) == []


def test_a_level_below_info_that_a_parent_has_is_kept(tmp_path: Path) -> None:
    logging.getLogger("loose").setLevel(logging.DEBUG)
    listen(tmp_path, "loose.end")
    logging.getLogger("loose.end").debug("fine")

    assert messages(tmp_path) == ["fine"]


PROGRAM = """
import logging, otel_audit
{configure}
logging.getLogger("shop.cart").info("paid", extra={{"amount": 7}})
"""


@pytest.mark.parametrize("configure", ["otel_audit.configure()", "otel_audit.record('app.start')"])
def test_the_environment_alone_makes_a_program_audit(tmp_path: Path, configure: str) -> None:
    environment = {
        "OTEL_PYTHON_AUDIT_JOURNAL": str(tmp_path),
        "OTEL_PYTHON_AUDIT_SINKS": "",
        "OTEL_PYTHON_AUDIT_LOGGERS": "shop",
    }
    program = PROGRAM.format(configure=configure)

    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)

    assert messages(tmp_path) == ["paid"]
    assert done.stdout == b""


LOGGED_WHILE_BUILDING = """
import logging, warnings, otel_audit
warnings.simplefilter("always")
logging.captureWarnings(True)
logging.getLogger().addHandler(otel_audit.AuditHandler())
{first}
"""


@pytest.mark.parametrize("first", ["otel_audit.configure()", "logging.getLogger().warning('first')"])
def test_a_warning_about_a_setting_that_logging_captures_is_kept_and_blocks_nothing(tmp_path: Path, first: str) -> None:
    environment = {
        "OTEL_PYTHON_AUDIT_JOURNAL": str(tmp_path),
        "OTEL_PYTHON_AUDIT_SINKS": "logstash+tcp://127.0.0.1:9?allow=loopback",
    }
    program = LOGGED_WHILE_BUILDING.format(first=first) + "import os; os._exit(0)"

    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, check=True, text=True, timeout=30
    )

    printed = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert any("in plain text" in record.get("message", "") for record in printed)
