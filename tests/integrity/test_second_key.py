"""Two keys that sign each checkpoint, of two algorithms: if one of these is broken one day, the other still holds."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import otel_audit
from otel_audit.cli.__main__ import main
from otel_audit.errors import ConfigurationError
from otel_audit.integrity import keys
from otel_audit.integrity.epochs import Schedule
from otel_audit.integrity.note import parse_note
from otel_audit.integrity.opening import open_signer
from otel_audit.integrity.policy import Policy
from otel_audit.integrity.seedfile import provision
from otel_audit.integrity.signatures import sign_note
from otel_audit.integrity.statements import Revocation
from otel_audit.verify import Report, verify

NAME = "shop.example/audit"


@pytest.fixture
def first(tmp_path: Path) -> Path:
    keys.generate(tmp_path / "first.pem", NAME)
    return tmp_path / "first.pem"


@pytest.fixture
def second(tmp_path: Path) -> Path:
    pytest.importorskip("cryptography.hazmat.primitives.asymmetric.mldsa")
    assert main(["keys", "generate", str(tmp_path / "second.pem"), "--name", NAME, "--type", "ml-dsa-44"]) == 0
    return tmp_path / "second.pem"


def vkey(path: Path) -> str:
    return Path(f"{path}.vkey").read_text().strip()


def policy(*paths: Path, lines: str = "") -> Policy:
    named = "".join(f"log {vkey(path)}\n" for path in paths)
    return Policy.parse(f"{named}{lines}quorum none\n".encode())


def record(journal: Path, *paths: Path) -> None:
    names = ("signing_key_file", "second_signing_key_file")
    settings: dict[str, Any] = dict(zip(names, paths, strict=False))
    trail = otel_audit.configure(journal=journal, sinks=[], heartbeat=0, **settings)
    otel_audit.record("order.pay")
    trail.close()


def checked(journal: Path, policy: Policy) -> tuple[int, set[str], str]:
    report: Report = verify([journal], policy=policy)
    return report.exit_code, set(report.findings.counts()), report.streams[0].tier


def state(journal: Path) -> Path:
    return next((journal / "checkpoints").glob("*.checkpoint"))


def test_both_keys_sign_and_either_one_is_enough_by_default(tmp_path: Path, first: Path, second: Path) -> None:
    record(tmp_path / "j", first, second)
    opening = json.loads(next((tmp_path / "j").glob("*.jsonl")).read_text().splitlines()[0])
    assert opening["data"]["keys"] == [vkey(first), vkey(second)]
    assert len(parse_note(state(tmp_path / "j").read_text()).signatures) == 2
    for trusted in ([first], [second], [first, second]):
        assert checked(tmp_path / "j", policy(*trusted)) == (0, set(), "signed")


def test_a_policy_can_demand_both(tmp_path: Path, first: Path, second: Path) -> None:
    both = policy(first, second, lines="#! signed-by each-type\n")
    record(tmp_path / "both", first, second)
    assert checked(tmp_path / "both", both) == (0, set(), "signed")
    record(tmp_path / "one", first)
    assert checked(tmp_path / "one", both) == (4, {"SIGNATURE_MISSING", "NOT_SIGNED"}, "chained")


def test_a_second_signature_that_was_removed_is_missed(tmp_path: Path, first: Path, second: Path) -> None:
    record(tmp_path / "j", first, second)
    path = state(tmp_path / "j")
    note = parse_note(path.read_text())
    path.write_text(type(note)(note.text, note.signatures[:1]).encode())
    assert checked(tmp_path / "j", policy(first, second))[0] == 0
    assert checked(tmp_path / "j", policy(first, second, lines="#! signed-by each-type\n"))[:2] == (
        4,
        {"SIGNATURE_MISSING", "UNSIGNED_TAIL"},
    )


def test_a_bad_second_signature_is_bad_beside_a_good_first_one(tmp_path: Path, first: Path, second: Path) -> None:
    record(tmp_path / "j", first, second)
    path = state(tmp_path / "j")
    note = parse_note(path.read_text())
    one, other = note.signatures
    spoilt = type(other)(other.name, other.key_id, other.payload[:-1] + bytes([other.payload[-1] ^ 1]))
    path.write_text(type(note)(note.text, (one, spoilt)).encode())
    assert checked(tmp_path / "j", policy(first, second))[:2] == (1, {"BAD_SIGNATURE", "UNSIGNED_TAIL"})


def test_one_record_is_proved_under_both_keys(tmp_path: Path, first: Path, second: Path) -> None:
    record(tmp_path / "j", first, second)
    stream, base = next((tmp_path / "j").glob("*.jsonl")).name[:32], tmp_path / "evidence"
    assert main(["prove", str(tmp_path / "j"), f"{stream}-2", "-o", str(base)]) == 0
    trust = tmp_path / "trust.policy"
    command = ["verify-proof", f"{base}.json", f"{base}.tlog-proof", "--policy", str(trust)]
    trust.write_text(f"log {vkey(first)}\nlog {vkey(second)}\nquorum none\n#! signed-by each-type\n")
    assert main(command) == 0
    record(tmp_path / "k", first)
    stream = next((tmp_path / "k").glob("*.jsonl")).name[:32]
    assert main(["prove", str(tmp_path / "k"), f"{stream}-2", "-o", str(base)]) == 0
    assert main(command) == 4


def test_a_revoked_key_is_not_one_of_each_type(tmp_path: Path, first: Path, second: Path) -> None:
    record(tmp_path / "j", first, second)
    keys.generate(tmp_path / "revoker.pem", "security.example/keys")
    statement = Revocation(vkey(first), 0, "stolen").encode()
    note = sign_note(statement, [open_signer(tmp_path / "revoker.pem")], time=0, final=False)
    (tmp_path / "revocation").write_text(note.encode())
    revoker = f"#! revoker {vkey(tmp_path / 'revoker.pem')}\n"
    for lines, code in ((revoker, 0), (f"{revoker}#! signed-by each-type\n", 4)):
        report = verify(
            [tmp_path / "j"], policy=policy(first, second, lines=lines), revocations=[tmp_path / "revocation"]
        )
        assert report.exit_code == code


def test_a_record_s_own_signature_is_not_one_of_each_type(
    tmp_path: Path, first: Path, second: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"signing_key_file": first, "second_signing_key_file": second}
    trail = otel_audit.configure(journal=tmp_path / "j", sinks=[], heartbeat=0, record_signatures=True, **names)
    otel_audit.record("order.pay")
    trail.close()
    stream, base = next((tmp_path / "j").glob("*.jsonl")).name[:32], tmp_path / "evidence"
    assert main(["prove", str(tmp_path / "j"), f"{stream}-2", "--signature", "-o", str(base)]) == 0
    trust = tmp_path / "trust.policy"
    command = ["verify-proof", f"{base}.json", f"{base}.note", "--policy", str(trust)]
    trust.write_text(f"log {vkey(first)}\nlog {vkey(second)}\nquorum none\n")
    assert main(command) == 0
    trust.write_text(f"log {vkey(first)}\nlog {vkey(second)}\nquorum none\n#! signed-by each-type\n")
    assert main(command) == 4
    assert "ask for a proof" in capsys.readouterr().out


def test_epoch_keys_go_with_a_second_key(tmp_path: Path, first: Path) -> None:
    provision(tmp_path / "epochs", NAME, Schedule(0, 2**31, 2))
    record(tmp_path / "j", tmp_path / "epochs", first)
    both = policy(tmp_path / "epochs", first, lines="#! signed-by each-type\n")
    assert checked(tmp_path / "j", both) == (0, set(), "signed")


def test_keys_that_do_not_go_together_are_refused(tmp_path: Path, first: Path) -> None:
    keys.generate(tmp_path / "same.pem", NAME)
    provision(tmp_path / "other", "another.example", Schedule(0, 2**31, 2))
    for paths, said in (
        ((first, tmp_path / "same.pem"), "of the same type"),
        ((first, tmp_path / "other"), "need one name"),
        ((first, tmp_path / "missing"), "second_signing_key_file: .*missing.*make one with"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            record(tmp_path / "j", *paths)
    with pytest.raises(ConfigurationError, match="give signing_key_file as well"):
        otel_audit.configure(journal=tmp_path / "j", sinks=[], second_signing_key_file=first)


def test_a_cryptography_without_the_algorithm_is_said(
    tmp_path: Path, first: Path, second: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.mldsa", None)
    monkeypatch.delattr("cryptography.hazmat.primitives.asymmetric.mldsa")
    with pytest.raises(ConfigurationError, match=r"second_signing_key_file: ML-DSA-44 needs a `cryptography`"):
        record(tmp_path / "j", first, second)
    assert main(["keys", "generate", str(tmp_path / "k"), "--name", NAME, "--type", "ml-dsa-44"]) == 2
    assert "ML-DSA-44 needs a `cryptography`" in capsys.readouterr().err
    assert not (tmp_path / "k").exists()
    path = tmp_path / "trust.policy"
    path.write_text(f"log {vkey(second)}\nquorum none\n")
    assert main(["verify", str(tmp_path), "--policy", str(path)]) == 2
    assert "trust.policy, line 1: ML-DSA-44 needs" in capsys.readouterr().err
