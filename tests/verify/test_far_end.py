"""Exports as the far end of a pipeline keeps them: fields beside the line, signatures, documents without an end."""

from __future__ import annotations

import base64
import datetime
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from otel_audit.cli.__main__ import main
from otel_audit.otel.projection import Projection, project_attributes
from otel_audit.otel.signed import TrustedKeys
from otel_audit.otel.signing import RecordSigner, SignedFields
from otel_audit.otel.wire import RequestWriter, encode_record
from otel_audit.sinks.ecs import document as ecs_document
from otel_audit.verify import Finding, Report, verify
from tests.verify.histories import Writer, put, whole

Document = dict[str, Any]
TRACE = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331", "trace_flags": 1}
SECRET = bytes(range(32))


def history() -> list[bytes]:
    writer = Writer().open()
    writer.event(1, otel=TRACE)
    audit = {
        "action": "LOGIN",
        "actor": {"id": "alice", "type": "user", "roles": ["admin", "ops"]},
        "category": "iam",
        "outcome": "failure",
        "source": {"address": "203.0.113.7"},
        "target": {"id": "7", "type": "invoice"},
    }
    writer.seal({"audit": audit, "event_name": "user.login", "logger": "shop"})
    return writer.close().lines


def sent(lines: list[bytes], signer: RecordSigner | None = None) -> Document:
    """What a receiver makes of what our OTLP sink sends, in OTLP JSON."""

    def sign(shown: Projection, line: str) -> dict[str, str]:
        assert signer is not None
        times = shown.timestamp, shown.timestamp
        fields = SignedFields(shown.event_name, line, *times, shown.trace_id, shown.span_id, shown.attributes)
        return signer.attributes(fields)

    stream = json.loads(lines[0])["stream"]
    records = [encode_record(stream, seq, line, sign if signer else None) for seq, line in enumerate(lines, 1)]
    resource = {"service.name": "shop", **(signer.resource if signer else {})}
    request = ExportLogsServiceRequest.FromString(RequestWriter(resource, "otel_audit", "1").write(records))
    document: Document = MessageToDict(request)
    for record in log_records(document):
        for name in {"traceId", "spanId"} & record.keys():  # protobuf's own JSON has them in base64
            record[name] = base64.b64decode(record[name]).hex()
    return document


def log_records(document: Document) -> list[Document]:
    found: list[Document] = document["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    return found


def attribute(record: Document, name: str) -> Document:
    (value,) = (each["value"] for each in record["attributes"] if each["key"] == name)
    found: Document = value
    return found


def add(record: Document, name: str, value: str) -> None:
    record["attributes"].append({"key": name, "value": {"stringValue": value}})


def check(tmp_path: Path, *documents: Document, **options: Any) -> Report:
    path = tmp_path / "export.json"
    path.write_text("".join(f"{json.dumps(each, separators=(',', ':'))}\n" for each in documents))
    return verify([path], **options)


def mismatches(report: Report) -> list[Finding]:
    return [found for found in report.findings.listed if found.code == "PROJECTION_MISMATCH"]


def test_what_was_sent_agrees_with_itself(tmp_path: Path) -> None:
    report = check(tmp_path, sent(history()))
    assert (report.exit_code, report.records, report.findings.listed) == (0, 4, [])


EDITS: dict[str, Callable[[Document], Any]] = {
    "audit.actor.id": lambda record: attribute(record, "audit.actor.id").update(stringValue="mallory"),
    "audit.sequence.number": lambda record: attribute(record, "audit.sequence.number").update(intValue="9"),
    "user.roles": lambda record: attribute(record, "user.roles")["arrayValue"]["values"].pop(),
    "audit.outcome": lambda record: add(record, "audit.outcome", "success"),
    "auditx.tenant.id": lambda record: add(record, "auditx.tenant.id", "acme"),
    "event name": lambda record: record.update(eventName="user.logout"),
    "timestamp": lambda record: record.update(timeUnixNano="1700000000000000001"),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_changed_field_is_tampering(tmp_path: Path, name: str) -> None:
    document = sent(history())
    EDITS[name](log_records(document)[2])
    report = check(tmp_path, document)
    (found,) = mismatches(report)
    assert (report.exit_code, found.detail, found.line, found.seq) == (1, name, 1, 3)
    assert found.expected != found.actual


@pytest.mark.parametrize(("member", "name"), [("traceId", "trace id"), ("spanId", "span id")])
def test_changed_trace_ids_are_tampering(tmp_path: Path, member: str, name: str) -> None:
    document = sent(history())
    record = log_records(document)[1]
    record[member] = record[member].upper()
    assert check(tmp_path, document).exit_code == 0
    record[member] = record[member].replace("B", "C")
    assert [found.detail for found in mismatches(check(tmp_path, document))] == [name]


def test_what_processors_add_or_take_away_is_no_finding(tmp_path: Path) -> None:
    document = sent(history())
    for record in log_records(document):
        for name in ("k8s.pod.name", "session.id", "audit.integrity.note"):
            add(record, name, "x")
        record["attributes"] = [each for each in record["attributes"] if each["key"] != "audit.action"]
        record.pop("eventName")
        record.pop("timeUnixNano")
        record["severityText"] = "other"
    assert check(tmp_path, document).findings.listed == []


def test_the_time_of_a_record_that_nobody_projected_is_the_pipelines(tmp_path: Path) -> None:
    document = sent(history())
    for record in log_records(document):
        record["attributes"], record["timeUnixNano"] = [], "1"
    assert check(tmp_path, document).exit_code == 0


def tagged() -> Document:
    records = []
    for line in history():
        sealed = project_attributes(json.loads(line))
        attributes = [
            {"key": name, "value": {"stringValue": value}} for name, value in sealed.items() if isinstance(value, str)
        ]
        attributes.append({"key": "log.record.original", "value": {"stringValue": line.decode().rstrip()}})
        records.append({"timeUnixNano": "5", "body": {"stringValue": "logged in"}, "attributes": attributes})
    return {"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}


def test_a_passing_record_is_held_to_the_line_in_its_attributes(tmp_path: Path) -> None:
    document = tagged()
    assert check(tmp_path, document).exit_code == 0
    attribute(log_records(document)[2], "audit.actor.id")["stringValue"] = "mallory"
    assert [found.detail for found in mismatches(check(tmp_path, document))] == ["audit.actor.id"]


@pytest.mark.parametrize("make", [lambda: sent(history()), tagged], ids=["sink", "processor"])
def test_a_log_record_that_claims_to_be_a_record_and_holds_no_line_is_found(
    tmp_path: Path, make: Callable[[], Document]
) -> None:
    document = make()
    forged = json.loads(json.dumps(log_records(document)[2]))
    forged["body"] = {"stringValue": "alice left"}
    forged["attributes"] = [pair for pair in forged["attributes"] if pair["key"] != "log.record.original"]
    log_records(document).append({"body": {"stringValue": "no audit"}, "attributes": []})
    assert check(tmp_path, document).exit_code == 0
    log_records(document).append(forged)
    report = check(tmp_path, document)
    assert (report.exit_code, [found.detail for found in mismatches(report)]) == (1, ["the line itself"])


def hits() -> Document:
    lines = [line.decode().rstrip("\n") for line in history()]
    return {"hits": {"hits": [{"_source": ecs_document(json.loads(line), line)} for line in lines]}}


def test_elasticsearch_documents_are_held_to_their_line(tmp_path: Path) -> None:
    document = hits()
    source = document["hits"]["hits"][2]["_source"]
    source["source"]["geo"] = {"city_name": "Bern"}
    source["related"]["user"].append("enriched")
    assert check(tmp_path, document).findings.listed == []
    source["user"]["id"] = "mallory"
    report = check(tmp_path, document)
    assert (report.exit_code, [found.detail for found in mismatches(report)]) == (1, ["user.id"])


def test_documents_that_others_map_are_theirs(tmp_path: Path) -> None:
    document = hits()
    for hit in document["hits"]["hits"]:
        del hit["_source"]["auditx"]
        hit["_source"]["@timestamp"] = "2001-01-01T00:00:00Z"
    assert check(tmp_path, document).exit_code == 0


def halves() -> tuple[str, str, str]:
    lines = history()
    first, second = (json.dumps(sent(part), separators=(",", ":")) for part in (lines[:2], lines[2:]))
    return first, second, second[: len(second) // 2]


@pytest.mark.parametrize("layout", ["{0}\n{1}\n{2}", "{0}\n{2}{1}\n", "{2}{0}\n{1}\n", "{0}\n{2}\n{1}", "{2}{2}{0}{1}"])
@pytest.mark.parametrize("unordered", [False, True])
def test_half_a_document_spoils_nothing_that_is_complete(tmp_path: Path, layout: str, unordered: bool) -> None:
    path = tmp_path / "export.jsonl"
    path.write_text(layout.format(*halves()))
    report = verify([path], unordered=unordered)
    assert (report.exit_code, report.records) == (0, 4)
    assert report.findings.counts() == {"TORN_DOCUMENT": 1}


def test_half_a_document_cut_within_a_character(tmp_path: Path) -> None:
    first, second, _ = halves()
    cut = '{"resourceLogs":[{"x":"ü'.encode()[:-1]
    (tmp_path / "export.jsonl").write_bytes(f"{first}\n".encode() + cut + second.encode())
    assert verify([tmp_path]).exit_code == 0


def test_half_a_document_alone_is_no_pass(tmp_path: Path) -> None:
    (tmp_path / "export.json").write_text(halves()[2])
    assert verify([tmp_path]).exit_code == 5


def test_records_that_were_only_in_the_half_are_missing(tmp_path: Path) -> None:
    first, _, half = halves()
    (tmp_path / "export.json").write_text(f"{first}\n{half}")
    assert verify([tmp_path]).exit_code == 3


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.json.gz", "a.jsonl.gz", "a.log"])
@pytest.mark.parametrize("end", ["", "\n"])
def test_one_document_in_a_file_is_read_with_or_without_a_last_newline(tmp_path: Path, name: str, end: str) -> None:
    content = (json.dumps(sent(history())) + end).encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    report = verify([path if name.endswith(".log") else tmp_path])
    assert (report.exit_code, report.records, report.findings.listed) == (0, 4, [])


def test_zstd_is_read_where_python_has_it(tmp_path: Path) -> None:
    zstd = pytest.importorskip("backports.zstd")
    (tmp_path / "a.json.zst").write_bytes(zstd.compress(json.dumps(sent(history())).encode()))
    assert verify([tmp_path]).exit_code == 0


def test_other_json_in_a_directory_is_no_tampering(tmp_path: Path) -> None:
    put(tmp_path, whole())
    (tmp_path / "settings.json").write_text('{\n  "a": 1\n}')
    report = verify([tmp_path])
    assert (report.exit_code, report.findings.counts()) == (0, {"OTHER_LINES": 1})
    (tmp_path / whole().segment()).unlink()
    assert verify([tmp_path]).exit_code == 5


def test_a_record_kept_apart_in_a_directory_is_a_copy(tmp_path: Path) -> None:
    put(tmp_path, whole())
    (tmp_path / "7.json").write_bytes(whole().lines[6])
    assert verify([tmp_path]).exit_code == 0


def test_segments_stay_strict_beside_exports(tmp_path: Path) -> None:
    lines = history()
    (tmp_path / "export.json").write_text(json.dumps(sent(lines)))
    segment = tmp_path / f"{json.loads(lines[0])['stream']}.000001.jsonl"
    segment.write_bytes(b"".join(lines))
    assert verify([tmp_path]).exit_code == 0
    segment.write_bytes(b"".join([lines[0], lines[2], lines[1], lines[3]]))
    assert verify([tmp_path]).exit_code == 1


def test_batches_of_ordinary_logs_may_come_first(tmp_path: Path) -> None:
    ordinary = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "GET /"}}]}]}]}
    report = check(tmp_path, *[ordinary] * 3000, sent(history()))
    assert (report.exit_code, report.records) == (0, 4)


@pytest.fixture(scope="module")
def signer() -> RecordSigner:
    return RecordSigner(KEY, CERTIFICATE)


KEY = Ed25519PrivateKey.from_private_bytes(SECRET)
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "audit signing")])
SINCE = datetime.datetime(2026, 1, 1)
CERTIFICATE = (
    x509.CertificateBuilder()
    .subject_name(NAME)
    .issuer_name(NAME)
    .public_key(KEY.public_key())
    .serial_number(7)
    .not_valid_before(SINCE)
    .not_valid_after(SINCE + datetime.timedelta(days=9))
    .sign(KEY, None)
)
KEYS = TrustedKeys([CERTIFICATE])


def test_signatures_are_checked_when_asked_for(tmp_path: Path, signer: RecordSigner) -> None:
    document = sent(history(), signer)
    report = check(tmp_path, document, otel_keys=KEYS)
    assert (report.exit_code, report.otel_signatures, report.as_json()["otel_signatures"]) == (0, 4, 4)
    assert report.findings.listed == []
    report = check(tmp_path, document)
    assert (report.exit_code, report.otel_signatures) == (0, 0)
    assert [(each.code, each.count) for each in report.findings.listed] == [("OTEL_SIGNATURES_UNCHECKED", 4)]


def test_a_record_that_its_signature_does_not_fit_is_tampered(tmp_path: Path, signer: RecordSigner) -> None:
    document = sent(history(), signer)
    add(log_records(document)[2], "note", "added behind the signer")
    report = check(tmp_path, document, otel_keys=KEYS)
    (found,) = report.findings.listed
    assert (report.exit_code, found.code, found.seq, report.otel_signatures) == (1, "OTEL_SIGNATURE_BAD", 3, 3)


def test_a_key_that_was_not_given_proves_nothing(tmp_path: Path, signer: RecordSigner) -> None:
    report = check(tmp_path, sent(history(), signer), otel_keys=TrustedKeys(secret=SECRET))
    assert (report.exit_code, report.findings.counts()) == (4, {"OTEL_SIGNATURE_UNKNOWN_KEY": 4})


def test_a_signature_that_was_taken_away_is_missed(tmp_path: Path, signer: RecordSigner) -> None:
    document = sent(history(), signer)
    log_records(document).append({"body": {"stringValue": "GET /"}})  # an ordinary record needs none
    record = log_records(document)[2]
    record["attributes"] = [each for each in record["attributes"] if each["key"] != "audit.integrity.value"]
    report = check(tmp_path, document, otel_keys=KEYS)
    assert (report.exit_code, report.otel_signatures) == (4, 3)
    assert [(each.code, each.count) for each in report.findings.listed] == [("OTEL_SIGNATURE_MISSING", 1)]


@pytest.mark.parametrize("beside", [[], [0]], ids=["all", "all but one"])
@pytest.mark.parametrize("wrap", [lambda line: line, lambda line: json.dumps({"resourceLogs": [], "x": line.decode()})])
def test_signatures_are_missed_where_the_records_around_the_lines_were_taken_away(
    tmp_path: Path, signer: RecordSigner, beside: list[int], wrap: Callable[[bytes], bytes | str]
) -> None:
    wrapped = [wrap(line.rstrip()) for line in history()]
    lines = [each.decode() if isinstance(each, bytes) else each for each in wrapped]
    lines = [*(json.dumps(sent(history()[:1], signer)) for _ in beside), *lines]
    path = tmp_path / "export.jsonl"
    path.write_text("\n".join(lines) + "\n")
    report = verify([path], otel_keys=KEYS, unordered=True)
    missing = [each.count for each in report.findings.listed if each.code == "OTEL_SIGNATURE_MISSING"]
    assert (report.exit_code, missing, report.otel_signatures) == (4, [4], len(beside))


def test_the_sentence_does_not_deny_the_signatures_that_were_checked(tmp_path: Path, signer: RecordSigner) -> None:
    assert "no signature" not in check(tmp_path, sent(history(), signer), otel_keys=KEYS).sentence
    assert "no signature" in check(tmp_path, sent(history())).sentence


def test_the_command_takes_certificates_and_secrets(
    tmp_path: Path, signer: RecordSigner, capsys: pytest.CaptureFixture[str]
) -> None:
    certificate, secret = tmp_path / "signer.pem", tmp_path / "secret"
    certificate.write_bytes(CERTIFICATE.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(base64.b64encode(SECRET))
    secret.chmod(0o600)
    for each, option in (
        (signer, ["--otel-certificate", str(certificate)]),
        (RecordSigner(SECRET), ["--otel-secret-file", str(secret)]),
    ):
        check(tmp_path, sent(history(), each))
        assert main(["verify", str(tmp_path / "export.json"), *option]) == 0
        assert "4 checked and good" in capsys.readouterr().out
    assert main(["verify", str(tmp_path / "export.json"), "--otel-certificate", str(secret)]) == 2


@pytest.mark.parametrize(
    "beside",
    [{"attributes": 7}, {"attributes": [7, {"key": []}, {"key": "audit.action", "value": {"kvlistValue": 1}}]}, {}],
)
def test_odd_documents_are_read_to_the_end(tmp_path: Path, beside: Document, signer: RecordSigner) -> None:
    lines = [line.decode().rstrip("\n") for line in history()]
    bodies = [*lines, '{"@timestamp":"x","seq":Infinity,"stream":"1","hash":"2"}']
    records = [{"body": {"stringValue": body}, **beside} for body in bodies]
    report = check(tmp_path, {"resourceLogs": [7, {"scopeLogs": [{"logRecords": [7, *records]}]}]}, otel_keys=KEYS)
    assert report.records == 4
    assert report.exit_code == 1  # the last body is no record
