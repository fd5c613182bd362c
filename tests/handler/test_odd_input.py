"""Whatever is logged, it is exactly one valid line; what could not be kept as it was is listed in `audit.altered`."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import json
import logging
import pathlib
import types
import uuid
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_audit import AuditHandler, twice
from otel_audit.canonical import Limits, jcs, make_safe
from otel_audit.chain import new_stream_id
from otel_audit.door import Door
from otel_audit.logrecord import admit
from otel_audit.record import MAX_LINE
from otel_audit.sealing import Chain
from otel_audit.trail import AuditTrail
from otel_audit.verify.content import examine
from tests.writer.trails import codes, named, open_trail, verified


class Raises:
    """An object of which every method raises."""

    def __str__(self) -> str:
        raise ValueError("no text")

    def __eq__(self, other: object) -> bool:
        raise ValueError("no comparison")

    def __hash__(self) -> int:
        return 1

    def __bool__(self) -> bool:
        raise ValueError("no truth")


class RaisingMapping(collections.UserDict[str, Any]):
    def __iter__(self) -> Any:
        raise ValueError("no keys")

    def items(self) -> Any:
        raise ValueError("no items")


class RaisingDict(dict[str, Any]):
    def items(self) -> Any:
        raise ValueError("no items")


class LyingText(str):
    """A text of which every method says something else, or nothing."""

    __slots__ = ()

    def __str__(self) -> str:
        return "other"

    def startswith(self, *_: Any) -> bool:
        return False

    def encode(self, *_: Any) -> bytes:
        raise ValueError


class NotesRaise(Exception):
    __notes__ = Raises()

    def __str__(self) -> str:
        raise ValueError("no text")


class Colour(str, enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    y: Any


def cyclic() -> dict[str, Any]:
    value: dict[str, Any] = {"list": []}
    value["list"].append(value)
    return value


def deep(levels: int, kind: str = "dict") -> Any:
    value: Any = "bottom"
    for _ in range(levels):
        value = {"in": value} if kind == "dict" else [value]
    return value


CONTROL = '\n{"seq":9}\r\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e\x00\x1b[2K\u202e\x7f'
UNALTERED = {
    "newlines and controls": CONTROL,
    "escape": "\\u0000 \\ \" '",
    "non-BMP": "\U0001f600",
    "names of the chain": {"seq": 1, "prev_hash": "0", "hash": "0", "stream": "0", "@timestamp": "0"},
    "__proto__": {"__proto__": {"a": 1}, "constructor": 1},
    "float": 1.5,
    "exponent": 1e300,
    "integral float": 5.0,
    "minus zero": -0.0,
    "empty": [{}, [], "", None],
    "non-BMP keys": {"\U0001f600": 1, "\uffff": 2, "a": 3},
    "tuple": (1, (2, 3)),
    "date": datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc),
    "timedelta": datetime.timedelta(days=1),
    "uuid": uuid.UUID(int=1),
    "decimal": decimal.Decimal("1.10"),
    "path": pathlib.PurePosixPath("/etc"),
    "enum": Colour.RED,
    "dataclass": Point(1, [2]),
    "set": {"b", "a"},
    "counter": collections.Counter("aab"),
    "deque": collections.deque([1]),
    "bytes": b"\xff\x00",
    "exception": ValueError("x"),
    "proxy": types.MappingProxyType({"a": 1}),
}
ALTERED = {
    "lone surrogate": "\ud800",
    "surrogate key": {"\udfff": 1},
    "NaN": float("nan"),
    "infinity": [float("inf"), -float("inf")],
    "2^70": 2**70,
    "2^53 as a float": 2.0**53,
    "1e20": 1e20,
    "huge int": 1 << 100_000,
    "non-str keys": {1: 2, (3, 4): 5, None: 6, False: 7},
    "same key twice": {1: "a", "1": "b"},
    "cyclic": cyclic(),
    "10 k deep": deep(10_000),
    "10 k deep list": deep(10_000, "list"),
    "10 MB": "x" * 10_000_000,
    "10 MB of two bytes": "é" * 5_000_000,
    "many members": {str(n): n for n in range(100_000)},
    "many big strings": ["x" * 16_000] * 1000,
    "long key": {"k" * 10_000: 1},
    "raises": Raises(),
    "raises inside": {"a": [Raises()]},
    "key raises": {Raises(): 1},
    "raising mapping": RaisingMapping(a=1),
    "raising dict": {"a": RaisingDict(b=1)},
    "exception that raises": NotesRaise(),
    "function": len,
    "generator": (n for n in range(3)),
    "class": Point,
    "module": logging,
    "secret": {"password": "hunter2"},
}


def only(journal: Path) -> dict[str, Any]:
    (record,) = named(journal, "log.record")
    return record


def check(journal: Path) -> None:
    """Every line is the JCS form of what it says, and verifies."""
    for path in journal.glob("*.jsonl"):
        for line in path.read_bytes().splitlines(keepends=True):
            assert len(line) <= MAX_LINE
            record = json.loads(line)
            digest = record.pop("hash")
            assert line == rfc8785.dumps(record)[:-1] + b',"hash":"%b"}\n' % digest.encode()
    report = verified(journal)
    assert (report.exit_code, codes(report)) in [(0, set()), (3, {"UNCLOSED"})], report.findings.listed[:3]


def log_alone(journal: Path, **record: Any) -> dict[str, Any]:
    """Log one record made by hand in a trail of its own; return what was written."""
    with open_trail(journal) as trail:
        AuditHandler(trail).handle(logging.makeLogRecord({"name": "shop", "levelno": 20, **record}))
    check(journal)
    return only(journal)


@pytest.mark.parametrize("what", UNALTERED)
def test_odd_values_that_have_a_spelling_are_kept(journal: Path, what: str) -> None:
    record = log_alone(journal, value=UNALTERED[what])
    assert "altered" not in record["audit"]
    assert "value" in record["data"]


@pytest.mark.parametrize("what", ALTERED)
def test_odd_values_that_cannot_be_kept_are_flagged(journal: Path, what: str) -> None:
    record = log_alone(journal, value=ALTERED[what])
    assert record["audit"]["altered"]
    assert "hunter2" not in json.dumps(record)


@pytest.mark.parametrize("what", [*UNALTERED, *ALTERED])
def test_odd_values_in_the_message_its_arguments_the_schema_and_an_exception(journal: Path, what: str) -> None:
    value = (UNALTERED | ALTERED)[what]
    with open_trail(journal) as trail:
        logger = logging.Logger("odd")
        logger.addHandler(AuditHandler(trail))
        logger.info(value)
        logger.info("%s and %s", value, value)
        logger.info("%(a)s", {"a": value})
        logger.info("x", extra={"audit": value})
        for member in ("actor", "action", "outcome", "target", "targets", "source", "decision", "changes", "reason"):
            logger.info("x", extra={"audit": {member: value}})
        logger.info("x", extra={"audit": {"actor": {"id": value, "type": value, "name": value}}})
        logger.info("x", extra={"audit": {"event_name": value, "tenant": value, "altered": value, "nothing": value}})
        try:
            raise ValueError(value)
        except ValueError:
            logger.exception("failed")
        assert trail.stream.records == 1 + 4 + 9 + 2 + 1
    check(journal)


@pytest.mark.parametrize(
    "record",
    [
        {"created": float("nan")},
        {"created": float("inf")},
        {"created": -1e30},
        {"created": 1e12},
        {"created": "yesterday"},
        {"created": None},
        {"created": Raises()},
        {"name": None},
        {"name": ["list"]},
        {"name": Raises()},
        {"levelname": Raises()},
        {"levelname": 7},
        {"levelno": None},
        {"levelno": "high"},
        {"msg": Raises()},
        {"msg": LyingText("%s")},
        {"msg": b"bytes %s", "args": (1,)},
        {"msg": None},
        {"args": Raises()},
        {"args": ("one", "too many")},
        {"args": {"a": 1}, "msg": "%(b)s"},
        {"exc_info": True},
        {"exc_info": (None, None, None)},
        {"exc_info": (ValueError, None, None)},
        {"exc_info": ("type", "error", "trace")},
        {"exc_info": (NotesRaise, NotesRaise(), None)},
        {"exc_text": Raises()},
        {"stack_info": Raises()},
        {"taskName": Raises()},
        {"audit": Raises()},
        {"audit": LyingText("audit.stream.close")},
        {"audit": {"event_name": LyingText("audit.stream.close")}},
        {"audit": RaisingMapping(actor="a")},
        {"audit": {Raises(): 1, 5: 6, "actor": "alice"}},
        {"audit": {"actor": {f"k{n}": n for n in range(5000)} | {"id": "alice"}}},
        {"audit": {"outcome": Colour.RED, "decision": ["allowed"], "actor": {"id": "a", "type": ["user"]}}},
        {"message": Raises(), "asctime": Raises()},
        {LyingText("key"): LyingText("value")},
    ],
    ids=lambda record: ",".join(map(repr, record))[:40],
)
def test_records_made_by_hand(journal: Path, record: dict[str, Any]) -> None:
    with open_trail(journal) as trail:
        AuditHandler(trail).handle(logging.makeLogRecord(record))
        assert trail.stream.records == 2
    check(journal)


@pytest.mark.parametrize("attribute", ["levelname", "msg", "args", "created", "exc_info", "exc_text", "stack_info"])
def test_a_record_without_one_of_its_attributes_is_kept(tmp_path: Path, attribute: str) -> None:
    with open_trail(tmp_path) as trail:
        record = logging.makeLogRecord({"name": "shop", "levelno": 20, "levelname": "INFO", "msg": "paid"})
        delattr(record, attribute)
        AuditHandler(trail).handle(record)
    assert len(named(tmp_path, "log.record")) == 1
    assert verified(tmp_path).exit_code == 0


def test_a_time_that_is_none_becomes_now_and_says_so(journal: Path) -> None:
    record = log_alone(journal, created=float("nan"))
    assert record["@timestamp"].startswith("20")
    assert record["audit"]["altered"] == [{"path": "/@timestamp", "why": "not a time: nan"}]


@pytest.mark.parametrize("created", [float("nan"), float("inf"), None, "now", 1e300, Raises()])
def test_an_odd_time_beside_the_opentelemetry_processor_loses_nothing(
    created: Any, monkeypatch: pytest.MonkeyPatch, journal: Path
) -> None:
    monkeypatch.setattr(twice, "watching", True)
    assert log_alone(journal, created=created)["logger"] == "shop"


@pytest.mark.parametrize(
    ("nanoseconds", "stamp"),
    [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (-62_135_596_800 * 10**9, "0001-01-01T00:00:00.000000000Z"),
        (253_402_300_799 * 10**9 + 999_999_999, "9999-12-31T23:59:59.999999999Z"),
    ],
)
def test_times_at_the_edges(journal: Path, nanoseconds: int, stamp: str) -> None:
    with open_trail(journal) as trail:
        trail.record("a.b", nanoseconds=nanoseconds)
    assert named(journal, "a.b")[0]["@timestamp"] == stamp


def test_what_is_said_of_an_actor_stands_although_another_member_is_odd(journal: Path) -> None:
    record = log_alone(journal, audit={"actor": "alice", "outcome": [Raises()], "target": Raises()})
    assert record["audit"]["actor"] == {"id": "alice", "type": "user"}
    assert record["audit"]["outcome"] == "unknown"


def test_no_caller_writes_control_records(journal: Path) -> None:
    with open_trail(journal) as trail:
        for name in ("audit.stream.close", "audit.", "audit.gap"):
            trail.record(name, {"event_name": name}, {"records": 1})
    report = verified(journal)
    assert (report.exit_code, codes(report)) == (0, set())
    assert named(journal, "app.audit.stream.close")


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**80), 2**80),
    st.floats(),
    st.text(),
    st.text(alphabet=st.characters(categories=["Cs", "Cc", "Lu"])),
    st.binary(max_size=20),
    st.dates(),
    st.datetimes(),
    st.decimals(),
    st.uuids(),
    st.sampled_from([Raises(), Colour.RED, Point(1, Raises()), LyingText("x"), len, ValueError("x"), NotesRaise()]),
)
KEYS = st.one_of(
    st.text(max_size=8),
    st.integers(),
    st.sampled_from(["actor", "outcome", "password", "altered"]),
    st.binary(max_size=3),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(KEYS, inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(KEYS, inner, max_size=3).map(collections.UserDict),
        st.dictionaries(KEYS, inner, max_size=3).map(types.MappingProxyType),
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(message=VALUES, args=VALUES, extra=st.dictionaries(KEYS, VALUES, max_size=5), audit=VALUES)
def test_any_object_anywhere_gives_one_canonical_line(message: Any, args: Any, extra: Any, audit: Any) -> None:
    record = logging.makeLogRecord({"msg": message, "args": args, **{str(k): v for k, v in extra.items()}})
    record.__dict__.setdefault("audit", audit)
    head = admit(Door(), record)
    assert b"\n" not in head
    value = json.loads(head + b"}")
    assert rfc8785.dumps(value) == head + b"}"
    assert {"@timestamp", "audit", "event_name"} <= value.keys()


NUMBERS = st.one_of(st.integers(), st.integers(-(2**54), 2**54).map(float), st.floats())


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), st.recursive(NUMBERS, lambda inner: st.lists(inner, max_size=3))))
def test_a_number_is_spelled_alike_whichever_road_its_record_takes(data: dict[str, Any]) -> None:
    door, given_as = Door(), repr(data)
    door.admit("a.b", None, data)  # its names are known from here on: plain values take the short road
    for head in (door.admit("a.b", None, data), door.admit_plain(0, data, "INFO", "app", "message", None)):
        if head is not None:
            assert f'"data":{jcs(make_safe(data, Limits())[0]).decode()}' in head.decode() or not data
    assert repr(data) == given_as


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["actor", "outcome", "target", "targets", "source", "decision", "action", "reason"]), VALUES
    )
)
def test_any_schema_members_give_a_record_that_verifies(audit: Any) -> None:
    chain = Chain(new_stream_id())
    entry, fault = examine(chain.seal(Door().admit("a.b", audit, {}))[:-1])
    assert entry is not None
    assert fault is None, fault


def test_a_select_that_raises_does_not_lose_the_record(
    trail: AuditTrail, journal: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def select(record: logging.LogRecord) -> bool:
        raise ValueError("undecided")

    logger = logging.Logger("shop")
    logger.addHandler(AuditHandler(trail, select=select))
    logger.info("kept")
    assert only(journal)["message"] == "kept"
    assert "undecided" in capfd.readouterr().err
