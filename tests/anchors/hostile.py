"""Time stamps that no real authority makes, for `openssl ts` refuses to: wrong usages, dates outside the certificate.

Made with asn1crypto from the keys of a real `Authority`, so that everything else about them is right.
"""

from __future__ import annotations

import datetime
from hashlib import sha256
from typing import Any

from asn1crypto import cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.anchors.tsa import Authority

__all__ = ["forge"]

_USAGES = {"time_stamping": ExtendedKeyUsageOID.TIME_STAMPING, "client_auth": ExtendedKeyUsageOID.CLIENT_AUTH}


def forge(
    authority: Authority,
    data: bytes,
    *,
    usages: Any = ("time_stamping",),
    critical: bool = True,
    days: int = 0,
    bare: bool = False,
    signer_days: tuple[int, int] = (-1, 7),
) -> bytes:
    """Return a reply over data, stamped so many days from now; `bare` leaves the certificate out."""
    key, certificate = _signer(authority, usages, critical, signer_days)
    now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) + datetime.timedelta(days=days)
    info = tsp.TSTInfo(
        {
            "version": "v1",
            "policy": "1.3.6.1.4.1.99999.1",
            "message_imprint": {
                "hash_algorithm": {"algorithm": "sha256"},
                "hashed_message": sha256(data).digest(),
            },
            "serial_number": 7,
            "gen_time": now,
        }
    ).dump()
    identifier = tsp.SigningCertificateV2(
        {"certs": [{"hash_algorithm": {"algorithm": "sha256"}, "cert_hash": sha256(certificate.dump()).digest()}]}
    )
    signed = cms.CMSAttributes(
        [
            cms.CMSAttribute({"type": "content_type", "values": ["tst_info"]}),
            cms.CMSAttribute({"type": "message_digest", "values": [sha256(info).digest()]}),
            cms.CMSAttribute({"type": "signing_certificate_v2", "values": [identifier]}),
        ]
    )
    signature = key.sign(cms.CMSAttributes(signed).dump(force=True), ec.ECDSA(hashes.SHA256()))
    signer_info = {
        "version": "v1",
        "sid": cms.SignerIdentifier(
            "issuer_and_serial_number",
            {"issuer": certificate.issuer, "serial_number": certificate.serial_number},
        ),
        "digest_algorithm": {"algorithm": "sha256"},
        "signed_attrs": signed,
        "signature_algorithm": {"algorithm": "sha256_ecdsa"},
        "signature": signature,
    }
    content = {
        "version": "v3",
        "digest_algorithms": [{"algorithm": "sha256"}],
        "encap_content_info": {"content_type": "tst_info", "content": core.ParsableOctetString(info)},
        "signer_infos": [signer_info],
    }
    if not bare:
        content["certificates"] = [cms.CertificateChoices("certificate", certificate)]
    token = cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData(content)})
    return tsp.TimeStampResp({"status": {"status": "granted"}, "time_stamp_token": token}).dump()


def _signer(
    authority: Authority, usages: Any, critical: bool, days: tuple[int, int]
) -> tuple[ec.EllipticCurvePrivateKey, asn1_x509.Certificate]:
    builder = authority.certify(days)
    if usages:
        named = x509.ExtendedKeyUsage([_USAGES[each] for each in usages])
        builder = builder.add_extension(named, critical=critical)
    certificate = builder.sign(authority.root_key, hashes.SHA256())
    return authority.key, asn1_x509.Certificate.load(certificate.public_bytes(serialization.Encoding.DER))
