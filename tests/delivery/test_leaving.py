"""However a process leaves, what its calls returned for arrives: of 2,000 records most peers lose some or all."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.sinks.receiver import Receiver

ROOT = Path(__file__).parents[2]
RECORDS = 2_000

BEGIN = """
import logging, os, signal, sys, warnings
warnings.simplefilter("ignore")
import otel_audit
trail = otel_audit.configure(journal=sys.argv[1], sinks=[sys.argv[2]], heartbeat=0)
logger = logging.getLogger("shop")
logger.setLevel(logging.INFO)
logger.addHandler(otel_audit.AuditHandler())
def log(first, last):
    for number in range(first, last):
        logger.info("paid", extra={"number": number})
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def run(receiver: Receiver, tmp_path: Path) -> Callable[[str], int]:
    """Run a program with a trail whose one sink is the receiver; return how it ended."""
    url = f"logstash+tcp://127.0.0.1:{receiver.port}?allow=loopback&settle_after=0.05"

    def run(program: str) -> int:
        command = [sys.executable, "-c", BEGIN + program, str(tmp_path / "journal"), url]
        return subprocess.run(command, cwd=ROOT, timeout=60, check=False).returncode

    return run


def numbers(receiver: Receiver) -> set[int]:
    found = [json.loads(line).get("data", {}) for line in receiver.lines]
    return {data["number"] for data in found if "number" in data}


def names(receiver: Receiver) -> list[str]:
    return [json.loads(line)["event_name"] for line in receiver.lines]


def test_returning_from_main_delivers_everything(run: Callable[[str], int], receiver: Receiver) -> None:
    assert run(f"log(0, {RECORDS})") == 0
    assert numbers(receiver) == set(range(RECORDS))


def test_sigterm_still_ends_the_process_and_everything_is_delivered_before(
    run: Callable[[str], int], receiver: Receiver
) -> None:
    assert run(f"log(0, {RECORDS}); os.kill(os.getpid(), signal.SIGTERM); signal.pause()") == -signal.SIGTERM
    assert numbers(receiver) == set(range(RECORDS))
    assert names(receiver)[-1] == "audit.stream.close"


def test_sigterm_is_left_alone_where_that_is_asked_for(
    run: Callable[[str], int], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_PYTHON_AUDIT_FLUSH_ON_SIGTERM", "false")
    assert run("log(0, 1); os.kill(os.getpid(), signal.SIGTERM); signal.pause()") == -signal.SIGTERM
    assert "audit.stream.close" not in names(receiver)


def test_a_handler_of_the_applications_own_decides_itself(run: Callable[[str], int], receiver: Receiver) -> None:
    program = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); log(0, 500)"
    assert run(f"{program}; os.kill(os.getpid(), signal.SIGTERM); signal.pause()") == 7
    assert numbers(receiver) == set(range(500))


def test_sigterm_does_not_wait_for_a_sink_that_is_gone_for_longer_than_a_close(
    run: Callable[[str], int], receiver: Receiver
) -> None:
    receiver.kill()
    began = time.monotonic()
    program = "original = trail.close; trail.close = lambda: original(0.5)"
    assert run(f"{program}; log(0, 10); os.kill(os.getpid(), signal.SIGTERM); signal.pause()") == -signal.SIGTERM
    assert time.monotonic() - began < 8


@pytest.mark.parametrize("how", ["os.kill(os.getpid(), signal.SIGKILL)", "os._exit(1)"])
def test_what_a_killed_process_left_is_delivered_by_the_next(
    how: str, run: Callable[[str], int], receiver: Receiver
) -> None:
    assert run(f"log(0, {RECORDS}); {how}") != 0
    assert run(f"log({RECORDS}, {RECORDS + 1}); import time; time.sleep(0.5)") == 0
    receiver.wait(lambda: len(numbers(receiver)) > RECORDS)
    assert numbers(receiver) == set(range(RECORDS + 1))


def test_workers_forked_from_a_server_that_logs_lose_nothing(run: Callable[[str], int], receiver: Receiver) -> None:
    program = """
log(0, 100)
for worker in range(2):
    if os.fork() == 0:
        log(1000 * (worker + 1), 1000 * (worker + 1) + 300)
        sys.exit(0)
for worker in range(2):
    os.wait()
"""
    assert run(program) == 0
    assert numbers(receiver) == {*range(100), *range(1000, 1300), *range(2000, 2300)}
