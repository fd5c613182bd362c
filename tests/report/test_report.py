"""What `otel-audit report` writes, without a browser: verdict, selection, escaping, bounds."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from datetime import datetime, timezone
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_audit.cli.__main__ import main
from otel_audit.integrity.policy import Policy
from otel_audit.report import Given, build, choosing
from otel_audit.verify import CODES, verify
from otel_audit.verify.subjects import SUBJECTS
from tests.integrity.site import Site, main_to
from tests.report.conftest import HOSTILE, write_report
from tests.vectors.make import HERE as VECTORS
from tests.verify.histories import Writer, put, stream_id, whole

NOW = datetime(2026, 11, 26, 12, tzinfo=timezone.utc)


def data_of(page: str) -> dict[str, Any]:
    return json.loads(page.partition('id="data">')[2].partition("</script>")[0])


def text_of(page: str) -> str:
    """What a reader without a script sees."""
    body = re.sub(r"(?s)<(script|style)[^>]*>.*?</\1>", "", page)
    pieces: list[str] = []
    parser = HTMLParser()
    parser.handle_data = pieces.append  # type: ignore[method-assign]
    parser.feed(body)
    return " ".join(" ".join(pieces).split())


def report_on(*paths: Path, **options: Any) -> str:
    return build(verify(list(paths), digests=True, **options), Given(command=["otel-audit", "verify"]), now=NOW)


def seqs(page: str, stream: str | None = None) -> list[int]:
    lines = [record[5] for record in data_of(page)["records"]]
    found = [json.loads(line) for line in lines if line.startswith('{"@timestamp"')]
    return sorted(record["seq"] for record in found if stream in {None, record["stream"]})


@pytest.mark.parametrize("name", ["incomplete-pruned", "incomplete-gap"])
def test_the_map_calls_nothing_grave_that_the_verdict_does_not(name: str) -> None:
    text = text_of(report_on(VECTORS / name))
    assert "! 1 open" in text
    assert "✘" not in text


def test_the_map_counts_the_records_that_are_missing(signed: Site, tmp_path: Path) -> None:
    site = signed.copy(tmp_path / "site")
    log = site.logs[-1]
    lines = log.lines
    log.lines = [*lines[:10], *lines[12:20], *lines[21:]]
    assert "✘ 3 records missing" in text_of(report_on(site.journal))
    log.lines = [*lines[:10], *lines[11:]]
    assert "✘ 1 record missing" in text_of(report_on(site.journal))
    log.lines = lines[4:]
    assert "✘ 4 records missing" in text_of(report_on(site.journal))


def test_the_map_counts_the_records_that_were_cut_off_once(signed: Site, tmp_path: Path) -> None:
    site = signed.copy(tmp_path / "site")
    log = site.logs[0]
    log.lines = log.lines[:-7]
    report = verify([site.journal], digests=True, policy=Policy.load(site.policy), anchors=[site.anchor])
    assert {"TRUNCATED", "SIGNED_TRUNCATED"} <= set(report.findings.counts())
    text = text_of(build(report, Given(command=["otel-audit", "verify"]), now=NOW))
    assert "✘ 7 records missing" in text


@pytest.mark.parametrize("name", sorted(json.loads((VECTORS / "expected.json").read_text())))
def test_the_exit_code_is_that_of_verify(name: str, tmp_path: Path) -> None:
    journal, output = str(VECTORS / name), tmp_path / "report.html"
    expected = main_to(tmp_path / "verify", ["verify", "-j", "1", journal])

    assert main_to(tmp_path / "out", ["report", "-j", "1", journal, "-o", str(output)]) == expected
    assert "Audit verification report" in output.read_text()


def test_where_the_report_is_and_its_digest_are_printed(signed: Site, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    assert write_report(signed, path) == 0
    said = path.with_suffix(".out").read_text()
    assert said.startswith(f"{path}: ")
    assert f"SHA-256 {sha256(path.read_bytes()).hexdigest()}" in said
    assert "INTACT: Proved: " in said


def test_an_earlier_report_is_replaced_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = put(tmp_path / "j", whole())
    before = first.read_bytes()
    output = tmp_path / "report.html"
    assert main(["report", str(tmp_path / "j"), "-o", str(output)]) == 0
    assert main(["report", str(tmp_path / "j"), "-o", str(output)]) == 0
    assert main(["report", str(tmp_path / "j"), "-o", str(first)]) == 2
    assert first.read_bytes() == before
    assert "is there and is no report" in capsys.readouterr().err


def test_a_report_on_standard_output_is_only_the_report(tmp_path: Path) -> None:
    put(tmp_path / "j", whole())
    command = [sys.executable, "-m", "otel_audit", "report", str(tmp_path / "j"), "-o", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("<!doctype html>")
    assert done.stdout.endswith("</html>\n")


def test_what_comes_through_a_pipe_is_reported_on_with_its_records(tmp_path: Path) -> None:
    path = put(tmp_path / "j", whole())
    command = [sys.executable, "-m", "otel_audit", "report", "-", "-o", "-"]
    done = subprocess.run(command, capture_output=True, check=False, input=path.read_bytes())
    page = done.stdout.decode()
    assert seqs(page) == list(range(1, 21))
    assert sha256(path.read_bytes()).hexdigest() in text_of(page)


def test_an_output_that_is_no_file_is_written_to_and_stays_what_it_is(tmp_path: Path) -> None:
    put(tmp_path / "j", whole())
    pipe, link, target = tmp_path / "pipe", tmp_path / "link.html", tmp_path / "report.html"
    os.mkfifo(pipe)
    command = [sys.executable, "-m", "otel_audit", "report", "-q", str(tmp_path / "j"), "-o", str(pipe)]
    with subprocess.Popen(command) as process:
        read = pipe.read_bytes()
    assert (process.returncode, read[:15], pipe.is_fifo()) == (0, b"<!doctype html>", True)
    assert main(["report", "-q", str(tmp_path / "j"), "-o", os.devnull]) == 0
    assert not Path(os.devnull).is_file()
    link.symlink_to(target)
    assert main(["report", "-q", str(tmp_path / "j"), "-o", str(link)]) == 0
    assert link.is_symlink()
    assert target.is_file()
    assert main(["report", "-q", str(tmp_path / "j"), "-o", str(tmp_path)]) == 2


def test_a_name_that_is_no_text_is_spelled_out(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff\x1b[2J.jsonl"
    Path(os.fsdecode(path)).write_bytes(b"".join(whole().lines))
    output = tmp_path / "report.html"
    assert main(["report", "-q", os.fsdecode(path), "-o", str(output)]) == 0
    assert r"\udcff\x1b[2J.jsonl" in text_of(output.read_text())


def test_what_cannot_be_written_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "j", whole())
    assert main(["report", str(tmp_path / "j"), "-o", str(tmp_path / "no" / "report.html")]) == 2
    assert "No such file or directory" in capsys.readouterr().err


# What it says.


def test_the_verdict_the_facts_and_the_findings_need_no_script(hostile_report: Path) -> None:
    text = text_of(hostile_report.read_text())
    for said in (
        "Tampered Proved: what is here is not what was written",
        "Not proved: who did it",
        "Content ✘ 2 alterations",
        "HASH_MISMATCH",
        "Keep this file as it is",
        "✘ 2 altered, ✘ ",
    ):
        assert said in text, said


def test_facts_are_independent(signed: Site, tmp_path: Path) -> None:
    site = signed.copy(tmp_path / "site")
    log = site.logs[-1]
    log.lines = log.lines[:20] + log.lines[21:]
    write_report(site, tmp_path / "report.html")
    text = text_of((tmp_path / "report.html").read_text())
    assert "Content ✔ unchanged" in text
    assert "Continuity ✘ 1 break" in text
    assert "Time – self-asserted" in text


def test_a_log_that_nobody_signed_is_not_said_to_be_signed(tmp_path: Path) -> None:
    put(tmp_path / "j", whole())
    text = text_of(report_on(tmp_path / "j"))
    assert "Signatures – not checked" in text
    assert "Anchors – not checked" in text
    assert "Intact" in text


def test_stamped_records_are_counted_where_nothing_speaks_against_their_times(tmp_path: Path) -> None:
    put(tmp_path / "j", whole())
    report = verify([tmp_path / "j"], digests=True)
    report.streams[0] = dataclasses.replace(report.streams[0], stamped=12, stamped_at="2026-11-26T12:00:00Z")
    assert "Time ! 12 of 20 stamped A trusted authority saw these records" in text_of(build(report, now=NOW))


def test_nothing_there_is_no_pass(tmp_path: Path) -> None:
    text = text_of(report_on(tmp_path))
    assert "Nothing is there" in text
    assert "Content – nothing to check" in text
    assert "✔" not in text


def test_every_code_belongs_to_one_fact() -> None:
    assert SUBJECTS.keys() == CODES.keys()


def test_the_inputs_are_listed_with_their_digests(signed: Site, signed_report: Path) -> None:
    text = text_of(signed_report.read_text())
    for log in signed.logs:
        assert f"{log.path} " in text
        assert sha256(log.path.read_bytes()).hexdigest() in text


def test_the_digest_of_a_compressed_input_is_that_of_the_file(tmp_path: Path) -> None:
    import gzip

    path = tmp_path / "export.jsonl.gz"
    path.write_bytes(gzip.compress(b"".join(whole().lines)))
    page = report_on(path)
    assert sha256(path.read_bytes()).hexdigest() in text_of(page)
    assert len(seqs(page)) == 20


def test_what_the_inputs_were_held_against_is_listed_too(signed: Site, signed_report: Path, tmp_path: Path) -> None:
    text = text_of(signed_report.read_text())
    assert f"policy {signed.policy} {sha256(signed.policy.read_bytes()).hexdigest()}" in text
    assert f"anchor {signed.anchor} a directory of " in text
    put(tmp_path / "j", whole())
    assert "held against nothing else: no policy, no anchor and no pin was given" in text_of(report_on(tmp_path / "j"))


def test_the_command_that_checks_again_is_there(tmp_path: Path) -> None:
    path = put(tmp_path / "a b", whole())
    output = tmp_path / "r.html"
    main_to(tmp_path / "out", ["report", str(path), "--unordered", "--max-silence", "10m", "-o", str(output)])
    assert f"otel-audit verify '{path}' --unordered --max-silence 600s" in text_of(output.read_text())


def test_the_same_report_gives_the_same_bytes(tmp_path: Path) -> None:
    put(tmp_path / "j", whole())
    assert report_on(tmp_path / "j") == report_on(tmp_path / "j")


def test_only_what_was_verified_is_in_it(tmp_path: Path) -> None:
    path = put(tmp_path / "j", Writer().open().events(5))
    report = verify([path], digests=True)
    digest = sha256(path.read_bytes()).hexdigest()
    put(tmp_path / "j", Writer().open().events(9))
    page = build(report, now=NOW)
    assert seqs(page) == list(range(1, 7))
    assert digest in text_of(page)


# Strangers' text.


def test_no_markup_of_a_stranger_is_markup(hostile_report: Path) -> None:
    page = hostile_report.read_text()
    tags: list[tuple[str, list[tuple[str, str | None]]]] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append((tag, attributes))  # type: ignore[method-assign]
    parser.feed(page)
    assert [tag for tag, _ in tags].count("script") == 2
    assert not [name for _, attributes in tags for name, _ in attributes if name.startswith("on")]
    assert {tag for tag, _ in tags}.isdisjoint({"img", "iframe", "object", "embed", "base", "link"})


def test_no_character_acts_on_a_screen(hostile_report: Path) -> None:
    page = hostile_report.read_text()
    assert re.findall("[\x00-\x08\x0b-\x1f\x7f\u00ad\u202a-\u202e\u2066-\u2069\u2028\u2029\ufeff]", page) == []
    data = page.partition('id="data">')[2].partition("</script>")[0]
    assert data.isascii()
    assert not set("<>&") & set(data)
    assert {HOSTILE[0], HOSTILE[6], HOSTILE[8]} <= {
        json.loads(record[5]).get("audit", {}).get("actor", {}).get("id")
        for record in data_of(page)["records"]
        if record[5].startswith("{")
    }


def test_the_page_allows_nothing_from_outside(signed_report: Path) -> None:
    page = signed_report.read_text()
    policy = re.search('http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[\w+/=]+'; script-src 'sha256-[\w+/=]+'; base-uri 'none'; "
        r"form-action 'none'",
        policy[1],
    )
    outside = page.partition('id="data">')[0]
    assert "http:" not in outside
    assert "https:" not in outside
    assert "url(" not in outside


# What is carried.


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "MOST_RECORDS", 100)


def test_of_a_long_log_problems_come_first_and_the_rest_is_counted(small: None, tmp_path: Path) -> None:
    writer = Writer().open().events(2_000)
    writer.lines[700] = writer.lines[700].replace(b"gone", b"gave")
    del writer.lines[1_200:1_203]
    put(tmp_path / "j", writer)
    page = report_on(tmp_path / "j")

    assert json.loads(data_of(page)["records"][0][5])["seq"] in range(699, 704)
    carried = seqs(page)
    assert {1, 2, *range(699, 704), *range(1_199, 1_201), *range(1_204, 1_206), 2_001} <= set(carried)
    assert len(carried) <= 100
    left_out = f"{1_998 - len(carried):,}".replace(",", "\u00a0")
    assert f"The other {left_out} were checked as well" in page


def test_each_stream_has_its_share(small: None, tmp_path: Path) -> None:
    for number in range(1, 5):
        put(tmp_path / "j", whole(number, events=500))
    page = report_on(tmp_path / "j")
    for number in range(1, 5):
        own = seqs(page, stream_id(number))
        assert {1, 2, 502} <= set(own)
        assert len(own) == 25


def test_a_report_is_bounded_in_bytes_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(choosing, "MOST_BYTES", 100_000)
    writer = Writer().open()
    for _ in range(50):
        writer.event(message="<" * 20_000)
    put(tmp_path / "j", writer.close())
    page = report_on(tmp_path / "j")
    assert len(page) < 200_000
    assert {1, 2, 52} <= set(seqs(page)) or {1, 52} <= set(seqs(page))


def test_many_streams_share_a_row(tmp_path: Path) -> None:
    for number in range(1, 41):
        put(tmp_path / "j", whole(number, events=3))
    page = report_on(tmp_path / "j")
    text = text_of(page)
    assert "16 other streams together" in text
    assert page.count('role="img"') == 25


def test_lines_of_a_parsed_copy_are_carried_and_not_called_altered(tmp_path: Path) -> None:
    path = tmp_path / "copy.jsonl"
    path.write_text("".join(f"{json.dumps(json.loads(line))}\n" for line in whole().lines))
    page = build(verify([path], parsed_copy=True, digests=True), Given(parsed_copy=True), now=NOW)
    assert seqs(page) == list(range(1, 21))
    assert data_of(page)["parsed"] is True
    assert "Intact" in text_of(page)


def test_records_in_envelopes_are_carried(tmp_path: Path) -> None:
    path = tmp_path / "pod.log"
    path.write_text("".join(f"2026-11-21T00:00:00Z stdout F {line.decode()}" for line in whole().lines))
    page = report_on(path)
    assert seqs(page) == list(range(1, 21))
    assert all(record[2] for record in data_of(page)["records"])


JUNK = st.lists(
    st.one_of(
        st.binary(max_size=200),
        st.sampled_from([line.rstrip(b"\n") for line in whole(events=4).lines]).flatmap(
            lambda line: st.tuples(st.integers(0, len(line) - 1), st.binary(max_size=3)).map(
                lambda cut: line[: cut[0]] + cut[1] + line[cut[0] + 1 :]
            )
        ),
        st.sampled_from([line.rstrip(b"\n") for line in whole(events=4).lines]),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=JUNK, unordered=st.booleans(), parsed_copy=st.booleans(), mixed=st.booleans())
def test_whatever_a_file_holds_there_is_a_report(
    lines: list[bytes], unordered: bool, parsed_copy: bool, mixed: bool, tmp_path: Path
) -> None:
    path = tmp_path / f"{stream_id(1)}.000001.jsonl"
    path.write_bytes(b"\n".join(lines))
    report = verify([path], unordered=unordered, parsed_copy=parsed_copy, mixed=mixed, digests=True)
    page = build(report, Given(parsed_copy=parsed_copy, mixed=mixed), now=NOW)
    data_of(page)
    assert "\x00" not in page
    assert report.exit_code == 0 or all(code in text_of(page) for code in report.findings.counts())


def test_the_verifier_does_without_the_report(tmp_path: Path) -> None:
    program = (
        "import sys, otel_audit.verify, otel_audit.cli.verify; print([m for m in sys.modules if 'audit.report' in m])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
