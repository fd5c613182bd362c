"""The evolving MAC from the configuration to `verify --mac-key`: what it closes, and against whom."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import otel_audit
from otel_audit.canonical import canonicalize
from otel_audit.cli.__main__ import main
from otel_audit.errors import ConfigurationError
from otel_audit.integrity import keys
from otel_audit.integrity.mac import EvolvingMac
from otel_audit.integrity.mackey import load_mac_key, take_seed
from otel_audit.sealing import Chain
from otel_audit.verify import Report, verify
from tests.writer.trails import ROOT, data_of


class Marked:
    """A journal whose records are marked, and the verification key, which lies elsewhere."""

    def __init__(self, directory: Path) -> None:
        self.journal = directory / "journal"
        self.key = directory / "audit.mac"
        self.copy = directory / "elsewhere.mac"
        assert main(["keys", "mac", str(self.key), "--copy", str(self.copy)]) == 0

    def record(self, count: int = 5, **settings: Any) -> None:
        trail = otel_audit.configure(journal=self.journal, sinks=[], mac_key_file=self.key, **settings)
        for number in range(count):
            otel_audit.record("invoice.delete", amount=number)
        trail.close()

    def check(self) -> Report:
        return verify([self.journal], mac_key=load_mac_key(self.copy))

    def found(self) -> tuple[int, set[str]]:
        report = self.check()
        return report.exit_code, set(report.findings.counts())

    @property
    def files(self) -> list[Path]:
        return sorted(self.journal.glob("*.jsonl"))


def seal(path: Path, records: list[dict[str, Any]]) -> None:
    """Write records as a chain that fits together, as anybody can."""
    chain, lines = Chain(path.name[:32]), []
    for record in records:
        kept = {name: value for name, value in record.items() if name not in {"hash", "prev_hash", "seq", "stream"}}
        if kept["event_name"] == "audit.stream.close":
            kept["data"]["records"] = chain.seq + 1
        lines.append(chain.seal(canonicalize(kept)[:-1]))
    path.write_bytes(b"".join(lines))


def records_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def mark_anew(path: Path, seed: Any) -> None:
    """Seal and mark a stream with a seed, as who holds the seed can."""
    records, stream = records_of(path), path.name[:32]
    for place, record in enumerate(records):
        if "mac" in record.get("data", {}):
            seal(path, records)
            mac = EvolvingMac(seed.first_key(stream))
            for each in records_of(path)[:place]:
                mac.add(bytes.fromhex(each["hash"]))
            record["data"]["mac"] = {"number": seed.number, "records": place, "stream": stream, "sum": mac.sum().hex()}
    seal(path, records)


@pytest.fixture
def marked(tmp_path: Path) -> Iterator[Marked]:
    yield Marked(tmp_path)
    otel_audit.configure(sinks=["stdout:"]).close()


def test_a_marked_journal_is_keyed_for_who_has_the_key(marked: Marked) -> None:
    marked.record()
    marked.record()
    report = marked.check()
    assert (report.exit_code, report.findings.counts()) == (0, {})
    assert [(each.tier, each.keyed, each.records) for each in report.streams] == [("keyed", 6, 7)] * 2
    assert "carry the marks of a secret" in report.streams[0].proved
    assert verify([marked.journal]).streams[0].tier == "chained"


def test_every_control_record_states_the_sum_so_far(marked: Marked) -> None:
    marked.record()
    opening, closing = (record["data"]["mac"] for record in (records_of(marked.files[0])[place] for place in (0, -1)))
    assert (opening["number"], opening["records"], len(opening["sum"])) == (0, 0, 64)
    assert (closing["number"], closing["records"], len(closing["sum"])) == (0, 6, 64)


def test_without_a_key_nothing_of_it_is_written(marked: Marked) -> None:
    otel_audit.configure(journal=marked.journal, sinks=[])
    otel_audit.record("order.pay")
    otel_audit.configure(sinks=["stdout:"]).close()
    assert all("mac" not in record["data"] for record in records_of(marked.files[0]) if "data" in record)
    assert marked.found() == (4, {"NOT_MARKED"})


def test_a_heartbeat_and_a_checkpoint_state_it_as_well(marked: Marked, tmp_path: Path) -> None:
    keys.generate(tmp_path / "key.pem", "shop.example/audit")
    trail = otel_audit.configure(
        journal=marked.journal, sinks=[], mac_key_file=marked.key, signing_key_file=tmp_path / "key.pem"
    )
    otel_audit.record("order.pay")
    trail.flush()
    trail._beat()
    for kind, covered in (("audit.checkpoint", 2), ("audit.heartbeat", 3)):
        assert [each["mac"]["records"] for each in data_of(marked.journal, kind)] == [covered]
    trail.close()
    report = marked.check()
    assert (report.exit_code, set(report.findings.counts())) == (3, {"NO_POLICY"})
    assert report.streams[0].tier == "keyed"


def test_a_record_changed_and_everything_sealed_again(marked: Marked) -> None:
    marked.record()
    changed = records_of(marked.files[0])
    changed[3]["data"]["amount"] = 99
    seal(marked.files[0], changed)
    assert verify([marked.journal]).exit_code == 0
    report = marked.check()
    assert (report.exit_code, set(report.findings.counts())) == (1, {"MAC_MISMATCH"})
    assert report.streams[0].tier == "plain"


def test_who_breaks_in_later_cannot_mark_an_earlier_stream(marked: Marked) -> None:
    """The seed that he finds is that of a stream that has not begun: it shows in the numbers."""
    for _ in range(3):
        marked.record()
    seed = take_seed(marked.key)
    assert seed.number == 3
    changed = records_of(marked.files[1])
    changed[3]["data"]["amount"] = 99
    seal(marked.files[1], changed)
    mark_anew(marked.files[1], seed)
    for later in marked.files[2:]:
        later.unlink()
    report = marked.check()
    assert report.exit_code == 3
    assert [each.tier for each in report.streams] == ["keyed", "chained"]
    assert set(report.findings.counts()) == {"MARKED_STREAM_MISSING"}


def test_a_cut_end_is_unmarked_and_without_a_sum_not_marked(marked: Marked) -> None:
    marked.record()
    lines = marked.files[0].read_bytes().splitlines(keepends=True)
    marked.files[0].write_bytes(b"".join(lines[:5]))
    assert marked.found() == (3, {"UNCLOSED", "UNMARKED_TAIL"})
    assert marked.check().streams[0].tier == "chained"


def test_statements_that_are_missing_or_nonsense(marked: Marked) -> None:
    marked.record()
    original = records_of(marked.files[0])
    for change, wanted in (
        (lambda mac: mac.clear(), {"MAC_MISMATCH"}),
        (lambda mac: mac.update(number=-1), {"MAC_MISMATCH"}),
        (lambda mac: mac.update(number=2**50), {"MAC_MISMATCH"}),
        (lambda mac: mac.update(records=7), {"MAC_MISMATCH"}),
        (lambda mac: mac.update(records=True), {"MAC_MISMATCH"}),
        (lambda mac: mac.update(sum="no"), {"MAC_MISMATCH"}),
        (lambda mac: mac.update(stream="0" * 32), {"UNMARKED_TAIL"}),
        (lambda mac: mac.update(more="x" * 4000), {"MAC_MISMATCH"}),
    ):
        records = json.loads(json.dumps(original))
        change(records[-1]["data"]["mac"])
        seal(marked.files[0], records)
        code, found = marked.found()
        assert found == wanted, change
        assert code == (1 if wanted == {"MAC_MISMATCH"} else 3)
    records = json.loads(json.dumps(original))
    for place in (0, -1):
        del records[place]["data"]["mac"]
    seal(marked.files[0], records)
    assert marked.found() == (4, {"NOT_MARKED"})


def test_a_stream_that_is_gone_leaves_a_hole_in_the_numbers(marked: Marked) -> None:
    for _ in range(3):
        marked.record()
    shutil.copy(marked.key, f"{marked.key}.later")
    marked.files[0].unlink()
    report = marked.check()
    assert report.findings.counts()["MARKED_STREAM_MISSING"] == 1
    assert [each.tier for each in report.streams] == ["chained", "chained"]


def test_a_seed_that_was_put_back_is_used_twice(marked: Marked) -> None:
    shutil.copy(marked.key, f"{marked.key}.kept")
    marked.record()
    shutil.copy(f"{marked.key}.kept", marked.key)
    marked.record()
    assert marked.found() == (1, {"MAC_NUMBER_TWICE"})


def test_a_copy_that_is_younger_than_a_stream_cannot_judge_it(marked: Marked) -> None:
    """The file that the writer uses up, given for the verification key: nobody has tampered with anything."""
    marked.record()
    marked.copy = marked.key
    report = marked.check()
    assert (report.exit_code, set(report.findings.counts())) == (4, {"NOT_MARKED"})
    assert "this key begins with 1" in report.findings.listed[0].detail


def test_the_key_file_holds_only_what_comes(marked: Marked) -> None:
    first = load_mac_key(marked.copy)
    marked.record()
    content = marked.key.read_bytes()
    assert load_mac_key(marked.key) == first.of(1)
    assert first.seed not in content
    assert first.seed.hex() not in repr(first)


def test_a_forked_child_takes_a_seed_of_its_own(marked: Marked) -> None:
    trail = otel_audit.configure(journal=marked.journal, sinks=[], mac_key_file=marked.key)
    otel_audit.record("order.pay")
    child = os.fork()
    if not child:
        otel_audit.record("order.pay")
        trail.close()
        os._exit(0)
    os.waitpid(child, 0)
    trail.close()
    report = marked.check()
    assert (report.exit_code, [each.tier for each in report.streams]) == (0, ["keyed", "keyed"])


def test_many_threads_are_marked_in_the_order_of_their_records(marked: Marked) -> None:
    script = (
        "import threading, otel_audit\n"
        f"trail = otel_audit.configure(journal={str(marked.journal)!r}, sinks=[], mac_key_file={str(marked.key)!r}, "
        "durability='relaxed', heartbeat=0.01)\n"
        "def work():\n"
        "    for n in range(2000): otel_audit.record('order.pay', n=n)\n"
        "threads = [threading.Thread(target=work) for _ in range(4)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        "trail.close()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
    report = marked.check()
    assert (report.findings.counts().keys() - {"SILENCE"}, report.streams[0].keyed) == (set(), report.records - 1)


def test_a_killed_process_is_incomplete_and_never_tampered(marked: Marked) -> None:
    script = (
        "import os, signal, otel_audit\n"
        f"otel_audit.configure(journal={str(marked.journal)!r}, sinks=[], mac_key_file={str(marked.key)!r})\n"
        "[otel_audit.record('order.pay') for _ in range(50)]\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == -signal.SIGKILL
    assert marked.found() == (3, {"UNCLOSED", "UNMARKED_TAIL"})
    marked.record()
    assert marked.found() == (3, {"UNCLOSED", "UNMARKED_TAIL"})


def test_a_key_file_that_cannot_be_used_stops_marks_and_not_records(
    marked: Marked, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("otel_audit.marks.notice", lambda message, **_: said.append(message))
    trail = otel_audit.configure(journal=marked.journal, sinks=[], mac_key_file=marked.key)
    marked.key.unlink()
    otel_audit.record("order.pay")
    trail.close()
    assert ["goes without an evolving MAC" in each for each in said] == [True]
    assert marked.found() == (4, {"NOT_MARKED"})


def test_a_key_that_others_can_read_is_refused(marked: Marked, capsys: pytest.CaptureFixture[str]) -> None:
    marked.key.chmod(0o640)
    with pytest.raises(ConfigurationError, match=r"mac_key_file: .*chmod 600"):
        marked.record()
    marked.key.unlink()
    with pytest.raises(ConfigurationError, match=r"mac_key_file: .*otel-audit keys mac"):
        marked.record()
    marked.copy.chmod(0o644)
    assert main(["verify", str(marked.journal), "--mac-key", str(marked.copy)]) == 2
    assert "chmod 600" in capsys.readouterr().err
    keys.generate(marked.key, "shop.example/audit")
    with pytest.raises(ConfigurationError, match="holds no MAC key"):
        marked.record()


def test_the_command_says_how_far_the_marks_reach(marked: Marked, capsys: pytest.CaptureFixture[str]) -> None:
    marked.record()
    capsys.readouterr()
    assert main(["verify", str(marked.journal), "--mac-key", str(marked.copy), "--jobs", "1"]) == 0
    out = capsys.readouterr().out
    assert ", closed, keyed\n    Records 1 to 6 of 7: The records fit together and carry the marks" in out
    assert "INTACT: Proved: 7 records in 1 stream are unchanged, in order and complete. The records fit together" in out


def test_a_stream_whose_beginning_was_removed_is_not_keyed(marked: Marked) -> None:
    marked.record()
    lines = marked.files[0].read_bytes().splitlines(keepends=True)
    marked.files[0].write_bytes(b"".join(lines[2:]))
    assert marked.found() == (1, {"HEAD_CUT", "NOT_MARKED"})
