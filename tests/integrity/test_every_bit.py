"""Every single bit, over a signed log and all that vouches for it: never a pass, never a traceback."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import otel_audit
from otel_audit.cli.__main__ import main
from otel_audit.errors import ConfigurationError
from otel_audit.integrity import keys
from otel_audit.integrity.mackey import load_mac_key, provision_mac_key
from otel_audit.integrity.pins import Pins
from otel_audit.integrity.policy import Policy
from otel_audit.verify import verify
from tests.integrity.site import Site, build


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return build(tmp_path_factory.mktemp("site") / "site", streams=1, records=18, flush_each=9)


@pytest.fixture
def site(original: Site, tmp_path: Path) -> Site:
    return original.copy(tmp_path / "site")


def check(site: Site) -> int:
    """Verify as the command does, without the command."""
    try:
        policy, pins = Policy.load(site.policy), Pins(site.pins)
    except ConfigurationError:
        return 2
    return verify([site.journal], policy=policy, pins=pins, anchors=[site.anchor]).exit_code


def missed(site: Site, path: Path, bits: range, *, step: int = 1) -> list[tuple[int, int]]:
    """Flip bits of a file, in every byte or in one of `step`; return the flips that are passed."""
    content = bytearray(path.read_bytes())
    wrong = []
    for place in range(0, len(content), step):
        for bit in bits:
            content[place] ^= 1 << bit
            path.write_bytes(content)
            if check(site) == 0:
                wrong.append((place, bit))
            content[place] ^= 1 << bit
    path.write_bytes(content)
    assert check(site) == 0
    return wrong


def test_a_bit_of_every_seventh_byte_of_the_log(site: Site) -> None:
    assert missed(site, site.logs[0].path, range(1), step=7) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_bit_of_the_log(site: Site) -> None:
    assert missed(site, site.logs[0].path, range(8)) == []


def test_every_bit_of_the_checkpoint_beside_the_log(site: Site) -> None:
    assert missed(site, site.logs[0].state, range(8)) == []


def test_every_bit_of_the_anchored_checkpoint(site: Site) -> None:
    assert missed(site, site.logs[0].anchored, range(8)) == []


def test_every_bit_of_the_policy(site: Site) -> None:
    assert missed(site, site.policy, range(8)) == []


def test_every_bit_of_the_pins(site: Site) -> None:
    assert missed(site, site.pins, range(8)) == []


def test_a_bit_of_every_byte_of_what_signs_and_marks_single_records(tmp_path: Path) -> None:
    """The signatures of single records, and the sums of an evolving MAC, with nothing else that vouches for them."""
    key, mac, journal = tmp_path / "key.pem", tmp_path / "audit.mac", tmp_path / "journal"
    vkey = keys.generate(key, "shop.example/audit")
    provision_mac_key(mac, tmp_path / "copy.mac")
    trail = otel_audit.configure(
        journal=journal, sinks=[], heartbeat=0, signing_key_file=key, mac_key_file=mac, record_signatures=True
    )
    for _ in range(3):
        otel_audit.record("order.pay")
    trail.close()
    shutil.rmtree(journal / "checkpoints")
    policy = Policy.parse(f"log {vkey}\nquorum none\n".encode())
    copy = load_mac_key(tmp_path / "copy.mac")
    path = next(journal.glob("*.jsonl"))
    content = bytearray(path.read_bytes())

    def found() -> set[str]:
        report = verify([journal], policy=policy, mac_key=copy, record_signatures=True)
        return set(report.findings.counts())

    assert found() == {"UNSIGNED_TAIL"}
    wrong = []
    for place in range(len(content)):
        content[place] ^= 4
        path.write_bytes(content)
        if found() <= {"UNSIGNED_TAIL"}:
            wrong.append(place)
        content[place] ^= 4
    assert wrong == []


def test_every_bit_of_a_proof_and_of_its_record(site: Site, tmp_path: Path) -> None:
    log, base = site.logs[0], tmp_path / "evidence"
    assert main(["prove", str(site.journal), f"{log.stream}-7", "-o", str(base)]) == 0
    command = ["verify-proof", f"{base}.json", f"{base}.tlog-proof", "--policy", str(site.policy), "--quiet"]
    assert main(command) == 0
    for path in (Path(f"{base}.json"), Path(f"{base}.tlog-proof")):
        content = bytearray(path.read_bytes())
        wrong = []
        for place in range(len(content)):
            for bit in range(8):
                content[place] ^= 1 << bit
                path.write_bytes(content)
                if main(command) not in {1, 4}:
                    wrong.append((path.name, place, bit))
                content[place] ^= 1 << bit
        path.write_bytes(content)
        assert wrong == []
