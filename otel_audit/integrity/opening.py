"""One way to open a signing key file, whichever kind it is."""

from __future__ import annotations

import os

from otel_audit.integrity.keys import load
from otel_audit.integrity.pkcs11 import SCHEME, open_token
from otel_audit.integrity.seedfile import is_seed_file, open_epochs
from otel_audit.integrity.signatures import Signer

__all__ = ["open_signer"]


def open_signer(path: str | os.PathLike[str], name: str | None = None) -> Signer:
    """Return the signer of a key file: PKCS#8 PEM (`keys.load`), or epoch keys (`seedfile.open_epochs`).

    A path that begins with `pkcs11:` names a key in a hardware module (`pkcs11.open_token`).

    Raises:
        ConfigurationError: it is not usable, or others can read it.
        EpochsExhaustedError: its epochs are over.
        OSError: it cannot be read.
    """
    place = os.fspath(path)
    if place.startswith(SCHEME):
        return open_token(place)
    return open_epochs(path) if is_seed_file(path) else load(path, name)
