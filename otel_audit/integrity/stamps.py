"""Time stamps (RFC 3161): a third party's signature that a signed checkpoint existed at a time.

What is stamped is the whole signed note, by its SHA-256. A reply is kept as it came (`TimeStampResp`, DER), so that
`openssl ts -verify -data <note> -in <reply> -CAfile <root>` checks it as well. Certificates have to be valid when the
stamp was made, not when it is checked. Needs the package `rfc3161-client`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256, sha384, sha512
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from otel_audit.errors import AuditError, ConfigurationError

if TYPE_CHECKING:
    from rfc3161_client import TimeStampResponse

__all__ = ["MAX_REPLY", "Stamp", "StampError", "check_reply", "make_query", "read_roots"]

MAX_REPLY: Final = 32_768
"""Largest reply read, in bytes: in base64 it fits into one record. One with a chain of RSA certificates takes 6 KB."""

_DIGESTS: Final = {
    "2.16.840.1.101.3.4.2.1": sha256,
    "2.16.840.1.101.3.4.2.2": sha384,
    "2.16.840.1.101.3.4.2.3": sha512,
}
_HINT: Final = "checking time stamps needs pip install 'otel-audit[tsa]'"


class StampError(AuditError, ValueError):
    """A time stamp does not say what it was offered for. `code` is stable, the message is for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Stamp(NamedTuple):
    """What a time stamp says."""

    time: datetime
    """When the stamped bytes existed at the latest, by the authority's clock; UTC."""
    signer: str
    """Subject of the certificate that signed."""
    serial: int


def make_query(data: bytes) -> tuple[bytes, int]:
    """Return a query (`TimeStampReq`, DER) for a stamp over SHA-256 of `data`, and its nonce.

    Raises:
        StampError: `rfc3161-client` is not installed.
    """
    try:
        from rfc3161_client import HashAlgorithm, TimestampRequestBuilder
    except ImportError as error:
        raise StampError("stamp-unchecked", _HINT) from error
    query = TimestampRequestBuilder(data, HashAlgorithm.SHA256, nonce=True, cert_req=True).build()
    assert query.nonce is not None
    return query.as_bytes(), query.nonce


def check_reply(reply: bytes, data: bytes, roots: Sequence[x509.Certificate], *, nonce: int | None = None) -> Stamp:
    """Check a reply: it stamps `data`, its signature is good, and its certificate leads to one of `roots`.

    Args:
        reply: the `TimeStampResp`, DER.
        data: what should be stamped.
        roots: self-signed certificates that are trusted to name time-stamping authorities.
        nonce: the query's, where the query is at hand.

    Raises:
        StampError: `stamp-malformed`, `stamp-refused`, `stamp-other-data`, `stamp-nonce`, `stamp-usage`,
            `stamp-expired`, `stamp-untrusted`, `stamp-invalid`; `stamp-unchecked` without `rfc3161-client`.
    """
    try:
        from rfc3161_client import VerificationError, Verifier, VerifierBuilder, decode_timestamp_response
    except ImportError as error:
        raise StampError("stamp-unchecked", _HINT) from error
    if len(reply) > MAX_REPLY:
        raise StampError("stamp-malformed", f"a reply of {len(reply)} bytes; at most {MAX_REPLY} are read")
    try:
        response = decode_timestamp_response(reply)
        if response.status != 0:
            said = " ".join(each for each in response.status_string if each.isprintable())[:200]
            raise StampError("stamp-refused", f"the authority gave no stamp: status {response.status} {said}".rstrip())
        stamp = _read(response, data, nonce)
        verifier: Verifier = VerifierBuilder(roots=list(roots)).build()
        verifier.verify_message(response, data)
    except StampError:
        raise
    except VerificationError as error:
        raise _classify(error) from error
    except Exception as error:  # the parsers of certificates raise more kinds than they name
        raise StampError("stamp-malformed", f"not a time-stamp reply: {str(error)[:200]}") from error
    return stamp


def _read(response: TimeStampResponse, data: bytes, nonce: int | None) -> Stamp:
    """Return what a reply says, once all but its signature is found in order."""
    info = response.tst_info
    digest = _DIGESTS.get(info.message_imprint.hash_algorithm.dotted_string)
    if digest is None or info.message_imprint.message != digest(data).digest():
        raise StampError("stamp-other-data", "the stamp is over other bytes")
    if nonce is not None and info.nonce != nonce:
        raise StampError("stamp-nonce", "the stamp answers another query (another nonce)")
    signer = _signer(response)
    try:
        usage = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        usage = None
    if usage is None or not usage.critical or list(usage.value) != [ExtendedKeyUsageOID.TIME_STAMPING]:
        # RFC 3161, section 2.3
        raise StampError("stamp-usage", "the signing certificate is not one for time stamps alone (extended key usage)")
    if not signer.not_valid_before_utc <= info.gen_time <= signer.not_valid_after_utc:
        raise StampError(
            "stamp-expired", f"the signing certificate was not valid at {info.gen_time:%Y-%m-%dT%H:%M:%SZ}"
        )
    return Stamp(info.gen_time, signer.subject.rfc4514_string(), info.serial_number)


def _signer(response: TimeStampResponse) -> x509.Certificate:
    infos = response.signed_data.signer_infos
    if len(infos) == 1:
        (info,) = infos
        for each in response.signed_data.certificates:
            certificate = x509.load_der_x509_certificate(each)
            if (certificate.issuer, certificate.serial_number) == (info.issuer, info.serial_number):
                return certificate
    raise StampError("stamp-malformed", "the stamp names no signer whose certificate it brings")


def _classify(error: Exception) -> StampError:
    """Tell a chain that leads to no trusted root from a signature that is wrong.

    The words are those of OpenSSL's PKCS7_verify, which looks at the chain first.
    """
    text = str(error)
    if "certificate verify error" in text:
        found = re.search(r'Verify error: ([^"]+)"', text)
        return StampError(
            "stamp-untrusted", f"the signing certificate is not trusted: {found[1] if found else text[:200]}"
        )
    return StampError("stamp-invalid", "the stamp's signature is not good")


def read_roots(raw: bytes, source: str) -> list[x509.Certificate]:
    """Return the certificates of a PEM or DER file.

    Raises:
        ConfigurationError: it holds none. `source` names it in the message.
    """
    try:
        if b"-----BEGIN" in raw:
            return x509.load_pem_x509_certificates(raw)
        return [x509.load_der_x509_certificate(raw)]
    except ValueError as error:
        raise ConfigurationError(f"{source}: this is no certificate (PEM or DER)") from error
