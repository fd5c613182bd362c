"""Checking `audit.integrity.*` signatures in OTLP JSON: those that `signing` makes, and the Collector's own.

Pure: it reads parsed documents and says what it found; keys come from the caller. What a record says about itself
(algorithm, certificate) only chooses among the keys that the caller trusts, and never adds one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from otel_audit.errors import ConfigurationError
from otel_audit.integrity.keys import read_private_file
from otel_audit.record import DRAFT_NAMES

from .signing import ALGORITHM, CERTIFICATE, VALUE, SignedFields, fingerprint, read_secret, signed_payload

__all__ = ["Checked", "State", "TrustedKeys", "check_signatures"]

_ID: Final = DRAFT_NAMES["id"]
_MAX_DEPTH: Final = 130


class State(Enum):
    """What a check of one record found."""

    GOOD = "good"
    BAD = "bad"
    UNSIGNED = "unsigned"
    UNVERIFIABLE = "unverifiable"
    """Its key is not trusted or not known, or what it says of itself cannot be read."""


class Checked(NamedTuple):
    """One record of a document."""

    place: tuple[int, int, int]
    """Index of the ResourceLogs, of the ScopeLogs in it, and of the record in that."""
    record_id: str
    """`audit.record.id`; empty if it has none."""
    state: State
    detail: str


class TrustedKeys:
    """The keys that may have signed.

    Args:
        certificates: for EdDSA, ES256, RS256 and RS512; a record names one of them by its fingerprint, or carries it.
            Only its key counts: neither its dates nor its issuer are looked at.
        secret: for HMAC-SHA256.
    """

    def __init__(self, certificates: Iterable[x509.Certificate] = (), secret: bytes | None = None) -> None:
        self._keys: dict[str, Any] = {fingerprint(each): each.public_key() for each in certificates}
        self._secret = secret

    @classmethod
    def load(
        cls, certificate_files: Sequence[str | os.PathLike[str]], secret_file: str | os.PathLike[str] | None = None
    ) -> TrustedKeys:
        """Return the keys in files: certificates in PEM form, one or several a file, and a secret in base64.

        Raises:
            ConfigurationError: a file holds neither, or others may read the secret.
            OSError: it cannot be read.
        """
        certificates: list[x509.Certificate] = []
        for path in certificate_files:
            with open(path, "rb") as file:
                pem = file.read()
            try:
                certificates += x509.load_pem_x509_certificates(pem)
            except ValueError:
                raise ConfigurationError(f"{os.fspath(path)} holds no certificate in PEM form") from None
        if secret_file is None:
            return cls(certificates)
        place = os.fspath(secret_file)
        return cls(certificates, read_secret(read_private_file(place), place))

    def find(self, algorithm: str, reference: str) -> Any:
        """Return the key for what a Resource says, or None."""
        if algorithm == "HMAC-SHA256":
            return self._secret
        key = self._keys.get(reference if reference.startswith("sha256:") else _fingerprint_of(reference))
        return key if isinstance(key, _KINDS.get(algorithm, ())) else None


_KINDS: Final[dict[str, type[Any]]] = {
    "EdDSA": ed25519.Ed25519PublicKey,
    "ES256": ec.EllipticCurvePublicKey,
    "RS256": rsa.RSAPublicKey,
    "RS512": rsa.RSAPublicKey,
}
_RSA_HASHES: Final[dict[str, Any]] = {"RS256": hashes.SHA256(), "RS512": hashes.SHA512()}


def check_signatures(document: Mapping[str, Any], keys: TrustedKeys) -> Iterator[Checked]:
    """Check every log record of an OTLP JSON document (`resourceLogs`), in order.

    A damaged document gives damaged records, and never an exception.
    """
    for i, resource_logs in enumerate(_objects(document.get("resourceLogs"))):
        described = _object(resource_logs.get("resource"))
        resource = dict(_strings(described.get("attributes")))
        for j, scope_logs in enumerate(_objects(resource_logs.get("scopeLogs"))):
            for k, record in enumerate(_objects(scope_logs.get("logRecords"))):
                attributes = dict(_strings(record.get("attributes")))
                state, detail = _check(record, attributes.get(VALUE), resource, keys)
                yield Checked((i, j, k), attributes.get(_ID, ""), state, detail)


def _check(
    record: Mapping[str, Any], value: str | None, resource: Mapping[str, str], keys: TrustedKeys
) -> tuple[State, str]:
    if value is None:
        return State.UNSIGNED, "no audit.integrity.value"
    algorithm, reference = resource.get(ALGORITHM, ""), resource.get(CERTIFICATE, "")
    key = keys.find(algorithm, reference)
    if key is None:
        named = f"{algorithm or 'no algorithm'}, {reference[:80] or 'no certificate'}"
        return State.UNVERIFIABLE, f"no trusted key for {named}"
    try:
        signature = base64.b64decode(value, validate=True)
        fields = _fields(record)
        if _verifies(algorithm, key, signature, signed_payload(fields)):
            return State.GOOD, ""
        if isinstance(fields.body, str) and _verifies(
            algorithm, key, signature, signed_payload(fields, tag_body=False)
        ):
            return State.GOOD, "signed in the older form, in which the body does not name its type"
    except (ValueError, TypeError, RecursionError) as error:
        return State.BAD, f"not a record that anybody signed so: {error}"
    return State.BAD, "the signature is not that of this record by this key"


def _verifies(algorithm: str, key: Any, signature: bytes, payload: bytes) -> bool:
    if algorithm == "HMAC-SHA256":
        return hmac.compare_digest(hmac.digest(key, payload, hashlib.sha256), signature)
    try:
        if algorithm == "EdDSA":
            key.verify(signature, payload)
        elif algorithm == "ES256":
            key.verify(signature, payload, ec.ECDSA(hashes.SHA256()))
        else:
            key.verify(signature, payload, padding.PKCS1v15(), _RSA_HASHES[algorithm])
    except InvalidSignature:
        return False
    return True


def _fields(record: Mapping[str, Any]) -> SignedFields:
    """Read a `LogRecord` of OTLP JSON (opentelemetry-proto, "JSON Protobuf Encoding")."""
    return SignedFields(
        _text(record.get("eventName", "")),
        _value(record["body"]) if record.get("body") is not None else None,
        _integer(record.get("timeUnixNano", 0)),
        _integer(record.get("observedTimeUnixNano", 0)),
        _text(record.get("traceId", "")).lower(),
        _text(record.get("spanId", "")).lower(),
        _pairs(record.get("attributes", []), 0),
    )


def _value(given: Any, depth: int = 0) -> Any:
    if depth > _MAX_DEPTH or not isinstance(given, Mapping):
        raise ValueError("an attribute or body that is no AnyValue")
    if not given:
        return None
    if len(given) != 1:
        raise ValueError("an AnyValue of several types")
    ((kind, value),) = given.items()
    if kind in {"stringValue", "boolValue"} and isinstance(value, str if kind == "stringValue" else bool):
        return value
    if kind == "intValue":
        return _integer(value)
    if kind == "doubleValue" and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        return float(value)
    if kind == "bytesValue" and isinstance(value, str):
        return base64.b64decode(value, validate=True)
    if kind == "arrayValue":
        return [_value(item, depth + 1) for item in _listed(_object(value).get("values", []))]
    if kind == "kvlistValue":
        return _pairs(_object(value).get("values", []), depth + 1)
    raise ValueError(f"an AnyValue of kind {kind!s:.32}")


def _pairs(given: Any, depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in _listed(given):
        if not isinstance(pair, Mapping):
            raise ValueError("an attribute that is no KeyValue")
        found[_text(pair.get("key", ""))] = _value(pair.get("value", {}), depth)
    return found


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)) or len(str(value)) > 20:
        raise ValueError("a number that is none")
    return int(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text that is none")
    return value


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("a list that is none")
    return value


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [_object(each) for each in value] if isinstance(value, list) else []


def _strings(attributes: Any) -> Iterator[tuple[str, str]]:
    for pair in _objects(attributes):
        name, value = pair.get("key"), _object(pair.get("value")).get("stringValue")
        if isinstance(name, str) and isinstance(value, str):
            yield name, value


def _fingerprint_of(reference: str) -> str:
    try:
        return f"sha256:{hashlib.sha256(base64.b64decode(reference, validate=True)).hexdigest()}"
    except (binascii.Error, ValueError):
        return ""
