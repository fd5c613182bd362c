"""Values under names that say "secret" reach no line, wherever in a record they stand."""

from __future__ import annotations

import base64
import dataclasses
import types
from collections import ChainMap, UserDict
from typing import Any, NamedTuple

import pytest

from otel_audit import audit
from otel_audit.door import Door

SECRET = "hunter2-hunter2"


@dataclasses.dataclass
class User:
    name: str
    password: str


class Login(NamedTuple):
    user: str
    token: str


@pytest.mark.parametrize(
    "data",
    [
        {"password": SECRET},
        {"nested": {"deep": [{"api_key": SECRET}]}},
        {"user": User("alice", SECRET)},
        {"login": Login("alice", SECRET)},
        {"config": UserDict(password=SECRET)},
        {"config": types.MappingProxyType({"secret": SECRET})},
        {"config": ChainMap({"accessToken": SECRET})},
        {"headers": [("Authorization", SECRET)]},
        {"header": ("Authorization", SECRET)},
        {"header": ["Authorization", SECRET]},
        {"headers": [["X-Api-Key", SECRET], ["Accept", "*/*"]]},
        {"changes": [{"field": "password", "old": SECRET, "new": SECRET}]},
        {"dsn": SECRET, "db_pass": SECRET, "connection_string": SECRET, "card_number": SECRET, "csrf_token": SECRET},
        {"password": SECRET * 10_000},
        {"password": {"value": SECRET}},
        {base64.b64encode(b"password").decode(): SECRET},
        {b"password": SECRET},
        {"env": {"name": b"DB_PASSWORD", "value": SECRET}},
        {"change": {"field": b"password", "old": SECRET}},
        {"pair": (b"password", SECRET)},
    ],
)
def test_in_data(data: dict[str, Any]) -> None:
    door = Door()
    for _ in range(2):  # the second time the harmless names are known
        head = door.admit("a.b", {"actor": "alice"}, data)
        assert SECRET.encode() not in head
        assert b"[redacted]" in head


def test_a_secret_that_is_the_name_of_something_else() -> None:
    door = Door()
    door.admit("a.b", None, {"winter": 1})
    assert b"winter" not in door.admit("a.b", None, {"env": {"name": "DB_PASSWORD", "value": "winter"}})


@pytest.mark.parametrize(
    "said",
    [
        {"actor": {"id": "alice", "password": SECRET}},
        {"target": {"id": "7", "token": SECRET}},
        {"targets": [{"id": "7", "secret": SECRET}]},
        {"source": {"address": "192.0.2.1", "cookie": SECRET}},
        {"request": {"headers": {"authorization": SECRET}}},
        {"session": {"token": SECRET}},
        {"changes": {"password": {"old": SECRET, "new": SECRET}}},
        {"changes": [{"field": "password", "old": SECRET, "new": SECRET}]},
        {"password": SECRET},
    ],
)
def test_in_the_schema(said: dict[str, Any]) -> None:
    head = Door().admit("a.b", {"actor": "alice", **said}, None)
    assert SECRET.encode() not in head
    assert b"[redacted]" in head


def test_nothing_is_left_of_a_secret_that_also_had_to_be_cut() -> None:
    head = Door().admit("a.b", None, {"password": "x" * 2_000_000, "note": "y" * 100_000})
    assert b'"why":"redacted"' in head
    assert head.count(b"sha256") == 1, "of the note alone"


def test_a_target_that_would_show_a_secret_is_refused_at_decoration() -> None:
    with pytest.raises(TypeError, match="password"):

        @audit.audited("user.login", target="user/{password}")
        def login(password: str) -> None: ...


def test_ordinary_names_are_left_alone() -> None:
    data = {"token_count": 3, "passenger": "alice", "author": "bob", "key": "k", "field": "amount", "old": 1, "new": 2}
    assert b"[redacted]" not in Door().admit("a.b", None, data)


def test_a_member_that_names_another_may_hold_anything() -> None:
    for named in ({"a": 1}, ["x"], 7, None, "amount", "x" * 1000):
        head = Door().admit("a.b", None, {"change": {"field": named, "old": 1, "new": 2}})
        assert b'"new":2,"old":1' in head
