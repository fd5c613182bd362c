"""How secrets look in text, and how they are masked there. Read only once a text is suspicious: see `text`."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from .finding import finder
from .names import MASK, plain_name

__all__ = ["Forms"]

_ISSUED: Final = {
    "AKIA": r"[A-Z0-9]{16}",
    "ASIA": r"[A-Z0-9]{16}",
    "ghp_": r"\w{30,}",
    "gho_": r"\w{30,}",
    "ghu_": r"\w{30,}",
    "ghs_": r"\w{30,}",
    "ghr_": r"\w{30,}",
    "github_pat_": r"\w{20,}",
    "glpat-": r"[\w.-]{16,}",
    "glptt-": r"[\w.-]{16,}",
    "gldt-": r"[\w.-]{16,}",
    "xoxa-": r"[\w-]{10,}",
    "xoxb-": r"[\w-]{10,}",
    "xoxe-": r"[\w-]{10,}",
    "xoxp-": r"[\w-]{10,}",
    "xoxr-": r"[\w-]{10,}",
    "xoxs-": r"[\w-]{10,}",
    "xapp-": r"[\w-]{10,}",
    "sk_live_": r"\w{10,}",
    "rk_live_": r"\w{10,}",
    "sk_test_": r"\w{10,}",
    "rk_test_": r"\w{10,}",
    "whsec_": r"[\w+/=]{10,}",
    "sk-ant-": r"[\w-]{20,}",
    "sk-proj-": r"[\w-]{20,}",
    "AIza": r"[\w-]{35}",
    "ya29.": r"[\w.-]{20,}",
    "GOCSPX-": r"[\w-]{20,}",
    "npm_": r"[A-Za-z0-9]{36}",
    "pypi-": r"[\w-]{50,}",
    "hf_": r"[A-Za-z]{30,}",
    "dop_v1_": r"[0-9a-f]{60,}",
    "dckr_pat_": r"[\w-]{20,}",
    "shpat_": r"[0-9a-fA-F]{32}",
    "SG.": r"[\w-]{16,}\.[\w-]{16,}",
    "hvs.": r"[\w-]{20,}",
    "AGE-SECRET-KEY-": r"1[A-Z0-9]{50,}",
    "ATATT3": r"[\w=-]{20,}",
}
"""Beginnings that issuers of tokens publish, so that leaks can be found, and what follows each."""

_MENTIONS: Final = (
    *(
        "pass",
        "pwd",
        "secret",
        "key",
        "token",
        "jwt",
        "otp",
        "pin",
        "cvv",
        "cvc",
        "mfa",
        "auth",
        "cookie",
        "credential",
    ),
    *("dsn", "bearer", "connection", "card", "ssn", "csrf", "identified", "basic", " -u ", "--user"),
)
"""One of these is in every name that is secret by default, and in what else `_mask_named` finds; in lower case."""

_NAME: Final = (
    r"(?:(?<!\w)|(?<=%5b))"
    r"(?P<name>(?:(?:api|access|secret|private|client|auth|refresh|session)\s)?[A-Za-z_][\w.-]{0,63})"
)
_BARE: Final = r"""(?:[^\s"'&;,<>\\]|,(?![\s"']|[\w.-]{1,64}[=:]|\Z)|\\(?!["'\\]))+"""
_ASSIGNED: Final = re.compile(
    _NAME + r"""(?P<between>\\*["']?(?:(?:\]|%5d)\\*["']?)?\s{0,2}(?:=>|:=|=(?!=\s)|:)\s{0,2}(?:[bru](?=["']))?)""",
    re.IGNORECASE,
)
_ASSIGNED_VALUE: Final = re.compile(
    # A quote behind a backslash ends a value only if the backslash is itself escaped.
    r"""(?P<quote>(?P<deep>\\+)?["'])"""
    r"""(?P<quoted>[^\n]{0,4096}?(?<!\\)(?(deep)(?:\\\\\\\\)*|(?:\\\\)*))(?P=quote)"""
    r"""|(?P<open>\\*["'])(?P<unclosed>[^\n"']+)"""
    r"""|(?P<list>[\[(]\s?)(?:[bru]?(?P<each>\\*["'])[^\n]{0,1024}?(?<!\\)(?P=each)(?:,\s?)?){1,100}"""
    rf"|(?P<bare>{_BARE})"
)
_OBJECT: Final = re.compile(r"""\{(?:\s|\\+[nrt])*\\*["']""")
_BRACKET_OR_QUOTE: Final = re.compile(r"""[{}]|\\*["']""")
_HEADER: Final = re.compile(
    r"""(?P<kept>\b(?:proxy-)?authori[sz]ation\\*["']?\s{0,2}[:=]\s{0,2}\\*["']?)"""
    r"(?P<scheme>(?:basic|bearer|digest|negotiate|ntlm|token|apikey|hawk|dpop|signature|aws4-hmac-sha256)\s{1,4})?"
    r"""(?P<value>(?:(?<==)\\*"[^"\n\r]{0,1024}"|(?!\\[rn])[^"'\n\r])+)""",
    re.IGNORECASE,
)
_COOKIE: Final = re.compile(
    r"""(?P<kept>\b(?:set-)?cookie\\*["']?\s{0,2}:\s{0,2}\\*["']?)(?P<value>[^\s"'=;]{1,256}=(?:(?!\\[rn])[^"'\n\r])*)""",
    re.IGNORECASE,
)
_SCHEME: Final = re.compile(
    r"\b(?P<scheme>bearer|basic|auth plain|auth login)(?P<gap>\s{1,4})(?P<value>[\w.~+/=-]{6,})", re.IGNORECASE
)
_USERINFO: Final = re.compile(
    r"""://(?P<user>[^\s/?#"'<>:@\\]{0,256}):(?P<secret>[^\s/?#"'<>\\]{1,1024}|(?!\d{1,5}[/?#\s])[^\s?#"'<>\\]{1,256})@"""
)
_USER_ALONE: Final = re.compile(r"""://[^\s/?#"'<>:@\\]{20,1024}@""")
_DRIVER: Final = re.compile(
    r"""(?P<kept>(?<![^\s"'=(,\[{])[^\s/?#"'<>:@\\]{1,256}:)(?P<value>[^\s"'<>\\]{1,256}?)(?=@(?:tcp|unix)\()"""
)
"""How Go's MySQL driver is told where to connect to: `user:password@tcp(host:3306)/db`."""
_HOOK: Final = re.compile(
    r"""(?P<kept>\bhooks\.slack(?:-gov)?\.com(?:\\{0,4}/)(?:services|triggers|workflows)(?:\\{0,4}/))"""
    r"""(?P<value>(?:[^\s?#"'<>\\]|\\{1,4}/)+)"""
)
"""An address that lets anybody write into a channel."""
_PARAMETER: Final = re.compile(
    r"""(?P<kept>[?&;](?:[\w.-]{0,32}[_.-])?(?P<name>sig|signature|key|code|ticket|sid|session|sessionid)=)"""
    r"""(?P<value>[^\s&#"'<>;\\]{8,})""",
    re.IGNORECASE,
)
_PEM: Final = re.compile(
    r"(?P<begin>-----BEGIN (?P<kind>[A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?)-----).*?(?P<end>-----END (?P=kind)-----|\Z)",
    re.DOTALL,
)
_JWT: Final = re.compile(r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*){0,3}")
_TOKEN: Final = re.compile(
    rf"(?<![A-Za-z0-9])(?:{'|'.join(re.escape(begin) + rest for begin, rest in _ISSUED.items())})",
    re.ASCII,
)
_BEGIN: Final = re.compile("|".join(sorted(map(re.escape, _ISSUED), key=len, reverse=True)))
_ELEMENT: Final = re.compile(r"<(?P<name>[\w:.-]{1,64})(?P<rest>(?:\s[^<>]{0,256})?>)(?P<value>[^<>]{1,4096})</")
_PAIR: Final = re.compile(
    r"""(?P<kept>\(\s?b?["'](?P<name>[\w.-]{1,64})["'],\s?b?)(?P<quote>["'])(?P<value>[^\n]{1,1024}?)(?P=quote)\s?\)"""
)
_NAMED: Final = re.compile(
    r"""(?P<kept>(?<!\\)(?P<quote>\\{0,7}["'])(?:name|key|field|header)(?P=quote)\s?:\s?(?P=quote)(?P<name>[^"'\\\n]{1,64})(?P=quote)"""
    r""",\s?(?P=quote)value(?P=quote)\s?:\s?(?P=quote))(?P<value>[^\n]{1,1024}?)(?<!\\)(?P=quote)""",
    re.IGNORECASE,
)
_FLAG: Final = re.compile(
    r"""(?P<kept>--(?P<name>[A-Za-z][\w-]{1,40})(?:["'],\s?["']|\s{1,4}))(?P<value>[^\s"'-][^\s"']*)"""
)
_USER_FLAG: Final = re.compile(r"""(?P<kept>(?:\s-u|--user)[\s=]{1,3}["']?[^\s:"']{1,64}:)(?P<value>[^\s"']+)""")
_SQL: Final = re.compile(
    r"(?P<kept>\b(?:identified\s{1,3}by|password)\s{1,3})'(?P<value>(?:[^']|''){1,1024})'", re.IGNORECASE
)

_HARMLESS_WORDS: Final = frozenset(
    """
    a absent accepted added all and any are as at authentication authorization bad basic be bool by bytes cannot
    changed check correct could created deleted denied dict digest disabled does empty enabled error expected
    expired expires failed failure false field float for forgotten found from has hidden if in incorrect int invalid
    is issued it ldap length list login malformed masked mismatch missing must needed never new nil no none not null
    oauth oauth2 object of off ok old on only option or please policy refreshed refused rejected removed renewed
    request required reset revoked rotated saved set shall should stored str string success that the this to too
    true type undefined unknown unset updated use user valid verified was were when will with without wrong yes you
    your
    """.split()  # noqa: SIM905 - words, to be read as such
)
"""What may stand behind "password:" in a sentence."""
_STRONG: Final = re.compile(r"(.*_)?(pass.*|pwd|.*secret.*|.*_?key|credentials?|connection_string)")
_CODE: Final = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*(?P<call>[\[(].*)?")
_BASE64_BEGINNING: Final = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_PLACEHOLDER: Final = re.compile(r"[*•.…_{}()\[\]-]*|%[a-z]|[$%]?\{\{?\w*\}*|\*+|x+", re.IGNORECASE)
"""What stands for a value: `%s`, `{}`, `${NAME}`, `***`."""
_BRACKETS: Final = ")]}>"


_FINDS_ISSUED: Final = finder(_ISSUED)
_FINDS_MENTION: Final = finder(_MENTIONS)


class Forms:
    """Masks all forms of secrets in one text.

    Args:
        is_secret: tells whether what stands beside a name is a secret.
        usual: whether only the usual names are.
    """

    def __init__(self, is_secret: Callable[[str], bool], *, usual: bool) -> None:
        self._names_secret = lru_cache(2048)(lambda name: is_secret(name) or is_secret(name.rpartition(".")[2]))
        self._usual = usual

    def mask(self, text: str, raw: bytes) -> str:
        """Return the text, of which `raw` is the encoded form, without secrets."""
        # Functions replace what is found, not templates, for which `re` would import at the interpreter's end.
        masked = self._mask_forms(text, raw)
        if not self._usual or _FINDS_MENTION(text.lower().encode("utf-8", "surrogatepass")):
            masked = self._mask_named(masked)
        return text if masked == text else masked

    @staticmethod
    def _mask_forms(text: str, raw: bytes) -> str:
        """Mask what shows by its form that it is a secret."""
        masked = text
        if "PRIVATE KEY" in text:
            masked = _PEM.sub(lambda found: f"{found['begin']}{MASK}{found['end']}", masked)
        if "://" in text and "@" in text:
            masked = _USERINFO.sub(lambda found: f"://{found['user']}:{MASK}@", masked)
            masked = _USER_ALONE.sub(f"://{MASK}@", masked)
        if "@tcp(" in text or "@unix(" in text:
            masked = _DRIVER.sub(_mask_rest, masked)
        if "hooks.slack" in text:
            masked = _HOOK.sub(_mask_rest, masked)
        if "=" in text:
            masked = _PARAMETER.sub(_mask_parameter, masked)
        if "eyJ" in text:
            masked = _JWT.sub(MASK, masked)
        return _TOKEN.sub(_mask_token, masked) if _FINDS_ISSUED(raw) else masked

    def _mask_named(self, text: str) -> str:
        """Mask what a name or a word beside it says is a secret."""
        text = _HEADER.sub(_mask_header, text)
        text = _COOKIE.sub(_mask_rest, text)
        text = _SCHEME.sub(_mask_scheme, text)
        text = _SQL.sub(lambda found: f"{found['kept']}'{MASK}'", text)
        text = _USER_FLAG.sub(_mask_rest, text)
        if "<" in text:
            text = _ELEMENT.sub(self._mask_element, text)
        if "(" in text:
            text = _PAIR.sub(self._mask_pair, text)
        text = _NAMED.sub(self._mask_member, text)
        if "--" in text:
            text = _FLAG.sub(self._mask_flag, text)
        return self._mask_assigned(text)

    def _mask_element(self, found: re.Match[str]) -> str:
        if not self._names_secret(found["name"].rpartition(":")[2]) or MASK in found["value"]:
            return found[0]
        return f"<{found['name']}{found['rest']}{MASK}</"

    def _mask_pair(self, found: re.Match[str]) -> str:
        if not self._names_secret(found["name"]) or MASK in found["value"]:
            return found[0]
        return f"{found['kept']}{found['quote']}{MASK}{found['quote']})"

    def _mask_member(self, found: re.Match[str]) -> str:
        if not self._names_secret(found["name"]) or MASK in found["value"]:
            return found[0]
        return f"{found['kept']}{MASK}{found['quote']}"

    def _mask_flag(self, found: re.Match[str]) -> str:
        value = found["value"]
        if not self._names_secret(found["name"]) or value.lower() in _HARMLESS_WORDS or MASK in value:
            return found[0]
        return f"{found['kept']}{MASK}"

    def _mask_assigned(self, text: str) -> str:
        """Mask what is assigned to a name; what is assigned to a harmless one may itself be an assignment."""
        parts: list[str] = []
        done = place = 0
        while (found := _ASSIGNED.search(text, place)) is not None:
            place = found.end()
            if not self._names_secret(found["name"]):
                continue
            if _OBJECT.match(text, place):
                parts += [text[done:place], f"{{{MASK}}}"]
                done = place = _find_end(text, place)
                continue
            value = _ASSIGNED_VALUE.match(text, place)
            if value is not None and (shown := self._mask_value(found, value)) is not None:
                parts += [text[done:place], shown]
                done = value.end()
                place = done
        return "".join([*parts, text[done:]])

    def _mask_value(self, found: re.Match[str], value: re.Match[str]) -> str | None:
        """Return what is written in the place of a value; None where it is none, or harmless."""
        if MASK in value[0]:
            return None
        if value["quoted"] is not None:
            return f"{value['quote']}{MASK}{value['quote']}" if value["quoted"] else None
        if value["unclosed"] is not None:
            return f"{value['open']}{MASK}"
        if value["list"] is not None:
            return f"{value['list']}{MASK}"
        core = value["bare"].rstrip(_BRACKETS)
        if not core or _is_harmless(core, found) or self._is_code(core, value, found["name"]):
            return None
        return f"{MASK}{value['bare'][len(core) :]}"

    def _is_code(self, core: str, value: re.Match[str], name: str) -> bool:
        """Tell whether this is a line of a program, such as `password=self.password` in a traceback."""
        whole = value["bare"]
        code = _CODE.fullmatch(whole if "(" in whole or "[" in whole else core)
        if code is None:
            return False
        if code["call"] is not None:
            return whole[-1] in ")]" or value.string[value.end() : value.end() + 1] in {'"', "'"}
        if plain_name(core) == plain_name(name.rpartition(".")[2]):
            return True
        return "." in core and not any(map(str.isdigit, core)) and self._names_secret(core)


def _find_end(text: str, start: int) -> int:
    """Return where the object ends that begins here, as JSON or Python writes it, quoted at any depth of escapes.

    That is the end of the text if it is nowhere closed.
    """
    depth, opened = 0, ""
    for found in _BRACKET_OR_QUOTE.finditer(text, start):
        each = found[0]
        if opened:
            # n backslashes before a quote end a string that began behind k of them if they are k, but for escaped pairs
            if each[-1] == opened[-1] and (len(each) - 1) % (2 * len(opened)) == len(opened) - 1:
                opened = ""
        elif each == "{":
            depth += 1
        elif each != "}":
            opened = each
        elif depth == 1:
            return found.end()
        else:
            depth -= 1
    return len(text)


def _is_harmless(core: str, found: re.Match[str]) -> bool:
    word = core.rstrip(f"{_BRACKETS}.,:")
    if word.lower() in _HARMLESS_WORDS or _PLACEHOLDER.fullmatch(word) is not None:
        return True
    if "=" in found["between"]:
        return False
    # Behind a colon stands a sentence as often as a value.
    return _STRONG.fullmatch(plain_name(found["name"].rpartition(".")[2])) is None and not _looks_random(core)


def _looks_random(value: str) -> bool:
    if any(each.isdigit() for each in value):
        return len(value) >= 8 or value.isdigit()
    return len(value) >= 24


def _mask_rest(found: re.Match[str]) -> str:
    return f"{found['kept']}{MASK}"


def _mask_header(found: re.Match[str]) -> str:
    value = found["value"]
    first = value.split(None, 1)[0] if value.strip() else ""
    if not first or value.startswith(MASK) or (found["scheme"] is None and not _looks_random(first)):
        return found[0]
    return f"{found['kept']}{found['scheme'] or ''}{MASK}"


def _mask_scheme(found: re.Match[str]) -> str:
    value = found["value"]
    scheme = found["scheme"].lower()
    if scheme == "bearer":
        secret = any(each.isdigit() for each in value) or len(value) >= 24 or value[1:] != value[1:].lower()
    else:
        secret = _is_base64_credentials(value, b"\0" if scheme.startswith("auth") else b":")
    return f"{found['scheme']}{found['gap']}{MASK}" if secret else found[0]


def _is_base64_credentials(value: str, between: bytes) -> bool:
    value = _BASE64_BEGINNING.match(value)[0]  # type: ignore[index]
    try:
        return between in base64.b64decode(value[: len(value) & ~3], validate=True)
    except (binascii.Error, ValueError):
        return False


def _mask_parameter(found: re.Match[str]) -> str:
    value = found["value"]
    if not found["name"].lower().startswith("sig") and (len(value) < 16 or not any(map(str.isdigit, value))):
        return found[0]
    return f"{found['kept']}{MASK}"


def _mask_token(found: re.Match[str]) -> str:
    begin = _BEGIN.match(found[0])
    return f"{begin[0] if begin else ''}{MASK}"
