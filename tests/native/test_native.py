"""What is written in C returns what the Python beside it would have, or leaves it to that."""

from __future__ import annotations

import logging
import math
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_audit import native
from otel_audit.canonical import Limits
from otel_audit.door import Door
from otel_audit.logrecord import admit
from otel_audit.redaction import Redactor, finding

pytestmark = pytest.mark.skipif(
    native.Encoder is None, reason="the part in C was not built: pip install . where there is a C compiler"
)

TEXT = st.text(max_size=12) | st.sampled_from(["", "password: hunter2x9", "caf\u00e9", "\ud800", 'a "b"', "a=b", "</"])
NUMBER = (
    st.integers()
    | st.integers(-(2**53) - 2, 2**53 + 2)
    | st.floats()
    | st.sampled_from([0.0, -0.0, 1e-4, 9.9e-5, 1e16, 9007199254740993.0, 120.0, math.inf])
)
NAME = st.sampled_from(
    ["user", "role", "field", "old", "new", "value", "password", "audit", "message", "asctime", "taskName", "b\u00e4r"]
) | st.text(st.characters(max_codepoint=127), max_size=10)
VALUE = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(NAME, inner, max_size=4)
        | st.just(object())
    ),
    max_leaves=8,
)
DATA = st.dictionaries(NAME, VALUE, max_size=8)


def in_python(**settings: Any) -> Door:
    """Return a door that takes no short cut."""
    door = Door(**settings)
    door._encoder = None
    return door


def a_call(extra: dict[str, Any], message: Any = "read", *args: Any, created: Any = None, **more: Any) -> Any:
    record = logging.LogRecord("app", logging.INFO, "app.py", 1, message, args, None)
    if created is not None:
        record.created = created
    record.__dict__.update(extra)
    record.__dict__.update(more)
    return record


C, PYTHON = Door(), in_python()


@given(DATA)
def test_a_calls_extras_become_the_same_bytes(data: dict[str, Any]) -> None:
    call = a_call(data)
    assert admit(C, call) == admit(PYTHON, call)
    assert admit(C, call) == admit(PYTHON, call)  # the names are known now


@given(DATA, DATA)
def test_an_events_fields_become_the_same_bytes(data: dict[str, Any], audit: dict[str, Any]) -> None:
    given_ = {**audit, "actor": "alice", "outcome": "success"}
    for _ in range(2):
        mine, theirs = (
            door.admit("invoice.delete", given_, data, nanoseconds=10**18, trace=lambda: None) for door in (C, PYTHON)
        )
        assert mine == theirs


@given(st.floats() | st.integers())
def test_a_calls_time_becomes_the_same_text(created: Any) -> None:
    mine, theirs = (admit(door, a_call({}, created=created)) for door in (C, PYTHON))
    if b"not a time" not in theirs:  # else it is now, and that is later for the second
        assert mine == theirs


@given(st.integers(0, 9 * 10**15 - 10**6))
def test_any_microsecond_until_the_year_2255_becomes_the_same_text(microseconds: int) -> None:
    call = a_call({}, created=microseconds / 1e6)
    assert C.admit_call(call.__dict__, STANDARD, "read", None) == admit(PYTHON, call)


@given(DATA, st.integers(-(10**9), 2**63 + 10), TEXT)
def test_what_the_processor_lifts_becomes_the_same_bytes(data: dict[str, Any], when: int, message: str) -> None:
    for _ in range(2):
        head = C.admit_plain(when, data, "INFO", "app", message, None)
        admit_ = PYTHON.admit(
            data=data, nanoseconds=when, level="INFO", logger="app", message=message, trace=lambda: None
        )
        assert head in (None, admit_)


STANDARD = tuple(a_call({}).__dict__)


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"user": "alice", "n": 1, "big": 2**53 - 1, "share": 0.25, "whole": 120.0, "ok": True, "none": None},
        {"user": "J\u00f6rg", "tags": ["a", "b", "c"], "change": {"old": 1, "new": (2, 3)}},
        {f"name{number}": number for number in range(60)},
        {"long": "x" * 20_000},
    ],
    ids=["nothing", "scalars", "nested", "many", "long"],
)
def test_plain_calls_take_the_short_road(extra: dict[str, Any]) -> None:
    door, call = Door(), a_call(extra)
    admit(door, call)  # from here on, the names are known
    head = door.admit_call(call.__dict__, STANDARD, "read", None)
    assert head is not None
    assert head == admit(in_python(), call)


@pytest.mark.parametrize(
    "more",
    [
        {"exc_info": (ValueError, ValueError("no"), None)},
        {"exc_text": "Traceback"},
        {"stack_info": "Stack"},
        {"levelname": 5},
        {"name": b"app"},
        {"created": "now"},
        {"audit": "invoice.delete"},
    ],
    ids=lambda more: next(iter(more)),
)
def test_other_calls_are_left_to_python(more: dict[str, Any]) -> None:
    assert C.admit_call(a_call({"user": "alice"}, **more).__dict__, STANDARD, "read", None) is None


def test_attributes_in_an_order_of_their_own_are_left_to_python() -> None:
    call = a_call({"user": "alice"})
    call.__dict__.update(name=call.__dict__.pop("name"))
    assert C.admit_call(call.__dict__, STANDARD, "read", None) is None
    assert admit(C, call) == admit(PYTHON, call)


def test_a_record_beyond_the_limit_is_left_to_python() -> None:
    limits = Limits(record=600, text=100)
    call = a_call({"text": "x" * 700})
    assert admit(Door(limits=limits), call) == admit(in_python(limits=limits), call)


def test_what_the_user_has_masked_is_masked() -> None:
    call = a_call({"user": "alice", "note": "AKIAABCDEFGHIJKLMNOP"})
    for settings in ({"text": False}, {"text": True}, {"names": ("user",)}):
        doors = [kind(redactor=Redactor(**settings)) for kind in (Door, in_python)]
        for _ in range(2):
            mine, theirs = (admit(door, call) for door in doors)
            assert mine == theirs


WORDS = st.lists(st.text("ab=_", min_size=1, max_size=6), max_size=80)


@given(WORDS, st.text("ab=_c", max_size=40))
def test_words_are_found_as_python_finds_them(words: list[str], text: str) -> None:
    compiled = finding.compile_words(words)
    assert compiled is not None
    assert compiled.found_in(text.encode()) == any(word in text for word in words)


@pytest.mark.parametrize("words", [[b""], ["text"], 5])
def test_words_are_bytes(words: Any) -> None:
    with pytest.raises(TypeError):
        native.Words(words)


def test_what_has_to_be_escaped_is_seen_wherever_it_stands() -> None:
    encode = native.Encoder({"a"}, frozenset(), None, {}, b"{}", 1000).encode
    for length in range(1, 26):
        for place in range(length):
            for character in (*map(chr, range(0x24)), "[", "\\", "]", "\x7f", "\x80", "\u00a2", "\u20dc", "\U0001f600"):
                text = f"{'x' * place}{character}{'x' * (length - place - 1)}"
                head = encode(0, "e", {}, {"a": text}, None, None, None, None)
                has_to = character < " " or character in '"\\'
                assert (head is None) == has_to, (length, place, character)
                assert head is None or f'"data":{{"a":"{text}"}}'.encode() in head


def test_names_that_come_and_go_are_written_as_they_are() -> None:
    door, other = Door(), in_python()
    for turn in range(3):
        for number in range(600):  # more than are remembered at a time
            name = f"name_{number}" if number % 2 else f"n{number}"
            data = {name: turn, "user": number, f"{'o' * (number % 12)}dd": None}
            mine = door.admit(None, None, data, 0)
            assert mine == other.admit(None, None, data, 0)
    assert door.admit_plain(0, {"name_1": 1}, "INFO", "app", "read", None) is not None


def test_a_name_that_has_to_be_escaped_is_left_to_python() -> None:
    names = {'say "yes"', "a\\b", "line\nbreak", "fine"}
    encode = native.Encoder(names, frozenset(), None, {}, b"{}", 1000).encode
    assert [name for name in sorted(names) if encode(0, "e", {}, {name: 1}, None, None, None, None)] == ["fine"]


@pytest.mark.parametrize(
    "call",
    [
        lambda encoder: encoder.encode_call({}, [], "", None),
        lambda encoder: encoder.encode_call({}),
        lambda encoder: encoder.encode({}),
        lambda encoder: native.Encoder(set(), frozenset(), "words", {}, b"{}", 100),
    ],
)
def test_wrong_arguments_are_refused(call: Any) -> None:
    encoder = native.Encoder(set(), frozenset(), None, {}, b"{}", 100)
    with pytest.raises(TypeError):
        call(encoder)


def test_nothing_is_leaked() -> None:
    extra = {"user": "J\u00f6rg", "tags": ["a", "b", 2.5], "long": "x" * 9000, "odd": object()}
    door, plain, odd = Door(), a_call({**extra, "odd": None}), a_call(extra)
    admit(door, plain)
    counted = [sys.getrefcount(each) for each in (None, plain.__dict__, extra["tags"], extra["odd"], STANDARD)]
    for _ in range(1000):
        assert door.admit_call(plain.__dict__, STANDARD, "read", None) is not None
        assert door.admit_call(odd.__dict__, STANDARD, "read", None) is None
        native.Words([b"a", b"bc"])
        native.Encoder(set(), frozenset(), None, {}, b"{}", 100)
    after = [sys.getrefcount(each) for each in (None, plain.__dict__, extra["tags"], extra["odd"], STANDARD)]
    assert all(abs(new - old) < 100 for new, old in zip(after, counted, strict=True))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="interpreters with a lock of their own came with Python 3.12")
def test_it_serves_interpreters_with_a_lock_of_their_own() -> None:
    inside = (
        "import importlib.util\n"
        f"spec = importlib.util.spec_from_file_location('_native', {sys.modules['otel_audit._native'].__file__!r})\n"
        "native = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(native)\n"
        "assert native.Encoder({'a'}, frozenset(), native.Words([b'b']), {}, b'{}', 99).encode"
    )
    program = (
        "import sys\n"
        "interpreters = __import__('_xxsubinterpreters' if sys.version_info < (3, 13) else '_interpreters')\n"
        "for number in range(3):\n"
        "    one = interpreters.create(*(['isolated'] if sys.version_info >= (3, 13) else []))\n"
        f"    assert interpreters.run_string(one, {inside!r}) is None\n"
        "    interpreters.destroy(one)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_without_it_the_package_works() -> None:
    program = (
        "import sys; sys.modules['otel_audit._native'] = None;"
        "import logging, otel_audit; from otel_audit import native;"
        "assert native.Encoder is None; otel_audit.configure(sinks=['stdout:'], journal='memory');"
        "logging.getLogger('a').addHandler(otel_audit.AuditHandler());"
        "logging.getLogger('a').warning('password: hunter2x9', extra={'user': 'alice'})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert '"user":"alice"' in done.stdout, done.stderr
    assert "hunter2x9" not in done.stdout
