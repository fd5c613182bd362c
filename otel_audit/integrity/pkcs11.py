"""Signing keys that stay in a hardware module: Ed25519 over PKCS#11, named by a URI (RFC 7512).

    pkcs11:token=audit;object=checkpoints?module-path=/usr/lib/hsm.so&pin-source=/etc/shop/pin&name=shop.example/audit

`token` and `object` are the labels of the token and of the key pair on it, `name` is the key's name in checkpoints.
The PIN stands in a file with mode 0600, never in the URI. Needs the package python-pkcs11.
"""

from __future__ import annotations

import os
import threading
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from otel_audit.errors import ConfigurationError
from otel_audit.integrity.keys import from_callable, read_private_file
from otel_audit.integrity.signatures import Signer

__all__ = ["SCHEME", "open_token"]

SCHEME: Final = "pkcs11:"
_PATH: Final = ("token", "object")
_QUERY: Final = ("module-path", "pin-source", "name")


def open_token(uri: str) -> Signer:
    """Return the signer of the key that a `pkcs11:` URI names.

    Raises:
        ConfigurationError: the URI, the module, the token, the PIN or the key is not usable.
        OSError: the PIN's file cannot be read.
    """
    given = _parse(uri)
    pin = read_private_file(given["pin-source"]).decode("utf-8", "replace").strip()
    token = _Token(given["module-path"], given["token"], given["object"], pin)
    return from_callable(given["name"], token.public(), token.sign)


def _parse(uri: str) -> dict[str, str]:
    path, _, query = uri.removeprefix(SCHEME).partition("?")
    pairs = [part.partition("=")[::2] for part in path.split(";")]
    given = {name: unquote(value) for name, value in pairs} | dict(parse_qsl(query))
    if unknown := given.keys() - {*_PATH, *_QUERY}:
        raise ConfigurationError(
            f"{SCHEME} {min(unknown)!r} is not known there; {', '.join((*_PATH, *_QUERY))} are. A PIN belongs into the "
            "file that pin-source names"
        )
    if missing := [name for name in (*_PATH, *_QUERY) if not given.get(name)]:
        raise ConfigurationError(
            f"{SCHEME} {missing[0]} is missing; write "
            "pkcs11:token=T;object=KEY?module-path=FILE&pin-source=FILE&name=NAME"
        )
    given["pin-source"] = given["pin-source"].removeprefix("file:")
    return given


class _Token:
    """A session with a token. A forked child opens its own: a session does not outlive a fork (PKCS#11, 5.4)."""

    def __init__(self, module: str, token: str, label: str, pin: str) -> None:
        try:
            import pkcs11
        except ImportError as error:
            raise ConfigurationError("pkcs11: keys need python-pkcs11: pip install 'otel-audit[pkcs11]'") from error
        self._pkcs11: Any = pkcs11
        self._module = module
        self._token = token
        self._label = label
        self._pin = pin
        self._lock = threading.Lock()
        self._session: Any = None
        self._process = 0

    def public(self) -> bytes:
        """Return the public key, 32 bytes."""
        point = self._ask(
            lambda session: self._key(session, self._pkcs11.ObjectClass.PUBLIC_KEY)[self._pkcs11.Attribute.EC_POINT]
        )
        if len(point) == 34 and point[:2] == b"\x04\x20":  # as a DER octet string, in most modules
            point = point[2:]
        if len(point) != 32:
            raise ConfigurationError(f"the key {self._label!r} on token {self._token!r} is no Ed25519 key")
        return bytes(point)

    def sign(self, message: bytes) -> bytes:
        """Return the Ed25519 signature.

        Raises:
            ConfigurationError: the module does not answer, or refuses.
        """
        eddsa = self._pkcs11.Mechanism.EDDSA
        return bytes(
            self._ask(
                lambda session: self._key(session, self._pkcs11.ObjectClass.PRIVATE_KEY).sign(message, mechanism=eddsa)
            )
        )

    def _key(self, session: Any, kind: Any) -> Any:
        return session.get_key(object_class=kind, label=self._label)

    def _ask(self, question: Any) -> Any:
        with self._lock:
            try:
                return question(self._open())
            except (self._pkcs11.PKCS11Error, RuntimeError) as error:
                self._session = None  # the next call opens a new one: the module may have been restarted
                # The library's messages name what is wrong, and hold no PIN.
                said = f": {error}" if str(error) else ""
                raise ConfigurationError(
                    f"the key {self._label!r} on token {self._token!r}: {type(error).__name__}{said}"
                ) from error

    def _open(self) -> Any:
        if self._session is None or self._process != os.getpid():
            module = self._pkcs11.lib(self._module)
            if self._process not in {0, os.getpid()}:
                module.reinitialize()
            self._process = os.getpid()
            token = module.get_token(token_label=self._token)
            try:
                self._session = token.open(user_pin=self._pin)
            except self._pkcs11.UserAlreadyLoggedIn:  # another signer of this process: logged in is the whole process
                self._session = token.open()
        return self._session

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._token} {self._label}>"
