"""Secrets inside text are masked, and only they; ordinary text is left as it is."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from otel_audit.canonical import jcs
from otel_audit.redaction import finding, text
from otel_audit.redaction.forms import _ISSUED, _MENTIONS
from otel_audit.redaction.names import DEFAULT_SECRET_NAMES
from otel_audit.redaction.text import _BEGINNINGS, TextMask, mask_text
from tests.redaction.secrets import Secret, make_secrets

MASKED = {
    "password=hunter2": "password=[redacted]",
    "Password: hunter2 for alice": "Password: [redacted] for alice",
    "{'password': 'hunter2', 'a': 1}": "{'password': '[redacted]', 'a': 1}",
    '{"token": "abc", "x": 1}': '{"token": "[redacted]", "x": 1}',
    '{\\"password\\": \\"hunter2\\"}': '{\\"password\\": \\"[redacted]\\"}',
    "Authorization: Bearer abc123def": "Authorization: Bearer [redacted]",
    "authorization: Basic YWxpY2U6c2VjcmV0": "authorization: Basic [redacted]",
    "https://user:pass@host/x?token=abc&y=1": "https://user:[redacted]@host/x?token=[redacted]&y=1",
    "postgres://u:pa/ss@h/db": "postgres://u:[redacted]@h/db",
    "postgres://u:p@ss@h/db": "postgres://u:[redacted]@h/db",
    "https://0123456789abcdef0123@sentry.example/1": "https://[redacted]@sentry.example/1",
    "AKIAIOSFODNN7EXAMPLE here": "AKIA[redacted] here",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-DEF tail": "[redacted] tail",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nrest": (
        "-----BEGIN RSA PRIVATE KEY-----[redacted]-----END RSA PRIVATE KEY-----\nrest"
    ),
    "-----BEGIN PRIVATE KEY-----\nMIIE, cut off": "-----BEGIN PRIVATE KEY-----[redacted]",
    "GET /k?X-Amz-Signature=deadbeefdeadbeef&x=1": "GET /k?X-Amz-Signature=[redacted]&x=1",
    "Cookie: session=abc; csrftoken=def\nAccept: */*": "Cookie: [redacted]\nAccept: */*",
    "<password>hunter2</password>": "<password>[redacted]</password>",
    "[('password', 'hunter2'), ('a', 'b')]": "[('password', '[redacted]'), ('a', 'b')]",
    "login --password hunter2 --user bob": "login --password [redacted] --user bob",
    "tool --token=hunter2": "tool --token=[redacted]",
    "curl -u bob:hunter2 https://x": "curl -u bob:[redacted] https://x",
    "ALTER USER bob IDENTIFIED BY 'hunter2'": "ALTER USER bob IDENTIFIED BY '[redacted]'",
    "Server=db;User Id=sa;Password=abc;Encrypt=yes": "Server=db;User Id=sa;Password=[redacted];Encrypt=yes",
    "error: password=hunter2, x": "error: password=[redacted], x",
    "a=b=c=password=hunter2": "a=b=c=password=[redacted]",
    'password="hunter2': 'password="[redacted]',
    "(password=hunter2)": "(password=[redacted])",
    "password=pa,ss word": "password=[redacted] word",
    "password=bunter2 password=rhubarb": "password=[redacted] password=[redacted]",
    "password=!@#$%": "password=[redacted]",
    "password=b'hunter2'": "password=b'[redacted]'",
    "changed {'password': {'old': 'x', 'new': 'y'}, 'a': 1}": "changed {'password': {[redacted]}, 'a': 1}",
    '{"password": {"old": "}\\"}", "new": {"a": "y"}}, "b": {}}': '{"password": {[redacted]}, "b": {}}',
    "{'token': {'old': \"it's }\", 'new': '\\\\'}, 'a': 1}": "{'token': {[redacted]}, 'a': 1}",
    '{\\"password\\": {\\"old\\": \\"a\\\\\\"}\\", \\"new\\": 2}, \\"x\\": 1}': (
        '{\\"password\\": {[redacted]}, \\"x\\": 1}'
    ),
    '{"secret": {\n  "a": "x"\n}}': '{"secret": {[redacted]}}',
    "{'password': {'old': 'cut off}": "{'password': {[redacted]}",
    "to https://hooks.slack.com/services/T0AB12CD3/B0AB12CD3/abcDEF123 now": (
        "to https://hooks.slack.com/services/[redacted] now"
    ),
    'url: "https:\\/\\/hooks.slack.com\\/services\\/T0\\/B0\\/abc", x': (
        'url: "https:\\/\\/hooks.slack.com\\/services\\/[redacted]", x'
    ),
    "dial shop:pa:s@s/1@tcp(db:3306)/shop": "dial shop:[redacted]@tcp(db:3306)/shop",
    "dsn=shop:hunter2@unix(/run/db.sock)/shop": "dsn=shop:[redacted]@unix(/run/db.sock)/shop",
    "DatabaseSettings.password: hunter2": "DatabaseSettings.password: [redacted]",
    "password='it\\'s' next": "password='[redacted]' next",
    '{"password": "a\\"b", "x": "y"}': '{"password": "[redacted]", "x": "y"}',
    '{"password": "a\\\\", "x": "y"}': '{"password": "[redacted]", "x": "y"}',
    '{\\"password\\": \\"a\\\\\\"b\\", \\"x\\": 1}': '{\\"password\\": \\"[redacted]\\", \\"x\\": 1}',
    "<QueryDict: {'user': ['bob'], 'password': ['hunter2', 'x']}>": (
        "<QueryDict: {'user': ['bob'], 'password': [[redacted]]}>"
    ),
    "password1=hunter2&password2=hunter2": "password1=[redacted]&password2=[redacted]",
    "POST user[password]=hunter2&user[name]=bob": "POST user[password]=[redacted]&user[name]=bob",
    "/x?user%5Bpassword%5D=hunter2&y=1": "/x?user%5Bpassword%5D=[redacted]&y=1",
    "form['password'] = 'hunter2'": "form['password'] = '[redacted]'",
    '{"name": "DB_PASSWORD", "value": "hunter2"}': '{"name": "DB_PASSWORD", "value": "[redacted]"}',
    "{'name': 'city', 'value': 'Bonn'}, {'name': 'token', 'value': 'abc'}": (
        "{'name': 'city', 'value': 'Bonn'}, {'name': 'token', 'value': '[redacted]'}"
    ),
    'Authorization: Digest username="bob", response="6629fae4"': "Authorization: Digest [redacted]",
    "AccountName=a;AccountKey=hunter2;Suffix=x": "AccountName=a;AccountKey=[redacted];Suffix=x",
}


@pytest.mark.parametrize(("given", "shown"), MASKED.items())
def test_only_the_secret_part_is_masked(given: str, shown: str) -> None:
    assert mask_text(given) == shown


@pytest.mark.parametrize("secret", make_secrets(), ids=lambda secret: secret.text[:24])
def test_a_known_form_is_masked(secret: Secret) -> None:
    assert secret.core not in mask_text(secret.text)
    assert secret.core not in mask_text(f"in a sentence: {secret.text}")
    assert secret.core not in mask_text(f"line one\n{secret.text}\nline three")


@pytest.mark.parametrize(
    "ordinary",
    [
        "token expired",
        "token: expired",
        "Invalid token: expired",
        "password changed for alice",
        "password: must be at least 8 characters",
        "User's password was reset",
        "secret=none, token=None",
        "key=value a=1, b=2",
        "GET /orders?page=2&sort=asc&code=404 status=200",
        "550e8400-e29b-41d4-a716-446655440000",
        "sha256:" + "ab" * 32,
        "0af7651916cd43dd8448eb211c80319c",
        "id=dGhpcyBpcyBhIHRlc3Q=",
        "Basic authentication failed",
        "Bearer authentication required",
        "bearer token missing",
        "Authorization: denied for alice",
        "auth: failed for user42",
        "cookie: missing",
        "https://example.org/a@b?x=1",
        "http://host:8080/path/@user",
        "mail to bob@example.org",
        "mailto:bob@example.org, sip:bob@example.org:5060, git:bob@host:22/x.git",
        "image shop:1.2@sha256:0123, listening on tcp(0.0.0.0:80)",
        "see https://slack.com/services/T0 and hooks.slack.com/help",
        "token={} password: {}",
        "SELECT * FROM users WHERE name='bob'",
        "columns ['user', 'password', 'email']",
        "KeyError: 'password'",
        "<b>hello</b>",
        "token_count=5 tokens_used: 12",
        "max_tokens=2048 prompt_tokens=12345678 completion_tokens: 12345678",
        "passenger=alice author=bob keyboard: qwerty monkey=see",
        "session_id=abc123",
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC7",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "half_life_of_something_quite_long_here_and_there",
        "see --token for details",
        "connect(user=user, password=password)",
        "connect(user=user, password=self.password)",
        "token = get_token()",
        'password=os.environ["DB_PASSWORD"]',
        "if token == 0x00: self.token = token",
        "def login(user: str, password: bytes) -> None:",
        "credentials: %s, password={}, token=${TOKEN}",
        "def open(path, pwd=None):",
        "Traceback (most recent call last):\n  File \"x.py\", line 3, in <module>\n    raise ValueError('no')\n",
        "password=********",
        "",
    ],
)
def test_ordinary_text_is_left_alone(ordinary: str) -> None:
    assert mask_text(ordinary) is ordinary


def test_what_was_masked_stays_as_it_is() -> None:
    for secret in make_secrets():
        masked = mask_text(secret.text)
        assert mask_text(masked) == masked


WORDS = [
    "password",
    "token",
    "=",
    ":",
    '"',
    "'",
    "\\",
    "(",
    ")",
    "--",
    "://",
    "@",
    "eyJ",
    "Bearer ",
    "-----BEGIN ",
    " ",
]


@given(st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=5)), max_size=20).map("".join))
@example("password='")
@settings(max_examples=300)
def test_any_text_comes_out_and_a_second_time_the_same(given_text: str) -> None:
    masked = mask_text(given_text)
    assert isinstance(masked, str)
    assert mask_text(mask_text(masked)) == mask_text(masked)


@pytest.mark.parametrize("secret", make_secrets(), ids=lambda secret: secret.text[:24])
def test_the_test_of_a_whole_line_misses_no_form(secret: Secret) -> None:
    line = jcs({"message": secret.text})
    assert TextMask(lambda name: False).may_hold(line)


@pytest.mark.parametrize("where", ["<module>", "<lambda>", "create_app.<locals>.view"])
def test_where_a_call_stands_is_no_reason_to_look_closer(where: str) -> None:
    line = jcs({"data": {"code.function.name": where}, "message": "order placed"})
    assert not TextMask(lambda name: False).may_hold(line)


def test_the_test_of_a_whole_line_knows_every_issued_beginning() -> None:
    assert [begin for begin in _ISSUED if not any(known in begin for known in _BEGINNINGS)] == []


USUAL_NAMES = """
    password passwd passphrase pwd secret secrets client_secret api_key apikey private_key access_key signing_key token
    jwt otp totp pin cvv cvc mfa_code authorization cookie credential credentials session_key auth bearer db_pass dsn
    connection_string credit_card card_number ssn csrf_token
"""


@pytest.mark.parametrize("name", USUAL_NAMES.split())
def test_every_usual_name_is_found_beside_a_value(name: str) -> None:
    assert any(mention in name for mention in _MENTIONS)
    for form in (f"{name}=Xk29fjw0qpzm", f'"{name}": "Xk29fjw0qpzm"', f"{name.upper()}=Xk29fjw0qpzm"):
        assert "Xk29fjw0qpzm" not in mask_text(form)


def test_there_is_a_sample_for_every_usual_name() -> None:
    assert len(DEFAULT_SECRET_NAMES) == 15, "a new name: add a sample above"


def test_names_of_the_users_own_are_found_in_text_too() -> None:
    mask = TextMask(lambda name: name.lower() == "iban", ["iban"])
    for line in ("iban=DE123", "iban: DE12345678", "{'iban': 'DE123'}", "IBAN: DE12345678"):
        assert mask.may_hold(jcs({"message": line}))
        assert "DE123" not in mask.mask(line)


HOSTILE = (
    "a=",
    'password="',
    "://",
    "://a:",
    "('",
    "<a>",
    "--",
    "eyJ",
    "-----BEGIN PRIVATE KEY-----",
    "authorization:",
)
MORE_HOSTILE = (
    "x",
    "password,",
    "cookie: ",
    "bearer ",
    "a.b-",
    "password=",
    "&sig=",
    "ghp_",
    "\\",
    "'",
    "=",
    ": ",
    "a:",
    "{'",
    "password={'",
    "a:b@tcp(",
    "hooks.slack.com/services/",
)


@pytest.mark.parametrize("piece", HOSTILE + MORE_HOSTILE)
def test_no_text_takes_long(piece: str) -> None:
    hostile = piece * (60_000 // len(piece))
    began = time.thread_time()
    mask_text(f"password {hostile}")
    assert time.thread_time() - began < 1.0


def test_without_c_the_same_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "Words", None)
    slow = finding.finder([*text._MARKS, *text._BEGINNINGS])
    for secret in make_secrets():
        line = jcs({"message": secret.text})
        assert bool(slow(line)) == text.usual().may_hold(line)
    assert finding.finder(["kennw\u00f6rter:"])("kennw\u00f6rter: 7".encode())
