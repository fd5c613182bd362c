"""Erasing one person: the values are gone for good, the chain holds, and the erasure is on record."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import otel_audit
from otel_audit.cli.__main__ import main
from otel_audit.erasure import NotRecorded, erase
from otel_audit.integrity import keys as signing_keys
from otel_audit.redaction import subject_keys
from otel_audit.redaction.pseudonyms import add_key
from otel_audit.redaction.sealing import seal
from otel_audit.redaction.subject_keys import SubjectKey, SubjectKeys
from otel_audit.subject_report import _open
from otel_audit.trail import AuditTrail

SECRETS = ("alice@example.org", "1 Elm Street", "Alice Liddell")


class Site:
    """A journal with records about two persons, their keys, and the commands on them."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self.journal = directory / "journal"
        self.keys = directory / "keys"
        self.pseudonyms = directory / "pseudonyms.key"
        self._capsys = capsys
        add_key(self.pseudonyms)
        self.trail = self.configure()

    def configure(self) -> AuditTrail:
        return otel_audit.configure(
            journal=self.journal,
            sinks=[],
            heartbeat=0,
            sealed=["email", "customer.address", "target.name"],
            subject_keys=self.keys,
            pseudonyms=["actor.id"],
            pseudonym_key_file=self.pseudonyms,
        )

    def record(self) -> None:
        otel_audit.record(
            "order.pay",
            actor="alice",
            data_subject="alice",
            target={"id": "7", "name": SECRETS[2]},
            data={"email": SECRETS[0], "customer": {"address": SECRETS[1]}},
        )
        otel_audit.record("order.pay", actor="bob", data_subject="bob", data={"email": "bob@example.org"})
        otel_audit.record("user.login", actor="alice")
        otel_audit.record("user.login", actor="carol")

    def run(self, *command: str) -> tuple[int, str]:
        self._capsys.readouterr()
        code = main([*command])
        out, err = self._capsys.readouterr()
        return code, out + err

    def erase(self, *more: str, subject: str = "alice") -> tuple[int, str]:
        places = ("--journal", str(self.journal), "--keys", str(self.keys))
        return self.run("erase", "--subject", subject, *places, *more)

    def report(self, *more: str, subject: str = "alice") -> tuple[int, dict[str, Any]]:
        places = ("--keys", str(self.keys), "--pseudonym-key", str(self.pseudonyms))
        code, out = self.run("subject-report", "--subject", subject, "--json", *places, str(self.journal), *more)
        return code, json.loads(out)

    def verify(self) -> int:
        return self.run("verify", str(self.journal))[0]

    def erasures(self) -> list[dict[str, Any]]:
        lines = [line for path in sorted(self.journal.glob("*.jsonl")) for line in path.read_text().splitlines()]
        return [record for record in map(json.loads, lines) if record["event_name"] == "audit.erase"]

    def everything(self) -> bytes:
        return b"".join(path.read_bytes() for path in self.directory.rglob("*") if path.is_file())


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Site]:
    site = Site(tmp_path, capsys)
    site.record()
    site.trail.close()
    yield site
    site.trail.close()


def test_while_the_key_is_there_the_report_shows_all_about_the_person(site: Site) -> None:
    code, report = site.report()

    assert code == 0
    assert [record["event_name"] for record in report["records"]] == ["order.pay", "user.login"]
    assert report["records"][1]["found_at"] == ["/audit/actor/id"]
    assert {each["path"]: each["value"] for each in report["records"][0]["sealed"]} == {
        "/audit/target/name": SECRETS[2],
        "/data/customer/address": SECRETS[1],
        "/data/email": SECRETS[0],
    }
    assert report["erasures"] == []
    assert report["records_read"] == 6


def test_after_an_erasure_nothing_gives_the_values_back_and_the_chain_holds(site: Site) -> None:
    key = SubjectKeys(site.keys).find("alice")
    assert key is not None
    assert site.verify() == 0
    code, out = site.erase("--by", "dpo", "--reason", "request 17")

    assert (code, out) == (0, f"destroyed: {key.id}; recorded in the journal\n")
    assert site.verify() == 0
    left = site.everything()
    assert key.secret not in left
    assert not any(each.encode() in left for each in SECRETS)
    (erasure,) = site.erasures()
    assert erasure["data"] == {"by": "dpo", "keys": [key.id], "reason": "request 17"}
    assert erasure["audit"]["action"] == "ERASE"

    code, report = site.report()
    assert code == 0
    assert {each["state"] for each in report["records"][0]["sealed"]} == {"erased"}
    assert all("value" not in each for each in report["records"][0]["sealed"])
    assert [each["by"] for each in report["erasures"]] == ["dpo"]
    assert report["key"] is None


def test_others_are_not_erased(site: Site) -> None:
    site.erase()
    _, report = site.report(subject="bob")
    assert [each["value"] for each in report["records"][0]["sealed"]] == ["bob@example.org"]
    assert report["erasures"] == []


def test_the_report_in_words(site: Site) -> None:
    places = (str(site.journal), "--keys", str(site.keys), "--pseudonym-key", str(site.pseudonyms))
    code, out = site.run("subject-report", "--subject", "alice", *places)
    assert code == 0
    assert '/data/email opened: "alice@example.org"' in out
    site.erase("--by", "dpo")
    _, out = site.run("subject-report", "--subject", "alice", *places)
    assert "/data/email erased" in out
    assert "by dpo" in out
    assert out.splitlines()[-1] == "2 of 9 records; sealed fields: 3 erased"


def test_a_second_erasure_finds_nothing(site: Site) -> None:
    site.erase()
    code, out = site.erase()
    assert code == 5
    assert "no key of this person" in out
    assert len(site.erasures()) == 1


def test_a_person_who_comes_back_gets_another_key(site: Site) -> None:
    _, before = site.report()
    site.erase()
    site.trail = site.configure()
    site.record()
    site.trail.close()
    _, report = site.report()

    states = [{each["state"] for each in record["sealed"]} for record in report["records"] if record["sealed"]]
    assert states == [{"erased"}, {"opened"}]
    assert report["key"] != before["key"]


def test_a_process_that_runs_uses_no_key_that_was_taken_away(site: Site) -> None:
    site.trail = site.configure()
    site.record()
    site.erase()
    site.record()
    site.trail.close()

    _, report = site.report()
    assert [record["sealed"][0]["state"] for record in report["records"] if record["sealed"]] == [
        "erased",
        "erased",
        "opened",
    ]
    assert site.verify() == 0


def test_erasing_while_others_seal_loses_no_event_and_leaves_no_key(site: Site) -> None:
    site.trail = site.configure()
    stop = threading.Event()
    done: list[int] = []

    def work() -> None:
        count = 0
        while not stop.is_set():
            otel_audit.record("order.pay", data_subject="alice", data={"email": SECRETS[0]})
            count += 1
        done.append(count)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for each in threads:
        each.start()
    gone = []
    for _ in range(5):
        key = SubjectKeys(site.keys).find("alice")
        assert site.erase()[0] in {0, 5}
        gone.append(key)
    stop.set()
    for each in threads:
        each.join()
    site.trail.close()

    left = site.everything()
    assert not any(key.secret in left for key in gone if key is not None)
    assert SECRETS[0].encode() not in left
    _, report = site.report()
    assert len([each for each in report["records"] if each["event_name"] == "order.pay"]) == sum(done) + 1
    states = {field["state"] for record in report["records"] for field in record["sealed"]}
    assert states <= {"erased", "opened"}
    assert site.verify() == 0


@pytest.mark.parametrize(("how", "named"), [("no", None), ("clear", "alice"), ("pseudonym", "hmac-sha256:")])
def test_how_the_record_names_the_person(how: str, named: str | None, site: Site) -> None:
    site.erase("--name-subject", how, "--pseudonym-key", str(site.pseudonyms))
    (erasure,) = site.erasures()
    shown = erasure["data"].get("subject")
    assert shown == named if named is None else shown.startswith(named)
    _, report = site.report()
    assert len(report["erasures"]) == 1


def test_an_erasure_that_cannot_be_recorded_destroys_nothing_and_can_be_ended(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = SubjectKeys(site.keys)
    key = keys.find("alice")
    assert key is not None
    trail = site.configure()
    with monkeypatch.context() as patch:
        patch.setattr(trail.stream.store, "append", lambda lines: (_ for _ in ()).throw(OSError(28, "no space")))
        with pytest.raises(NotRecorded, match="not destroyed"):
            erase(trail, keys, "alice", by="dpo")
    trail.close()

    assert keys.find("alice") is None, "no process uses it any more"
    assert key.secret in site.everything()
    code, _ = site.erase()
    assert code == 0
    assert key.secret not in site.everything()
    assert [each["data"]["keys"] for each in site.erasures()][-1] == [key.id]


def test_an_erasure_that_was_interrupted_is_ended_by_the_next(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    key = SubjectKeys(site.keys).find("alice")
    assert key is not None
    with monkeypatch.context() as patch:
        patch.setattr(subject_keys.os, "unlink", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main(["erase", "--subject", "alice", "--journal", str(site.journal), "--keys", str(site.keys)]) == 130
    assert len([*site.keys.glob("*.erasing.*")]) == 1
    assert key.secret not in site.everything(), "it was overwritten already"
    assert site.erase()[0] == 0
    assert [path.name for path in site.keys.iterdir() if "erasing" in path.name] == []


def test_the_record_can_be_signed(site: Site) -> None:
    path = site.directory / "key.pem"
    signing_keys.generate(path, "shop.example/audit")
    assert site.erase("--key", str(path))[0] == 0
    assert [*(site.journal / "checkpoints").glob("*.checkpoint")]
    _, out = site.run("verify", "--json", str(site.journal))
    assert json.loads(out)["finding_counts"] == {"NO_POLICY": 1}


def test_settings_of_the_environment_are_used(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "JOURNAL": site.journal,
        "SUBJECT_KEYS": site.keys,
        "PSEUDONYM_KEY_FILE": site.pseudonyms,
    }.items():
        monkeypatch.setenv(f"OTEL_PYTHON_AUDIT_{name}", str(value))
    code, out = site.run("subject-report", "--subject", "alice", "--json")
    assert code == 0
    assert json.loads(out)["records"][0]["sealed"][0]["state"] == "opened"
    assert site.run("erase", "--subject", "alice")[0] == 0


def test_the_record_is_signed_and_anchored_as_the_settings_say(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    path, anchor, policy = (site.directory / name for name in ("key.pem", "anchor", "policy"))
    vkey = signing_keys.generate(path, "shop.example/audit")
    anchor.mkdir()
    for stream in site.journal.glob("*.jsonl"):
        stream.rename(site.directory / stream.name)  # those were not signed
    config = {"JOURNAL": site.journal, "SUBJECT_KEYS": site.keys, "SIGNING_KEY_FILE": path}
    for name, value in {**config, "ANCHORS": f"directory://{anchor}"}.items():
        monkeypatch.setenv(f"OTEL_PYTHON_AUDIT_{name}", str(value))
    policy.write_text(f"log {vkey}\nquorum none\n#! anchored always\n")
    assert site.run("erase", "--subject", "alice")[0] == 0
    assert site.run("verify", str(site.journal), "--policy", str(policy), "--anchor", str(anchor))[0] == 0


def test_of_a_long_sealed_value_the_beginning_opens(site: Site) -> None:
    otel_audit.configure(journal=site.journal, sinks=[], heartbeat=0, sealed=["email"], subject_keys=site.keys)
    otel_audit.record("order.note", data_subject="zoe", data={"email": "z" * 100_000})
    otel_audit.current_trail().close()
    code, report = site.report(subject="zoe")
    (sealed,) = report["records"][0]["sealed"]
    assert sealed["state"] == "opened"
    assert len(sealed["value"]) > 10_000
    assert sealed["whole_bytes"] == 100_000
    assert code == 0
    said = site.run("subject-report", "--subject", "zoe", str(site.journal), "--keys", str(site.keys))[1]
    assert '/data/email opened, the beginning of 100000 bytes: "zzz' in said


@pytest.mark.parametrize(("noted", "state"), [({"sha256": "0" * 64}, "cut"), ({}, "changed")])
def test_only_a_value_that_was_cut_once_it_was_sealed_may_fail_to_open(noted: dict[str, Any], state: str) -> None:
    key = SubjectKey.of(bytes(range(32)))
    record: dict[str, Any] = {"@timestamp": "2026-11-26T13:00:00.000000000Z", "event_name": "order.pay"}
    sealed = seal(key, "z" * 100, "/data/x", record)[:-8]
    record["audit"] = {"altered": [{"path": "/data/x", "why": "cut", "length": 400, **noted}]}
    assert _open("/data/x", sealed, key, record).state == state


def test_usage_errors_say_what_is_missing(site: Site, tmp_path: Path) -> None:
    assert "--keys" in site.run("erase", "--subject", "alice", "--journal", str(site.journal))[1]
    assert "--journal" in site.run("erase", "--subject", "alice", "--keys", str(site.keys))[1]
    assert site.erase("--name-subject", "pseudonym")[0] == 2
    assert site.erase(subject="nobody")[0] == 5
    assert site.report(subject="nobody")[0] == 5
    code, out = site.run("subject-report", "--subject", "alice", str(tmp_path / "nowhere"))
    assert code == 2
    assert "nowhere" in out


def test_a_changed_sealed_field_is_reported(site: Site) -> None:
    (path,) = site.journal.glob("*.jsonl")
    record = json.loads(path.read_text().splitlines()[1])
    sealed = record["data"]["email"]
    path.write_text(
        path.read_text().replace(sealed, sealed[:-8] + ("AAAA" if sealed[-8:-4] != "AAAA" else "BBBB") + sealed[-4:])
    )

    code, report = site.report()
    assert code == 1
    states = {each["path"]: each["state"] for each in report["records"][0]["sealed"]}
    assert states["/data/email"] == "changed"
    assert report["records"][0]["intact"] is False


def test_a_report_reads_copies_in_other_wrappings_once(site: Site) -> None:
    copy = site.directory / "container.log"
    lines = [line for path in site.journal.glob("*.jsonl") for line in path.read_text().splitlines()]
    copy.write_text("".join(json.dumps({"log": f"{line}\n", "stream": "stdout"}) + "\n" for line in lines))
    _, report = site.report(str(copy))
    assert len(report["records"]) == 2
    os.unlink(next(site.journal.glob("*.jsonl")))
    _, report = site.report(str(copy))
    assert len(report["records"]) == 2
