"""Time stamps of a real authority (`openssl ts`): what is asked, what counts, what a verifier says of what was kept."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from asn1crypto import tsp
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

import otel_audit
from otel_audit.cli.__main__ import main
from otel_audit.integrity.policy import Policy, PolicyError
from otel_audit.integrity.stamps import StampError, check_reply, make_query, read_roots
from tests.anchors.hostile import forge
from tests.anchors.shop import Shop, eventually
from tests.anchors.tsa import Authority
from tests.servers.require import missing
from tests.sinks.http_server import Reply, Server

pytestmark = [
    pytest.mark.server("openssl"),
    pytest.mark.filterwarnings("ignore:checkpoints go to .* in plain text:RuntimeWarning"),
]

DATA = b"a signed checkpoint\n"


@pytest.fixture(scope="module", autouse=True)
def needs_openssl() -> None:
    if shutil.which("openssl") is None:
        missing("the command openssl", "apt-get install openssl")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tsa") / "good")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tsa") / "stranger", "stranger.example")


@pytest.fixture(scope="module")
def expired(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tsa") / "expired", "expired.example", valid=(-90, -30))


@pytest.fixture
def url(authority: Authority) -> Iterator[str]:
    authority.answers.clear()
    with authority.serve() as host:
        yield f"tsa+http://{host}/?allow=loopback&tsa_ca_file={authority.root}"


def fault(reply: bytes, authority: Authority, data: bytes = DATA, nonce: int | None = None) -> str:
    with pytest.raises(StampError) as error:
        check_reply(reply, data, read_roots(authority.root.read_bytes(), "root"), nonce=nonce)
    return error.value.code


def with_another_nonce(query: bytes) -> bytes:
    """The same question as somebody else may have asked it before."""
    other = tsp.TimeStampReq.load(query)
    other["nonce"] = 7
    return bytes(other.dump(force=True))


def test_a_stamp_says_when_and_by_whom(authority: Authority) -> None:
    query, nonce = make_query(DATA)
    stamp = check_reply(authority.stamp(query), DATA, read_roots(authority.root.read_bytes(), "root"), nonce=nonce)
    assert stamp.signer == "CN=tsa.example"
    assert stamp.time.tzinfo is not None


def test_what_is_no_stamp_over_this_is_refused(authority: Authority, stranger: Authority, expired: Authority) -> None:
    reply = authority.stamp_data(DATA)
    changed = bytearray(reply)
    changed[-3] ^= 1
    assert fault(reply, authority, b"other bytes") == "stamp-other-data"
    assert fault(reply, authority, nonce=7) == "stamp-nonce"
    assert fault(reply, stranger) == "stamp-untrusted"
    assert fault(expired.stamp_data(DATA), expired) == "stamp-expired"
    assert fault(bytes(changed), authority) == "stamp-invalid"
    assert fault(authority.stamp(b"no query"), authority) == "stamp-refused"
    assert fault(b"no reply", authority) == "stamp-malformed"
    assert fault(b"", authority) == "stamp-malformed"
    assert fault(b"0" * 100_000, authority) == "stamp-malformed"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({}, None),
        ({"usages": ["client_auth"]}, "stamp-usage"),
        ({"usages": ["time_stamping", "client_auth"]}, "stamp-usage"),
        ({"usages": []}, "stamp-usage"),
        ({"critical": False}, "stamp-usage"),
        ({"days": 400}, "stamp-expired"),
        ({"days": -400}, "stamp-expired"),
        ({"bare": True}, "stamp-malformed"),
    ],
)
def test_a_certificate_that_may_not_stamp_is_refused(tmp_path: Path, changed: dict[str, object], code: str) -> None:
    """These `openssl ts` would not make: they are written by hand (`tests.anchors.hostile`)."""
    authority = Authority(tmp_path / "tsa")
    reply = forge(authority, DATA, **changed)
    if code is None:
        check_reply(reply, DATA, read_roots(authority.root.read_bytes(), "root"))
    else:
        assert fault(reply, authority) == code


@pytest.mark.filterwarnings("ignore:Parsed a serial number:cryptography.utils.CryptographyDeprecationWarning")
def test_every_bit_of_a_stamp_counts(authority: Authority) -> None:
    """A flipped bit either is refused or lies in what neither the signature nor the meaning depends on."""
    reply = authority.stamp_data(DATA)
    roots = read_roots(authority.root.read_bytes(), "root")
    good = check_reply(reply, DATA, roots)
    passed = 0
    for position in range(0, 8 * len(reply), 7):
        changed = bytearray(reply)
        changed[position // 8] ^= 1 << position % 8
        try:
            stamp = check_reply(bytes(changed), DATA, roots)
        except StampError:
            continue
        passed += 1
        assert stamp == good
    assert passed < 8 * len(reply) / 7 / 20


def test_a_stamped_stream_is_anchored_with_a_time(shop: Shop, authority: Authority, url: str) -> None:
    shop.record(url)
    outcome = shop.verify("--tsa-ca", authority.root)
    assert outcome.code == 0
    assert outcome.tier == "anchored"
    assert outcome.stream["stamped"] == outcome.stream["last_seq"]
    assert f"existed by {outcome.stream['stamped_at']}" in outcome.sentence
    assert "as CN=tsa.example has stamped" in outcome.stream["proved"]


def test_openssl_checks_what_is_kept_as_well(shop: Shop, authority: Authority, url: str) -> None:
    stream = shop.record(url)
    note, reply = (shop.checkpoints / f"{stream}.tsa.{ending}" for ending in ("checkpoint", "tsr"))
    command = ["openssl", "ts", "-verify", "-data", note, "-in", reply, "-CAfile", authority.root]
    assert "Verification: OK" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert base64.b64decode(shop.anchorings()[0]["stamp"]) != reply.read_bytes()  # that one was of the first checkpoint


def test_the_stamp_in_the_stream_is_enough(shop: Shop, authority: Authority, url: str) -> None:
    """Where nothing is left beside the log, the records hold the stamps up to the last one that could be written."""
    shop.record(url)
    shop.forget_beside()
    shop.write_policy(demands=f"#! tsa {authority.root}\n#! anchored always\n")
    outcome = shop.verify()
    assert outcome.found == {"UNSIGNED_TAIL", "NOT_ANCHORED"}
    assert outcome.tier == "anchored"
    assert 0 < outcome.stream["stamped"] < outcome.stream["last_seq"]


def test_without_a_trusted_root_nothing_is_relied_on_and_it_is_said(shop: Shop, url: str) -> None:
    shop.record(url)
    outcome = shop.verify()
    assert (outcome.code, outcome.tier, outcome.stream["stamped"]) == (0, "signed", 0)
    assert outcome.found == {"STAMP_UNCHECKED"}


def test_what_was_cut_off_behind_the_stamp_is_missed(shop: Shop, authority: Authority, url: str) -> None:
    shop.record(url)
    shop.cut(3)
    shop.forget_beside("checkpoint")
    outcome = shop.verify("--tsa-ca", authority.root)
    assert outcome.code == 1
    assert "SIGNED_TRUNCATED" in outcome.found


@pytest.mark.parametrize(
    ("fake", "code", "finding"),
    [
        ("other-data", 1, "STAMP_OTHER_DATA"),
        ("stranger", 4, "STAMP_UNTRUSTED"),
        ("expired", 1, "STAMP_EXPIRED"),
        ("usage", 1, "STAMP_USAGE"),
        ("flipped", 1, "STAMP_INVALID"),
        ("nothing", 1, "STAMP_MALFORMED"),
    ],
)
def test_a_false_stamp_beside_the_log_is_found(
    shop: Shop, authority: Authority, stranger: Authority, url: str, tmp_path: Path, fake: str, code: int, finding: str
) -> None:
    stream = shop.record(url)
    note = (shop.checkpoints / f"{stream}.tsa.checkpoint").read_bytes()
    flipped = bytearray(authority.stamp_data(note))
    flipped[-3] ^= 1
    replies = {
        "other-data": lambda: authority.stamp_data(DATA),
        "stranger": lambda: stranger.stamp_data(note),
        "expired": lambda: forge(authority, note, days=400),
        "usage": lambda: forge(authority, note, usages=["client_auth"]),
        "flipped": lambda: bytes(flipped),
        "nothing": lambda: b"nothing",
    }
    (shop.checkpoints / f"{stream}.tsa.tsr").write_bytes(replies[fake]())
    outcome = shop.verify("--tsa-ca", authority.root)
    assert (outcome.code, outcome.found) == (code, {finding})


def test_stamps_that_go_back_are_found(shop: Shop, authority: Authority, url: str) -> None:
    """The authority saw the longer log, and a day later the shorter one: this one was written anew."""
    stream = shop.record(url)
    note = (shop.checkpoints / f"{stream}.tsa.checkpoint").read_bytes()
    (shop.checkpoints / f"{stream}.tsa.tsr").write_bytes(forge(authority, note, days=-1, signer_days=(-5, 5)))
    outcome = shop.verify("--tsa-ca", authority.root)
    assert (outcome.code, outcome.found) == (1, {"STAMP_ORDER"})


@pytest.mark.parametrize("fake", ["stranger", "other-data", "refusal", "nonce", "nothing"])
def test_a_false_reply_does_not_count_and_is_recorded(
    shop: Shop, authority: Authority, stranger: Authority, url: str, fake: str
) -> None:
    replies = {
        "stranger": stranger.stamp,
        "other-data": lambda query: authority.stamp_data(DATA),
        "refusal": lambda query: authority.stamp(b"no query"),
        "nonce": lambda query: authority.stamp(with_another_nonce(query)),
        "nothing": lambda query: b"",
    }
    authority.answers[:] = [replies[fake]] * 4
    with shop.open(url, checkpoint_interval=0.05):
        otel_audit.record("invoice.delete", actor="alice")
        assert eventually(lambda: len(shop.troubles()) == 2)
        assert eventually(shop.anchorings)
    assert [name for name, _ in shop.troubles()] == ["degraded", "recovered"]
    assert shop.troubles()[0][1]["cause"] == "anchor refuses"
    assert shop.verify("--tsa-ca", authority.root).tier == "anchored"


def test_the_policy_names_roots_by_file_or_in_itself(shop: Shop, authority: Authority, url: str) -> None:
    shop.record(url)
    (shop.directory / "root.pem").write_bytes(authority.root.read_bytes())
    certificate = x509.load_pem_x509_certificate(authority.root.read_bytes())
    inline = base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()
    for named in ("root.pem", authority.root, inline):
        shop.write_policy(demands=f"#! tsa {named}\n")
        assert shop.verify().tier == "anchored", named


@pytest.mark.parametrize("named", ["nowhere.pem", "trust.policy", "AAAA"])
def test_a_root_that_is_none_is_an_error_with_its_line(shop: Shop, named: str) -> None:
    shop.write_policy(demands=f"#! tsa {named}\n")
    with pytest.raises(PolicyError, match=f"line 3: tsa {re.escape(named)}: "):
        Policy.load(shop.policy)


def test_a_stamp_that_cannot_be_read_here_is_no_pass(
    shop: Shop, authority: Authority, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.record(url)
    monkeypatch.setitem(sys.modules, "rfc3161_client", None)
    outcome = shop.verify("--tsa-ca", authority.root)
    assert (outcome.code, outcome.found) == (4, {"STAMP_UNSUPPORTED"})
    monkeypatch.setattr("otel_audit.anchors.tsa.find_spec", lambda _: None)
    with pytest.raises(otel_audit.ConfigurationError, match=r"pip install 'otel-audit\[tsa\]'"):
        shop.record(url)


def test_a_root_without_a_policy_is_a_mistake(
    shop: Shop, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(shop.journal), "--tsa-ca", str(authority.root)]) == 2
    assert "give a --policy" in capsys.readouterr().err


def test_the_answer_must_be_a_reply(shop: Shop, authority: Authority) -> None:
    with Server(default=Reply(body=b"<html>")) as server:
        url = f"tsa+http://{server.host}/?allow=loopback&tsa_ca_file={authority.root}"
        with shop.open(url, patience=0.1, checkpoint_interval=0.05):
            otel_audit.record("invoice.delete", actor="alice")
            assert eventually(shop.troubles)
    assert shop.troubles()[0][1]["error"].endswith("answered nothing, not a time-stamp reply")


def test_who_has_the_key_gets_no_older_stamp(shop: Shop, authority: Authority, url: str, tmp_path: Path) -> None:
    """Everything is written and signed anew. The stamps of before contradict it, and without them it has none."""
    stream = shop.record(url)
    kept = tmp_path / "kept"
    kept.mkdir()
    for ending in ("checkpoint", "tsr"):
        shutil.copy(shop.checkpoints / f"{stream}.tsa.{ending}", kept)
    shop.forget_beside()
    shop.rewrite()
    shop.write_policy(demands=f"#! anchored always\n#! tsa {authority.root}\n")
    assert shop.verify().found == {"NOT_ANCHORED"}
    outcome = shop.verify("--anchor", kept)
    assert outcome.code == 1
    assert outcome.found & {"EQUIVOCATION", "CHECKPOINT_ROOT", "SIGNED_TRUNCATED"}
