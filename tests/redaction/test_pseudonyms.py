"""Keyed pseudonyms: the same value gives the same name, the key's change can be seen, and the key tells whose it is."""

from __future__ import annotations

import hmac
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_audit.cli.__main__ import main
from otel_audit.config.redacting import make_redactor
from otel_audit.config.settings import Settings
from otel_audit.door import Door
from otel_audit.errors import ConfigurationError
from otel_audit.redaction.pseudonyms import PSEUDONYM, PseudonymKey, Pseudonyms, add_key, read_keys


@pytest.fixture
def path(tmp_path: Path) -> Path:
    add_key(tmp_path / "pseudonyms.key")
    return tmp_path / "pseudonyms.key"


def door(path: Path, *paths: str) -> Door:
    return Door(redactor=make_redactor(Settings(pseudonyms=paths, pseudonym_key_file=str(path))))


def written(door: Door, **audit: Any) -> dict[str, Any]:
    data = audit.pop("data", None)
    return json.loads(door.admit("order.pay", audit, data) + b"}")


def test_a_pseudonym_is_what_the_format_says(path: Path) -> None:
    (key,) = read_keys(path)
    expected = hmac.new(key.secret, "älice".encode(), "sha256").hexdigest()
    assert written(door(path, "actor.id"), actor="älice")["audit"]["actor"]["id"] == f"hmac-sha256:{key.id}:{expected}"


def test_it_is_the_same_wherever_the_value_stands(path: Path) -> None:
    record = written(
        door(path, "actor.id", "data_subject", "user", "source.address"),
        actor="alice",
        data_subject="alice",
        source="192.0.2.1",
        data={"user": ["alice", {"id": "alice"}], "other": "alice"},
    )
    name = record["audit"]["actor"]["id"]
    assert PSEUDONYM.fullmatch(name)
    assert record["audit"]["data_subject"] == name
    assert record["data"] == {"user": [name, {"id": name}], "other": "alice"}
    assert record["audit"]["source"]["address"] != name
    assert {"path": "/audit/actor/id", "why": "pseudonym"} in record["audit"]["altered"]


def test_numbers_have_pseudonyms_and_nothing_has_none(path: Path) -> None:
    record = written(door(path, "user"), data={"user": [7, True, None, ""]})
    key = read_keys(path)[-1]
    assert record["data"]["user"] == [key.name("7"), key.name("true"), None, ""]


def test_a_new_key_names_from_then_on_and_old_ones_answer(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench = door(path, "actor.id")
    first = written(bench, actor="alice")["audit"]["actor"]["id"]
    assert main(["keys", "pseudonym", str(path)]) == 0
    second = written(bench, actor="alice")["audit"]["actor"]["id"]
    capsys.readouterr()

    assert first != second
    assert main(["pseudonym", "alice", "--key", str(path)]) == 0
    assert capsys.readouterr().out.splitlines() == [first, second]
    assert main(["pseudonym", "alice", "--key", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["pseudonym"] for each in found["pseudonyms"]] == [first, second]


def test_the_command_finds_the_key_in_the_settings(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pseudonym", "alice"]) == 2
    assert "--key" in capsys.readouterr().err
    monkeypatch.setenv("OTEL_PYTHON_AUDIT_PSEUDONYM_KEY_FILE", str(path))
    assert main(["pseudonym", "alice"]) == 0
    assert capsys.readouterr().out.strip() == read_keys(path)[0].name("alice")


def test_a_key_file_that_goes_wrong_leaves_the_keys_and_is_told(path: Path) -> None:
    pseudonyms = Pseudonyms(path)
    before, _ = pseudonyms("alice", "/x", {})
    path.unlink()
    assert pseudonyms("alice", "/x", {}) == (before, "pseudonym")
    assert pseudonyms.troubles()["pseudonym keys"]["cause"] == "pseudonym keys unavailable"
    path.write_text("no key\n")
    path.chmod(0o600)
    assert pseudonyms("alice", "/x", {}) == (before, "pseudonym")
    assert "line 1" in str(pseudonyms.troubles())
    path.unlink()
    add_key(path)
    assert pseudonyms("alice", "/x", {}) == (read_keys(path)[0].name("alice"), "pseudonym")
    assert pseudonyms.troubles() == {}


@pytest.mark.parametrize(
    ("content", "mode", "about"),
    [("00" * 32, 0o644, "chmod 600"), ("", 0o600, "holds no pseudonym key"), ("00" * 31, 0o600, "line 1: .* 64")],
)
def test_an_unfit_key_file_is_refused(content: str, mode: int, about: str, tmp_path: Path) -> None:
    place = tmp_path / "key"
    place.write_text(content)
    place.chmod(mode)
    with pytest.raises(ConfigurationError, match=about):
        read_keys(place)


def test_a_file_of_something_else_gets_no_key(tmp_path: Path) -> None:
    place = tmp_path / "key.pem"
    place.write_text("-----BEGIN PRIVATE KEY-----\n")
    place.chmod(0o600)
    with pytest.raises(ConfigurationError):
        add_key(place)
    assert place.read_text() == "-----BEGIN PRIVATE KEY-----\n"


def test_a_new_file_is_its_owners_alone(path: Path) -> None:
    assert os.stat(path).st_mode & 0o777 == 0o600
    add_key(path)
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert len(read_keys(path)) == 2


def test_a_key_is_in_no_repr(path: Path) -> None:
    (key,) = read_keys(path)
    assert repr(key) == f"<PseudonymKey {key.id}>"


@given(st.text(), st.text(), st.binary(min_size=32, max_size=32))
def test_equal_values_have_equal_names_and_others_have_not(one: str, other: str, secret: bytes) -> None:
    key = PseudonymKey.of(secret)
    assert PSEUDONYM.fullmatch(key.name(one))
    assert (key.name(one) == key.name(other)) == (one == other)
