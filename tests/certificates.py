"""Certificates for TLS tests: an authority with a server and a client, and a rogue with the same names."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KEY_PASSWORD = "correct horse"
CLIENT_NAME = "audit-client"


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM files."""

    cert: str
    key: str


@dataclass(frozen=True)
class Certificates:
    """Paths of PEM files: the trusted authority's, the rogue's, and a client key that is encrypted."""

    ca: str
    server: Pair
    client: Pair
    client_key_encrypted: str
    key_password_file: str
    rogue_ca: str
    rogue_server: Pair
    rogue_client: Pair
    other_name_server: Pair
    """Of the trusted authority, for `other.example` only."""

    def server_context(self, pair: Pair | None = None, *, client_ca: str | None = None) -> ssl.SSLContext:
        """Return a TLS server's context; with `client_ca`, clients need a certificate of that authority."""
        pair = pair or self.server
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.cert, pair.key)
        if client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(client_ca)
        return context


def make_certificates(directory: Path) -> Certificates:
    """Write a fresh set into `directory`."""
    ca = _Authority(directory, "ca")
    rogue = _Authority(directory, "rogue-ca")
    client = ca.issue("client", CLIENT_NAME, [])
    encrypted = directory / "client-encrypted.key"
    key = serialization.load_pem_private_key(Path(client.key).read_bytes(), None)
    encrypted.write_bytes(_key_pem(key, KEY_PASSWORD))
    password_file = directory / "key-password"
    password_file.write_text(KEY_PASSWORD + "\n")
    local = ["localhost", "127.0.0.1", "::1"]
    return Certificates(
        ca=ca.path,
        server=ca.issue("server", "localhost", local),
        client=client,
        client_key_encrypted=str(encrypted),
        key_password_file=str(password_file),
        rogue_ca=rogue.path,
        rogue_server=rogue.issue("rogue-server", "localhost", local),
        rogue_client=rogue.issue("rogue-client", CLIENT_NAME, []),
        other_name_server=ca.issue("other-server", "other.example", ["other.example"]),
    )


class _Authority:
    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"otel-audit tests {name}")])
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        self._certificate = (
            _builder(subject, subject, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.path = str(directory / f"{name}.pem")
        Path(self.path).write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, file: str, common_name: str, names: Sequence[str]) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = (
            _builder(subject, self._certificate.subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
            )
        certificate = builder.sign(self._key, hashes.SHA256())
        cert_path, key_path = self._directory / f"{file}.pem", self._directory / f"{file}.key"
        cert_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_path.write_bytes(_key_pem(key))
        return Pair(str(cert_path), str(key_path))


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=7))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_pem(key: ec.EllipticCurvePrivateKey, password: str | None = None) -> bytes:
    protection = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)
