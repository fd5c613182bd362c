"""X.509: whose key a verifier key is, according to an authority that the auditor trusts.

A certificate never takes the policy's place: it helps an auditor to accept a verifier key, which then stands in the
policy as a `log` line. The certificate's own public key must be the one in the verifier key, and everything must
have been valid at the time that counts: the anchored time of what was signed, not the time of checking.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtensionOID

from otel_audit.errors import AuditError
from otel_audit.integrity.note import VerifierKey

__all__ = ["CertificateError", "check_certificate"]

_MAX_CHAIN: Final = 10
_UNDERSTOOD: Final = frozenset(
    {ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE, ExtensionOID.EXTENDED_KEY_USAGE}
)


class CertificateError(AuditError, ValueError):
    """A certificate does not say what it was offered for. The message says why."""


def check_certificate(key: VerifierKey, chain: bytes, roots: bytes, *, at: float) -> str:
    """Check that a certificate chain binds this key, up to a trusted root, at a time; return the subject's name.

    `chain` is PEM, the key's certificate first; `roots` is PEM; `at` is in POSIX seconds. Rules: RFC 5280, section 6,
    without name constraints, policies and revocation: a critical extension that is not understood is refused.

    Raises:
        CertificateError: it does not.
    """
    certificates, trusted = _read(chain, "the chain"), _read(roots, "the roots")
    moment = datetime.fromtimestamp(at, timezone.utc)
    leaf = certificates[0]
    if (
        leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)[-len(key.public) :]
        != key.public
    ):
        raise CertificateError(
            f"the certificate of {_name(leaf)} is for another key than {key.name}+{key.key_id.hex()}"
        )
    _check_usage(leaf, signs_certificates=False)
    current = leaf
    for depth in range(_MAX_CHAIN):
        _check_validity(current, moment)
        if current in trusted:
            return _name(leaf)
        issuer = _issuer(current, [*trusted, *certificates[1:]])
        _check_usage(issuer, signs_certificates=True, below=depth)
        current = issuer
    raise CertificateError(f"the chain of {_name(leaf)} is longer than {_MAX_CHAIN} certificates")


def _read(pem: bytes, what: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise CertificateError(f"{what}: no certificate in PEM form could be read") from error


def _issuer(certificate: x509.Certificate, candidates: Sequence[x509.Certificate]) -> x509.Certificate:
    for candidate in candidates:
        if candidate.subject == certificate.issuer:
            try:
                certificate.verify_directly_issued_by(candidate)
            except (InvalidSignature, ValueError, TypeError):
                continue
            return candidate
    raise CertificateError(f"the certificate of {_name(certificate)} does not lead to a trusted root")


def _check_validity(certificate: x509.Certificate, moment: datetime) -> None:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not begin <= moment <= end:
        raise CertificateError(f"the certificate of {_name(certificate)} is valid from {begin} to {end} only")


def _check_usage(certificate: x509.Certificate, *, signs_certificates: bool, below: int = 0) -> None:
    extensions = certificate.extensions
    for extension in extensions:
        if extension.critical and extension.oid not in _UNDERSTOOD:
            raise CertificateError(f"{_name(certificate)}: critical extension {extension.oid.dotted_string}")
    try:
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        usage = None
    if usage is not None and not (usage.key_cert_sign if signs_certificates else usage.digital_signature):
        raise CertificateError(f"the key of {_name(certificate)} is not meant for this use")
    if not signs_certificates:
        return
    try:
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        constraints = x509.BasicConstraints(ca=False, path_length=None)
    if not constraints.ca or (constraints.path_length is not None and constraints.path_length < below):
        raise CertificateError(f"{_name(certificate)} is no authority for a chain of this length")


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()
