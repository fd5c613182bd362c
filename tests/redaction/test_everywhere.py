"""A hundred known secrets, in every place where one can hide: none reaches a sink, a file beside it, or a message."""

from __future__ import annotations

import base64
import dataclasses
import logging
import subprocess
import sys
import types
from collections import UserDict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import otel_audit
from otel_audit import audit, notices
from otel_audit.cli.__main__ import main
from otel_audit.errors import ConfigurationError
from otel_audit.journal.memory import MemoryJournal
from otel_audit.shipping import Shipper
from otel_audit.sinks.base import RecordsRefused, SinkUnavailable
from otel_audit.trail import AuditTrail
from tests.redaction.secrets import make_secrets

SECRETS = make_secrets()
logger = logging.Logger("shop.secrets")
"""Of no family: nobody else's handler hears it."""


@dataclasses.dataclass
class Held:
    note: str


class Pair(NamedTuple):
    name: str
    note: str


class Shown:
    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


class BadArgument:
    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        raise RuntimeError(self.text)


def _log_exception(text: str) -> None:
    try:
        raise ValueError(text)
    except ValueError:
        logger.exception("failed")


def _log_cause(text: str) -> None:
    try:
        try:
            raise KeyError(text)
        except KeyError as cause:
            raise RuntimeError("outer") from cause
    except RuntimeError:
        logger.exception("failed")


def _log_note(text: str) -> None:
    error = RuntimeError("outer")
    if sys.version_info >= (3, 11):
        error.add_note(text)
    logger.error("failed", exc_info=error)


def _log_stack(text: str) -> None:
    record = logger.makeRecord("shop.secrets", logging.INFO, "x.py", 1, "called", (), None, sinfo=f"Stack:\n  {text}")
    logger.handle(record)


def _log_formatted_exception(text: str) -> None:
    record = logger.makeRecord("shop.secrets", logging.INFO, "x.py", 1, "called", (), None)
    record.exc_text = text
    logger.handle(record)


def _fail_an_action(text: str) -> None:
    with pytest.raises(ConnectionError), audit.action("order.pay", target=text):
        raise ConnectionError(text)


def _bind(text: str) -> None:
    with audit.bind(actor={"id": "alice", "name": text}, tenant=text, note=text):
        audit.record("order.pay")


PLACES: dict[str, Callable[[str], object]] = {
    "message": lambda text: logger.info(text.replace("%", "%%")),
    "argument": lambda text: logger.info("got %s", text),
    "argument shown by repr": lambda text: logger.info("got %r", {"note": text}),
    "argument that does not fit": lambda text: logger.info(f"{text} %d", "x"),
    "argument that cannot be shown": lambda text: logger.info("got %s", BadArgument(text)),
    "extra": lambda text: logger.info("x", extra={"note": text}),
    "extra, nested": lambda text: logger.info("x", extra={"a": {"b": [{"c": [text]}]}}),
    "extra, in a tuple": lambda text: logger.info("x", extra={"a": (1, text)}),
    "extra, in a set": lambda text: logger.info("x", extra={"a": {text}}),
    "extra, in a dataclass": lambda text: logger.info("x", extra={"a": Held(text)}),
    "extra, in a named tuple": lambda text: logger.info("x", extra={"a": Pair("n", text)}),
    "extra, in a mapping": lambda text: logger.info("x", extra={"a": UserDict(note=text)}),
    "extra, in a proxy": lambda text: logger.info("x", extra={"a": types.MappingProxyType({"note": text})}),
    "extra, as an object": lambda text: logger.info("x", extra={"a": Shown(text)}),
    "extra, as an exception": lambda text: logger.info("x", extra={"a": ValueError(text)}),
    "extra, as bytes": lambda text: logger.info("x", extra={"a": text.encode()}),
    "extra, as a path": lambda text: logger.info("x", extra={"a": Path(text) if "://" not in text else "x"}),
    "name of an extra": lambda text: logger.info("x", extra={"a": {text: 1}}),
    "name that is no text": lambda text: logger.info("x", extra={"a": {(text, 1): 1}}),
    "name given twice": lambda text: logger.info("x", extra={"a": {text: 1, Shown(text): 2}}),
    "header beside its name": lambda text: logger.info(
        "x", extra={"headers": [("X-Note", text), (b"note", text.encode())]}
    ),
    "text that had to be cut": lambda text: logger.info("x", extra={"a": f"{text} {'y' * 70_000}"}),
    "text beyond the cut": lambda text: logger.info("x", extra={"a": f"{'y' * 16_370} {text} {'y' * 60_000}"}),
    "text with a lone surrogate": lambda text: logger.info("x", extra={"a": f"\ud800 {text}"}),
    "text outside ASCII": lambda text: logger.info("x", extra={"ä\U00010000": f"ä {text}"}),
    "exception": _log_exception,
    "cause of an exception": _log_cause,
    "note of an exception": _log_note,
    "formatted exception": _log_formatted_exception,
    "stack": _log_stack,
    "logger": lambda text: logger.handle(logging.LogRecord(f"shop.{text}", 20, "", 0, "x", (), None)),
    "event name": lambda text: logger.info("x", extra={"audit": text}),
    "event name of the API": lambda text: audit.record(text),
    "actor": lambda text: audit.record("order.pay", actor=text),
    "name of the actor": lambda text: audit.record("order.pay", actor={"id": "a", "name": text, "roles": [text]}),
    "type of the actor": lambda text: audit.record("order.pay", actor={"id": "a", "type": text}),
    "target": lambda text: audit.record("order.pay", target=text),
    "targets": lambda text: audit.record("order.pay", targets=[{"id": text}, text]),
    "source": lambda text: audit.record("order.pay", source={"address": "192.0.2.1", "user_agent": text}),
    "reason": lambda text: audit.record("order.pay", reason=text),
    "changes": lambda text: audit.record("order.pay", changes={"url": {"old": text, "new": "x"}}),
    "request": lambda text: audit.record("order.pay", request={"url": text, "headers": {"referer": text}}),
    "session": lambda text: audit.record("order.pay", session=text, category=text, data_subject=text),
    "outcome": lambda text: audit.record("order.pay", outcome=text),
    "decision": lambda text: audit.record("order.pay", decision=text),
    "action": lambda text: audit.record("order.pay", action=text),
    "unknown field": lambda text: audit.record("order.pay", note=text),
    "time": lambda text: audit.record("order.pay", nanoseconds=text),  # type: ignore[arg-type]
    "action that fails": _fail_an_action,
    "scope": _bind,
    "control record": lambda text: otel_audit.config.current_trail().record_control(
        "audit.pipeline.degraded", {"cause": "test", "reason": text}, action="DEGRADE"
    ),
    "notice": lambda text: notices.notice(text, subject=text),
}


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[AuditTrail]:
    trail = otel_audit.configure(journal=tmp_path / "journal", sinks=[f"file://{tmp_path}/out.jsonl"], heartbeat=0)
    handler = otel_audit.AuditHandler()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield trail
    logger.removeHandler(handler)
    trail.close(timeout=1.0)


def seen(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file())


def shows(everything: bytes, text: str) -> bool:
    """Whether a secret can be read here, in clear or as base64."""
    raw = text.encode()
    return raw in everything or any(base64.b64encode(bytes(n) + raw)[4:-4] in everything for n in range(3))


@pytest.mark.parametrize("place", PLACES)
def test_no_secret_reaches_a_sink_or_a_message(
    place: str, trail: AuditTrail, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for secret in SECRETS:
        PLACES[place](secret.text)
    assert trail.flush(10.0)
    trail.close()

    out, err = capfd.readouterr()
    everything = seen(tmp_path) + out.encode() + err.encode()
    assert [secret.text for secret in SECRETS if shows(everything, secret.core)] == []
    nothing = {"text beyond the cut", "argument that cannot be shown"}
    if sys.version_info < (3, 11):
        nothing.add("note of an exception")
    if place not in nothing:
        assert everything.count(b"[redacted]") >= len(SECRETS) // 2, "it was masked, not lost"
    codes = {"control record": 3, "notice": 5}  # it was told that something is degraded; there is nothing
    assert main(["verify", str(tmp_path / "journal")]) == codes.get(place, 0)


class Refusing:
    """A sink whose errors hold what it was told: credentials of a URL, a header that it sent."""

    name = "refusing"
    max_records = 10
    max_bytes = 1 << 20
    window = None

    def __init__(self, error: Exception) -> None:
        self._error = error

    def send(self, lines: Any) -> None:
        raise self._error

    def close(self) -> None: ...


@pytest.mark.parametrize("kind", [SinkUnavailable, RecordsRefused, RuntimeError])
def test_no_secret_in_a_sinks_error_is_told(
    kind: Callable[[str], Exception], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from otel_audit.journal.writer import JournalWriter
    from otel_audit.shipping.source import JournalSource

    told: list[object] = []
    for number, secret in enumerate(SECRETS[::7]):
        directory = tmp_path / str(number)
        trail = AuditTrail(JournalWriter(directory))
        shipper = Shipper(
            JournalSource(directory),
            partial(Refusing, kind(secret.text)),  # type: ignore[arg-type]
            name="refusing",
            report=lambda *args, told=told: told.append(args),
        )
        trail.accompany(shipper)
        trail.record("order.pay")
        trail.flush(0.2)
        told += [shipper.health(), shipper.troubles()]
        trail.close(timeout=0.2)
        assert main(["status", str(directory)]) in {0, 2, 3}

    out, err = capfd.readouterr()
    everything = seen(tmp_path) + f"{told}{out}{err}".encode()
    assert [secret.text for secret in SECRETS[::7] if shows(everything, secret.core)] == []
    assert b"[redacted]" in everything


URLS = (
    "logstash+tls://bob:{}@logs:5044",
    "otlp+https://bob:{}@collector/v1/logs",
    "webhook+https://hooks.example/x?token={}",
    "elasticsearch+https://search:9200/audit?api_key={}",
    "kafka+tls://bob:{}@broker:9093/audit",
    "syslog+tls://siem:6514?password={}",
    "no-such-sink://bob:{}@host",
    "https://bob:{}@host",
)


@pytest.mark.parametrize("url", URLS)
def test_no_secret_in_a_url_is_repeated(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    core = "Xk29fjw0qpzmWW1"
    config = tmp_path / "audit.yaml"
    config.write_text(f"journal: {tmp_path}/j\nsinks: ['{url.format(core)}']\nredact_patterns: ['(']\n")
    with pytest.raises(ConfigurationError) as refused:
        otel_audit.configure(journal=tmp_path / "j", sinks=[url.format(core)])
    with pytest.raises(ConfigurationError) as also:
        otel_audit.configure(config=config)
    monkeypatch.setenv("OTEL_PYTHON_AUDIT_SINKS", url.format(core))
    monkeypatch.setenv("OTEL_PYTHON_AUDIT_JOURNAL", str(tmp_path / "j"))
    for command in (["config", "check", str(config)], ["config", "check", "env"], ["config", "show"], ["doctor"]):
        main([*command])

    out, err = capfd.readouterr()
    assert core not in f"{refused.value}{also.value}{out}{err}"


def test_no_setting_with_a_secret_is_repeated(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    core = "Xk29fjw0qpzmWW1"
    for name in ("DURABILITY", "METRICS", "QUOTA", "RESOURCE", "NO_SUCH_THING"):
        monkeypatch.setenv(f"OTEL_PYTHON_AUDIT_{name}", f"https://bob:{core}@host")
        with pytest.raises(ConfigurationError) as refused:
            otel_audit.configure()
        assert core not in str(refused.value)
        assert main(["config", "check", "env"]) == 2
        monkeypatch.delenv(f"OTEL_PYTHON_AUDIT_{name}")
    assert core not in "".join(capfd.readouterr())


def test_no_secret_of_an_opentelemetry_record_reaches_the_trail_or_a_metric(trail: AuditTrail, tmp_path: Path) -> None:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    from otel_audit.otel import AuditLogRecordProcessor, observe
    from tests.otel.logs import Collecting, emit, provider_of

    reader = InMemoryMetricReader()
    observe(trail, MeterProvider([reader]))
    attributes: list[str] = []
    after = Collecting(lambda data: attributes.append(str(data.log_record.attributes)))
    provider = provider_of(AuditLogRecordProcessor(trail, next=after))
    for secret in SECRETS:
        emit(provider, secret.text)
        emit(provider, {"note": secret.text}, attributes={"audit.reason": secret.text, "audit.actor.id": "alice"})
    trail.flush(10.0)
    trail.close()

    metrics = reader.get_metrics_data()
    assert metrics is not None
    everything = seen(tmp_path) + metrics.to_json().encode()
    assert [secret.text for secret in SECRETS if shows(everything, secret.core)] == []
    assert everything.count(b"[redacted]") > len(SECRETS)


LAST_WORDS = """
import logging, sys, otel_audit
otel_audit.configure(journal=sys.argv[1], sinks=[], sealed=["email"], subject_keys=sys.argv[2])
log = logging.getLogger("app"); log.addHandler(otel_audit.AuditHandler()); log.setLevel("INFO")
class Resource:
    def __del__(self):
        log.info("released with password=hunter2")
        otel_audit.record("resource.release", data_subject="alice", data={"email": "alice@example.org"})
kept = Resource(); kept.itself = kept
log.info("working")
"""


def test_no_secret_is_in_what_is_logged_at_the_very_end(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LAST_WORDS, str(tmp_path / "journal"), str(tmp_path / "keys")]
    ran = subprocess.run(command, timeout=60, check=True, capture_output=True)
    everything = seen(tmp_path / "journal") + ran.stdout + ran.stderr
    assert b"released with password=[redacted]" in everything
    assert b"resource.release" in everything
    assert b"hunter2" not in everything
    assert b"alice@example.org" not in everything


def test_no_secret_is_in_a_repr(tmp_path: Path) -> None:
    core = "Xk29fjw0qpzmWW1"
    trail = AuditTrail(MemoryJournal(1 << 20, readers=1))
    trail.record("order.pay", data={"note": f"password={core}"})
    handler = otel_audit.AuditHandler(trail)

    assert core not in repr([trail, handler, trail.stream, trail.door, trail.health(), trail.companions])
