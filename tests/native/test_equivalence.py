"""With C and without, the same bytes: odd values, odd names, secrets in every place, rules of the user's, limits."""

from __future__ import annotations

import base64
import enum
import functools
import logging
import re
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_audit import context, native
from otel_audit.canonical import Limits, jcs
from otel_audit.config.redacting import make_redactor
from otel_audit.config.settings import Settings
from otel_audit.door import Door
from otel_audit.logrecord import admit
from otel_audit.redaction import Redactor, Rule
from otel_audit.redaction.paths import parse_path
from tests.redaction.secrets import make_secrets

pytestmark = pytest.mark.skipif(
    native.Encoder is None, reason="the part in C was not built: pip install . where there is a C compiler"
)


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "password=something-else7"


class Number(int):
    def __repr__(self) -> str:
        return "no number"


class Real(float):
    pass


class Flag(enum.IntFlag):
    A = 1


class Items(list[Any]):
    pass


class Unwilling:
    def __str__(self) -> str:
        raise ValueError("no")


Pair = namedtuple("Pair", "password user")  # noqa: PYI024 - as users write them

SECRETS = st.sampled_from(make_secrets()).map(lambda secret: secret.text)
TOKENS = SECRETS.map(lambda text: text.replace(" ", "_")[:100])
BASE64 = (SECRETS | st.just("password")).map(lambda text: base64.b64encode(text.encode()).decode())
TEXT = (
    st.sampled_from(
        ["", "alice", "amount", "user", "password", "DB_PASSWORD", "caf\u00e9", "\U0001f600", "\ud800", "\x7f"]
    )
    | st.sampled_from(['a "b"', "back\\slash", "nul\x00", "line\n", "</", "=", "'", "key:", "word:x", "://", "\u2028"])
    | st.text(max_size=8)
)
ODD_TEXT = TEXT | SECRETS | BASE64 | SECRETS.map(Text)
NUMBER = (
    st.integers(-(2**53) - 1, 2**53 + 1)
    | st.sampled_from([0, -1, 2**53 - 1, -(2**53), 2**63, -(2**63), 10**400, True, Number(7), Flag.A])
    | st.floats()
    | st.sampled_from([-0.0, 0.0, 1.0, 1e-5, 1e-4, 9.99e-5, 1e16, 1e21, 2.0**53, 2.0**53 - 1, 120.5, 5e-324, Real(2.5)])
    | st.floats(-1e17, 1e17)
)
NAME = st.sampled_from(
    ["user", "role", "amount", "name", "key", "value", "field", "header", "attribute", "old", "new", "before", "after"]
) | st.sampled_from(
    [
        *(
            "password",
            "apiKey",
            "Access-Token",
            "audit",
            "message",
            "asctime",
            "exception",
            "stack",
            "taskName",
            "span_id",
        ),
        *("a.b", "customer", "iban", "=", 'say "x"', "tab\t", "b\u00e4r", "\U0001f600", "\ue000", "n" * 200, ""),
        "cGFzc3dvcmQ=",
    ]
)
ODD_NAME = (
    NAME
    | BASE64
    | TOKENS
    | st.text(max_size=6)
    | st.integers()
    | st.none()
    | st.sampled_from([b"password", b"user", Text("user"), Text("password"), ("a", "b"), 2.5])
)
LEAF = st.none() | st.booleans() | NUMBER | ODD_TEXT


def nested(names: st.SearchStrategy[Any], leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.tuples(TEXT, inner)
            | st.tuples(ODD_TEXT, st.tuples(NAME, inner))
            | st.dictionaries(names, inner, max_size=4)
            | st.fixed_dictionaries({"field": ODD_TEXT, "old": inner, "new": inner})
            | st.fixed_dictionaries({"name": ODD_TEXT, "value": inner})
            | st.dictionaries(NAME, inner, max_size=2).map(OrderedDict)
            | st.lists(inner, max_size=2).map(Items)
            | inner.map(lambda value: Pair(value, value))
            | st.sampled_from([b"password=hunter2x9", {1, 2}, Unwilling(), object, DEEP, WIDE, LOOP])
        ),
        max_leaves=6,
    )


DEEP: Any = functools.reduce(lambda inside, _: {"user": inside}, range(17), 1)
WIDE = {f"n{number}": number for number in range(70)}
LOOP: list[Any] = []
LOOP.append(LOOP)

PLAIN = st.dictionaries(NAME, nested(NAME, st.none() | st.booleans() | NUMBER | TEXT), max_size=5)
ANY = st.dictionaries(ODD_NAME, nested(ODD_NAME, LEAF), max_size=5)
DATA = PLAIN | ANY

SETTINGS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "no text": {"redact_text": False},
    "names": {"redact": ("user", "trace*")},
    "kept names": {"redact_except": ("password", "api_key")},
    "paths": {"redact_paths": ("customer.iban", "actor.name", "a.b", "old.*")},
    "naming": {"redact": ("value",), "redact_paths": ("user.old", "change.field")},
    "header": {"redact": ("header",)},
    "message": {"redact_paths": ("message",)},
    "anywhere": {"redact_paths": ("**.amount",)},
    "patterns": {"redact_patterns": ("ali+ce",)},
    "allow-list": {"redact_allow": {"log.*": ("user", "customer.iban")}},
}


class Replaced:
    """Stands for a pseudonym, which takes a key, and a sealed value, which is never the same twice."""

    def __init__(self, whole: bool) -> None:
        self.whole = whole

    def fit(self, value: Any, most: int) -> Any:
        return value

    def __call__(self, value: Any, place: str, record: Any) -> tuple[str, str]:
        return f"replaced:{len(jcs(value))}", "replaced"


RULED: dict[str, tuple[Rule, ...]] = {
    "pseudonyms": (
        Rule((parse_path("actor.id"), parse_path("customer.*"), parse_path("user")), Replaced(whole=False)),
    ),
    "sealed": (Rule((parse_path("user"),), Replaced(whole=True)),),
}
RULES = st.sampled_from([*SETTINGS, *RULED])


def pair(rules: str = "nothing", limits: Limits | None = None) -> tuple[Door, Door]:
    """Return two doors that know no names yet, of which the second takes no short cut."""
    mine, theirs = (
        Door(
            limits=limits,
            redactor=Redactor(rules=RULED[rules]) if rules in RULED else make_redactor(Settings(**SETTINGS[rules])),
        )
        for _ in range(2)
    )
    theirs._encoder = None
    return mine, theirs


def agree(doors: tuple[Door, Door], enter: Callable[[Door], bytes]) -> None:
    for sight in ("first", "second", "third"):  # the second time, the names are known
        mine, theirs = map(enter, doors)
        assert mine == theirs, sight


def without_time(head: bytes) -> bytes:
    """Of a record that nobody can read, the time is now, and that is later for the second."""
    return re.sub(rb'^{"@timestamp":"[^"]*"', b"", head)


def a_call(extra: dict[Any, Any], **attributes: Any) -> logging.LogRecord:
    record = logging.LogRecord("app", logging.INFO, "app.py", 1, "read", (), None)
    record.created = 1.8e9 + 1 / 7
    record.__dict__.update(extra)
    record.__dict__.update(attributes)
    return record


@given(DATA, ODD_TEXT, RULES)
def test_calls(extra: dict[Any, Any], message: str, rules: str) -> None:
    call = a_call(extra, msg=message)
    agree(pair(rules), lambda door: admit(door, call))


ATTRIBUTE = LEAF | st.sampled_from(
    [b"x", (), (None, None, None), (ValueError, ValueError("no"), None), False, Text("INFO")]
)


@given(
    PLAIN,
    st.dictionaries(
        st.sampled_from(
            ["levelname", "name", "exc_info", "exc_text", "stack_info", "taskName", "args", "msg", "levelno"]
        ),
        ATTRIBUTE,
        max_size=4,
    ),
)
def test_records_made_by_hand(extra: dict[str, Any], attributes: dict[str, Any]) -> None:
    call = a_call(extra, **attributes)
    agree(pair(), lambda door: without_time(admit(door, call)))


@given(PLAIN, st.lists(st.sampled_from([*a_call({}).__dict__]), min_size=1, max_size=2), st.booleans())
def test_records_that_lack_what_a_record_has(extra: dict[str, Any], names: list[str], back: bool) -> None:
    call = a_call(extra)
    for name in names:
        value = call.__dict__.pop(name, None)
        if back:
            call.__dict__[name] = value
    agree(pair(), lambda door: without_time(admit(door, call)))


@given(PLAIN, st.sampled_from(["%(message)s", "%(asctime)s %(message)s"]), st.booleans())
def test_calls_that_a_formatter_saw_before(extra: dict[str, Any], layout: str, failed: bool) -> None:
    call = a_call({name: value for name, value in extra.items() if name not in {"message", "asctime"}})
    if failed:
        call.exc_info = (ValueError, ValueError("no"), None)
    logging.Formatter(layout).format(call)
    agree(pair(), lambda door: admit(door, call))


AUDIT = st.dictionaries(
    st.sampled_from(
        [
            *("actor", "target", "targets", "source", "tenant", "session", "request", "reason", "changes", "outcome"),
            *("action", "data_subject", "category", "on_behalf_of", "altered", "decision", "event", "password", "user"),
        ]
    ),
    nested(NAME, LEAF) | st.fixed_dictionaries({"id": ODD_TEXT, "name": ODD_TEXT, "type": TEXT}),
    max_size=4,
)
TRACE = st.none() | st.just({"span_id": "0" * 15 + "1", "trace_flags": 1, "trace_id": "0" * 31 + "1"})


@given(
    st.none() | ODD_TEXT | st.sampled_from(["invoice.delete", "log.record", "audit.stream.open", 7]),
    AUDIT,
    DATA,
    st.integers(-62_135_596_800 * 10**9, 2**63 + 1) | st.just(10**18),
    TRACE,
    RULES,
)
def test_events(name: Any, audit: dict[str, Any], data: dict[Any, Any], when: int, trace: Any, rules: str) -> None:
    agree(pair(rules), lambda door: door.admit(name, audit, data, nanoseconds=when, trace=lambda: trace))


@given(PLAIN, AUDIT, PLAIN)
def test_events_and_calls_in_a_scope(extra: dict[str, Any], bound: dict[str, Any], inner: dict[str, Any]) -> None:
    call, doors = a_call(extra), pair()
    with context.bind(**bound), context.bind(**inner):
        agree(doors, lambda door: admit(door, call))
        agree(doors, lambda door: door.admit("a.b", {"actor": "alice"}, extra, nanoseconds=1, trace=lambda: None))


@given(
    PLAIN,
    st.builds(
        Limits,
        depth=st.integers(16, 40),
        items=st.integers(64, 80),
        text=st.integers(64, 600),
        record=st.integers(1024, 5000),
    ),
    st.integers(0, 6000),
)
def test_limits(extra: dict[str, Any], limits: Limits, length: int) -> None:
    call = a_call({**extra, "role": "x" * length})
    agree(pair(limits=limits), lambda door: admit(door, call))


def test_no_length_is_too_long_for_what_is_reserved() -> None:
    doors = pair()
    for length in range(4096 - 330, 4096):
        call = a_call({"a": "x" * length, "b": [1, {"c": -1.5}], "d": {}})
        agree(doors, lambda door: admit(door, call))  # noqa: B023 - called at once


PLACES: dict[str, Callable[[Door, str], bytes]] = {
    "message": lambda door, text: admit(door, a_call({}, msg=text)),
    "extra": lambda door, text: admit(door, a_call({"user": text})),
    "list": lambda door, text: admit(door, a_call({"user": ["a", "b", text]})),
    "object": lambda door, text: admit(door, a_call({"user": {"role": {"name": text}}})),
    "name": lambda door, text: admit(door, a_call({text: 1, "user": {text: 1}})),
    "logger": lambda door, text: admit(door, a_call({}, name=text)),
    "level": lambda door, text: admit(door, a_call({}, levelname=text)),
    "task": lambda door, text: admit(door, a_call({}, taskName=text)),
    "event": lambda door, text: door.admit(text, {"actor": "a"}, {}, nanoseconds=1),
    "actor": lambda door, text: door.admit("a.b", {"actor": text}, {}, nanoseconds=1),
    "actor's name": lambda door, text: door.admit("a.b", {"actor": {"id": "a", "name": text}}, {}, nanoseconds=1),
    "target": lambda door, text: door.admit("a.b", {"actor": "a", "target": text}, {}, nanoseconds=1),
    "reason": lambda door, text: door.admit("a.b", {"actor": "a", "reason": text}, {}, nanoseconds=1),
    "data": lambda door, text: door.admit("a.b", {"actor": "a"}, {"user": text}, nanoseconds=1),
    "lifted": lambda door, text: (
        door.admit_plain(1, {"user": text}, "INFO", "app", text, None)
        or door.admit(data={"user": text}, nanoseconds=1, level="INFO", logger="app", message=text, trace=lambda: None)
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_no_secret_passes_at_any_place(place: str) -> None:
    doors = pair()
    agree(doors, lambda door: PLACES[place](door, "user"))  # the names beside it are known
    for secret in make_secrets():
        agree(doors, lambda door: PLACES[place](door, secret.text))  # noqa: B023 - called at once
        if place != "name":
            assert secret.core.encode() not in PLACES[place](doors[0], secret.text)


def test_text_beside_a_float_without_a_fraction_is_masked_alike() -> None:
    told = base64.b64encode(b"password=hunter2x9").decode()  # where a record takes the long road, also this is masked
    said = {"actor": "a", "reason": told, "changes": {"amount": 1.0}}
    agree(pair(), lambda door: door.admit("a.b", said, {}, nanoseconds=1, trace=lambda: None))
    inside = functools.reduce(lambda value, _: {"user": value}, range(16), 1.0)
    agree(pair(), lambda door: admit(door, a_call({"user": inside, "role": told})))


class Curious(str):
    """Looks like an attribute's name, and is asked whether it is."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        raise AssertionError("somebody's code runs while C reads a record")


def test_standard_attributes_may_have_any_name() -> None:
    call = a_call({})
    assert pair()[0].admit_call({**call.__dict__, 5: 5}, (*call.__dict__, 5), "read", None) is not None


def test_nobodys_code_runs_while_a_call_is_read() -> None:
    call = a_call({})
    attributes = {Curious(name): value for name, value in call.__dict__.items()}
    assert pair()[0].admit_call(attributes, tuple(call.__dict__), "read", None) is None
