"""Where signing keys come from: a file, the environment, or a service that never gives the key away.

A key file is PKCS#8 PEM, readable by its owner only; its public half stands beside it as `<file>.vkey`, one
line, which also gives the key its name. Nothing here ever prints, logs or repeats a private key.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Any, Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from otel_audit.errors import ConfigurationError
from otel_audit.integrity.durable import create_file
from otel_audit.integrity.note import check_name, split_vkey
from otel_audit.integrity.signatures import (
    CosignatureKey,
    CosignatureSigner,
    Ed25519Signer,
    MLDSA44Signer,
    Signer,
)

__all__ = [
    "Algorithm",
    "from_callable",
    "from_environment",
    "from_pem",
    "generate",
    "load",
    "read_private_file",
]

Algorithm = Literal["ed25519", "ml-dsa-44", "cosignature"]
MAX_KEY_FILE = 65_536


def generate(
    path: str | os.PathLike[str],
    name: str,
    *,
    algorithm: Algorithm = "ed25519",
    password: bytes | None = None,
) -> str:
    """Make a key; write it to `path` (new, mode 0600) and its verifier key to `<path>.vkey`; return the
    latter.

    Raises:
        ConfigurationError: this `cryptography` does not have the algorithm.
        FileExistsError: there is a file already; a key is never overwritten.
    """
    check_name(name)
    private = _generate(algorithm)
    protection: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        protection = serialization.BestAvailableEncryption(password)
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)
    vkey = _signer(name, private, cosign=algorithm == "cosignature").vkey
    create_file(os.fspath(path), pem, 0o600)
    create_file(f"{os.fspath(path)}.vkey", f"{vkey}\n".encode(), 0o644)
    return vkey


def _generate(algorithm: Algorithm) -> Any:
    if algorithm != "ml-dsa-44":
        return Ed25519PrivateKey.generate()
    try:
        from cryptography.hazmat.primitives.asymmetric import mldsa

        return mldsa.MLDSA44PrivateKey.generate()
    except (ImportError, UnsupportedAlgorithm) as error:
        raise ConfigurationError("ML-DSA-44 needs a `cryptography` that has it; use ed25519") from error


def load(path: str | os.PathLike[str], name: str | None = None, *, password: bytes | None = None) -> Signer:
    """Return the signer of a PKCS#8 PEM file. Without `name`, `<path>.vkey` names it and must fit the key.

    Raises:
        ConfigurationError: the file is readable by others, is no usable key, or does not fit its verifier
        key. OSError: it cannot be read.
    """
    place = os.fspath(path)
    pem = read_private_file(place)
    expected = None
    if name is None:
        expected = _read_vkey(f"{place}.vkey")
        name, material = split_vkey(expected)
        signer = from_pem(name, pem, source=place, password=password, cosign=material[0] == CosignatureKey.type_byte)
    else:
        signer = from_pem(name, pem, source=place, password=password)
    if expected is not None and signer.vkey != expected:
        raise ConfigurationError(f"{place}.vkey is not the verifier key of {place}; put the right one there")
    return signer


def _read_vkey(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(MAX_KEY_FILE).strip()
    except FileNotFoundError:
        raise ConfigurationError(
            f"the key has no name: give one, or put its verifier key into {path} (`otel-audit keys show` prints it)"
        ) from None


def from_environment(variable: str, name: str) -> Signer:
    """Return the signer of a PKCS#8 PEM in an environment variable (its newlines may be written as `\\n`).

    Raises:
        ConfigurationError: the variable is not set or holds no usable key.
    """
    pem = os.environ.get(variable)
    if not pem:
        raise ConfigurationError(f"{variable} is not set; it must hold a private key in PKCS#8 PEM form")
    return from_pem(name, pem.replace("\\n", "\n").encode(), source=variable)


def from_pem(
    name: str, pem: bytes, *, source: str = "the key", password: bytes | None = None, cosign: bool = False
) -> Signer:
    """Return the signer of a PKCS#8 PEM. `source` names the place in messages.

    Raises:
        ConfigurationError: it is no unencrypted (or rightly opened) Ed25519 or ML-DSA-44 private key.
    """
    try:
        private = serialization.load_pem_private_key(pem, password)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Not chained: a parser's message may repeat what it read.
        raise ConfigurationError(
            f"{source} holds no private key in PKCS#8 PEM form that could be opened"
            + (" (is it encrypted?)" if password is None else " with this password")
        ) from None
    return _signer(name, private, cosign=cosign, source=source)


def from_callable(name: str, public: bytes, sign: Callable[[bytes], bytes]) -> Signer:
    """Return a signer whose key is elsewhere: `sign` gets a message and returns its Ed25519 signature (64
    bytes).

    For key management services, hardware modules, agents. It is called in the checkpointer's thread, never in
    the application's; every signature is checked with `public` (32 bytes) before it is used.
    """
    return Ed25519Signer(name, public, sign)


def _signer(name: str, private: Any, *, cosign: bool = False, source: str = "the key") -> Signer:
    if isinstance(private, Ed25519PrivateKey):
        kind = CosignatureSigner if cosign else Ed25519Signer
        return kind.from_private(name, private)
    if type(private).__name__ == "MLDSA44PrivateKey":
        return MLDSA44Signer(name, private.public_key().public_bytes_raw(), private.sign)
    raise ConfigurationError(f"{source} is a {type(private).__name__}; Ed25519 and ML-DSA-44 keys can sign here")


def read_private_file(path: str) -> bytes:
    """Read a file that holds a secret, after making sure that nobody else can.

    Raises:
        ConfigurationError: it is no regular file, belongs to someone else, or group or others have any right
        to it. OSError: it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ConfigurationError(f"{path} is not a regular file; a key must be one")
        if status.st_mode & 0o077:
            raise ConfigurationError(
                f"{path} has mode {stat.S_IMODE(status.st_mode):04o}: others may read or change the key. "
                "Run `chmod 600` on it, and replace the key if it may have been read"
            )
        if status.st_uid not in {0, os.geteuid()}:
            raise ConfigurationError(f"{path} belongs to user {status.st_uid}, not to this process's user")
        return file.read(MAX_KEY_FILE)
