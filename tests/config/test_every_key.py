"""Every setting, environment variable and sink option does something that can be seen from outside."""

from __future__ import annotations

import functools
import json
import logging
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import yaml

import otel_audit
from otel_audit import config
from otel_audit.anchors.directory import DirectoryAnchor
from otel_audit.config.anchors import ANCHORING
from otel_audit.config.published import _without_none
from otel_audit.config.schemes import ANCHOR_TYPES, TYPES, AnchorType, PlaceType
from otel_audit.config.settings import CONFIG_VARIABLE, PREFIX, SCHEMA, SECRET_VARIABLES, START_VARIABLES
from otel_audit.config.sinks import SHIPPING
from otel_audit.errors import ConfigurationError, DeliveryTimeout, RecordLost
from otel_audit.integrity import keys
from otel_audit.integrity.epochs import Schedule
from otel_audit.integrity.mackey import provision_mac_key
from otel_audit.integrity.publishing import SignedHead
from otel_audit.integrity.seedfile import provision
from otel_audit.redaction.pseudonyms import add_key, read_keys
from otel_audit.trail import AuditTrail
from tests.sinks.http_server import Reply, Server

pytestmark = [
    pytest.mark.filterwarnings("ignore:audit records go to .* in plain text:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:sink .* this protocol has no acknowledgement:RuntimeWarning"),
]

DEAD = "logstash+tcp://127.0.0.1:9?allow=loopback"
BIG = "x" * 60_000


class Bench:
    """A trail that is configured with one setting more or less, and what is seen of it."""

    def __init__(self, directory: Path) -> None:
        self.journal = directory / "journal"
        self.file = directory / "out.jsonl"
        self.key = directory / "key.pem"
        self.mac = directory / "key.mac"
        self.second = directory / "key.epochs"
        self.anchor = directory / "anchor"
        self.pseudonyms = directory / "pseudonyms.key"
        self.subjects = directory / "subjects"
        self.other = directory / "other"
        self.trail: AuditTrail

    def lines(self) -> list[dict[str, Any]]:
        texts = [path.read_text() for path in sorted(self.journal.glob("*.jsonl"))]
        return [json.loads(line) for text in texts for line in text.splitlines()]

    def opening(self) -> dict[str, Any]:
        otel_audit.record("order.pay")
        return self.lines()[0]["data"]

    def audit(self, **extra: Any) -> dict[str, Any]:
        otel_audit.record("order.pay", **extra)
        return self.lines()[-1]["audit"]

    def fill(self, value: Any) -> Any:
        """Put this bench's paths into what names them."""
        if not isinstance(value, str):
            return value
        return re.sub(r"\{(\w+)\}", lambda found: str(getattr(self, found[1], found[0])), value)

    def data(self, **extra: Any) -> dict[str, Any]:
        otel_audit.record("order.pay", **extra)
        return self.lines()[-1]["data"]

    def lost(self) -> int:
        for _ in range(30):
            otel_audit.record("order.pay", note=BIG)
        return self.trail.stream.lost

    def seconds(self, error: type[Exception]) -> float:
        began = time.monotonic()
        with pytest.raises(error):
            self.lost()
        return time.monotonic() - began

    def await_lines(self, enough: Callable[[list[dict[str, Any]]], bool], timeout: float = 10.0) -> bool:
        return eventually(lambda: enough(self.lines()), timeout)


def eventually(condition: Callable[[], Any], timeout: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


@dataclass
class Case:
    """A setting's value, what is seen with it, and what without it."""

    value: Any
    """As text where an environment variable can hold it. `{...}` names an attribute of the bench."""
    look: Callable[[Bench], object]
    expected: object
    otherwise: object = None
    base: dict[str, Any] = field(default_factory=dict)
    """Other settings; those under `config` stand below the one that is tried."""


def _prunes(bench: Bench) -> bool:
    """Whether the first file of a stream is gone once the next stream has begun."""
    bench.lost()
    first = bench.journal / f"{bench.trail.stream.id}.000001.jsonl"
    bench.trail.close()
    otel_audit.record("order.pay")
    return eventually(lambda: not first.exists(), 0.5)


def _paths_made(bench: Bench) -> bool:
    otel_audit.record("order.pay")
    return any(bench.journal.glob("*.jsonl")) if bench.journal.exists() else False


def _delivered(bench: Bench) -> bool:
    otel_audit.record("order.pay")
    bench.trail.flush(5.0)
    return bench.file.exists() and b"order.pay" in bench.file.read_bytes()


def _durable_after(bench: Bench) -> bool:
    """Whether it took long until the disk had the record."""
    otel_audit.record("order.pay")
    began, store = time.monotonic(), bench.trail.stream.store
    assert eventually(lambda: store.durable == store.written)
    return time.monotonic() - began > 0.15


def _timeout_message(bench: Bench) -> str:
    with pytest.raises(DeliveryTimeout) as late:
        otel_audit.record("order.pay")
    return re.findall(r"within \S+ s", str(late.value))[0]


def _gives_up_early(bench: Bench) -> bool:
    began = time.monotonic()
    with pytest.raises(DeliveryTimeout):
        otel_audit.record("order.pay")
    return time.monotonic() - began < 0.9


def _log(bench: Bench, **extra: Any) -> bool:
    logging.getLogger("shop.cart").info("paid", extra=extra)
    return any(line.get("message") == "paid" for line in bench.lines())


def _checkpoint_within(bench: Bench) -> bool:
    """Whether a checkpoint stands in the stream by itself, and soon."""
    for _ in range(5):
        otel_audit.record("order.pay")
    return eventually(lambda: any(line["event_name"] == "audit.checkpoint" for line in bench.lines()), 0.5)


def _anchored(bench: Bench) -> bool:
    otel_audit.record("order.pay")
    bench.trail.close()
    return any(bench.anchor.glob("*.checkpoint"))


def _signs_records(bench: Bench) -> bool:
    otel_audit.record("order.pay")
    bench.trail.close()
    return any(line["event_name"] == "audit.signatures" for line in bench.lines())


def _raises_on_loss(bench: Bench) -> bool:
    try:
        return not bench.lost()
    except RecordLost:
        return True


def _nest(levels: int) -> Any:
    return [_nest(levels - 1)] if levels else 0


ACK = {
    "durability": "ack",
    "on_failure": "raise",
    "sinks": [{"url": DEAD, "required": True}],
}
SMALL = {"quota": "1MiB"}

CASES: dict[str, Case] = {
    "journal": Case(
        "{journal}",
        _paths_made,
        expected=True,
        otherwise=False,
        base={"journal": None, "sinks": ["stdout:"]},
    ),
    "memory_bytes": Case(
        "1MiB", lambda b: b.lost() > 0, expected=True, otherwise=False, base={"journal": "memory", "sinks": [DEAD]}
    ),
    "segment_bytes": Case(
        "2KiB",
        lambda b: [otel_audit.record("order.pay") for _ in range(20)] and len([*b.journal.glob("*.jsonl")]) > 1,
        expected=True,
        otherwise=False,
    ),
    "quota": Case("1MiB", lambda b: b.lost() > 0, expected=True, otherwise=False),
    "retention": Case("1us", _prunes, expected=True, otherwise=False, base={"segment_bytes": "2KiB"}),
    "retention_bytes": Case("1MiB", _prunes, expected=True, otherwise=False, base={"segment_bytes": "100KiB"}),
    "sinks": Case("file://{file}", _delivered, expected=True, otherwise=False, base={"sinks": None}),
    "durability": Case("always", lambda b: b.opening()["durability"], expected="always", otherwise="process"),
    "on_failure": Case("raise", _raises_on_loss, expected=True, otherwise=False, base=SMALL),
    "block_timeout": Case(
        "100ms",
        lambda b: b.seconds(RecordLost) < 0.9,
        expected=True,
        otherwise=False,
        base={**SMALL, "on_failure": "block", "config": {"block_timeout": 1}},
    ),
    "ack_timeout": Case(
        "50ms",
        _timeout_message,
        expected="within 0.05 s",
        otherwise="within 0.3 s",
        base={**ACK, "config": {"ack_timeout": 0.3}},
    ),
    "fast_fail": Case(
        "true",
        _gives_up_early,
        expected=True,
        otherwise=False,
        base={**ACK, "config": {"ack_timeout": 1}},
    ),
    "flush_on_sigterm": Case(
        "false",
        lambda b: signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
        expected=True,
        otherwise=False,
        base={"sinks": [DEAD]},
    ),
    "metrics": Case(
        "true",
        lambda b: b.trail.companions[0].timed is not None,
        expected=True,
        otherwise=False,
        base={"sinks": [DEAD]},
    ),
    "sync_interval": Case("200ms", _durable_after, expected=True, otherwise=False),
    "heartbeat": Case(
        "20ms",
        lambda b: (
            otel_audit.record("order.pay")
            and b.await_lines(lambda lines: lines[-1]["event_name"] == "audit.heartbeat", 0.5)
        ),
        expected=True,
        otherwise=False,
    ),
    "service": Case("shop", lambda b: b.opening()["service"], expected={"name": "shop"}, otherwise={}),
    "resource": Case(
        "service.version=1.2,service.name=s%20p,zone=b",
        lambda b: b.opening()["service"],
        expected={"name": "s p", "version": "1.2"},
        otherwise={},
    ),
    "loggers": Case("shop,unused", _log, expected=True, otherwise=False),
    "select": Case(
        {"marker": "audited"}, _log, expected=False, otherwise=True, base={"loggers": ["shop"]}
    ),
    "redact": Case("iban,*_day", lambda b: b.data(IBAN=1, pay_day=2), {"IBAN": "[redacted]", "pay_day": "[redacted]"},
        {"IBAN": 1, "pay_day": 2}),
    "redact_except": Case("pin,api*", lambda b: b.data(pin=1, otp=2, apiKey=3),
        {"pin": 1, "otp": "[redacted]", "apiKey": 3},
        {"pin": "[redacted]", "otp": "[redacted]", "apiKey": "[redacted]"}),
    "redact_text": Case("false", lambda b: b.data(note="password=hunter2")["note"], "password=hunter2",
        "password=[redacted]"),
    "redact_paths": Case("customer.iban,**.phone", lambda b: b.data(customer={"iban": 1, "bic": 2}, a={"phone": 3}),
        {"customer": {"iban": "[redacted]", "bic": 2}, "a": {"phone": "[redacted]"}},
        {"customer": {"iban": 1, "bic": 2}, "a": {"phone": 3}}),
    "redact_patterns": Case("ACC-\\d{2,4}\n\\bDE\\d{20}\\b", lambda b: b.data(note="see ACC-123, please")["note"],
        "see [redacted], please", "see ACC-123, please"),
    "redact_allow": Case({"order.*": ["shown"]}, lambda b: b.data(shown=1, hidden=2),
        {"shown": 1, "hidden": "[redacted]"}, {"shown": 1, "hidden": 2}),
    "pseudonyms": Case("tenant", lambda b: b.audit(tenant="acme")["tenant"][:12], "hmac-sha256:", "acme",
        base={"pseudonym_key_file": "{pseudonyms}"}),
    "pseudonym_key_file": Case("{other}",
        lambda b: b.audit(tenant="acme")["tenant"] == read_keys(b.other)[-1].name("acme"), expected=True,
        otherwise=False,
        base={"config": {"pseudonyms": ["tenant"], "pseudonym_key_file": "{pseudonyms}"}}),
    "sealed": Case("email", lambda b: b.data(email="a@b", data_subject="alice")["email"][:12], "aes-256-gcm:", "a@b",
        base={"subject_keys": "{subjects}"}),
    "subject_path": Case("customer.id", lambda b: b.data(email="a@b", customer={"id": "c1"})["email"][:12],
        "aes-256-gcm:", "[redacted]", base={"sealed": ["email"], "subject_keys": "{subjects}"}),
    "subject_keys": Case("{subjects}", lambda b: b.data(email="a@b", data_subject="c1") and b.subjects.is_dir(),
        expected=True, otherwise=False, base={"config": {"sealed": ["email"], "subject_keys": "{anchor}/keys"}}),
    "record_bytes": Case("2KiB", lambda b: len(b.data(note="x" * 20_000)["note"]), 16_384, 20_000),
    "text_bytes": Case("100", lambda b: len(b.data(note=BIG, more=BIG)["note"]), 100, 16_384),
    "max_items": Case("64", lambda b: len(b.data(many=[*range(100)], odd={1: 2})["many"]), 64, 100),
    "max_depth": Case("16", lambda b: json.dumps(b.data(deep=_nest(20))).count("["), 14, 20),
    "signing_key_file": Case("{key}", lambda b: "keys" in b.opening(), expected=True, otherwise=False),
    "second_signing_key_file": Case("{second}", lambda b: len(b.opening()["keys"]), expected=2, otherwise=1,
        base={"signing_key_file": "{key}"}),
    "record_signatures": Case("true", _signs_records, expected=True, otherwise=False,
        base={"signing_key_file": "{key}"}),
    "mac_key_file": Case("{mac}", lambda b: "mac" in b.opening(), expected=True, otherwise=False),
    "checkpoint_interval": Case("20ms", _checkpoint_within, expected=True, otherwise=False,
        base={"signing_key_file": "{key}", "config": {"checkpoint_interval": "1h"}}),
    "checkpoint_records": Case("3", _checkpoint_within, expected=True, otherwise=False,
        base={"signing_key_file": "{key}", "config": {"checkpoint_interval": "1h"}}),
    "anchors": Case("directory://{anchor}", _anchored, expected=True, otherwise=False,
        base={"signing_key_file": "{key}"}),
}  # fmt: skip


def configure(bench: Bench, case: Case, name: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Configure with the case's value by one of the ways, or without it."""
    given: dict[str, Any] = {"journal": bench.journal, "sinks": [], **case.base}
    value = bench.fill(case.value)
    lower = {name: bench.fill(each) for name, each in given.pop("config", {}).items()}
    given = {name: bench.fill(each) for name, each in given.items()}
    if how == "argument":
        given[name] = value
    else:
        given.pop(name, None)
    if how == "environment":
        variable = SCHEMA[name].variable
        assert variable is not None
        monkeypatch.setenv(variable, value)
    if how == "yaml":
        lower[name] = value
    path = bench.journal.parent / "audit.yaml"
    path.write_text(yaml.safe_dump(lower))
    bench.trail = otel_audit.configure(config=path, **given)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    keys.generate(bench.key, "shop.example/audit")
    provision_mac_key(bench.mac, tmp_path / "copy.mac")
    provision(bench.second, "shop.example/audit", Schedule(int(time.time()), 3600, 4))
    bench.anchor.mkdir()
    add_key(bench.pseudonyms)
    add_key(bench.other)
    yield bench
    if hasattr(bench, "trail"):
        bench.trail.close(timeout=0.1)


def test_every_setting_has_a_case() -> None:
    assert CASES.keys() == SCHEMA.keys()


WAYS = [
    (name, how)
    for name, setting in SCHEMA.items()
    for how in ("argument", "environment", "yaml")
    if setting.variable is not None or how != "environment"
]


@pytest.mark.parametrize(("name", "how"), WAYS)
def test_a_setting_takes_effect(name: str, how: str, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(bench, CASES[name], name, how, monkeypatch)

    assert CASES[name].look(bench) == CASES[name].expected


@pytest.mark.parametrize("name", SCHEMA)
def test_without_the_setting_there_is_no_such_effect(name: str, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[name]
    assert case.expected != case.otherwise
    configure(bench, case, name, "not", monkeypatch)

    assert case.look(bench) == case.otherwise


def test_every_scalar_setting_has_a_variable() -> None:
    assert {each.name for each in SCHEMA.values() if each.variable is None} == {"redact_allow", "select"}


def test_the_variable_config_names_the_yaml_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "audit.yaml"
    path.write_text(f"sinks: ['file://{tmp_path}/out.jsonl']\n")
    monkeypatch.setenv(CONFIG_VARIABLE, str(path))

    otel_audit.configure().close()
    otel_audit.record("order.pay")

    assert "order.pay" in (tmp_path / "out.jsonl").read_text()


def test_every_variable_that_the_package_reads_is_known() -> None:
    package = Path(config.__file__).parents[1]
    named = {name for path in package.rglob("*.py") for name in re.findall(rf"{PREFIX}[A-Z0-9_]+\b", path.read_text())}

    assert named <= {*(each.variable for each in SCHEMA.values()), CONFIG_VARIABLE, *SECRET_VARIABLES, *START_VARIABLES}


SECRETS: dict[str, tuple[str, str | None]] = {
    f"{PREFIX}ELASTICSEARCH_API_KEY": ("elasticsearch+http://{host}/audit?allow=loopback", "ApiKey s3cret"),
    f"{PREFIX}ELASTICSEARCH_PASSWORD": (
        "elasticsearch+http://bob@{host}/audit?allow=loopback",
        "Basic Ym9iOnMzY3JldA==",
    ),
    f"{PREFIX}KAFKA_PASSWORD": ("kafka+tls://bob@{host}/audit", None),
}


def test_every_secret_variable_has_a_case() -> None:
    assert SECRETS.keys() == SECRET_VARIABLES.keys()


@pytest.mark.parametrize("variable", SECRETS)
def test_a_secret_variable_reaches_its_sink(variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, header = SECRETS[variable]
    if url.startswith("kafka"):
        pytest.importorskip("confluent_kafka")
    monkeypatch.setenv(variable, "s3cret")
    with Server(default=Reply(status=500)) as server:
        trail = otel_audit.configure(journal=tmp_path, sinks=[url.replace("{host}", server.host)])
        if header is not None:
            otel_audit.record("order.pay")
            assert eventually(lambda: server.received)
            assert server.received[0].headers["authorization"] == header
        trail.close(timeout=0.1)
    if "bob@" in url:  # a user needs a password: without the variable the sink cannot be built
        monkeypatch.delenv(variable)
        with pytest.raises(ConfigurationError, match=variable):
            otel_audit.configure(journal=tmp_path, sinks=[url.replace("{host}", server.host)])


class _Built(BaseException):
    """The sink's builder was reached, with these options."""


URLS: dict[str, str] = {
    "stdout": "stdout:",
    "file": "file:///tmp/out.jsonl",
    "logstash+tls": "logstash+tls://logs:5044",
    "syslog+tls": "syslog+tls://siem:6514",
    "otlp": "otlp:",
    "webhook+https": "webhook+https://hooks.example/audit",
    "elasticsearch+https": "elasticsearch+https://search:9200/audit",
    "kafka+tls": "kafka+tls://broker:9093/audit",
    "s3": "s3://worm/audit",
}

ANCHOR_URLS: dict[str, str] = {
    "directory": "directory:///mnt/elsewhere",
    "webhook+https": "webhook+https://keeper.example/checkpoints",
    "tsa+https": "tsa+https://tsa.example/",
    "witness+https": "witness+https://witness.example/",
    "otlp+https": "otlp+https://collector.example:4318",
    "git": "git:///var/lib/anchors.git",
    "s3": "s3://keeper/checkpoints",
}
NEEDED: dict[str, dict[str, str]] = {
    "tsa+https": {"tsa_ca_file": "/etc/shop/tsa.pem"},
    "witness+https": {"vkey": "witness.example/w1+c7f2cb1e+x"},
}

OPTIONS = [(kind, name, wanted) for kind in (*TYPES, *ANCHOR_TYPES) for name, (wanted, _) in kind.options().items()]


def _flatten(options: dict[str, Any]) -> dict[str, Any]:
    """Return what a builder gets with the fields of settings objects beside the rest."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        if is_dataclass(value):
            found |= _flatten({each.name: getattr(value, each.name) for each in fields(value)})
        else:
            found[name] = value
    return found


def _sample(wanted: Any) -> tuple[Any, Any]:
    """Return a value as a YAML file may hold it, and what the sink's builder then gets."""
    wanted = _without_none(wanted)
    if get_origin(wanted) is Literal:
        return (get_args(wanted)[-1],) * 2
    if get_origin(wanted) is tuple:
        return ["10.0.0.0/8", "loopback"], ("10.0.0.0/8", "loopback")
    samples: dict[Any, tuple[Any, Any]] = {bool: (True, True), int: ("3KiB", 3072), float: ("1500ms", 1.5)}
    return samples.get(wanted, ("/etc/ssl/a b&c.pem", "/etc/ssl/a b&c.pem"))


@pytest.mark.parametrize(("kind", "name", "wanted"), OPTIONS, ids=[f"{k.schemes[0]}-{n}" for k, n, _ in OPTIONS])
def test_an_option_reaches_its_sink_or_anchor(
    kind: PlaceType, name: str, wanted: Any, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = kind.load()
    builder = getattr(owner, kind.builder)

    @functools.wraps(getattr(builder, "__func__", builder))
    def build(*_: Any, **options: Any) -> None:
        raise _Built(options)

    monkeypatch.setattr(owner, kind.builder, build if kind.builder == "__init__" else classmethod(build))
    value, expected = _sample(wanted)
    given: dict[str, Any] = {"journal": "/x", "sinks": [], "signing_key_file": str(bench.key)}
    if isinstance(kind, AnchorType):
        given["anchors"] = [
            {**NEEDED.get(kind.schemes[0], {}), "url": ANCHOR_URLS[kind.schemes[0]], name: value},
        ]
    else:
        given["sinks"] = [{"url": URLS[kind.schemes[0]], name: value}]
    path = bench.journal.parent / "audit.yaml"
    path.write_text(yaml.safe_dump(given))

    with pytest.raises(_Built) as built:
        otel_audit.configure(config=path)

    assert _flatten(built.value.args[0])[name] == expected


def test_shipping_options_have_their_tests() -> None:
    assert SHIPPING.keys() == {"required", "linger", "route"}


def test_required_decides_whether_an_acknowledgement_is_waited_for(tmp_path: Path) -> None:
    given: dict[str, Any] = {"journal": tmp_path, "durability": "ack", "ack_timeout": 0.05, "on_failure": "raise"}
    file = f"file://{tmp_path}/out.jsonl?required=true"
    trail = otel_audit.configure(**{**given, "ack_timeout": 10}, sinks=[file, DEAD])
    otel_audit.record("order.pay")
    trail.close(timeout=0.1)
    otel_audit.configure(**given, sinks=[file, f"{DEAD}&required=true"])

    with pytest.raises(DeliveryTimeout):
        otel_audit.record("order.pay")


@pytest.mark.parametrize(("linger", "late"), [("300ms", True), (0, False)])
def test_linger_holds_a_batch_back(linger: str | int, late: bool, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    otel_audit.configure(journal=tmp_path / "j", sinks=[{"url": f"file://{out}", "linger": linger}])
    began = time.monotonic()
    otel_audit.record("order.pay")

    assert eventually(out.exists)
    assert (time.monotonic() - began > 0.28) is late


def test_route_decides_which_records_a_sink_gets(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    sink = {"url": f"file://{out}", "route": {"event_name": "user.*"}}
    trail = otel_audit.configure(journal=tmp_path / "j", sinks=[sink])
    otel_audit.record("order.pay")
    otel_audit.record("user.login")

    assert trail.flush(5.0)
    assert [json.loads(line)["event_name"] for line in out.read_text().splitlines()] == [
        "audit.stream.open",
        "user.login",
    ]


def test_the_resource_goes_out_over_otlp(tmp_path: Path) -> None:
    with Server() as server:
        otel_audit.configure(
            journal=tmp_path, sinks=[f"otlp+http://{server.host}"], service="shop", resource={"zone": "b"}
        )
        otel_audit.record("order.pay")

        assert eventually(lambda: server.received)
        assert b"zone" in server.received[0].body
        assert b"shop" in server.received[0].body


def _anchored_after(directory: Path, every: str, count: int) -> list[int]:
    """Return the sizes of the checkpoints that an anchor got, one for each flush and the one at the end."""
    seen: list[int] = []

    class Seen(DirectoryAnchor):
        def publish(self, head: SignedHead) -> None:
            seen.append(head.checkpoint.size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("otel_audit.anchors.directory.DirectoryAnchor", Seen)
        key = directory / "key.pem"
        keys.generate(key, "shop.example/audit")
        settings: dict[str, Any] = {"signing_key_file": key, "checkpoint_interval": 3600, "sinks": []}
        trail = otel_audit.configure(
            journal=directory / "journal", anchors=[{"url": "directory:///x", "every": every}], **settings
        )
        for number in range(1, count + 1):
            otel_audit.record("order.pay")
            trail.flush()
            assert eventually(lambda number=number: len(seen) >= (number if every == "0s" else 1))
        trail.close()
    return seen


def test_every_says_how_often_an_anchor_gets_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "1").mkdir()
    assert ANCHORING.keys() == {"every"}
    assert len(_anchored_after(tmp_path / "0", "0s", 4)) == 5
    assert len(_anchored_after(tmp_path / "1", "1h", 4)) == 2


def test_two_anchors_of_one_name_are_refused(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    keys.generate(key, "shop.example/audit")
    with pytest.raises(ConfigurationError, match="give it a name="):
        otel_audit.configure(
            journal=tmp_path / "j", sinks=[], signing_key_file=key, anchors=["directory:///a", "directory:///b"]
        )


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("directry:///a", "there is no anchor 'directry'; did you mean 'directory'?"),
        ("directory:///a?nam=b", "there is no option 'nam'; did you mean 'name'?"),
        ("directory:///a?every=soon", "every is 'soon'; it must be a time"),
        ("directory:///a?name=a.b", "is not of letters, digits, - and _"),
        ("directory://host/a", "write directory:///absolute/path"),
    ],
)
def test_a_mistake_in_an_anchor_is_named(url: str, message: str, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    keys.generate(key, "shop.example/audit")
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        otel_audit.configure(journal=tmp_path / "j", sinks=[], signing_key_file=key, anchors=[url])
