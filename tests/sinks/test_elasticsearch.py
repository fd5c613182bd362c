"""The Elasticsearch sink: each item counts, and a document that exists is compared before it is believed."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_audit.errors import ConfigurationError
from otel_audit.sinks.base import RecordsRefused, SealedLine, Sink, SinkUnavailable
from otel_audit.sinks.ecs import document
from otel_audit.sinks.elasticsearch import ElasticsearchSink
from tests.sinks.http_server import Reply, Server
from tests.sinks.lines import sealed

pytestmark = pytest.mark.filterwarnings("ignore:audit records go to .* in plain text:RuntimeWarning")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(default=Reply(status=500)) as server:
        yield server


def sink_of(server: Server, **options: Any) -> ElasticsearchSink:
    return ElasticsearchSink(hosts=server.host, index="audit", scheme="http", allow=("loopback",), **options)


def text(one: SealedLine) -> str:
    return one.line.decode()[:-1]


def items(batch: Sequence[SealedLine], *outcomes: int | tuple[int, str]) -> Reply:
    listed = []
    for one, outcome in zip(batch, outcomes, strict=True):
        status, kind = outcome if isinstance(outcome, tuple) else (outcome, "")
        item: dict[str, Any] = {"_id": one.id, "_index": "audit-000001", "status": status}
        if status >= 300:
            item["error"] = {"type": kind, "reason": f"because of {kind}"}
        listed.append({"create": item})
    return Reply(body=json.dumps({"errors": True, "items": listed}).encode())


def stored(**originals: str | None) -> Reply:
    docs = [
        {"_id": name, "found": original is not None, "_source": {"event": {"original": original}}}
        for name, original in originals.items()
    ]
    return Reply(body=json.dumps({"docs": docs}).encode())


def test_each_record_is_created_under_its_id_with_its_line(server: Server) -> None:
    batch = sealed(2)
    server.script(items(batch, 201, 201))
    sink = ElasticsearchSink.from_url(f"elasticsearch+http://{server.host}/base/audit?allow=loopback")
    assert isinstance(sink, Sink)
    sink.send(batch)
    (received,) = server.received
    assert received.path.startswith("/base/audit/_bulk?")
    assert received.headers["content-type"] == "application/x-ndjson"
    assert received.body.endswith(b"\n")
    rows = [json.loads(row) for row in received.body.splitlines()]
    assert rows[0::2] == [{"create": {"_id": one.id}} for one in batch]
    assert [row["event"]["original"] for row in rows[1::2]] == [text(one) for one in batch]


def test_one_item_that_has_to_wait_keeps_the_batch(server: Server) -> None:
    batch = sealed(3)
    server.script(items(batch, 201, (429, "es_rejected_execution_exception"), 201))
    with pytest.raises(SinkUnavailable, match=r"1 of 3 not stored.*es_rejected_execution_exception"):
        sink_of(server).send(batch)


@pytest.mark.parametrize(
    "outcome",
    [
        (403, "cluster_block_exception"),
        (404, "index_not_found_exception"),
        (503, "unavailable_shards_exception"),
        (400, "illegal_argument_exception"),
        (500, "exception"),
    ],
)
def test_what_the_cluster_cannot_do_now_keeps_the_records(server: Server, outcome: tuple[int, str]) -> None:
    batch = sealed(1)
    server.script(items(batch, outcome))
    with pytest.raises(SinkUnavailable, match=outcome[1]):
        sink_of(server).send(batch)


@pytest.mark.parametrize(
    "kind", ["mapper_parsing_exception", "document_parsing_exception", "strict_dynamic_mapping_exception"]
)
def test_documents_that_do_not_fit_the_mapping_are_refused_by_name(server: Server, kind: str) -> None:
    batch = sealed(3)
    server.script(items(batch, 201, (400, kind), 201))
    with pytest.raises(RecordsRefused, match=f"1 of 3 records refused.*{kind}") as caught:
        sink_of(server).send(batch)
    assert caught.value.ids == {batch[1].id}


def test_a_text_that_is_too_long_for_its_field_does_not_block_those_behind_it(server: Server) -> None:
    batch = sealed(3)
    said = items(batch, 201, (400, "illegal_argument_exception"), 201).body
    reason = b"Document contains at least one immense term in field"
    server.script(Reply(body=said.replace(b"because of illegal_argument_exception", reason)))
    with pytest.raises(RecordsRefused, match=r"immense term") as caught:
        sink_of(server).send(batch)
    assert caught.value.ids == {batch[1].id}


def test_a_document_that_exists_with_this_very_line_is_delivered(server: Server) -> None:
    batch = sealed(3)
    server.script(
        items(batch, (409, "version_conflict_engine_exception"), 201, (409, "version_conflict_engine_exception")),
        stored(**{batch[0].id: text(batch[0]), batch[2].id: text(batch[2])}),
    )
    sink_of(server).send(batch)
    asked = json.loads(server.received[1].body)["docs"]
    assert [(each["_index"], each["_id"]) for each in asked] == [
        ("audit-000001", batch[0].id),
        ("audit-000001", batch[2].id),
    ]


@pytest.mark.parametrize("original", ['{"forged":1}', ""])
def test_a_document_that_exists_with_other_content_is_a_finding(server: Server, original: str) -> None:
    batch = sealed(2)
    server.script(items(batch, 201, (409, "version_conflict_engine_exception")), stored(**{batch[1].id: original}))
    with pytest.raises(RecordsRefused, match=r"event\.original is not this record's line") as caught:
        sink_of(server).send(batch)
    assert caught.value.ids == {batch[1].id}


def test_a_conflict_with_nothing_is_tried_again(server: Server) -> None:
    batch = sealed(1)
    server.script(items(batch, (409, "version_conflict_engine_exception")), stored(**{batch[0].id: None}))
    with pytest.raises(SinkUnavailable, match="is not there"):
        sink_of(server).send(batch)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b"<html>"),
        Reply(body=b"[]"),
        Reply(body=b"{}"),
        Reply(body=b'{"errors":false,"items":[]}'),
        Reply(body=b'{"errors":false,"items":[{"create":{"_id":"another","status":201}}]}'),
        Reply(status=201, body=b"{}"),
        Reply(status=401),
        Reply(status=429),
        Reply(status=503),
    ],
)
def test_an_answer_that_does_not_confirm_each_record_confirms_none(server: Server, reply: Reply) -> None:
    server.script(reply)
    with pytest.raises(SinkUnavailable):
        sink_of(server).send(sealed(1))


def test_a_request_that_is_too_large_is_refused_as_a_whole(server: Server) -> None:
    server.script(Reply(status=413))
    with pytest.raises(RecordsRefused) as caught:
        sink_of(server).send(sealed(2))
    assert caught.value.ids is None


def test_a_line_that_is_no_record_does_not_keep_the_others(server: Server) -> None:
    good = sealed(2)
    bad = good[1]._replace(line=b"\xff garbage\n", seq=77)
    server.script(items(good, 201, 201))
    with pytest.raises(RecordsRefused) as caught:
        sink_of(server).send([good[0], bad, good[1]])
    assert caught.value.ids == {bad.id}


def test_an_api_key_comes_from_a_file_and_is_never_shown(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("c2VjcmV0LWtleQ==\n")
    server.script(Reply(status=401, body=b"bad key c2VjcmV0LWtleQ=="))
    sink = sink_of(server, api_key_file=str(file))
    with pytest.raises(SinkUnavailable, match="api_key_file") as caught:
        sink.send(sealed(1))
    assert server.received[0].headers["authorization"] == "ApiKey c2VjcmV0LWtleQ=="
    assert "c2VjcmV0" not in f"{caught.value} {sink!r}"


def test_a_password_comes_from_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PYTHON_AUDIT_ELASTICSEARCH_PASSWORD", "hunter2")
    batch = sealed(1)
    server.script(items(batch, 201))
    ElasticsearchSink.from_url(f"opensearch+http://writer@{server.host}/audit?allow=loopback").send(batch)
    word = base64.b64encode(b"writer:hunter2").decode()
    assert server.received[0].headers["authorization"] == f"Basic {word}"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("elasticsearch+https://search.example:9200", "host:9200/index"),
        ("elasticsearch+https://search.example:9200/Audit", "lower case"),
        ("elasticsearch+https://search.example:9200/a,b", "lower case"),
        ("elasticsearch+https://search.example:9200/_all", "lower case"),
        ("elasticsearch+https://me@search.example:9200/audit", "password_file"),
        ("elasticsearch+https://search.example:9200/audit?api_key=x", "secret"),
        ("elasticsearch+https://127.0.0.1:9200/audit", "loopback"),
        ("elastic+https://search.example/audit", "unknown scheme"),
    ],
)
def test_a_wrong_url_says_what_is_wrong(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        ElasticsearchSink.from_url(url)


def test_a_document_has_the_ecs_fields_that_people_search_by() -> None:
    record = {
        "@timestamp": "2026-11-21T22:30:00.123456789Z",
        "audit": {
            "action": "DELETE",
            "actor": {"id": "alice", "type": "user", "name": "Alice", "roles": ["admin"], "on_behalf_of": "bob"},
            "category": "data",
            "decision": "denied",
            "outcome": "failure",
            "reason": "policy:x",
            "session": {"id": "s1"},
            "source": {"address": "192.0.2.1", "user_agent": "curl/8"},
            "target": {"id": "7", "type": "invoice"},
            "tenant": "acme",
        },
        "data": {"free": 1},
        "event_name": "invoice.delete",
        "level": "WARNING",
        "logger": "shop",
        "message": "no",
        "otel": {"trace_id": "a" * 32, "span_id": "b" * 16, "trace_flags": 1},
        "prev_hash": "0" * 64,
        "seq": 7,
        "stream": "01a200a867407357b1ffeabe75c3f9c0",
        "hash": "f" * 64,
    }
    assert document(record, "the line") == {
        "@timestamp": "2026-11-21T22:30:00.123456789Z",
        "ecs": {"version": "9.0.0"},
        "event": {
            "kind": "event",
            "id": "01a200a867407357b1ffeabe75c3f9c0-7",
            "action": "invoice.delete",
            "category": ["database"],
            "type": ["deletion", "denied"],
            "outcome": "failure",
            "reason": "policy:x",
            "sequence": 7,
            "hash": "f" * 64,
            "original": "the line",
        },
        "message": "no",
        "log": {"level": "WARNING", "logger": "shop"},
        "user": {"id": "alice", "name": "Alice", "roles": ["admin"], "effective": {"id": "bob"}},
        "source": {"address": "192.0.2.1", "ip": "192.0.2.1"},
        "user_agent": {"original": "curl/8"},
        "organization": {"id": "acme"},
        "trace": {"id": "a" * 32},
        "span": {"id": "b" * 16},
        "related": {"user": ["alice", "bob"], "ip": ["192.0.2.1"]},
        "auditx": {
            "stream": "01a200a867407357b1ffeabe75c3f9c0",
            "prev_hash": "0" * 64,
            "action": "DELETE",
            "actor": {"type": "user"},
            "target": {"id": "7", "type": "invoice"},
            "session": "s1",
        },
    }


scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
shapes = scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.sampled_from(["id", "type"]), scalars)
members = ("category", "decision", "reason", "request", "session", "source", "target", "tenant")


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(members, shapes)))
def test_every_field_has_one_type_whatever_a_caller_gives(given_members: dict[str, Any]) -> None:
    audit = {"action": "READ", "actor": {"id": "a", "type": "user"}, "outcome": "success", **given_members}
    record = {"@timestamp": "t", "audit": audit, "event_name": "x", "seq": 1, "stream": "s", "hash": "h"}

    def check(value: Any, place: str) -> None:
        if isinstance(value, dict):
            assert value
            for name, inner in value.items():
                check(inner, f"{place}.{name}")
        elif isinstance(value, list):
            assert all(isinstance(each, str) for each in value), place
        else:
            assert isinstance(value, int if place == ".event.sequence" else str), place

    check(document(record, "line"), "")
