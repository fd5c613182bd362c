"""Names that say that what stands under them is a secret."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

__all__ = ["DEFAULT_SECRET_NAMES", "MASK", "glob", "name_patterns", "plain_name"]

MASK: Final = "[redacted]"

_COUNTED: Final = "(prompt|completion|input|output|total|max|min|cached|cache_read|cache_creation|reasoning|used)"
"""What stands before `_tokens` where language models count them."""

DEFAULT_SECRET_NAMES: Final = (
    r"pass(word|wd|phrase)?",
    r"pwd",
    r"secrets?",
    r".*(password|passwd|passphrase|secret|(api|private|access|signing|encryption|account)_?key)s?(_?\d{1,2})?",
    rf"(?!.*{_COUNTED}_tokens\Z)(.*_)?(token|tokens|jwt|otp|totp|pin|cvv|cvc|mfa_code)",
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

_PLAIN: Final = str.maketrans({"-": "_", " ": "_", "[": "_", "]": None})
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@lru_cache(4096)
def plain_name(name: str) -> str:
    """Return a name as patterns see it: `accessToken`, `Access-Token`, `access[token]` are all `access_token`."""
    return _CAMEL.sub("_", name[:256]).lower().translate(_PLAIN)


def name_patterns(add: Iterable[str], keep: Iterable[str]) -> tuple[str, ...]:
    """Return what `Redactor` takes: the usual names and those to `add`, without those to `keep`; `*` is a wildcard."""
    masked = (*DEFAULT_SECRET_NAMES, *map(glob, add))
    if not (kept := tuple(map(glob, keep))):
        return masked
    return (rf"(?!(?:{'|'.join(kept)})\Z)(?:{'|'.join(masked)})",)


def glob(name: str) -> str:
    """Return the regular expression of a name with wildcards, for names as `plain_name` returns them."""
    return ".*".join(map(re.escape, plain_name(name).split("*")))
