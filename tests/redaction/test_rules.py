"""Rules of the user's: paths, patterns, allow-lists; what the format prescribes is never changed."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from otel_audit.canonical import Limits
from otel_audit.config.redacting import make_redactor
from otel_audit.config.settings import Settings
from otel_audit.door import Door
from otel_audit.errors import ConfigurationError
from otel_audit.redaction.paths import parse_path
from otel_audit.redaction.patterns import compile_pattern, mask_matches

MASK = "[redacted]"


def record(
    door: Door, data: dict[str, Any] | None = None, audit: dict[str, Any] | None = None, event: str = "order.pay"
) -> dict[str, Any]:
    """Admit an event twice, the second time with its names known; return what is written."""
    heads = [door.admit(event, {"actor": "alice", **(audit or {})}, data) for _ in range(2)]
    first, second = (json.loads(head + b"}") for head in heads)
    assert {**first, "@timestamp": ""} == {**second, "@timestamp": ""}
    return second


def door(**settings: Any) -> Door:
    return Door(redactor=make_redactor(Settings(**settings)))


DATA = {
    "customer": {"iban": "DE1", "phones": [{"number": 1, "kind": "home"}, {"number": 2, "kind": "work"}], "name": "x"},
    "http.url": "u",
    "other": {"iban": "DE2"},
    "userName": "bob",
}


@pytest.mark.parametrize("name", ["attribute", "field", "header", "value"])
def test_members_that_tell_of_others_can_be_masked_themselves(name: str) -> None:
    data = {"amount": 1, "change": {name: "amount", "old": 1}}
    masked = {"amount": 1, "change": {name: MASK, "old": 1}}
    assert record(door(redact=(name,)), data)["data"] == masked
    assert record(door(redact_paths=(f"change.{name}",)), data)["data"] == masked


@pytest.mark.parametrize(
    ("path", "masked"),
    [
        ("customer.iban", ["/data/customer/iban"]),
        ("data.customer.iban", ["/data/customer/iban"]),
        ("*.iban", ["/data/customer/iban", "/data/other/iban"]),
        ("**.iban", ["/data/customer/iban", "/data/other/iban"]),
        ("customer.phones.number", ["/data/customer/phones/0/number", "/data/customer/phones/1/number"]),
        ("customer.phones.*.number", ["/data/customer/phones/0/number", "/data/customer/phones/1/number"]),
        ("customer.phones.1", ["/data/customer/phones/1"]),
        ("customer.phones", ["/data/customer/phones"]),
        ("customer.*", ["/data/customer/iban", "/data/customer/phones", "/data/customer/name"]),
        ("customer.n*e", ["/data/customer/name"]),
        ("http.url", ["/data/http.url"]),
        ("user_name", ["/data/userName"]),
        ("data", ["/data/customer", "/data/http.url", "/data/other", "/data/userName"]),
        ("nowhere.iban", []),
    ],
)
def test_a_path_masks_what_it_leads_to(path: str, masked: list[str]) -> None:
    written = record(door(redact_paths=(path,)), DATA)

    assert [note["path"] for note in written["audit"].get("altered", [])] == masked
    for place in masked:
        value: Any = written
        for step in place.split("/")[1:]:
            value = value[int(step)] if isinstance(value, list) else value[step]
        assert value == MASK


@pytest.mark.parametrize(
    ("path", "audit", "shown"),
    [
        ("actor.id", {"actor": "alice"}, {"actor": {"id": MASK, "type": "user"}}),
        ("actor", {"actor": {"id": "alice", "name": "A"}}, {"actor": {"id": MASK, "name": MASK, "type": "user"}}),
        ("target", {"target": "order/7"}, {"target": {"id": MASK, "type": MASK}}),
        ("target.id", {"target": "order/7"}, {"target": {"id": MASK, "type": "order"}}),
        ("targets.id", {"targets": ["order/7"]}, {"targets": [{"id": MASK, "type": "order"}]}),
        ("targets", {"targets": ["order/7"]}, {"targets": [{"id": MASK, "type": MASK}]}),
        ("source", {"source": "192.0.2.1"}, {"source": {"address": MASK}}),
        ("reason", {"reason": "why"}, {"reason": MASK}),
        ("changes.*.old", {"changes": {"a": {"old": 1, "new": 2}}}, {"changes": {"a": {"old": MASK, "new": 2}}}),
        ("audit", {"outcome": "success", "tenant": "t"}, {"outcome": "success", "tenant": MASK, "action": "PAY"}),
        ("**", {"outcome": "success", "tenant": "t"}, {"outcome": "success", "tenant": MASK, "action": "PAY"}),
    ],
)
def test_the_schema_keeps_its_shape(path: str, audit: dict[str, Any], shown: dict[str, Any]) -> None:
    written = record(door(redact_paths=(path,)), None, audit)["audit"]
    assert {name: written[name] for name in shown} == shown


def test_the_message_can_be_masked() -> None:
    head = door(redact_paths=("message",)).admit_plain(1, {}, "INFO", "shop", "hello", None)
    assert head is None, "not the short road"
    head = door(redact_paths=("message",)).admit(message="hello", level="INFO", logger="shop")
    assert json.loads(head + b"}")["message"] == MASK


def test_nobody_stays_nobody() -> None:
    written = json.loads(door(redact_paths=("actor.id",)).admit("order.pay") + b"}")
    assert written["audit"]["actor"] == {"id": "anonymous", "type": "anonymous"}


@pytest.mark.parametrize(
    "path",
    ["", "a..b", ".a", "a.b**", "action", "audit.outcome", "actor.type", "level", "hash", "message.text", "otel"],
)
def test_a_path_that_cannot_be_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"path|cannot be changed"):
        parse_path(path)


@pytest.mark.parametrize(
    ("pattern", "given", "shown"),
    [
        (r"ACC-\d+", "see ACC-12, ACC-3", "see [redacted], [redacted]"),
        (r"user=(?P<secret>\w+)", "user=bob ok", "user=[redacted] ok"),
        (r"(?P<secret>\d{4})?x", "x", "x"),
        (r"^\s*ref", " ref 1", "[redacted] 1"),
    ],
)
def test_a_pattern_masks_what_fits_or_its_group_alone(pattern: str, given: str, shown: str) -> None:
    assert mask_matches(compile_pattern(pattern), given) == shown


def test_patterns_are_looked_for_in_every_text_and_name() -> None:
    bench = door(redact_patterns=(r"ACC-\d+",))
    written = record(
        bench, {"a": [{"b": "ACC-1"}], "ACC-2": 1, "c": ["x", ("ACC-3",)]}, {"reason": "ACC-4", "target": "ACC-5"}
    )
    head = bench.admit_plain(1, {"a": "ACC-6"}, "INFO", "shop", "hello", None)
    assert re.findall(r"ACC-\d", json.dumps(written)) == []
    assert head is None
    assert record(bench, {"a": "b"}, {})["data"] == {"a": "b"}


@pytest.mark.parametrize(
    "pattern",
    [
        "(",
        "x*",
        "",
        "(a+)+",
        "(a|aa)+$",
        "(a*)*b",
        r"(?:[^@]+@)+x",
        r".*.*.*=.*x",
        r"(\w+\s?)*$",
        r"(a|a)*b",
        r"(?=x)*",
    ],
)
def test_a_hopeless_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"is no regular|empty string|endless"):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    "pattern", [r"\bDE\d{20}\b", r"(\d{4}[ -]?){4}", r"[\w.+-]+@[\w-]+\.[\w.]+", r"(?i)confidential:.*", r"(?:ab|cd)+"]
)
def test_an_ordinary_pattern_is_not(pattern: str) -> None:
    compile_pattern(pattern)


def test_of_an_event_with_an_allow_list_nothing_else_is_shown() -> None:
    bench = door(redact_allow={"user.login": ("method", "actor.id", "client.*.version", "tags")})
    given = {"method": "sso", "client": {"app": {"version": 1, "id": 2}}, "tags": ["a", {"b": 1}], "more": {"x": 1}}
    audit = {"outcome": "success", "reason": "r", "target": "door/1", "source": "192.0.2.1"}

    written = record(bench, given, audit, "user.login")
    assert written["data"] == {
        "method": "sso",
        "client": {"app": {"version": 1, "id": MASK}},
        "tags": ["a", {"b": 1}],
        "more": MASK,
    }
    altered = written["audit"].pop("altered")
    assert written["audit"] == {
        "action": "LOGIN",
        "actor": {"id": "alice", "type": "user"},
        "outcome": "success",
        "reason": MASK,
        "source": {"address": MASK},
        "target": {"id": MASK, "type": MASK},
    }
    assert {"path": "/data/more", "why": "redacted"} in altered
    assert record(bench, given, audit, "user.logout")["data"] == given


def test_an_allow_list_is_about_the_message_too() -> None:
    logged = {"message": "hello", "level": "INFO", "logger": "shop"}
    assert json.loads(door(redact_allow={"log.*": ()}).admit(**logged) + b"}")["message"] == MASK
    assert json.loads(door(redact_allow={"log.*": ("message",)}).admit(**logged) + b"}")["message"] == "hello"
    assert door(redact_allow={"log.*": ()}).admit_plain(1, {}, "INFO", "shop", "hello", None) is None


def test_allowed_is_not_unmasked() -> None:
    bench = door(redact_allow={"*": ("password", "note")})
    assert record(bench, {"password": "x", "note": "token=abc1"})["data"] == {
        "password": MASK,
        "note": "token=[redacted]",
    }


@pytest.mark.parametrize(
    ("pair", "shown"),
    [
        ({"name": "DB_PASSWORD", "value": "hunter2"}, {"name": "DB_PASSWORD", "value": MASK}),
        ({"name": "X-Api-Key", "value": "hunter2"}, {"name": "X-Api-Key", "value": MASK}),
        ({"key": "token", "value": {"stringValue": "a"}}, {"key": "token", "value": MASK}),
        ({"field": "password", "old": "a", "new": "b"}, {"field": "password", "old": MASK, "new": MASK}),
        ({"name": "token", "state": "expired"}, {"name": "token", "state": "expired"}),
        ({"user[password]": "hunter2", "password2": "a"}, {"user[password]": MASK, "password2": MASK}),
    ],
)
def test_a_value_beside_a_secret_name_is_masked(pair: dict[str, Any], shown: dict[str, Any]) -> None:
    used = door()
    record(used, {"env": [{"key": "k", "name": "city", "value": "Bonn", "state": "x"}]})
    assert record(used, {"env": [pair]})["data"] == {"env": [shown]}


def test_no_rule_changes_a_control_record() -> None:
    bench = door(redact_paths=("**",), redact_allow={"*": ()}, redact=("stream", "count"), redact_patterns=("abc",))
    data = {"stream": "ab" * 16, "count": 3, "reason": "abc"}
    written = json.loads(bench.control("audit.gap", data, action="GAP") + b"}")
    assert written["data"] == data
    assert written["audit"]["actor"] == {"id": "otel-audit", "type": "system"}


def test_what_had_to_be_altered_leaves_no_trace_below_what_is_masked() -> None:
    bench = door(redact_paths=("customer",))
    written = record(bench, {"customer": {"id": 2**70, "nan": float("nan"), 7: "x"}})
    assert written["audit"]["altered"] == [{"path": "/data/customer", "why": "redacted"}]


def test_the_hash_of_a_text_that_was_cut_is_not_one_of_its_secret() -> None:
    texts = [f"{'x' * 70_000} password={secret}" for secret in ("hunter2", "hunter3")]
    notes = [json.loads(Door().admit("a.b", None, {"note": text}) + b"}")["audit"]["altered"] for text in texts]
    assert notes[0] == notes[1]
    assert [note["why"] for note in notes[0]] == ["redacted", "cut"]


def test_a_text_that_is_cut_keeps_its_length_and_hash() -> None:
    from hashlib import sha256

    bench = Door(limits=Limits(text=100, record=2048))
    written = record(bench, {"note": "ä" * 3000})
    (note,) = written["audit"]["altered"]
    raw = ("ä" * 3000).encode()
    assert note == {"path": "/data/note", "why": "cut", "length": len(raw), "sha256": sha256(raw).hexdigest()}
    assert written["data"]["note"] == "ä" * 50


def test_settings_that_do_not_go_together_are_told() -> None:
    for given, about in (
        ({"sealed": ("email",)}, "subject_keys"),
        ({"pseudonyms": ("tenant",)}, "pseudonym_key_file"),
        ({"pseudonyms": ("tenant",), "pseudonym_key_file": "/nowhere/key"}, "otel-audit keys pseudonym"),
    ):
        with pytest.raises(ConfigurationError, match=about):
            make_redactor(Settings(**given))
