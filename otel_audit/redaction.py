"""What must not be written: members whose names say that they hold a secret are masked before the hash.

Masking looks at names, not at text: a password inside a message, an exception's text or a URL is not found. A name
once found harmless is remembered, so that a logging call with the usual names costs one set comparison.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from .canonical import Alteration, HarmlessNames

__all__ = ["DEFAULT_SECRET_NAMES", "MASK", "Redactor", "name_patterns", "plain_name"]

MASK: Final = "[redacted]"

DEFAULT_SECRET_NAMES: Final = (
    r"pass(word|wd|phrase)?",
    r"pwd",
    r"secrets?",
    r".*(password|passwd|passphrase|secret|api_?key|private_?key|access_?key|signing_?key)",
    r"(.*_)?(token|tokens|jwt|otp|totp|pin|cvv|cvc|mfa_code)",
    r"(proxy_)?authori[sz]ation",
    r"(set_)?cookies?",
    r"x_(api_key|auth_token|csrf_token|amz_security_token)",
    r"credentials?",
    r"session_?(key|cookie)",
    r"secret_.*",
    r"passw(or)?d_.*",
    r"auth|bearer|.*_pass|(.*_)?dsn|connection_string",
    r"credit_card(_number)?|card_number|ssn",
    r".*csrf.*",
)
"""Regular expressions, matched against whole names in lower case with `-` and space read as `_`."""

_MAX_REMEMBERED: Final = 4096
_MAX_NAME: Final = 128
_NAMING: Final = frozenset({"attribute", "field", "header"})
"""Members that may hold the name of what stands in a member beside them (`_VALUES`); they are always looked at."""
_VALUES: Final = frozenset({"after", "before", "from", "new", "old", "to", "value"})
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def plain_name(name: str) -> str:
    """Return a name as patterns see it: `accessToken`, `Access-Token` and `access token` are all `access_token`."""
    return _CAMEL.sub("_", name[:256]).lower().replace("-", "_").replace(" ", "_")


def name_patterns(add: Iterable[str], keep: Iterable[str]) -> tuple[str, ...]:
    """Return what `Redactor` takes: the usual names and those to `add`, without those to `keep`; `*` is a wildcard."""
    masked = (*DEFAULT_SECRET_NAMES, *map(_pattern, add))
    if not (kept := tuple(map(_pattern, keep))):
        return masked
    return (rf"(?!(?:{'|'.join(kept)})\Z)(?:{'|'.join(masked)})",)


def _pattern(name: str) -> str:
    return ".*".join(map(re.escape, plain_name(name).split("*")))


class Redactor:
    """Masks values by the name that they stand under, at any depth of `audit` and `data`."""

    def __init__(self, names: Iterable[str] = DEFAULT_SECRET_NAMES) -> None:
        self._pattern = re.compile("|".join(f"(?:{name})" for name in names))
        self.harmless = HarmlessNames(_NAMING)
        """Names that were looked at and hold no secret."""

    def clean(self, record: dict[str, Any], notes: list[Alteration]) -> dict[str, Any]:
        """Return a JSON-safe record with secrets masked; the same object if there are none.

        Notes say what was masked; what they said of values below it is dropped, so that no trace of it is left.
        """
        found: list[Alteration] = []
        for member in ("audit", "data"):
            cleaned = self._clean(record.get(member), f"/{member}", found)
            if cleaned is not record.get(member):
                record = {**record, member: cleaned}
        if found:
            masked = {note.path for note in found}
            notes[:] = [note for note in notes if not _lies_below(note.path, masked)]
            notes.extend(found)
        return record

    def is_secret(self, name: str) -> bool:
        """Tell whether what stands under this name is masked."""
        return self._pattern.fullmatch(plain_name(name)) is not None

    def _clean(self, value: Any, path: str, notes: list[Alteration]) -> Any:
        if isinstance(value, dict):
            return self._clean_object(value, path, notes)
        if isinstance(value, list):
            if len(value) == 2 and isinstance(value[0], str) and self.is_secret(value[0]):  # a header as a pair
                notes.append(Alteration(f"{path}/1", "redacted"))
                return [value[0], MASK]
            cleaned = [self._clean(item, f"{path}/{i}", notes) for i, item in enumerate(value)]
            return cleaned if any(new is not old for new, old in zip(cleaned, value, strict=True)) else value
        return value

    def _clean_object(self, value: dict[str, Any], path: str, notes: list[Alteration]) -> dict[str, Any]:
        secret = {name for name in value if self._is_suspect(name)} if not self.harmless.issuperset(value) else set()
        if any(isinstance(named := value.get(naming), str) and self._is_suspect(named) for naming in _NAMING):
            secret.update(_VALUES & value.keys())  # {"field": "password", "old": ..., "new": ...}
        replaced: dict[str, Any] = dict.fromkeys(secret, MASK)
        notes.extend(Alteration(f"{path}/{name}", "redacted") for name in sorted(secret))
        for name, item in value.items():
            if isinstance(item, (dict, list)) and name not in secret:
                cleaned = self._clean(item, f"{path}/{name}", notes)
                if cleaned is not item:
                    replaced[name] = cleaned
        return {**value, **replaced} if replaced else value

    def _is_suspect(self, name: str) -> bool:
        if name in self.harmless or name in _NAMING:
            return False
        if self.is_secret(name):
            return True
        if len(self.harmless) < _MAX_REMEMBERED and len(name) <= _MAX_NAME:
            self.harmless.add(name)
        return False


def _lies_below(path: str, masked: set[str]) -> bool:
    return any(path == each or path.startswith(f"{each}/") for each in masked)
