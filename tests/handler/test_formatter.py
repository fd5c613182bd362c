"""AuditFormatter: any standard handler prints a stream of its own."""

from __future__ import annotations

import io
import json
import logging
import logging.handlers
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from otel_audit import AuditFormatter
from tests.writer.trails import codes, records, run_python, signalled, verified


def logger_into(handler: logging.Handler, **options: Any) -> logging.Logger:
    handler.setFormatter(AuditFormatter(**options))
    logger = logging.Logger("shop")
    logger.addHandler(handler)
    return logger


def test_a_file_handler_writes_a_stream_that_verifies(tmp_path: Path) -> None:
    path = tmp_path / "app.jsonl"
    handler = logging.FileHandler(path)
    logger = logger_into(handler)
    for n in range(5):
        logger.info("x", extra={"n": n})
    handler.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["event_name"] for line in lines] == ["audit.stream.open"] + ["log.record"] * 5
    report = verified(path)
    assert (report.exit_code, codes(report)) == (3, {"UNCLOSED"})


def test_fields_of_python_json_logger_apply_to_data() -> None:
    out = io.StringIO()
    options = {"defaults": {"env": "test"}, "static_fields": {"app": "shop"}, "rename_fields": {"n": "number"}}
    logger_into(logging.StreamHandler(out), **options).info("x", extra={"n": 1})
    assert json.loads(out.getvalue().splitlines()[-1])["data"] == {"env": "test", "app": "shop", "number": 1}


def test_threads_write_in_the_order_of_the_chain(tmp_path: Path) -> None:
    path = tmp_path / "app.jsonl"
    handler = logging.FileHandler(path)
    logger = logger_into(handler)
    threads = [threading.Thread(target=lambda: [logger.info("x") for _ in range(100)]) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    handler.close()
    assert len(path.read_text().splitlines()) == 601
    assert verified(path).exit_code == 3


def test_formatting_in_the_middle_of_formatting_does_not_hang() -> None:
    """As from a signal handler, which the standard library's lock of a handler lets in."""
    formatter, texts = AuditFormatter(), list[str]()
    deadline = time.monotonic() + 0.4
    with signalled(lambda: texts.append(formatter.format(logging.makeLogRecord({"msg": "signal"})))):
        while time.monotonic() < deadline:
            texts.append(formatter.format(logging.makeLogRecord({"msg": "x"})))
    seen = [json.loads(line)["seq"] for text in texts for line in text.splitlines()]
    assert sorted(seen) == list(range(1, len(seen) + 1))


def test_a_forked_child_begins_a_stream_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "app.jsonl"
    logger = logger_into(logging.FileHandler(path))
    logger.info("parent")
    pid = os.fork()
    if pid == 0:
        logger.info("child")
        os._exit(0)
    os.waitpid(pid, 0)
    logger.info("parent again")
    streams = {json.loads(line)["stream"] for line in path.read_text().splitlines()}
    assert len(streams) == 2


@pytest.mark.parametrize("target", ["stdout", "stderr"])
def test_a_program_that_configures_nothing_but_logging(tmp_path: Path, target: str) -> None:
    code = (
        "import logging.config; logging.config.dictConfig({'version': 1, 'formatters': {'audit': {'()': "
        "'otel_audit.AuditFormatter'}}, 'handlers': {'out': {'class': 'logging.StreamHandler', 'formatter': 'audit', "
        f"'stream': 'ext://sys.{target}'}}}}, 'root': {{'handlers': ['out'], 'level': 'INFO'}}}})\n"
        "import logging; [logging.info('x %s', n) for n in range(3)]"
    )
    done = run_python(code)
    path = tmp_path / f"{'0' * 32}.000001.log"
    path.write_text(getattr(done, target))
    assert path.read_text().count("\n") == 4
    assert verified(path).exit_code == 3
    assert records(tmp_path) == []


def test_a_rotating_handler_that_formats_twice_writes_one_unbroken_stream(tmp_path: Path) -> None:
    handler = logging.handlers.RotatingFileHandler(tmp_path / "audit.jsonl", maxBytes=1 << 20)
    handler.setFormatter(AuditFormatter())
    log = logging.Logger("rotating")
    log.addHandler(handler)
    for number in range(20):
        log.info("number %d", number)
    handler.close()
    assert [json.loads(line)["seq"] for line in (tmp_path / "audit.jsonl").read_text().splitlines()] == list(
        range(1, 22)
    )
