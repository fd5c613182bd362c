"""TLS settings: what they refuse, and that checking cannot be turned off."""

from __future__ import annotations

import dataclasses
import os
import ssl
from pathlib import Path

import pytest

from otel_audit.errors import ConfigurationError
from otel_audit.sinks.tls import TlsSettings
from tests.certificates import KEY_PASSWORD, Certificates


def test_certificates_and_names_are_always_checked(certificates: Certificates) -> None:
    for settings in (TlsSettings(), TlsSettings(ca_file=certificates.ca, server_name="logs")):
        context = settings.context()

        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_only_the_given_authority_is_trusted(certificates: Certificates) -> None:
    assert len(TlsSettings(ca_file=certificates.ca).context().get_ca_certs()) == 1


def test_the_minimum_version_can_be_raised(certificates: Certificates) -> None:
    settings = TlsSettings(ca_file=certificates.ca, minimum_tls_version="1.3")

    assert settings.context().minimum_version is ssl.TLSVersion.TLSv1_3


def test_a_client_key_is_read_with_its_password_from_a_file(certificates: Certificates) -> None:
    TlsSettings(
        ca_file=certificates.ca,
        cert_file=certificates.client.cert,
        key_file=certificates.client_key_encrypted,
        key_password_file=certificates.key_password_file,
    ).context()


def test_an_encrypted_key_without_a_password_is_an_error_and_asks_nobody(certificates: Certificates) -> None:
    settings = TlsSettings(cert_file=certificates.client.cert, key_file=certificates.client_key_encrypted)

    with pytest.raises(ConfigurationError, match="set key_password_file"):
        settings.context()


def test_a_wrong_password_is_not_shown(certificates: Certificates, tmp_path: Path) -> None:
    wrong = tmp_path / "password"
    wrong.write_text("hunter2")
    settings = TlsSettings(
        cert_file=certificates.client.cert,
        key_file=certificates.client_key_encrypted,
        key_password_file=os.fspath(wrong),
    )

    with pytest.raises(ConfigurationError) as refused:
        settings.context()

    assert "hunter2" not in str(refused.value)
    assert KEY_PASSWORD not in repr(settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ca_file": "/nonexistent/ca.pem"}, "ca_file /nonexistent/ca.pem: No such file"),
        ({"ca_file": os.devnull}, "ca_file /dev/null"),
        ({"cert_file": "/nonexistent/client.pem"}, "No such file"),
        ({"key_file": "/nonexistent/client.key"}, "need cert_file"),
        ({"key_password_file": "/nonexistent/password"}, "need cert_file"),
    ],
)
def test_an_unusable_file_is_named(change: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        dataclasses.replace(TlsSettings(), **change).context()


def test_a_key_of_another_certificate_is_refused(certificates: Certificates) -> None:
    settings = TlsSettings(cert_file=certificates.client.cert, key_file=certificates.server.key)

    with pytest.raises(ConfigurationError, match="KEY_VALUES_MISMATCH"):
        settings.context()
