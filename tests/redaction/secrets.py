"""A hundred secrets in the forms in which they get into logs: generated, the same in each run."""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["FORMS", "Secret", "make_secrets"]

_BASE62 = string.ascii_letters + string.digits
_ISSUED = {
    "AKIA": (16, string.ascii_uppercase + string.digits),
    "ASIA": (16, string.ascii_uppercase + string.digits),
    "ghp_": (36, _BASE62),
    "gho_": (36, _BASE62),
    "ghu_": (36, _BASE62),
    "ghs_": (36, _BASE62),
    "ghr_": (36, _BASE62),
    "github_pat_": (82, _BASE62 + "_"),
    "glpat-": (20, _BASE62 + "-_"),
    "xoxb-": (48, _BASE62 + "-"),
    "xoxp-": (48, _BASE62 + "-"),
    "xapp-": (48, _BASE62 + "-"),
    "sk_live_": (24, _BASE62),
    "rk_live_": (24, _BASE62),
    "sk_test_": (24, _BASE62),
    "whsec_": (32, _BASE62),
    "sk-ant-": (60, _BASE62 + "-_"),
    "sk-proj-": (60, _BASE62 + "-_"),
    "AIza": (35, _BASE62 + "-_"),
    "ya29.": (60, _BASE62 + "-_"),
    "GOCSPX-": (28, _BASE62),
    "npm_": (36, _BASE62),
    "pypi-": (100, _BASE62),
    "hf_": (34, string.ascii_letters),
    "dop_v1_": (64, "0123456789abcdef"),
    "dckr_pat_": (27, _BASE62),
    "shpat_": (32, "0123456789abcdef"),
    "SG.": (22, _BASE62),
    "hvs.": (90, _BASE62),
    "AGE-SECRET-KEY-1": (58, string.ascii_uppercase + string.digits),
    "ATATT3": (60, _BASE62),
}
FORMS = (
    "password={}",
    "password = {}",
    "Password: {}",
    "login failed, password={}, user=bob",
    "PASSWORD={}",
    "DB_PASSWORD={}",
    "{{'user': 'bob', 'password': '{}'}}",
    '{{"user": "bob", "password": "{}"}}',
    '{{\\"password\\": \\"{}\\"}}',
    "api_key={}",
    "API key: {}",
    "client_secret={}&grant_type=password",
    "https://bob:{}@host.example/path",
    "postgresql+psycopg://app:{}@db.example:5432/shop",
    "redis://:{}@cache.example/0",
    "amqp://guest:{}@mq",
    "https://example.org/?token={}&page=2",
    "https://example.org/cb?state=x&access_token={}",
    "https://b.s3.example/k?X-Amz-Signature={}&x=1",
    "https://b.blob.example/k?sv=2024&sig={}",
    "Server=db;User Id=sa;Password={};Encrypt=yes",
    "host=db password={} dbname=shop",
    "Authorization: Bearer {}",
    "authorization: Token {}",
    "sent Bearer {} to the peer",
    "Cookie: theme=dark; sessionid={}",
    "Set-Cookie: sid={}; HttpOnly",
    "X-Api-Key: {}",
    "<soap><password>{}</password></soap>",
    "[('user', 'bob'), ('password', '{}')]",
    "mysql --user bob --password {} shop",
    "tool --token={}",
    "curl -u bob:{} https://example.org",
    "ALTER USER bob IDENTIFIED BY '{}'",
    "CREATE ROLE bob WITH LOGIN PASSWORD '{}'",
    "connect(user='bob', password='{}')",
    "Login(user='bob', token='{}')",
    "secret: {}",
    "passphrase={}",
    "aws_secret_access_key = {}",
)


class Secret(NamedTuple):
    """A text with a secret in it, and what of it must be seen nowhere."""

    text: str
    core: str


def make_secrets(seed: int = 0) -> list[Secret]:
    """Return a hundred of them."""
    made = [*_make(random.Random(seed))]
    assert len({one.core for one in made}) == len(made) == 100
    return made


def _make(source: random.Random) -> Iterator[Secret]:
    for form in FORMS:
        core = _random(source, 24)
        yield Secret(form.format(core), core)
    for begin, (length, alphabet) in _ISSUED.items():
        core = _random(source, length, alphabet)
        if begin == "SG.":
            yield Secret(f"mail with {begin}{core}.{_random(source, 43)} sent", core)
        else:
            yield Secret(f"found {begin}{core} in the request", core)
    for kind in ("RSA PRIVATE KEY", "EC PRIVATE KEY", "PRIVATE KEY", "OPENSSH PRIVATE KEY", "ENCRYPTED PRIVATE KEY"):
        core = _random(source, 64)
        yield Secret(f"-----BEGIN {kind}-----\n{core}\n{_random(source, 30)}\n-----END {kind}-----\n", core)
    for algorithm in ("HS256", "RS256", "ES256", "none", "EdDSA"):
        head = _base64url(json.dumps({"alg": algorithm, "typ": "JWT"}))
        core = _base64url(json.dumps({"sub": _random(source, 20)}))
        yield Secret(f"session {head}.{core}.{_random(source, 43)} began", core)
    for form in ("Authorization: Basic {}", "tried Basic {}", "{{'Authorization': 'Basic {}'}}"):
        core = base64.b64encode(f"bob:{_random(source, 20)}".encode()).decode()
        yield Secret(form.format(core), core)
    for length in range(8, 24):
        core = _random(source, length)
        yield Secret(f"retry with password={core!r} failed", core)


def _random(source: random.Random, length: int, alphabet: str = _BASE62) -> str:
    core = "".join(source.choices(alphabet, k=length))
    return f"7{core[1:]}" if "7" in alphabet and not any(map(str.isdigit, core)) else core


def _base64url(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()
