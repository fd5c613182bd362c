"""Secrets inside text: in messages, exceptions, URLs, dumped JSON, command lines. Only the secret part is masked.

What is found (in `forms`): values beside a name that says "secret" (`password=...`, `'token': '...'`,
`<pin>...</pin>`), credentials of HTTP (RFC 9110, section 11) and of URLs (RFC 3986, section 3.2.1), signatures of
signed URLs, private keys in PEM (RFC 7468), JSON Web Tokens (RFC 7519), and tokens that their issuers gave a prefix to
be found by.

Almost no line holds any of that, so that finding out is what has to be cheap: `may_hold` looks for four marks and some
sixty beginnings in one pass. It may be wrong in one direction only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from .finding import compile_words, finder
from .names import DEFAULT_SECRET_NAMES, plain_name

__all__ = ["TextMask", "mask_text", "usual"]

_BEGINNINGS: Final = (
    *("AKIA", "ASIA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glp", "gldt-", "xox", "xapp-", "k_live_"),
    *("k_test_", "whsec_", "sk-ant-", "sk-proj-", "AIza", "ya29.", "GOCSPX-", "npm_", "pypi-", "hf_", "dop_v1_"),
    *("shpat_", "dckr_pat_", "SG.", "hvs.", "AGE-SECRET-KEY-", "ATATT3", "eyJ", "PRIVATE KEY", "://", "earer "),
    *("EARER ", "asic ", "ASIC ", "AUTH ", " -u ", "--pa", "--pw", "--se", "--to", "--ap", "--au", "word:", "asswd:"),
    *("pwd:", "cret:", "oken:", "key:", "Key:", "ials:", "okie:", "tion:", "WORD:", "CRET:", "OKEN:", "KEY:", "pin:"),
    *("otp:", "jwt:", "auth:", "@tcp("),
)
"""What stands in a line that holds a secret, if none of the marks does: the beginning of a token, a scheme, the end of
a name in `password: hunter2`."""
_MARKS: Final = ("=", "\\", "'", "</")
"""Of these, the backslash stands before every quote inside text. `<` alone is in every `code.function.name` such as
`<module>` and `app.<locals>.view`."""

_MOST_SCANNED: Final = 1 << 20
"""Characters; more than that fits on no line."""


class TextMask:
    """Masks secrets in text.

    Args:
        is_secret: tells whether what stands beside a name is a secret, wherever it stands.
        names: names that are secret beside the usual ones.
    """

    def __init__(self, is_secret: Callable[[str], bool], names: Iterable[str] = ()) -> None:
        from .forms import Forms  # takes some milliseconds; not at the first secret, which may be a program's last word

        own = [f"{form}:" for name in names for form in (name.strip("*"), name.strip("*").upper()) if form]
        self._forms = Forms(is_secret, usual=not own)
        signs = [*_MARKS, *_BEGINNINGS, *own]
        self.words = compile_words(signs)
        """What `may_hold` looks for; None without C."""
        self._finds = finder(signs, self.words)

    def may_hold(self, written: bytes) -> bool:
        """Tell whether a secret can be in an encoded line; False is certain."""
        return self._finds(written)

    def mask(self, text: str) -> str:
        """Return the text without the secrets in it; the same object if there are none."""
        if len(text) > _MOST_SCANNED:
            beginning = text[:_MOST_SCANNED]
            masked = self.mask(beginning)
            return text if masked is beginning else masked + text[_MOST_SCANNED:]
        raw = text.encode("utf-8", "surrogatepass")
        if not (34 in raw or self.may_hold(raw)):
            return text
        return self._forms.mask(text, raw)


_usual: TextMask | None = None


def usual() -> TextMask:
    """Return what masks by the usual names; made once."""
    global _usual
    if _usual is None:
        pattern = re.compile("|".join(f"(?:{name})" for name in DEFAULT_SECRET_NAMES))
        _usual = TextMask(lambda name: pattern.fullmatch(plain_name(name)) is not None)
    return _usual


def mask_text(text: str) -> str:
    """Return a text without the secrets in it, by the usual names: for what the package says of itself."""
    return usual().mask(text)
