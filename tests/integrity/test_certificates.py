"""Certificates: a chain that holds names the key's owner; any that does not is refused with the reason."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from otel_audit.cli.__main__ import main
from otel_audit.integrity.certificates import CertificateError, check_certificate
from otel_audit.integrity.signatures import Ed25519Key

NOW = datetime(2026, 11, 21, tzinfo=timezone.utc)


class Party:
    """Somebody with a key and a certificate."""

    def __init__(self, name: str, issuer: Party | None = None, *, ca: bool = True, **settings: Any) -> None:
        self.private = Ed25519PrivateKey.generate()
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signer = issuer or self
        days = settings.get("days", 365)
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(signer.name)
            .public_key(self.private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - timedelta(days=1))
            .not_valid_after(NOW + timedelta(days=days))
        )
        if settings.get("constraints", True):
            length = settings.get("path_length")
            builder = builder.add_extension(x509.BasicConstraints(ca, length if ca else None), critical=True)
        if "usage" in settings:
            chosen = dict.fromkeys(_USAGES, False) | {settings["usage"]: True}
            builder = builder.add_extension(x509.KeyUsage(**chosen), critical=True)
        if settings.get("strange"):
            builder = builder.add_extension(x509.NameConstraints([x509.DNSName("x")], None), critical=True)
        self.certificate = builder.sign(settings.get("forger", signer.private), None)
        self.pem = self.certificate.public_bytes(Encoding.PEM)
        self.key = Ed25519Key("shop.example/audit", self.private.public_key().public_bytes_raw())


_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
ROOT = Party("root")
BETWEEN = Party("between", ROOT, usage="key_cert_sign")
LEAF = Party("shop", BETWEEN, ca=False, usage="digital_signature")


def check(leaf: Party, *above: Party, roots: Party = ROOT, days: float = 0, key: Ed25519Key | None = None) -> str:
    chain = b"".join(each.pem for each in (leaf, *above))
    return check_certificate(key or leaf.key, chain, roots.pem, at=(NOW + timedelta(days=days)).timestamp())


def test_a_chain_to_a_trusted_root_names_the_keys_owner() -> None:
    assert check(LEAF, BETWEEN) == "CN=shop"
    assert check(LEAF, BETWEEN, ROOT) == "CN=shop"
    assert check(LEAF, roots=LEAF) == "CN=shop"


def test_an_expired_certificate_counts_for_what_was_signed_while_it_was_valid() -> None:
    short = Party("short", ROOT, ca=False, days=10)
    assert check(short, days=9) == "CN=short"
    with pytest.raises(CertificateError, match="valid from"):
        check(short, days=11)
    with pytest.raises(CertificateError, match="valid from"):
        check(short, days=-2)


@pytest.mark.parametrize(
    ("leaf", "above", "message"),
    [
        (LEAF, [], "does not lead"),
        (Party("shop", Party("root"), ca=False), [], "does not lead"),
        (Party("shop", ROOT, ca=False, forger=Ed25519PrivateKey.generate()), [], "does not lead"),
        (Party("x", LEAF, ca=False), [LEAF, BETWEEN], "not meant for this use"),
        (Party("x", (plain := Party("p", ROOT, ca=False)), ca=False), [plain], "no authority"),
        (Party("x", (bare := Party("b", ROOT, constraints=False)), ca=False), [bare], "no authority"),
        (Party("shop", ROOT, ca=False, usage="key_agreement"), [], "not meant for this use"),
        (Party("shop", ROOT, ca=False, strange=True), [], "critical extension"),
        (
            Party("x", (two := Party("two", (one := Party("one", ROOT, path_length=0)))), ca=False),
            [two, one],
            "no authority for a chain of this length",
        ),
    ],
)
def test_a_chain_that_does_not_hold_is_refused(leaf: Party, above: list[Party], message: str) -> None:
    with pytest.raises(CertificateError, match=message):
        check(leaf, *above)


def test_a_certificate_of_another_key_is_refused() -> None:
    with pytest.raises(CertificateError, match="another key"):
        check(LEAF, BETWEEN, key=BETWEEN.key)


@pytest.mark.parametrize("pem", [b"", b"x", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_refused(pem: bytes) -> None:
    with pytest.raises(CertificateError, match="PEM"):
        check_certificate(LEAF.key, pem, ROOT.pem, at=0)


def test_the_command_prints_the_line_for_the_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "chain").write_bytes(LEAF.pem + BETWEEN.pem)
    (tmp_path / "roots").write_bytes(ROOT.pem)
    arguments = ["keys", "certificate", LEAF.key.vkey, "--chain", str(tmp_path / "chain"), "--roots"]
    at = ["--at", str(NOW.timestamp())]
    assert main([*arguments, str(tmp_path / "roots"), *at]) == 0
    assert capsys.readouterr().out == f"# CN=shop\nlog {LEAF.key.vkey}\n"
    assert main([*arguments, str(tmp_path / "roots"), "--at", NOW.strftime("%Y-%m-%dT%H:%M:%SZ")]) == 0
    assert main([*arguments, str(tmp_path / "chain"), "--at", "0"]) == 2
    assert main([*arguments, str(tmp_path / "roots"), "--at", "yesterday"]) == 2
    assert "write 2026-11-01T00:00:00Z or POSIX seconds" in capsys.readouterr().err
