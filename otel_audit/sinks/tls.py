"""TLS of the network sinks. The peer's certificate and name are always checked; no switch turns that off."""

from __future__ import annotations

import ssl
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from otel_audit.errors import ConfigurationError

__all__ = ["DEFAULT_TLS", "TlsSettings", "TlsVersion", "choose_tls", "warn_of_plaintext"]

TlsVersion = Literal["1.2", "1.3"]

_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True, kw_only=True)
class TlsSettings:
    """What a TLS connection needs to know. All files are PEM.

    Without `ca_file` the system's certificate authorities are trusted; with it, only those in the file.
    `server_name` is the name that the certificate must carry where it is not the host connected to.
    """

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    key_password_file: str | None = None
    server_name: str | None = None
    minimum_tls_version: TlsVersion = "1.2"

    def context(self) -> ssl.SSLContext:
        """Return a fresh context. Files are read anew, so a renewed certificate serves the next connection.

        Raises:
            ConfigurationError: a file is missing or unreadable or does not hold what it should; or a key or
                password is given without a certificate.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:  # ssl.SSLError among them
            raise ConfigurationError(f"ca_file {self.ca_file}: {_cause(error)}; PEM is needed") from error
        context.minimum_version = _VERSIONS[self.minimum_tls_version]
        if self.cert_file is None:
            if self.key_file or self.key_password_file:
                raise ConfigurationError("key_file and key_password_file need cert_file, the client certificate")
            return context
        try:
            context.load_cert_chain(self.cert_file, self.key_file, self._password)
        except OSError as error:
            files = " and ".join(filter(None, (self.cert_file, self.key_file)))
            raise ConfigurationError(f"client certificate and key in {files}: {_cause(error)}") from error
        return context

    def _password(self) -> bytes:
        # Given even where no password is expected: OpenSSL would ask for one on the terminal.
        if self.key_password_file is None:
            raise ConfigurationError(f"key_file {self.key_file or self.cert_file} is encrypted: set key_password_file")
        try:
            return Path(self.key_password_file).read_bytes().rstrip(b"\r\n")
        except OSError as error:
            raise ConfigurationError(f"key_password_file {self.key_password_file}: {_cause(error)}") from error


DEFAULT_TLS: Final = TlsSettings()
"""The system's certificate authorities, and no client certificate."""


def choose_tls(tls: TlsSettings, *, plaintext: bool, hosts: str, what: str = "audit records") -> TlsSettings | None:
    """Return the settings, or None if plain text was asked for, which is warned of. `what` is sent, for the warning.

    Raises:
        ConfigurationError: TLS settings are given with plain text.
    """
    if not plaintext:
        return tls
    if tls != DEFAULT_TLS:
        raise ConfigurationError(f"hosts {hosts}: plain text was asked for, and TLS settings are given")
    warn_of_plaintext(hosts, what, stacklevel=5)
    return None


def warn_of_plaintext(hosts: str, what: str = "audit records", *, stacklevel: int = 3) -> None:
    """Warn, once for each place in the code."""
    warnings.warn(
        f"{what} go to {hosts} in plain text: anyone on the way can read and change them; use TLS",
        RuntimeWarning,
        stacklevel=stacklevel,
    )


def _cause(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or str(error)
