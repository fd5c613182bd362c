"""Signatures as the Collector's `signing` processor makes them, and their checking.

The literal payloads are those that upstream's own tests expect (opentelemetry-collector-contrib, processor/signing,
September 2026, and the audit draft's Go prototype); the processor itself is in no module that the tests could build.
"""

from __future__ import annotations

import base64
import datetime
import functools
import hashlib
import hmac
import json
import os
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from otel_audit.config import build_trail
from otel_audit.errors import ConfigurationError
from otel_audit.otel.signed import State, TrustedKeys, check_signatures
from otel_audit.otel.signing import RecordSigner, SignedFields, fingerprint, signed_payload
from otel_audit.otel.wire import encode_record
from tests.sinks.http_server import Server

NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "audit signing")])
SECRET = bytes(range(32))
GOLDEN_EDDSA = "M0GgGl6yXKzilM1v5eUsiQ0ZBPOfYm92ZKkTHYHh+aZh3HjIxIf+pKn4wR9rJqTpjmzVljX1oqZYQnqsF7sVBw=="
Document = dict[str, Any]


def record(**given: Any) -> SignedFields:
    return SignedFields(**{**SignedFields("", None, 0, 0, "", "", {})._asdict(), **given})


@functools.cache  # an ECDSA signature is another each time, and so is the certificate's fingerprint
def certify(key: Any) -> x509.Certificate:
    now = datetime.datetime(2026, 1, 1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=3650))
    )
    return builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())


@pytest.fixture(scope="session")
def private_keys() -> dict[str, Any]:
    return {
        "EdDSA": ed25519.Ed25519PrivateKey.from_private_bytes(SECRET),
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "RS256": rsa.generate_private_key(65537, 2048),
        "HMAC-SHA256": SECRET,
    }


def signer_of(key: Any) -> RecordSigner:
    return RecordSigner(key, None if isinstance(key, bytes) else certify(key))


def trusting(signer_key: Any) -> TrustedKeys:
    return TrustedKeys(secret=signer_key) if isinstance(signer_key, bytes) else TrustedKeys([certify(signer_key)])


def test_the_payload_is_the_one_of_the_drafts_fixture() -> None:
    fixture = record(
        event_name="user.login",
        body='{"event":"user.login"}',
        timestamp=1779096939611093600,
        observed_timestamp=1779096939611093600,
        attributes={
            "audit.actor.id": "alice@example.com",
            "audit.actor.type": "user",
            "audit.action": "login",
            "audit.outcome": "success",
            "audit.source.id": "testapp",
            "audit.record.id": "rec-docker-pass",
            "audit.integrity.value": "not signed",
        },
    )
    assert signed_payload(fixture).decode() == (
        '{"attributes":{"audit.action":{"stringValue":"login"},"audit.actor.id":{"stringValue":"alice@example.com"},'
        '"audit.actor.type":{"stringValue":"user"},"audit.outcome":{"stringValue":"success"},'
        '"audit.record.id":{"stringValue":"rec-docker-pass"},"audit.source.id":{"stringValue":"testapp"}},'
        '"body":{"stringValue":"{\\"event\\":\\"user.login\\"}"},"event_name":"user.login",'
        '"observed_timestamp":"1779096939611093600","timestamp":"1779096939611093600"}'
    )


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("hello", '{"stringValue":"hello"}'),
        (42, '{"intValue":"42"}'),
        (-5, '{"intValue":"-5"}'),
        (2**63 - 1, '{"intValue":"9223372036854775807"}'),
        (9_007_199_254_740_993, '{"intValue":"9007199254740993"}'),
        (1.5, '{"doubleValue":1.5}'),
        (1.0, '{"doubleValue":1}'),
        (1e21, '{"doubleValue":1e+21}'),
        (5e-7, '{"doubleValue":5e-7}'),
        (-0.0, '{"doubleValue":0}'),
        (True, '{"boolValue":true}'),
        (b"\xde\xad", '{"bytesValue":"3q0="}'),
        (["x"], '[{"stringValue":"x"}]'),
        ({"action": "delete-all"}, '{"action":{"stringValue":"delete-all"}}'),
        ("\\ud800", '{"stringValue":"\\\\ud800"}'),
    ],
)
def test_every_type_is_written_as_upstream_writes_it(value: Any, written: str) -> None:
    assert signed_payload(record(event_name="e", body=value)).decode() == f'{{"body":{written},"event_name":"e"}}'
    payload = signed_payload(record(attributes={"k": value})).decode()
    assert payload == f'{{"attributes":{{"k":{written}}}}}'


def test_trace_ids_are_hex_and_left_out_if_zero() -> None:
    traced = record(trace_id="0102030405060708090a0b0c0d0e0f10", span_id="0102030405060708")
    assert signed_payload(traced) == b'{"span_id":"0102030405060708","trace_id":"0102030405060708090a0b0c0d0e0f10"}'
    assert signed_payload(record(trace_id="0" * 32, span_id="0" * 16)) == b"{}"


def nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), 2**63, "\ud800", nested(129), "x" * (2 << 20), object()],
    ids=["nan", "infinity", "int", "surrogate", "depth", "size", "type"],
)
def test_what_the_processor_refuses_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        signed_payload(record(attributes={"k": value}))


def test_as_deep_as_the_processor_goes_is_signed() -> None:
    assert signed_payload(record(attributes={"k": nested(127)}))


def test_the_eddsa_signature_of_a_known_record_is_this_one() -> None:
    fixture = record(event_name="user.login", body="x", timestamp=1, attributes={"n": 7})
    proof = signer_of(ed25519.Ed25519PrivateKey.from_private_bytes(SECRET)).attributes(fixture)
    assert proof == {
        "audit.integrity.value": GOLDEN_EDDSA,
        "audit.integrity.signer": "producer",
        "audit.integrity.canonicalization": "jcs",
    }


def test_the_mac_of_a_known_record_is_this_one() -> None:
    fixture = record(event_name="user.login", body="x", timestamp=1, attributes={"n": 7})
    payload = (
        b'{"attributes":{"n":{"intValue":"7"}},"body":{"stringValue":"x"},"event_name":"user.login","timestamp":"1"}'
    )
    expected = base64.b64encode(hmac.digest(SECRET, payload, hashlib.sha256)).decode()
    assert signer_of(SECRET).attributes(fixture)["audit.integrity.value"] == expected


ATTRIBUTES = {"audit.record.id": "r-1", "text": "é\U0001f600", "n": -7, "f": 0.1, "t": True, "list": ["a", "b"]}


def any_value(value: Any) -> Document:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, bytes):
        return {"bytesValue": base64.b64encode(value).decode()}
    if isinstance(value, list):
        return {"arrayValue": {"values": [any_value(item) for item in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": pairs(value)}}
    return {} if value is None else {"stringValue": value}


def pairs(values: Any) -> list[Document]:
    return [{"key": name, "value": any_value(value)} for name, value in values.items()]


def document(fields: SignedFields, resource: dict[str, str], proof: dict[str, str]) -> Document:
    one = {
        "timeUnixNano": str(fields.timestamp),
        "observedTimeUnixNano": str(fields.observed_timestamp),
        "severityNumber": 9,
        "severityText": "INFO",
        "body": any_value(fields.body),
        "attributes": pairs({**fields.attributes, **proof}),
        "traceId": fields.trace_id,
        "spanId": fields.span_id,
        "eventName": fields.event_name,
    }
    return {
        "resourceLogs": [
            {"resource": {"attributes": pairs(resource)}, "scopeLogs": [{"scope": {}, "logRecords": [one]}]}
        ]
    }


def signed_document(key: Any, **given: Any) -> Document:
    fields = record(**{"event_name": "e", "body": "x", "timestamp": 1, "attributes": ATTRIBUTES, **given})
    signer = signer_of(key)
    return document(fields, signer.resource, signer.attributes(fields))


def one_record(given: Document) -> Document:
    found: Document = given["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]
    return found


def state(given: Any, keys: TrustedKeys) -> State:
    [checked] = check_signatures(given, keys)
    return checked.state


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256", "HMAC-SHA256"])
def test_what_is_signed_checks(private_keys: dict[str, Any], algorithm: str) -> None:
    key = private_keys[algorithm]
    signed = signed_document(key)
    [checked] = check_signatures(signed, trusting(key))
    assert (checked.state, checked.record_id, checked.place) == (State.GOOD, "r-1", (0, 0, 0))
    assert signed["resourceLogs"][0]["resource"]["attributes"][0]["value"]["stringValue"] == algorithm


@pytest.mark.parametrize(
    "edit",
    [
        lambda one: one.update(eventName="f"),
        lambda one: one.update(timeUnixNano="2"),
        lambda one: one.update(observedTimeUnixNano="2"),
        lambda one: one.update(body={"stringValue": "y"}),
        lambda one: one.update(body={"intValue": "1"}),
        lambda one: one.update(traceId="01" * 16),
        lambda one: one["attributes"].append({"key": "added", "value": {"boolValue": True}}),
        lambda one: one["attributes"].pop(1),
        lambda one: one["attributes"][2].update(value={"stringValue": "-7"}),
        lambda one: one.update(body={"strange": 1}),
        lambda one: one.update(timeUnixNano=[]),
    ],
)
def test_an_edit_is_found(private_keys: dict[str, Any], edit: Any) -> None:
    key = private_keys["EdDSA"]
    signed = signed_document(key)
    edit(one_record(signed))
    assert state(signed, trusting(key)) is State.BAD


def test_what_is_not_signed_may_change(private_keys: dict[str, Any]) -> None:
    key = private_keys["EdDSA"]
    signed = signed_document(key)
    one_record(signed).update(severityNumber=17, severityText="ERROR")
    one_record(signed)["attributes"].append({"key": "audit.integrity.verified", "value": {"boolValue": True}})
    signed["resourceLogs"][0]["resource"]["attributes"].extend(pairs({"k8s.pod.name": "p"}))
    assert state(signed, trusting(key)) is State.GOOD


def test_a_record_without_signature_is_unsigned(private_keys: dict[str, Any]) -> None:
    fields = record(event_name="e")
    assert state(document(fields, {}, {}), trusting(private_keys["EdDSA"])) is State.UNSIGNED


def test_a_key_that_is_not_trusted_proves_nothing(private_keys: dict[str, Any]) -> None:
    signed = signed_document(private_keys["EdDSA"])
    assert state(signed, TrustedKeys()) is State.UNVERIFIABLE
    assert state(signed, trusting(private_keys["ES256"])) is State.UNVERIFIABLE


def test_a_certificate_that_comes_along_is_trusted_only_if_it_is_known(private_keys: dict[str, Any]) -> None:
    key = private_keys["ES256"]
    signed = signed_document(key)
    whole = base64.b64encode(certify(key).public_bytes(serialization.Encoding.DER)).decode()
    signed["resourceLogs"][0]["resource"]["attributes"] = pairs(
        {"audit.integrity.algorithm": "ES256", "audit.integrity.certificate": whole}
    )
    known = x509.load_der_x509_certificate(base64.b64decode(whole))
    assert state(signed, TrustedKeys([known])) is State.GOOD
    assert state(signed, TrustedKeys()) is State.UNVERIFIABLE


def test_a_public_key_is_no_secret_of_a_mac(private_keys: dict[str, Any]) -> None:
    key = private_keys["EdDSA"]
    signed = signed_document(key)
    signed["resourceLogs"][0]["resource"]["attributes"] = pairs({"audit.integrity.algorithm": "HMAC-SHA256"})
    assert state(signed, trusting(key)) is State.UNVERIFIABLE
    assert state(signed, TrustedKeys(secret=SECRET)) is State.BAD


def test_the_older_form_with_a_bare_body_checks_and_is_told(private_keys: dict[str, Any]) -> None:
    key = private_keys["EdDSA"]
    fields = record(event_name="e", body="x", timestamp=1)
    payload = b'{"body":"x","event_name":"e","timestamp":"1"}'
    proof = {"audit.integrity.value": base64.b64encode(key.sign(payload)).decode()}
    [checked] = check_signatures(document(fields, signer_of(key).resource, proof), trusting(key))
    assert checked.state is State.GOOD
    assert "older form" in checked.detail


def test_rs512_checks(private_keys: dict[str, Any]) -> None:
    from cryptography.hazmat.primitives.asymmetric import padding

    key = private_keys["RS256"]
    signature = key.sign(b'{"event_name":"e"}', padding.PKCS1v15(), hashes.SHA512())
    resource = {**signer_of(key).resource, "audit.integrity.algorithm": "RS512"}
    proof = {"audit.integrity.value": base64.b64encode(signature).decode()}
    assert state(document(record(event_name="e"), resource, proof), trusting(key)) is State.GOOD


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
VALUES = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(min_size=1), VALUES, max_size=4), VALUES)
def test_what_is_signed_in_python_is_what_the_checker_reads_in_otlp_json(attributes: Any, body: Any) -> None:
    fields = record(event_name="e", timestamp=1, body=body, attributes=attributes)
    signer = signer_of(SECRET)
    given_on = json.loads(json.dumps(document(fields, signer.resource, signer.attributes(fields))))
    assert state(given_on, TrustedKeys(secret=SECRET)) is State.GOOD


@given(JSON, JSON)
def test_a_damaged_document_never_raises(record_like: Any, attributes: Any) -> None:
    value = [{"key": "audit.integrity.value", "value": {"stringValue": "AAAA"}}]
    one = {**(record_like if isinstance(record_like, dict) else {"body": record_like})}
    one["attributes"] = [*value, *(attributes if isinstance(attributes, list) else [attributes])]
    resource = {"attributes": pairs({"audit.integrity.algorithm": "HMAC-SHA256"})}
    damaged = {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [one, record_like]}]}, record_like]}
    for checked in check_signatures(damaged, TrustedKeys(secret=SECRET)):
        assert checked.state is not State.GOOD
    list(check_signatures({"resourceLogs": record_like}, TrustedKeys()))


def write_key(directory: Path, key: Any) -> tuple[str, str | None]:
    path = directory / "signing.key"
    if isinstance(key, bytes):
        path.write_bytes(base64.b64encode(key) + b"\n")
    else:
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(private)
    path.chmod(0o600)
    if isinstance(key, bytes):
        return str(path), None
    certificate = directory / "signing.pem"
    certificate.write_bytes(certify(key).public_bytes(serialization.Encoding.PEM))
    return str(path), str(certificate)


@pytest.mark.filterwarnings("ignore:audit records go to .* in plain text:RuntimeWarning")
@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256", "HMAC-SHA256"])
def test_the_otlp_sink_sends_records_that_check(private_keys: dict[str, Any], algorithm: str, tmp_path: Path) -> None:
    key = private_keys[algorithm]
    key_file, certificate_file = write_key(tmp_path, key)
    with Server() as server:
        sink = {"url": f"otlp+http://{server.host}", "integrity": "otel-signing", "integrity_key_file": key_file}
        if certificate_file is not None:
            sink["integrity_certificate_file"] = certificate_file
        trail = build_trail({"journal": str(tmp_path / "journal"), "sinks": [sink]}, {})
        trail.record("invoice.delete", {"actor": {"id": "alice", "roles": ["a", "b"]}}, {"n": 1})
        assert trail.close()
        requests = [ExportLogsServiceRequest.FromString(each.body) for each in server.received]
    checked = []
    for request in requests:
        got = MessageToDict(request)
        for each in got["resourceLogs"][0]["scopeLogs"][0]["logRecords"]:  # protobuf's JSON has ids in base64
            for name in {"traceId", "spanId"} & each.keys():
                each[name] = base64.b64decode(each[name]).hex()
        checked += list(check_signatures(got, trusting(key)))
    assert [each.state for each in checked] == [State.GOOD] * 3


def test_a_line_without_signer_is_sent_as_before() -> None:
    audit = b'{"action":"A","actor":{"id":"a","type":"user"},"outcome":"unknown"}'
    place = b'"event_name":"e","seq":1,"stream":"0","hash":"0"'
    line = b'{"@timestamp":"2026-11-21T22:30:00.123456789Z","audit":%b,%b}\n' % (audit, place)
    assert b"audit.integrity" not in encode_record("0", 1, line)
    assert b"audit.integrity.value" in encode_record("0", 1, line, lambda *_: {"audit.integrity.value": "x"})


def test_keys_that_cannot_sign_are_refused(private_keys: dict[str, Any], tmp_path: Path) -> None:
    for key in (ec.generate_private_key(ec.SECP384R1()), b"short", "a string"):
        with pytest.raises(ConfigurationError, match="otel-signing"):
            RecordSigner(key)
    with pytest.raises(ConfigurationError, match="needs its certificate"):
        RecordSigner(private_keys["EdDSA"])
    with pytest.raises(ConfigurationError, match="belongs to another key"):
        RecordSigner(private_keys["EdDSA"], certify(private_keys["ES256"]))
    with pytest.raises(ConfigurationError, match="has no certificate"):
        RecordSigner(SECRET, certify(private_keys["ES256"]))


def test_key_files_that_cannot_be_used_are_named_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("hunter2 is no key")
    os.chmod(path, 0o600)
    with pytest.raises(ConfigurationError, match="neither a PEM key nor a secret") as refused:
        RecordSigner.load(path, None)
    assert "hunter2" not in str(refused.value)
    path.write_text("-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n")
    with pytest.raises(ConfigurationError, match="holds no private key") as refused:
        RecordSigner.load(path, None)
    assert "hunter2" not in str(refused.value)
    os.chmod(path, 0o644)
    with pytest.raises(ConfigurationError, match="others may read"):
        RecordSigner.load(path, None)


def test_a_signer_does_not_show_its_key(private_keys: dict[str, Any]) -> None:
    key = private_keys["EdDSA"]
    assert repr(signer_of(key)) == f"<RecordSigner EdDSA {fingerprint(certify(key))}>"
