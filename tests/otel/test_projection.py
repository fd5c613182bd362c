"""What stands beside a record in OTLP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from otel_audit.chain import new_stream_id
from otel_audit.door import Door
from otel_audit.otel.projection import ATTRIBUTE_NAMES, BODY_ONLY, project
from otel_audit.record import AUDIT_MEMBERS, DRAFT_NAMES
from otel_audit.sealing import Chain

STREAM = "01a200a867407357b1ffeabe75c3f9c0"


def record(**members: Any) -> dict[str, Any]:
    return {
        "@timestamp": "2026-11-21T22:30:00.123456789Z",
        "audit": {"action": "DELETE", "actor": {"id": "alice", "type": "user"}, "outcome": "success"},
        "event_name": "invoice.delete",
        "seq": 1,
        "stream": STREAM,
        "hash": "0" * 64,
        **members,
    }


def audit(**members: Any) -> dict[str, Any]:
    base = {"action": "READ", "actor": {"id": "a", "type": "user"}, "outcome": "success"}
    return record(audit={**base, **members})


def test_every_member_of_the_schema_is_projected_or_said_to_be_in_the_body_alone() -> None:
    assert set(ATTRIBUTE_NAMES) | BODY_ONLY == AUDIT_MEMBERS
    assert not set(ATTRIBUTE_NAMES) & BODY_ONLY


def test_names_under_audit_are_the_drafts_and_no_others() -> None:
    def names(table: Any) -> set[str]:
        return {table} if isinstance(table, str) else set().union(*map(names, table.values()))

    ours = {name for name in names(ATTRIBUTE_NAMES) if name.startswith("audit.")}
    assert ours <= set(DRAFT_NAMES.values())


def test_a_first_record_points_at_no_other() -> None:
    shown = project(record())
    assert shown.attributes == {
        "audit.record.id": f"{STREAM}-1",
        "audit.sequence.stream_id": STREAM,
        "audit.sequence.number": 1,
        "audit.schema.version": "otel_audit/1",
        "audit.action": "DELETE",
        "audit.actor.id": "alice",
        "audit.actor.type": "user",
        "audit.outcome": "success",
    }


def test_a_later_record_points_at_the_one_before() -> None:
    attributes = project(record(seq=8, prev_hash="f" * 64)).attributes
    assert attributes["audit.sequence.previous_hash"] == "f" * 64
    assert attributes["audit.sequence.previous_record_id"] == f"{STREAM}-7"


def test_only_the_record_that_closes_a_stream_marks_its_end() -> None:
    assert project(record(event_name="audit.stream.close")).attributes["audit.sequence.end"] is True
    assert "audit.sequence.end" not in project(record()).attributes


def test_the_time_is_kept_to_the_nanosecond() -> None:
    assert project(record()).timestamp == 1_795_300_200_123_456_789


@pytest.mark.parametrize(
    ("level", "number"),
    [("DEBUG", 5), ("INFO", 9), ("WARNING", 13), ("ERROR", 17), ("CRITICAL", 21), ("Level 25", 0)],
)
def test_severity_follows_the_level(level: str, number: int) -> None:
    shown = project(record(level=level))
    assert (shown.severity_number, shown.severity_text) == (number, level)


def test_trace_ids_have_their_own_fields() -> None:
    shown = project(record(otel={"trace_id": "a" * 32, "span_id": "b" * 16, "trace_flags": 1}))
    assert (shown.trace_id, shown.span_id, shown.trace_flags) == ("a" * 32, "b" * 16, 1)


def test_a_member_given_as_text_or_as_an_object_gets_one_name() -> None:
    assert project(audit(tenant="acme")).attributes["auditx.tenant.id"] == "acme"
    assert project(audit(tenant={"id": "acme"})).attributes["auditx.tenant.id"] == "acme"
    actor = {"id": "sam", "type": "user", "on_behalf_of": {"id": "ada", "type": "user"}}
    assert project(audit(actor=actor)).attributes["auditx.actor.on_behalf_of.id"] == "ada"
    actor = {"id": "sam", "type": "user", "on_behalf_of": "ada"}
    assert project(audit(actor=actor)).attributes["auditx.actor.on_behalf_of.id"] == "ada"


def test_what_is_large_or_freely_shaped_stays_in_the_line() -> None:
    shown = project(
        audit(changes={"x": {"old": 1, "new": 2}}, targets=[{"id": "1"}], category={"deep": {}}, reason=[1, 2])
        | {"data": {"k": "v"}}
    )
    assert set(shown.attributes) == {*project(audit()).attributes}


def test_a_hostile_member_adds_no_attribute_of_its_own() -> None:
    actor = {"id": "a", "type": "user", **{f"k{i}": "v" for i in range(1000)}}
    assert set(project(audit(actor=actor)).attributes) == {*project(audit()).attributes}


def test_a_record_from_the_door_is_projected_whole() -> None:
    chain = Chain(new_stream_id())
    given = {
        "actor": {"id": "alice", "type": "user", "name": "Alice", "roles": ["admin"]},
        "target": "invoice/7",
        "source": {"address": "192.0.2.1", "user_agent": "curl/8"},
        "session": "s1",
        "request": "r1",
        "decision": "allowed",
    }
    head = Door().admit("invoice.delete", given, {"k": 1}, level="INFO", logger="shop", message="gone")
    attributes = project(json.loads(chain.seal(head))).attributes
    assert attributes["user.roles"] == ["admin"]
    assert attributes["audit.target.type"] == "invoice"
    assert attributes["user_agent.original"] == "curl/8"
    assert attributes["session.id"] == "s1"
    assert attributes["auditx.logger"] == "shop"
