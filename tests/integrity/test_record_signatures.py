"""A signature for each record: made in the background, checked by `verify`, and by itself without the log."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import otel_audit
from otel_audit.cli.__main__ import main
from otel_audit.errors import ConfigurationError
from otel_audit.integrity import keys, recordsign
from otel_audit.integrity.epochs import Schedule
from otel_audit.integrity.note import open_note, parse_note
from otel_audit.integrity.opening import open_signer
from otel_audit.integrity.policy import Policy, read_vkey
from otel_audit.integrity.recordsign import RecordSigner, SignedRecords
from otel_audit.integrity.seedfile import provision
from otel_audit.integrity.signatures import Ed25519Signer, sign_note
from otel_audit.integrity.statements import Revocation
from otel_audit.sealing import Chain
from otel_audit.verify import Report, verify
from tests.integrity.site import NAME, Log, Site
from tests.writer.trails import data_of, events


class Signed(Site):
    """A site whose records are signed one by one as well."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.anchor.mkdir(parents=True)
        keys.generate(self.key, NAME)
        self.policy.write_text(f"log {self.vkey}\nquorum none\n")

    @property
    def vkey(self) -> str:
        return Path(f"{self.key}.vkey").read_text().strip()

    def write(self, count: int = 5, **settings: Any) -> None:
        given = {"record_signatures": True, "checkpoint_interval": "1h", **settings}
        trail = otel_audit.configure(journal=self.journal, sinks=[], heartbeat=0, signing_key_file=self.key, **given)
        for number in range(count):
            otel_audit.record("invoice.delete", amount=number)
        trail.close()

    def check(self, **given: Any) -> Report:
        return verify([self.journal], policy=Policy.load(self.policy), **{"record_signatures": True, **given})

    def found(self, **given: Any) -> tuple[int, set[str]]:
        report = self.check(**given)
        return report.exit_code, set(report.findings.counts())


@pytest.fixture
def site(tmp_path: Path) -> Signed:
    return Signed(tmp_path / "site")


def test_each_record_gets_a_signature_before_the_checkpoint_over_it(site: Signed) -> None:
    site.write()
    assert events(site.journal)[-3:] == ["audit.signatures", "audit.checkpoint", "audit.stream.close"]
    report = site.check()
    assert (report.exit_code, report.findings.counts()) == (0, {})
    assert (report.streams[0].record_signatures, report.records) == (6, 9)


def test_a_signature_is_one_over_a_note_that_names_the_record(site: Signed) -> None:
    """As docs/integrity.md says it, with nothing of the package but the key."""
    site.write()
    log = site.logs[0]
    data = next(data_of(site.journal, "audit.signatures").__iter__())
    signature = base64.b64decode(data["signatures"])[64 * 2 : 64 * 3]
    text = f"otel-audit.record/v1\nrecord {NAME}/{log.stream}-3\nhash {log.records[2]['hash']}\n"
    read_vkey(site.vkey)._key.verify(signature, text.encode())
    assert (data["first"], data["signer"]) == (1, "+".join(site.vkey.split("+", 2)[:2]))


def test_without_the_setting_there_are_none(site: Signed) -> None:
    site.write(record_signatures=False)
    assert "audit.signatures" not in events(site.journal)
    assert site.found() == (4, {"RECORDS_NOT_SIGNED"})
    assert site.found(record_signatures=False) == (0, set())


def test_that_they_were_not_checked_is_said(site: Signed) -> None:
    site.write()
    assert site.found(record_signatures=False) == (0, {"RECORD_SIGNATURES_UNCHECKED"})


def test_many_records_go_into_several_batches_and_the_rest_into_the_last(site: Signed) -> None:
    site.write(150, checkpoint_records=100_000)
    assert [each["first"] for each in data_of(site.journal, "audit.signatures")] == [1, 65, 129]
    report = site.check()
    assert (report.findings.counts(), report.streams[0].record_signatures) == ({}, 151)


def test_an_idle_process_signs_nothing_more(site: Signed) -> None:
    trail = otel_audit.configure(
        journal=site.journal,
        sinks=[],
        heartbeat=0,
        signing_key_file=site.key,
        record_signatures=True,
        checkpoint_interval="1h",
    )
    otel_audit.record("order.pay")
    for _ in range(5):
        trail.flush()
    assert events(site.journal) == ["audit.stream.open", "order.pay", "audit.signatures", "audit.checkpoint"]
    otel_audit.record("order.pay")
    trail.close()
    assert site.found() == (0, set())


def test_a_process_that_stops_signing_records_while_it_goes_on_with_checkpoints_is_found(
    site: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    trail = otel_audit.configure(
        journal=site.journal,
        sinks=[],
        heartbeat=0,
        signing_key_file=site.key,
        record_signatures=True,
        checkpoint_interval="1h",
    )
    otel_audit.record("order.pay")
    trail.flush()
    monkeypatch.setattr(RecordSigner, "sign", lambda *_: 0)
    otel_audit.record("order.pay")
    trail.close()
    assert site.found() == (4, {"RECORDS_NOT_SIGNED"})
    assert site.found(record_signatures=False) == (0, {"RECORD_SIGNATURES_UNCHECKED"})


def resealed(log: Log, change: Any) -> None:
    records = log.records
    place = next(place for place, each in enumerate(records) if each["event_name"] == "audit.signatures")
    change(records[place]["data"])
    log.sign_anew(records)


def spoil(data: dict[str, Any], place: int = 2) -> None:
    packed = bytearray(base64.b64decode(data["signatures"]))
    packed[64 * place] ^= 1
    data["signatures"] = base64.b64encode(packed).decode()


@pytest.mark.parametrize(
    ("change", "exit_code", "code"),
    [
        pytest.param(spoil, 1, "BAD_SIGNATURE", id="a bit of one"),
        pytest.param(lambda data: data.update(first=2), 1, "BAD_SIGNATURE", id="moved by one"),
        pytest.param(lambda data: data.update(first=3), 1, "BAD_SIGNATURE", id="of records that come later"),
        pytest.param(lambda data: data.update(first=0), 1, "BAD_SIGNATURE", id="of a record zero"),
        pytest.param(lambda data: data.update(first="1"), 1, "BAD_SIGNATURE", id="a number as text"),
        pytest.param(lambda data: data.update(signatures="AAAA"), 1, "BAD_SIGNATURE", id="a part of one"),
        pytest.param(lambda data: data.update(signatures=""), 1, "BAD_SIGNATURE", id="none"),
        pytest.param(lambda data: data.clear(), 1, "BAD_SIGNATURE", id="nothing"),
        pytest.param(lambda data: data.update(signer="x+00000000"), 4, "UNKNOWN_SIGNER", id="a stranger's"),
        pytest.param(
            lambda data: data.update(signatures=data["signatures"][:256].rstrip("=")),
            4,
            "RECORDS_NOT_SIGNED",
            id="fewer at the end",
        ),
    ],
)
def test_what_is_wrong_with_them_is_found(site: Signed, change: Any, exit_code: int, code: str | None) -> None:
    site.write()
    resealed(site.logs[0], change)
    assert site.found() == (exit_code, {code} if code else set())


def test_records_between_others_that_have_none_are_told(site: Signed) -> None:
    site.write(150, checkpoint_records=100_000)
    log = site.logs[0]
    log.sign_anew([each for each in log.records if each.get("data", {}).get("first") != 1])
    assert site.found() == (4, {"RECORDS_NOT_SIGNED"})


def test_a_record_that_was_sealed_anew_has_lost_its_signature(site: Signed) -> None:
    """Also for one who has the checkpoints signed again, by a service that signs whatever it is given."""
    site.write()
    log = site.logs[0]
    records = log.records
    records[3]["data"]["amount"] = 99
    log.sign_anew(records)
    assert verify([site.journal], policy=Policy.load(site.policy)).exit_code == 0
    assert site.found() == (1, {"BAD_SIGNATURE"})


def test_a_revoked_key_signs_no_record_either(site: Signed, tmp_path: Path) -> None:
    site.write()
    by = tmp_path / "security.pem"
    keys.generate(by, "security.example")
    site.policy.write_text(f"log {site.vkey}\nquorum none\n#! revoker {open_signer(by).vkey}\n")
    text = Revocation(site.vkey, 1_700_000_000, "stolen", {site.logs[0].origin: 100}).encode()
    note = tmp_path / "revocation"
    for good, wanted in ((100, (0, set())), (3, (4, {"KEY_REVOKED", "NOT_SIGNED"}))):
        from otel_audit.integrity.signatures import sign_note

        said = text.replace(" 100\n", f" {good}\n")
        note.write_text(sign_note(said, [open_signer(by)], time=0).encode())
        assert site.found(revocations=[note]) == wanted


def test_one_record_and_its_signature_are_all_that_is_needed(
    site: Signed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site.write()
    log, base = site.logs[0], tmp_path / "evidence"
    record_id = f"{log.stream}-4"
    assert main(["prove", str(site.journal), record_id, "--signature", "-o", str(base)]) == 0
    assert open_note(parse_note(Path(f"{base}.note").read_bytes()), [read_vkey(site.vkey)])
    shutil.rmtree(site.journal)
    command = ["verify-proof", f"{base}.json", f"{base}.note", "--policy", str(site.policy)]
    capsys.readouterr()
    assert main(command) == 0
    assert f"PROVED: record {record_id}" in capsys.readouterr().out
    whole = Path(f"{base}.json").read_bytes()
    Path(f"{base}.json").write_bytes(whole.replace(b'"amount":2', b'"amount":3'))
    assert main(command) == 1
    Path(f"{base}.json").write_bytes(Chain(log.stream).seal(b'{"@timestamp":"2026-01-01T00:00:00.000000000Z"'))
    assert main(command) == 1
    Path(f"{base}.json").write_bytes(whole)
    keys.generate(tmp_path / "other.pem", NAME)
    site.policy.write_text(f"log {open_signer(tmp_path / 'other.pem').vkey}\nquorum none\n")
    assert main(command) == 4


def test_a_signature_of_another_record_proves_nothing(site: Signed, tmp_path: Path) -> None:
    site.write()
    stream = site.logs[0].stream
    for seq in (3, 4):
        assert main(["prove", str(site.journal), f"{stream}-{seq}", "--signature", "-o", str(tmp_path / f"{seq}")]) == 0
    command = ["verify-proof", str(tmp_path / "3.json"), str(tmp_path / "4.note"), "--policy", str(site.policy)]
    assert main(command) == 1


def test_a_record_s_own_signature_meets_no_quorum(
    site: Signed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site.write()
    base = tmp_path / "evidence"
    assert main(["prove", str(site.journal), f"{site.logs[0].stream}-3", "--signature", "-o", str(base)]) == 0
    witness = tmp_path / "w.pem"
    assert main(["keys", "generate", str(witness), "--name", "witness.example/w", "--type", "cosignature"]) == 0
    named = Path(f"{witness}.vkey").read_text().strip()
    site.policy.write_text(f"log {site.vkey}\nwitness W {named}\nquorum W\n")
    assert main(["verify-proof", f"{base}.json", f"{base}.note", "--policy", str(site.policy)]) == 3
    assert "quorum 'W'" in capsys.readouterr().out


@pytest.mark.parametrize(("how", "form"), [((), "tlog-proof"), (("--signature",), "note")])
def test_a_revoked_key_proves_no_record(site: Signed, tmp_path: Path, how: tuple[str, ...], form: str) -> None:
    site.write()
    base, stream = tmp_path / "evidence", site.logs[0].stream
    assert main(["prove", str(site.journal), f"{stream}-3", *how, "-o", str(base)]) == 0
    keys.generate(tmp_path / "revoker.pem", "security.example/keys")
    revoker = Path(f"{tmp_path / 'revoker.pem'}.vkey").read_text().strip()
    site.policy.write_text(f"log {site.vkey}\nquorum none\n#! revoker {revoker}\n")
    command = ["verify-proof", f"{base}.json", f"{base}.{form}", "--policy", str(site.policy)]
    assert main(command) == 0
    for good, code in (({}, 4), ({f"{NAME}/{stream}": 10_000}, 0)):
        statement = Revocation(site.vkey, 0, "stolen", good).encode()
        note = sign_note(statement, [open_signer(tmp_path / "revoker.pem")], time=0, final=False)
        (tmp_path / "revocation").write_text(note.encode())
        assert main([*command, "--revocation", str(tmp_path / "revocation")]) == code
    (tmp_path / "revocation").write_text("nothing\n")
    assert main([*command, "--revocation", str(tmp_path / "revocation")]) == 2


def test_a_record_without_a_signature_says_how_to_get_a_proof(site: Signed, capsys: pytest.CaptureFixture[str]) -> None:
    site.write(record_signatures=False)
    assert main(["prove", str(site.journal), f"{site.logs[0].stream}-2", "--signature"]) == 2
    assert "the setting `record_signatures` makes them" in capsys.readouterr().err


def test_only_a_plain_key_can_sign_records(site: Signed, tmp_path: Path) -> None:
    provision(tmp_path / "epochs", NAME, Schedule(0, 2**31, 2))
    with pytest.raises(ConfigurationError, match="takes an Ed25519 key"):
        otel_audit.configure(journal=tmp_path, sinks=[], signing_key_file=tmp_path / "epochs", record_signatures=True)
    with pytest.raises(ConfigurationError, match="record_signatures needs a key"):
        otel_audit.configure(journal=tmp_path, sinks=[], record_signatures=True)


def test_verify_asks_whose_signatures_count(site: Signed, capsys: pytest.CaptureFixture[str]) -> None:
    site.write()
    assert main(["verify", str(site.journal), "--record-signatures"]) == 2
    assert "give a --policy" in capsys.readouterr().err
    assert main(["verify", str(site.journal), "--record-signatures", "--policy", str(site.policy)]) == 0
    assert "records' own signatures: 6 checked and good" in capsys.readouterr().out


def test_what_comes_faster_than_it_can_be_signed_goes_without_and_is_told(
    site: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordsign, "_MOST_WAITING", 10)
    made: list[dict[str, Any]] = []
    signer = open_signer(site.key)
    slow, stream = RecordSigner(signer, "0" * 32, emit=made.append), "0" * 32
    hashes = [f"{number:064x}" for number in range(1, 41)]
    slow.observe(1, bytes.fromhex("".join(hashes[:5])))
    assert slow.sign(5) == 1
    slow.observe(6, bytes.fromhex("".join(hashes[5:])))
    assert slow.sign(40) == 1
    checks = SignedRecords(stream, [read_vkey(signer.vkey)])
    checks.extend_packed(bytes.fromhex("".join(hashes)))
    for data in made:
        checks.take(data, 41)
    assert [(each.code, each.seq) for each in checks.finish()] == [("RECORDS_NOT_SIGNED", 6)]
    assert checks.checked == 15


def test_a_service_that_signs_with_another_key_is_noticed(site: Signed) -> None:
    private = keys.Ed25519PrivateKey.generate()
    signer = open_signer(site.key)
    assert isinstance(signer, Ed25519Signer)
    wrong = Ed25519Signer(signer.name, signer._key.public, private.sign)
    with pytest.raises(Exception, match="does not verify"):
        RecordSigner(wrong, "0" * 32, emit=print).sign(0) or wrong.sign_batch(["a", "b"])


def test_a_batch_stays_below_what_syslog_daemons_take(site: Signed) -> None:
    site.write(150, checkpoint_records=100_000)
    records = site.logs[0].records
    assert all("altered" not in each["audit"] for each in records)
    assert max(len(json.dumps(each)) for each in records if each["event_name"] == "audit.signatures") < 8192
