"""docs/threat-model.md says what is found and what is not; both are held against the verifier here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from otel_audit.canonical import parse
from otel_audit.verify import CODES, verify
from tests.integrity import test_seventy_cases as with_keys
from tests.integrity.site import Site, build
from tests.verify import test_tampering_cases as without_keys
from tests.verify.histories import put, rewrite, whole

PAGE = (Path(__file__).parents[2] / "docs" / "threat-model.md").read_text(encoding="utf-8")
CASES = [case[:3] for case in (*with_keys.CASES, *without_keys.CASES)]
"""Name (numbers first), exit code, finding."""


def cited() -> list[tuple[str, str | None, str]]:
    """Return each citation of a case: its number, the code, and what is said of the verdict."""
    return re.findall(r"case (\d+)(?:,\s+`([A-Z_]+)`)?(?:,\s+(?:both )?(incomplete|unverifiable))?", PAGE)


def test_the_page_cites_many_cases() -> None:
    assert len(cited()) > 50


@pytest.mark.parametrize(("number", "code", "verdict"), sorted(set(cited())))
def test_a_case_that_the_page_cites_is_tested_and_comes_to_that(number: str, code: str, verdict: str) -> None:
    exit_codes = [
        exit_code
        for name, exit_code, found in CASES
        if number in name.split()[:2] and found in ({code} if code else {None, "IDENTICAL_COPIES"})
    ]
    assert exit_codes, f"no case {number} with {code}"
    if verdict:
        assert {"incomplete": 3, "unverifiable": 4}[verdict] in exit_codes


def test_every_code_on_the_page_is_one() -> None:
    named = set(re.findall("`([A-Z]+(?:_[A-Z]+)*)`", PAGE))
    assert named - {"LOG"} <= CODES.keys()


def test_its_links_lead_somewhere() -> None:
    headings = {
        re.sub("[^a-z -]", "", line[4:].lower()).replace(" ", "-") for line in PAGE.splitlines() if line[:4] == "### "
    }
    assert set(re.findall(r"\(#([a-z-]+)\)", PAGE)) <= headings


# What is said not to be found.


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return build(tmp_path_factory.mktemp("site") / "site", streams=2, records=60, flush_each=20)


@pytest.fixture
def site(original: Site, tmp_path: Path) -> Site:
    return original.copy(tmp_path / "site")


def demand_signatures_only(site: Site) -> None:
    site.policy.write_text(site.policy.read_text().replace("#! anchored always\n", ""))


def test_the_chain_alone_does_not_find_a_newest_stream_that_was_sealed_anew(tmp_path: Path) -> None:
    first = whole(1)
    put(tmp_path / "j", first)
    second = whole(2, previous=[first.ending()])
    second.lines = rewrite(second.lines, 6, message="another")
    put(tmp_path / "j", second)
    assert verify([tmp_path / "j"]).exit_code == 0


def test_the_chain_alone_does_not_find_that_the_newest_streams_are_gone(tmp_path: Path) -> None:
    put(tmp_path / "j", whole(1))
    assert verify([tmp_path / "j"]).exit_code == 0


def test_a_signature_alone_does_not_find_what_the_key_holder_signed_anew(site: Site) -> None:
    site.forget_outside()
    demand_signatures_only(site)
    log = site.logs[-1]
    records = log.records
    records[20]["data"]["amount"] = 99.5
    log.sign_anew(records)
    assert site.verify() == (0, set())


def test_no_pin_and_no_anchor_means_that_an_older_state_is_not_found(site: Site) -> None:
    site.forget_outside()
    demand_signatures_only(site)
    log = site.logs[-1]
    log.path.unlink()
    log.state.unlink()
    assert site.verify() == (0, set())


def test_anchor_and_key_holder_together_are_found_by_a_pin_alone(site: Site) -> None:
    log = site.logs[-1]
    records = log.records
    records[20]["data"]["amount"] = 99.5
    log.sign_anew(records)
    log.anchored.write_text(log.state.read_text())
    assert site.verify()[0] == 1
    assert "PIN_MISMATCH" in site.verify()[1]
    site.pins.unlink()
    assert site.verify() == (0, set())


def test_witnesses_in_collusion_are_not_found(site: Site) -> None:
    log = site.logs[-1]
    site.pins.unlink()
    records = log.records
    records[20]["data"]["amount"] = 99.5
    log.sign_anew(records)
    log.anchored.write_text(log.state.read_text())
    with_keys.witnessed(site, sign=with_keys.cosigned)
    assert site.verify() == (0, set())


def test_a_log_never_counts_for_more_because_of_what_it_says_of_itself(site: Site) -> None:
    site.forget_outside()
    report = verify([site.journal])
    assert {each.tier for each in report.streams} == {"chained"}
    assert all("keys" in parse(log.lines[0])["data"] for log in site.logs)
