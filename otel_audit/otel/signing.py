"""`integrity="otel-signing"`: signatures over the bytes that the Collector's `signing` processor signs.

That is opentelemetry-collector-contrib's `processor/signing`, the type-tagged form of September 2026: RFC 8785 of one
object with the record's name, body, times, trace ids and attributes; scalars are wrapped in an object that names their
type, integers and times are decimal strings, what is empty is left out, and so is every `audit.integrity.*` attribute.
Severity, scope and resource are not signed. A record attribute that somebody adds later breaks the signature; resource
attributes do not.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from otel_audit.canonical import jcs
from otel_audit.errors import ConfigurationError
from otel_audit.integrity.keys import read_private_file
from otel_audit.record import DRAFT_NAMES

__all__ = ["Algorithm", "RecordSigner", "SignedFields", "fingerprint", "read_secret", "signed_payload"]

Algorithm = Literal["EdDSA", "ES256", "RS256", "RS512", "HMAC-SHA256"]
"""As `audit.integrity.algorithm` names them. ES256 is ASN.1 DER here, as upstream has it, and not JOSE's r‖s."""

INTEGRITY_PREFIX: Final = "audit.integrity."
VALUE: Final = DRAFT_NAMES["integrity.value"]
ALGORITHM: Final = DRAFT_NAMES["integrity.algorithm"]
CERTIFICATE: Final = DRAFT_NAMES["integrity.certificate"]
SIGNER: Final = DRAFT_NAMES["integrity.signer"]
CANONICALIZATION: Final = DRAFT_NAMES["integrity.canonicalization"]

_MAX_DEPTH: Final = 128
_MAX_BYTES: Final = 1 << 21
_LEAST_HMAC_KEY: Final = 32


class SignedFields(NamedTuple):
    """A log record as far as it is signed. Values are Python's: bool, int, float, str, bytes, list, dict, None."""

    event_name: str
    body: Any
    timestamp: int
    """Unix time in ns; 0 for none."""
    observed_timestamp: int
    trace_id: str
    """32 hex digits, or empty."""
    span_id: str
    attributes: Mapping[str, Any]


def signed_payload(record: SignedFields, *, tag_body: bool = True) -> bytes:
    """Return the bytes that are signed.

    Args:
        tag_body: whether a string body names its type; revisions before the change to tags had it bare.

    Raises:
        ValueError: what the processor refuses as well: not a number, infinity, an integer beyond 64 bits, text that is
            no UTF-8, more than 128 levels, more than 2 MiB.
    """
    fields: dict[str, Any] = {}
    if record.event_name:
        fields["event_name"] = record.event_name
    if record.body is not None:
        fields["body"] = record.body if not tag_body and isinstance(record.body, str) else _typed(record.body)
    if record.timestamp:
        fields["timestamp"] = str(record.timestamp)
    if record.observed_timestamp:
        fields["observed_timestamp"] = str(record.observed_timestamp)
    if record.trace_id.strip("0"):
        fields["trace_id"] = record.trace_id
    if record.span_id.strip("0"):
        fields["span_id"] = record.span_id
    signed = {name: _typed(value) for name, value in record.attributes.items() if not name.startswith(INTEGRITY_PREFIX)}
    if signed:
        fields["attributes"] = signed
    payload = jcs(fields)
    if len(payload) > _MAX_BYTES:
        raise ValueError(f"{len(payload)} bytes are more than the {_MAX_BYTES} that may be signed")
    return payload


def _typed(value: Any, depth: int = 0) -> Any:
    if depth > _MAX_DEPTH:
        raise ValueError(f"more than {_MAX_DEPTH} levels of nesting")
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 63:
            raise ValueError("an integer beyond 64 bits")
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, bytes):
        return {"bytesValue": base64.b64encode(value).decode()}
    if isinstance(value, (list, tuple)):
        return [_typed(item, depth + 1) for item in value]
    if isinstance(value, Mapping):
        return {name: _typed(item, depth + 1) for name, item in value.items()}
    if value is None:
        return None
    raise ValueError(f"OTLP has no {type(value).__name__}")


def fingerprint(certificate: x509.Certificate) -> str:
    """Return how a record names a certificate: `sha256:` and the hash of its DER form, in hex."""
    return f"sha256:{certificate.fingerprint(hashes.SHA256()).hex()}"


class RecordSigner:
    """Signs records as the Collector's processor does. The key's kind chooses the algorithm.

    Args:
        key: an Ed25519, P-256 or RSA private key, or a secret of at least 32 bytes.
        certificate: names the key at the far end; none for a secret.

    Raises:
        ConfigurationError: another kind of key, or a certificate of another key.
    """

    algorithm: Algorithm

    def __init__(self, key: Any, certificate: x509.Certificate | None = None) -> None:
        self._key = key
        self.algorithm = _algorithm_of(key)
        if (certificate is None) != isinstance(key, bytes):
            needed = "a secret has no certificate" if certificate is not None else "a private key needs its certificate"
            raise ConfigurationError(f"otel-signing: {needed}")
        self.resource: dict[str, str] = {ALGORITHM: self.algorithm}
        """What belongs on the Resource of records that this signs."""
        if certificate is not None:
            if _spki(certificate.public_key()) != _spki(key.public_key()):
                raise ConfigurationError("otel-signing: the certificate belongs to another key")
            self.resource[CERTIFICATE] = fingerprint(certificate)

    @classmethod
    def load(cls, key_file: str | os.PathLike[str], certificate_file: str | os.PathLike[str] | None) -> RecordSigner:
        """Return the signer of a PKCS#8 PEM key and its certificate, or of a secret: a file of standard base64.

        Raises:
            ConfigurationError: the files hold nothing that can be used, or others may read the key.
            OSError: they cannot be read.
        """
        content = read_private_file(os.fspath(key_file))
        if b"-----BEGIN" not in content:
            return cls(read_secret(content, os.fspath(key_file)))
        try:
            key = serialization.load_pem_private_key(content, None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # Not chained: a parser's message may repeat what it read.
            raise ConfigurationError(f"{os.fspath(key_file)} holds no private key that could be read") from None
        if certificate_file is None:
            return cls(key)
        with open(certificate_file, "rb") as file:
            pem = file.read()
        try:
            return cls(key, x509.load_pem_x509_certificate(pem))
        except ValueError:
            raise ConfigurationError(f"{os.fspath(certificate_file)} holds no certificate in PEM form") from None

    def __repr__(self) -> str:
        return f"<RecordSigner {self.algorithm} {self.resource.get(CERTIFICATE, '')}>"

    def attributes(self, record: SignedFields) -> dict[str, str]:
        """Return the attributes that a record gets: its signature, who signed, and how it was written down.

        Raises:
            ValueError: as for `signed_payload`.
        """
        signature = base64.b64encode(self._sign(signed_payload(record))).decode()
        return {VALUE: signature, SIGNER: "producer", CANONICALIZATION: "jcs"}

    def _sign(self, payload: bytes) -> bytes:
        key = self._key
        if isinstance(key, bytes):
            return hmac.digest(key, payload, hashlib.sha256)
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return key.sign(payload)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key.sign(payload, ec.ECDSA(hashes.SHA256()))
        signature: bytes = key.sign(payload, padding.PKCS1v15(), hashes.SHA256())
        return signature


def _algorithm_of(key: Any) -> Algorithm:
    if isinstance(key, bytes):
        if len(key) < _LEAST_HMAC_KEY:
            raise ConfigurationError(f"otel-signing: a secret needs {_LEAST_HMAC_KEY} bytes, this one has {len(key)}")
        return "HMAC-SHA256"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "EdDSA"
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return "ES256"
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return "RS256"
    raise ConfigurationError("otel-signing: the key must be Ed25519, P-256, or RSA of at least 2048 bits")


def _spki(public: Any) -> bytes:
    der: bytes = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return der


def read_secret(content: bytes, place: str) -> bytes:
    """Return the secret in a file's content, which is standard base64.

    Raises:
        ConfigurationError: it is not.
    """
    try:
        return base64.b64decode(content.strip(), validate=True)
    except binascii.Error:
        raise ConfigurationError(f"{place} holds neither a PEM key nor a secret in base64") from None
