"""Sealed fields: values encrypted under the key of the person that they are about.

    aes-256-gcm:<key id>:<base64url, without padding, of nonce (12 bytes) || ciphertext || tag (16 bytes)>

The plain text is the value in RFC 8785 form. The additional data is the RFC 8785 form of
["otel-audit sealed 1", @timestamp, event_name, place], where `place` is spelled as in `audit.altered`: a sealed value
that is put elsewhere cannot be opened there. The hash of a record covers the sealed value, so that nothing changes
for a verifier when the key is destroyed. (AES-GCM: NIST SP 800-38D, with random nonces: 2^32 values for one key.)
"""

from __future__ import annotations

import base64
import bisect
import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from otel_audit.canonical import jcs
from otel_audit.notices import notice

from .names import MASK
from .paths import Steps, follow
from .pseudonyms import as_text
from .subject_keys import SubjectKey, SubjectKeys

__all__ = ["SEALED", "Sealing", "find_subject", "find_values", "open_sealed", "seal"]

SEALED: Final = re.compile(r"aes-256-gcm:([0-9a-f]{40}):([A-Za-z0-9_-]{38,})")
_DOMAIN: Final = "otel-audit sealed 1"
_NONCE: Final = 12
_TAG: Final = 16
_HEAD: Final = len("aes-256-gcm::") + 40
"""Bytes of a sealed value before its base64."""


def seal(key: SubjectKey, value: Any, place: str, record: Mapping[str, Any]) -> str:
    """Encrypt a JSON-safe value that stands at a place of a record."""
    nonce = os.urandom(_NONCE)
    sealed = nonce + AESGCM(key.secret).encrypt(nonce, jcs(value), _bound_to(place, record))
    return f"aes-256-gcm:{key.id}:{base64.urlsafe_b64encode(sealed).rstrip(b'=').decode()}"


def open_sealed(key: SubjectKey, sealed: str, place: str, record: Mapping[str, Any]) -> Any:
    """Decrypt what `seal` made.

    Raises:
        ValueError: it was sealed under another key, for another place, or was changed.
    """
    form = SEALED.fullmatch(sealed)
    if form is None or form[1] != key.id:
        raise ValueError("it is not sealed under this key")
    raw = base64.urlsafe_b64decode(form[2] + "=" * (-len(form[2]) % 4))
    try:
        return json.loads(AESGCM(key.secret).decrypt(raw[:_NONCE], raw[_NONCE:], _bound_to(place, record)))
    except (InvalidTag, ValueError) as error:
        raise ValueError("it was changed, cut, or sealed for another place or record") from error


def _bound_to(place: str, record: Mapping[str, Any]) -> bytes:
    return jcs([_DOMAIN, record["@timestamp"], record["event_name"], place])


def find_values(steps: Steps, value: Any) -> Iterator[Any]:
    """Yield what stands at a path."""
    if isinstance(value, dict):
        for name, item in value.items():
            for rest in follow(steps, name):
                if rest:
                    yield from find_values(rest, item)
                else:
                    yield item
    elif isinstance(value, list):
        for item in value:
            yield from find_values(steps, item)


def find_subject(steps: Steps, record: Mapping[str, Any]) -> str | None:
    """Return the id of the person whom a record is about, by the first value at a path; None if there is none."""
    for found in find_values(steps, dict(record)):
        value = found.get("id") if isinstance(found, dict) else found
        if isinstance(value, list):
            value = value[0] if value else None
        if value not in (None, "") and not isinstance(value, (dict, list)):
            return as_text(value)
    return None


class Sealing:
    """The change that seals values; what cannot be sealed is masked, never written."""

    whole = True

    def __init__(self, keys: SubjectKeys, subject: Steps) -> None:
        self.keys = keys
        self._subject = subject
        self._trouble: str | None = None

    def fit(self, value: Any, most: int) -> Any:
        """Return a value that takes at most `most` bytes when it is sealed: itself, or the beginning of its text.

        Of an object or array that is the beginning of its RFC 8785 form, as a string; where not even one character
        would fit, a mask.
        """
        room = (most - _HEAD) * 3 // 4 - _NONCE - _TAG
        spelled = jcs(value)
        if len(spelled) <= room:
            return value
        text = value if isinstance(value, str) else spelled.decode()
        text = text[: max(room, 0)]
        kept = bisect.bisect_right(range(1, len(text) + 1), room, key=lambda count: len(jcs(text[:count])))
        return text[:kept] or MASK

    def __call__(self, value: Any, place: str, record: Mapping[str, Any]) -> tuple[str, str]:
        """Return the sealed value, or a mask and why."""
        if value in ("", MASK):
            return value, "redacted"
        subject = find_subject(self._subject, record)
        if subject is None:
            return MASK, "redacted: no subject to seal it for"
        try:
            sealed = seal(self.keys.get(subject), value, place, record)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong: the event must live, and not in clear
            said = error.strerror if isinstance(error, OSError) else str(error)
            self._trouble = reason = f"{type(error).__name__}: {said or error}"
            notice(
                f"a field was masked, because it could not be sealed: {self.keys.directory}: {reason}", subject="seal"
            )
            return MASK, "redacted: not sealed"
        self._trouble = None
        return sealed, "sealed"

    def troubles(self) -> Mapping[str, Mapping[str, Any]]:
        """Return what keeps fields from being sealed, for the trail to record."""
        if self._trouble is None:
            return {}
        return {"subject keys": {"cause": "subject keys unavailable", "reason": self._trouble}}
