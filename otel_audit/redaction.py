"""What must not be written: members whose names say that they hold a secret are masked before the hash.

Masking looks at names. A name once found harmless is remembered, so that a logging call with the usual names costs
one set comparison.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from .canonical import Alteration

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
)
"""Regular expressions, matched against whole names in lower case with `-` and space read as `_`."""

_MAX_REMEMBERED: Final = 4096
_MAX_DEPTH: Final = 32
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
    """Masks values by the name that they stand under, at any depth of `data` and `audit.changes`."""

    def __init__(self, names: Iterable[str] = DEFAULT_SECRET_NAMES) -> None:
        self._pattern = re.compile("|".join(f"(?:{name})" for name in names))
        self.harmless: set[str] = set()
        """Names that were looked at and hold no secret."""

    def clean(self, record: dict[str, Any], notes: list[Alteration]) -> dict[str, Any]:
        """Return the record with secrets masked; the same object if there are none. Notes say what was masked."""
        data = record.get("data")
        if data is not None:
            cleaned = self._clean(data, "/data", notes, _MAX_DEPTH)
            if cleaned is not data:
                record = {**record, "data": cleaned}
        changes = record["audit"].get("changes")
        if changes is not None:
            cleaned = self._clean(changes, "/audit/changes", notes, _MAX_DEPTH)
            if cleaned is not changes:
                record = {**record, "audit": {**record["audit"], "changes": cleaned}}
        return record

    def _clean(self, value: Any, path: str, notes: list[Alteration], depth: int) -> Any:
        if depth == 0:
            return value
        if isinstance(value, dict):
            return self._clean_object(value, path, notes, depth)
        if isinstance(value, (list, tuple)):
            cleaned = [self._clean(item, f"{path}/{i}", notes, depth - 1) for i, item in enumerate(value)]
            return cleaned if any(new is not old for new, old in zip(cleaned, value, strict=True)) else value
        return value

    def _clean_object(self, value: dict[Any, Any], path: str, notes: list[Alteration], depth: int) -> dict[Any, Any]:
        replaced: dict[Any, Any] = {}
        if not self.harmless.issuperset(value):
            for name in value:
                if self._is_secret(name):
                    replaced[name] = MASK
                    notes.append(Alteration(f"{path}/{name}", "redacted"))
        for name, item in value.items():
            if isinstance(item, (dict, list, tuple)) and name not in replaced:
                cleaned = self._clean(item, f"{path}/{name}", notes, depth - 1)
                if cleaned is not item:
                    replaced[name] = cleaned
        return {**value, **replaced} if replaced else value

    def _is_secret(self, name: Any) -> bool:
        if name in self.harmless or not isinstance(name, str):
            return False
        if self._pattern.fullmatch(plain_name(name)):
            return True
        if len(self.harmless) < _MAX_REMEMBERED:
            self.harmless.add(name)
        return False
