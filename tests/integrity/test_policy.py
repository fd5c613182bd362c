"""The policy file: C2SP's format to the letter, our demands in its comments, errors with their line."""

from __future__ import annotations

import base64
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given
from hypothesis import strategies as st

from otel_audit.integrity import policy as policy_module
from otel_audit.integrity.policy import Policy, PolicyError
from otel_audit.integrity.signatures import CosignatureSigner, Ed25519Signer


def _key(number: int) -> Ed25519PrivateKey:
    """Return the same key each time: texts with keys are names of tests here."""
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


LOG, LOG2 = (Ed25519Signer.from_private("shop.example/audit", _key(n)).vkey for n in (1, 2))
W = [CosignatureSigner.from_private(f"witness.example/{n}", _key(10 + n)).vkey for n in range(5)]

# The shape of c2sp.org/tlog-policy's example.
EXAMPLE = f"""
# two organisations
log {LOG} https://log.example/

witness X1 {W[0]}
 witness\tX2  {W[1]} https://w.example/
witness X3 {W[2]}
group X-witnesses 2 X1 X2 X3

witness Y1 {W[3]}
witness Y2 {W[4]}
group Y-witnesses any Y1 Y2

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


def cosigners(policy: Policy, *names: str) -> list[object]:
    return [policy.witnesses[name].key for name in names]


def test_the_example_of_the_specification() -> None:
    policy = Policy.parse(EXAMPLE.encode())
    assert [key.vkey for key in policy.logs] == [LOG]
    assert policy.urls == {LOG: "https://log.example/"}
    assert policy.witnesses["X2"].url == "https://w.example/"
    assert policy.quorum_met(cosigners(policy, "X1", "X3", "Y2"))
    assert policy.quorum_met(cosigners(policy, "X1", "X2", "X3", "Y1", "Y2"))
    assert not policy.quorum_met(cosigners(policy, "X1", "X2", "X3"))
    assert not policy.quorum_met(cosigners(policy, "X1", "Y1", "Y2"))
    assert not policy.quorum_met([])


def test_a_log_key_demands_signatures_unless_told_from_when() -> None:
    assert Policy.parse(f"log {LOG}\nquorum none\n".encode()).demands_signature(0)
    assert not Policy.parse(b"quorum none\n").demands_signature(0)
    policy = Policy.parse(f"log {LOG}\n#! signed since 2026-11-01T00:00:00Z\nquorum none\n".encode())
    assert not policy.demands_signature(1_793_491_199)
    assert policy.demands_signature(1_793_491_200)


def test_what_the_standard_format_has_no_word_for() -> None:
    text = (
        f"log {LOG}\n#! anchored since 2026-11-01T00:00:00Z\n  #!\tmax-age 2h\n#! clock-skew 30s\n"
        f"#! revoker {LOG2}\nquorum none\n"
    )
    policy = Policy.parse(text.encode())
    assert (policy.max_age, policy.clock_skew) == (7200, 30)
    assert policy.demands_anchor(1_793_491_200)
    assert not policy.demands_anchor(1_793_491_199)
    assert [key.vkey for key in policy.revokers] == [LOG2]


def test_a_key_speaks_for_its_streams_and_nothing_else() -> None:
    policy = Policy.parse(f"log {LOG}\nquorum none\n".encode())
    stream = "0" * 32
    assert policy.log_keys("shop.example/audit")
    assert policy.log_keys(f"shop.example/audit/{stream}")
    for origin in (f"shop.example/audit2/{stream}", "shop.example/audit/x", f"shop.example/audit/x/{stream}", stream):
        assert not policy.log_keys(origin)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "no quorum line"),
        (f"log {LOG}\n", 2, "no quorum line"),
        ("quorum none", 1, "does not end in a newline"),
        ("quorum none\nquorum none\n", 2, "second quorum"),
        ("quorum\n", 1, "one name"),
        ("quorum W\n", 1, "not defined above"),
        (f"quorum W\nwitness W {W[0]}\n", 1, "not defined above"),
        ("\n\nlogs x\nquorum none\n", 3, "unknown word 'logs'"),
        (f"{LOG}\nquorum none\n", 1, "this is a verifier key: write `log "),
        ("log\nquorum none\n", 1, "log takes"),
        ("log x\nquorum none\n", 1, "verifier key reads"),
        (f"log {LOG} url more\nquorum none\n", 1, "log takes"),
        (f"log {LOG}\nlog {LOG}\nquorum none\n", 2, "twice"),
        (f"log {W[0]}\nquorum none\n", 1, "witness's key"),
        (f"witness W {LOG}\nquorum none\n", 1, "type 0x04 or 0x06"),
        (f"witness none {W[0]}\nquorum none\n", 1, "is taken"),
        (f"witness W {W[0]}\nwitness W {W[1]}\nquorum none\n", 2, "is taken"),
        (f"witness W {W[0]}\nwitness V {W[0]}\nquorum none\n", 2, "twice"),
        (f"witness W {W[0]}\ngroup G 2 W\nquorum G\n", 2, "from 1 to 1"),
        (f"witness W {W[0]}\ngroup G 0 W\nquorum G\n", 2, "threshold"),
        (f"witness W {W[0]}\ngroup G 01 W\nquorum G\n", 2, "threshold"),
        (f"witness W {W[0]}\ngroup G some W\nquorum G\n", 2, "threshold"),
        (f"witness W {W[0]}\ngroup G all W W\nquorum G\n", 2, "member already"),
        (f"witness W {W[0]}\ngroup G all W\ngroup H all W\nquorum G\n", 3, "member already"),
        ("group G all none\nquorum G\n", 1, "not defined above"),
        ("group G all G\nquorum G\n", 1, "not defined above"),
        ("group G all\nquorum G\n", 1, "group takes"),
        ("quorum none\r\n", 1, "carriage return"),
        ("quorum none\n\x00\n", 2, "control character"),
        ("#! singed always\nquorum none\n", 1, "unknown demand 'singed'"),
        ("#!\nquorum none\n", 1, "unknown demand ''"),
        ("#! signed\nquorum none\n", 1, "write `signed always`"),
        ("#! signed since yesterday\nquorum none\n", 1, "not a time"),
        ("#! signed always\n#! signed always\nquorum none\n", 2, "twice"),
        ("#! max-age soon\nquorum none\n", 1, "90s, 5m"),
        ("#! max-age 0s\nquorum none\n", 1, "90s, 5m"),
        (f"#! revoker {LOG} x\nquorum none\n", 1, "unknown demand"),
    ],
)
def test_an_error_names_its_line_and_what_to_write(text: str, line: int, message: str) -> None:
    with pytest.raises(PolicyError, match=message) as caught:
        Policy.parse(text.encode(), source="trust.policy")
    assert str(caught.value).startswith(f"trust.policy, line {line}: ")


def test_names_are_octets(tmp_path: object) -> None:
    text = b"witness \xff\xfe " + W[0].encode() + b"\nquorum \xff\xfe\n"
    policy = Policy.parse(text)
    assert policy.quorum_met([next(iter(policy.witnesses.values())).key])


@given(st.binary(max_size=200))
@example(EXAMPLE.encode())
def test_no_bytes_make_the_reader_raise_anything_else(raw: bytes) -> None:
    with suppress(PolicyError):
        Policy.parse(raw)


def test_no_changed_bit_makes_a_policy_trust_another_key() -> None:
    """A policy has no signature of its own; but its keys carry their ids, so a flipped bit is no other key."""
    raw = EXAMPLE.encode()
    keys = {LOG, *W}
    for place in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[place // 8] ^= 1 << place % 8
        try:
            policy = Policy.parse(bytes(changed))
        except PolicyError:
            continue
        assert {key.vkey for key in [*policy.logs, *policy.witness_keys()]} <= keys


@pytest.mark.parametrize(
    "line", ["# anchored always", "#? signed since 2026-11-01T00:00:00Z", "# max-age 2h", "#$ revoker k+00000000+AAAA"]
)
def test_a_demand_that_lost_its_mark_is_no_comment(line: str) -> None:
    with pytest.raises(PolicyError, match="reads like the demand"):
        Policy.parse(f"quorum none\n{line}\n".encode())


@pytest.mark.parametrize("line", ["# signed by the two of us", "# anchored", "# max-age is what the auditor asked for"])
def test_a_comment_may_speak_of_demands(line: str) -> None:
    assert Policy.parse(f"{line}\nquorum none\n".encode()).max_age is None


def test_a_key_of_a_type_that_nobody_knows_is_refused() -> None:
    from otel_audit.integrity.note import key_id

    material = b"\x7f" + bytes(32)
    vkey = f"x+{key_id('x', material).hex()}+{base64.b64encode(material).decode()}"
    with pytest.raises(PolicyError, match=r"line 1: .* of the unknown type 0x7f"):
        Policy.parse(f"log {vkey}\nquorum none\n".encode())


@pytest.mark.parametrize(
    "line",
    [
        "#anchored always",
        "#a anchored always",
        "# ! anchored always",
        "##! anchored always",
        "# max-age: 2h",
        "# Signed always",
    ],
)
def test_a_demand_whose_mark_is_misspelt_is_no_comment(line: str) -> None:
    with pytest.raises(PolicyError, match="reads like the demand"):
        Policy.parse(f"quorum none\n{line}\n".encode())


@pytest.mark.parametrize("line", ["#! signed always", "#! signed since 2026-11-01T00:00:00Z"])
def test_a_demand_for_signatures_of_nobody_is_an_error(line: str) -> None:
    with pytest.raises(PolicyError, match="no `log` line says whose count"):
        Policy.parse(f"{line}\nquorum none\n".encode())


def test_a_heading_of_a_comment_is_no_demand() -> None:
    policy = Policy.parse(b"### max-age 2h\n### signed-by each-type\nquorum none\n")
    assert (policy.max_age, policy.each_type) == (None, False)


@pytest.mark.parametrize("mark", ["#", "##", "#!!"])
def test_a_demand_with_a_wrong_mark_is_not_taken_for_a_comment(mark: str) -> None:
    with pytest.raises(PolicyError, match=r"begin it with|unknown demand"):
        Policy.parse(f"{mark} signed-by each-type\nquorum none\n".encode())


@pytest.mark.parametrize(("threshold", "met"), [("1", True), ("2", True), ("3", False), ("all", False), ("any", True)])
def test_a_group_wants_as_many_as_it_says(threshold: str, met: bool) -> None:
    members = "".join(f"witness W{number} {W[number]}\n" for number in range(3))
    policy = Policy.parse(f"{members}group G {threshold} W0 W1 W2\nquorum G\n".encode())
    assert policy.quorum_met(cosigners(policy, "W0", "W2")) is met
    with pytest.raises(PolicyError, match="from 1 to 3"):
        Policy.parse(f"{members}group G 4 W0 W1 W2\nquorum G\n".encode())


def test_a_policy_is_not_read_without_end() -> None:
    limit = policy_module.MAX_POLICY
    assert Policy.parse(b"#" * (limit - 14) + b"\nquorum none\n").quorum == "none"
    assert Policy.parse(b"#" * (limit - 13) + b"\nquorum none\n").quorum == "none"
    with pytest.raises(PolicyError, match="larger than"):
        Policy.parse(b"#" * (limit - 12) + b"\nquorum none\n")
