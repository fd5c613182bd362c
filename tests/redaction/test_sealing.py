"""Sealed fields: what stands in the record can be opened with the person's key alone, and only in its place."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import otel_audit
from otel_audit import notices
from otel_audit.canonical import Limits, make_safe
from otel_audit.config.redacting import make_redactor
from otel_audit.config.settings import Settings
from otel_audit.door import Door
from otel_audit.errors import ConfigurationError
from otel_audit.redaction import subject_keys
from otel_audit.redaction.paths import parse_path
from otel_audit.redaction.sealing import SEALED, find_subject, open_sealed, seal
from otel_audit.redaction.subject_keys import SubjectKey, SubjectKeys
from otel_audit.verify.content import examine

RECORD = {"@timestamp": "2026-11-26T13:00:00.000000000Z", "event_name": "order.pay"}


def door(keys: Path, *paths: str, **more: Any) -> Door:
    return Door(redactor=make_redactor(Settings(sealed=paths, subject_keys=str(keys), **more)))


def written(door: Door, data: dict[str, Any], **audit: Any) -> dict[str, Any]:
    return json.loads(door.admit("order.pay", audit, data) + b"}")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(JSON, st.binary(min_size=32, max_size=32).filter(any))
@settings(max_examples=60)
def test_what_was_sealed_opens_with_its_key_in_its_place(value: Any, secret: bytes) -> None:
    value, _ = make_safe(value, Limits())
    key = SubjectKey.of(secret)
    sealed = seal(key, value, "/data/x", RECORD)

    assert SEALED.fullmatch(sealed)
    assert open_sealed(key, sealed, "/data/x", RECORD) == value
    for other_key, place, record in (
        (SubjectKey.of(bytes(31) + b"\1"), "/data/x", RECORD),
        (SubjectKey(key.id, bytes(31) + b"\1"), "/data/x", RECORD),  # that claims the id
        (key, "/data/y", RECORD),
        (key, "/data/x", {**RECORD, "event_name": "order.cancel"}),
        (key, "/data/x", {**RECORD, "@timestamp": "2026-11-26T13:00:00.000000001Z"}),
    ):
        if other_key.secret != key.secret or place != "/data/x" or record != RECORD:
            with pytest.raises(ValueError, match="sealed"):
                open_sealed(other_key, sealed, place, record)


def test_every_bit_of_a_sealed_value_counts() -> None:
    key = SubjectKey.of(os.urandom(32))
    sealed = seal(key, "a@b", "/data/x", RECORD)
    head, _, body = sealed.rpartition(":")
    for index in range(len(body) - 1):  # the last character holds bits that base64 leaves out
        changed = body[:index] + ("A" if body[index] != "A" else "B") + body[index + 1 :]
        with pytest.raises(ValueError, match="changed"):
            open_sealed(key, f"{head}:{changed}", "/data/x", RECORD)


def test_a_record_holds_only_what_is_sealed(tmp_path: Path) -> None:
    bench = door(tmp_path / "keys", "email", "customer.address", "target.name", "message")
    record = written(
        bench,
        {"email": "a@b.example", "customer": {"address": {"street": "Elm 1", "password": "hunter2"}, "id": 7}},
        data_subject="alice",
        target={"id": "7", "name": "Alice"},
    )
    key = SubjectKeys(tmp_path / "keys").find("alice")

    assert key is not None
    assert not any(each in json.dumps(record) for each in ("a@b.example", "Elm 1", "Alice", "hunter2"))
    assert record["data"]["customer"]["id"] == 7
    assert open_sealed(key, record["data"]["email"], "/data/email", record) == "a@b.example"
    assert open_sealed(key, record["data"]["customer"]["address"], "/data/customer/address", record) == {
        "street": "Elm 1",
        "password": "[redacted]",
    }
    assert open_sealed(key, record["audit"]["target"]["name"], "/audit/target/name", record) == "Alice"
    assert {"path": "/data/email", "why": "sealed"} in record["audit"]["altered"]


def test_the_same_value_is_never_sealed_alike(tmp_path: Path) -> None:
    bench = door(tmp_path / "keys", "email")
    sealed = {written(bench, {"email": "a@b"}, data_subject="alice")["data"]["email"] for _ in range(20)}
    assert len(sealed) == 20
    assert len({each.split(":")[1] for each in sealed}) == 1


def test_each_person_has_a_key(tmp_path: Path) -> None:
    bench = door(tmp_path / "keys", "email")
    ids = {written(bench, {"email": "a@b"}, data_subject=each)["data"]["email"].split(":")[1] for each in "abc"}
    assert len(ids) == 3


def test_without_a_subject_the_value_is_masked(tmp_path: Path) -> None:
    record = written(door(tmp_path / "keys", "email"), {"email": "a@b"})
    assert record["data"]["email"] == "[redacted]"
    assert record["audit"]["altered"] == [{"path": "/data/email", "why": "redacted: no subject to seal it for"}]
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize(
    ("path", "record", "subject"),
    [
        ("data_subject", {"audit": {"data_subject": "alice"}}, "alice"),
        ("data_subject", {"audit": {"data_subject": {"id": "alice", "type": "user"}}}, "alice"),
        ("data_subject", {"audit": {"data_subject": ["alice", "bob"]}}, "alice"),
        ("customer.id", {"data": {"customer": {"id": 7}}}, "7"),
        ("customer.id", {"data": {"customer": {"id": ""}}}, None),
        ("customer.id", {"data": {}}, None),
    ],
)
def test_whom_a_record_is_about(path: str, record: dict[str, Any], subject: str | None) -> None:
    assert find_subject(parse_path(path), record) == subject


@pytest.mark.parametrize("failing", ["link", "fsync", "mkdir", "stat"])
def test_where_no_key_can_be_made_the_value_is_masked_and_the_trail_says_so(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(notices, "_said", {})
    trail = otel_audit.configure(
        journal=tmp_path / "j", sinks=[], sealed=["email"], subject_keys=tmp_path / "keys", heartbeat=0
    )

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(subject_keys.os, failing, fail)
        head = trail.door.admit("order.pay", {"data_subject": "alice"}, {"email": "a@b"})
    trail.keep(head)
    trail._look()
    assert trail.health().degraded == ("subject keys",)
    otel_audit.record("order.pay", data_subject="alice", data={"email": "a@b"})
    trail._look()
    assert trail.health().degraded == ()
    trail.close()

    lines = [json.loads(line) for path in (tmp_path / "j").glob("*.jsonl") for line in path.read_bytes().splitlines()]
    pays = [line for line in lines if line["event_name"] == "order.pay"]
    assert pays[0]["data"]["email"] == "[redacted]"
    assert pays[0]["audit"]["altered"] == [{"path": "/data/email", "why": "redacted: not sealed"}]
    assert SEALED.fullmatch(pays[1]["data"]["email"])
    told = [line["event_name"] for line in lines if line["event_name"].startswith("audit.pipeline")]
    assert told == ["audit.pipeline.degraded", "audit.pipeline.recovered"]
    assert "a field was masked" in capfd.readouterr().err


def test_directories_and_files_that_others_can_read_are_refused(tmp_path: Path) -> None:
    keys = SubjectKeys(tmp_path / "keys")
    keys.get("alice")
    (file,) = (tmp_path / "keys").glob("*.key")
    assert os.stat(file).st_mode & 0o777 == 0o600
    assert os.stat(tmp_path / "keys").st_mode & 0o777 == 0o700

    (tmp_path / "keys").chmod(0o755)
    with pytest.raises(ConfigurationError, match="chmod 700"):
        door(tmp_path / "keys", "email")
    (tmp_path / "keys").chmod(0o700)
    file.chmod(0o640)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        SubjectKeys(tmp_path / "keys").get("alice")


def test_no_name_of_a_file_tells_whose_key_it_is(tmp_path: Path) -> None:
    SubjectKeys(tmp_path / "a").get("alice")
    SubjectKeys(tmp_path / "b").get("alice")
    names = [next((tmp_path / each).glob("*.key")).name for each in "ab"]
    assert names[0] != names[1]
    assert "alice" not in "".join(names)


def _get_key(directory: str, barrier: Any, found: Any) -> None:
    barrier.wait()
    found.put(SubjectKeys(directory).get("alice").id)


def test_processes_that_make_a_key_at_once_get_the_same(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, found = context.Barrier(4), context.Queue()
    workers = [context.Process(target=_get_key, args=(str(tmp_path / "k"), barrier, found)) for _ in range(4)]
    for each in workers:
        each.start()
    ids = {found.get(timeout=60) for _ in workers}
    for each in workers:
        each.join()
    assert len(ids) == 1
    assert sorted(path.suffix for path in (tmp_path / "k").iterdir()) == ["", ".key"]


def test_threads_that_make_keys_at_once_get_the_same(tmp_path: Path) -> None:
    keys, found = SubjectKeys(tmp_path / "k"), []
    barrier = threading.Barrier(8)

    def get() -> None:
        barrier.wait()
        found.extend(keys.get(str(number)).id for number in range(20))

    threads = [threading.Thread(target=get) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(found) == 160
    assert len(set(found)) == 20


@pytest.mark.parametrize("text", ["z" * 100_000, "\x00" * 100_000, "é€" * 40_000, "z" * 3_000_000], ids=len)
@pytest.mark.parametrize("limit", [128, 16_384])
def test_of_a_long_text_the_beginning_is_sealed(tmp_path: Path, text: str, limit: int) -> None:
    bench = door(tmp_path / "keys", "note", "actor.biography", text_bytes=limit)
    bench = Door(limits=Limits(text=limit), redactor=bench._redactor)
    given = {"note": text, "filler": ["f" * 16_000] * 100, "short": "s"}
    record = written(bench, given, data_subject="zoe", actor={"id": "zoe", "biography": text})
    key = SubjectKeys(tmp_path / "keys").find("zoe")
    assert key is not None
    notes = record["audit"]["altered"]
    for place, sealed in {
        "/audit/actor/biography": record["audit"]["actor"]["biography"],
        "/data/note": record.get("data", {}).get("note"),  # of a record too long for a line, nothing of it is kept
    }.items():
        assert {"path": place, "why": "cut", "length": len(text.encode())} in notes
        assert {"path": place, "why": "sealed"} in notes
        if sealed is not None:
            opened = open_sealed(key, sealed, place, record)
            assert opened
            assert text.startswith(opened)
            assert len(sealed) <= limit
            assert len(seal(key, opened + text[:1], place, record)) > min(limit, 1024)


def test_of_a_large_object_the_beginning_of_its_form_is_sealed(tmp_path: Path) -> None:
    bench = door(tmp_path / "keys", "customer")
    given = {"address": "1 Elm Street", "list": [1.5] * 900, "password": "hunter2", "story": "z" * 100_000}
    record = written(bench, {"customer": given}, data_subject="zoe")
    key = SubjectKeys(tmp_path / "keys").find("zoe")
    assert key is not None
    opened = open_sealed(key, record["data"]["customer"], "/data/customer", record)
    assert opened.startswith('{"address":"1 Elm Street","list":[1.5,')
    assert '"password":"[redacted]"' in opened
    assert "hunter2" not in opened


def test_where_no_beginning_of_it_fits_the_value_is_masked(tmp_path: Path) -> None:
    bench = Door(limits=Limits(text=64), redactor=door(tmp_path / "keys", "note")._redactor)
    assert written(bench, {"note": "z" * 100_000}, data_subject="zoe")["data"]["note"] == "[redacted]"


def test_sealed_values_pass_the_check_of_a_record(tmp_path: Path) -> None:
    trail = otel_audit.configure(
        journal=tmp_path / "j",
        sinks=[],
        sealed=["**.name", "actor.id", "request", "changes", "email", "message"],
        subject_keys=tmp_path / "k",
    )
    otel_audit.record(
        "order.pay",
        actor={"id": "alice", "name": "A"},
        data_subject="alice",
        request={"url": "/x"},
        changes={"a": {"old": 1, "new": 2}},
        target={"id": "1", "name": "x"},
        targets=[{"id": "1", "name": "x"}],
        data={"email": "a@b"},
    )
    trail.close()
    lines = [line for path in (tmp_path / "j").glob("*.jsonl") for line in path.read_bytes().splitlines()]
    assert [examine(line)[1] for line in lines] == [None] * 3
    record = json.loads(lines[1])
    assert all(
        SEALED.fullmatch(each)
        for each in (
            record["audit"]["actor"]["id"],
            record["audit"]["actor"]["name"],
            record["audit"]["request"],
            record["audit"]["changes"],
            record["audit"]["targets"][0]["name"],
            record["data"]["email"],
        )
    )
