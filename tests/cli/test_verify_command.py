"""`otel-audit verify`, `tail` and `show` as a person and as a script see them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from otel_audit.canonical import parse
from otel_audit.cli.__main__ import COMMANDS, main
from otel_audit.cli.output import escape
from otel_audit.verify import CODES
from tests.verify.histories import Writer, put, reseal, whole


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    put(tmp_path / "j", whole())
    return tmp_path / "j"


@pytest.fixture
def tampered(tmp_path: Path) -> Path:
    writer = whole()
    writer.lines[6] = writer.lines[6].replace(b"gone 5", b"gone 6")
    return put(tmp_path / "t", writer)


def test_an_intact_journal(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(journal)]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].startswith("INTACT: Proved: 20 records in 1 stream")
    assert "\x1b" not in out
    assert err == ""


def test_a_finding_says_what_where_and_what_next(tampered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tampered)]) == 1
    out = capsys.readouterr().out
    assert out.startswith(f"{tampered}:7: HASH_MISMATCH record {whole().stream}-7\n    expected: ")
    assert CODES["HASH_MISMATCH"].meaning in out
    assert "Next: " in out
    assert out.splitlines()[-1].startswith("TAMPERED: ")


def test_the_json_report_has_a_schema(tampered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--json", str(tampered)]) == 1
    report = json.loads(capsys.readouterr().out)
    members = (
        "schema verdict exit_code sentence sources bytes lines records stream_count streams finding_counts findings"
    )
    assert [name for name in report if name in members.split()] == members.split()
    assert (report["schema"], report["verdict"], report["exit_code"]) == ("otel-audit.verify/1", "tampered", 1)
    assert report["finding_counts"] == {"HASH_MISMATCH": 1}
    assert {"code", "severity", "file", "line", "offset", "stream", "seq", "expected", "actual"} <= set(
        report["findings"][0]
    )


def test_quiet_says_nothing(tampered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "-q", str(tampered)]) == 1
    assert capsys.readouterr() == ("", "")


def test_options_reach_the_verifier(tmp_path: Path) -> None:
    lines = whole().lines
    path = tmp_path / "x.log"
    path.write_bytes(b"".join([b"hello\n", *reversed(lines), lines[3]]))
    assert main(["verify", "-q", str(path)]) == 1
    assert main(["verify", "-q", "--mixed", "--unordered", str(path)]) == 0
    path.write_bytes(b"".join(json.dumps(parse(line)).encode() + b"\n" for line in lines))
    assert main(["verify", "-q", "--from-parsed", str(path)]) == 0
    path.write_bytes(b"".join(lines[:-1]))
    assert main(["verify", "-q", str(path)]) == 3
    assert main(["verify", "-q", "--strict", str(path)]) == 1
    path.write_bytes(b"".join(lines))
    assert main(["verify", "-q", "--max-silence", "0.0001s", str(path)]) == 3


def test_several_processes_find_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from otel_audit.verify import run, verify

    monkeypatch.setattr(run, "_WORTH_A_PROCESS", 0)
    writer = whole(1, events=300)
    del writer.lines[200]
    put(tmp_path, writer, 100, 150)
    put(tmp_path, whole(2, previous=[writer.ending()]))
    assert verify([tmp_path], jobs=2).as_json() == verify([tmp_path], jobs=1).as_json()


@pytest.mark.parametrize(
    "arguments",
    [[], ["nonsense"], ["verify"], ["verify", "--nonsense", "x"], ["verify", "--max-silence", "soon", "x"],
     ["verify", "--jobs", "0", "x"], ["show", "7", "x"], ["tail", "no-such-file"],
     ["tail", "-n", "-1", "x"], ["tail", "-n", "x", "x"]],
    ids=" ".join,
)  # fmt: skip
def test_misuse_is_one_line_and_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("error: ")


def test_nothing_in_a_log_acts_on_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b[2K\x1b]0;owned\x07\u202e\u2066\r\n\x9b31m"
    writer = Writer().open()
    writer.event(message=evil, event_name=f"x{evil}")
    writer.lines.append(reseal(writer.lines[1], **{evil: evil}))
    writer.lines.append(f"{evil}\n".encode())
    path = tmp_path / f"{evil[:4]}.jsonl"
    path.write_bytes(b"".join(writer.lines))
    main(["verify", str(path)])
    main(["tail", str(path)])
    main(["show", f"{writer.stream}-2", str(path)])
    out, err = capsys.readouterr()
    for character in set(evil) - set("[2K]0;owned31m\n"):
        assert character not in out + err


def test_escapes_keep_ordinary_text() -> None:
    assert escape("größer ☃ 😀 日本") == "größer ☃ 😀 日本"
    assert escape("a\x1b\n\u202e\u200b\ue000\x00") == "a\\x1b\\n\\u202e\\u200b\\ue000\\x00"


@pytest.mark.parametrize(
    ("environment", "arguments", "colored"),
    [
        ({}, [], False),
        ({"FORCE_COLOR": "1"}, [], True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, [], False),
        ({"NO_COLOR": "1"}, ["--color", "always"], True),
        ({"FORCE_COLOR": "1"}, ["--color", "never"], False),
    ],
)
def test_colour_is_where_it_is_wanted(
    journal: Path,
    environment: dict[str, str],
    arguments: list[str],
    colored: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    main(["verify", str(journal), *arguments])
    assert ("\x1b[" in capsys.readouterr().out) is colored


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "otel_audit", *arguments]
    return subprocess.run(command, capture_output=True, check=False, timeout=60, **options)  # type: ignore[call-overload,no-any-return]


def test_standard_input_and_an_ascii_terminal(journal: Path) -> None:
    writer = whole()
    writer.lines[6] = writer.lines[6].replace("größer ☃".encode(), "☃☃".encode())
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ran = run("verify", "-", input=b"".join(writer.lines), env=environment)
    assert ran.returncode == 1
    assert ran.stderr == b""
    assert run("verify", str(journal)).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "closed", "code"),
    [
        ("", ">&-", 2),
        ("--json", ">&-", 2),
        ("-q", ">&-", 0),
        ("", "2>&-", 0),
        ("-q", ">&- 2>&-", 0),
        ("--nonsense", "2>&-", 2),
        ("", ">&- 2>&-", 2),
        ("", "> /dev/full", 2),
        ("--nonsense", "2> /dev/full", 2),
    ],
)
def test_closed_or_full_outputs_give_a_code_and_no_traceback(
    journal: Path, arguments: str, closed: str, code: int
) -> None:
    command = f"{sys.executable} -m otel_audit verify {arguments} {journal} {closed}"
    ran = subprocess.run(["sh", "-c", command], capture_output=True, check=False, timeout=60, text=True)
    assert (ran.returncode, ran.stderr.count("Traceback"), ran.stderr.count("\n") <= 1) == (code, 0, True)


def test_a_pin_file_that_cannot_be_kept_is_named(
    journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pin = tmp_path / "no" / "pins"
    assert main(["verify", "-q", "--pin", str(pin), "--trust-first-use", str(journal)]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {pin}: ")
    assert "tmp." not in err.replace(str(tmp_path), "")


def test_the_intact_verdict_says_what_a_chain_cannot_show(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["verify", str(journal)])
    assert "removed whole streams newer than the last one that another names" in capsys.readouterr().out


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    path = put(tmp_path, whole(events=3000))
    command = f"{sys.executable} -m otel_audit tail -n 3000 {path} | head -1"
    ran = subprocess.run(["sh", "-c", command], capture_output=True, check=False, timeout=60)
    assert ran.stdout.count(b"\n") == 1
    assert ran.stderr == b""


def test_a_subcommand_imports_only_its_own_module(journal: Path) -> None:
    code = (
        "import sys; from otel_audit.cli.__main__ import main; main(['verify', '-q', sys.argv[1]]);"
        "known = ('rich', 'opentelemetry', 'cryptography', 'otel_audit.cli');"
        "print(sorted(name for name in sys.modules if name.startswith(known)))"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(journal)], capture_output=True, check=True, text=True)
    loaded = ran.stdout.strip()
    assert loaded == "['otel_audit.cli', 'otel_audit.cli.__main__', 'otel_audit.cli.output', 'otel_audit.cli.verify']"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert [name for name in COMMANDS if f" {name} " not in out and f" {name}\n" not in out] == []
    assert main(["--version"]) == 0


def test_tail_shows_the_last_records_and_checks_them(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tail", "-n", "2", str(journal)]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[1:4] for row in rows] == [
        [f"{whole().stream}-19", "ok", "invoice.delete"],
        [f"{whole().stream}-20", "ok", "audit.stream.close"],
    ]


def test_tail_shows_what_does_not_fit(tampered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tail", "-n", "20", str(tampered)]) == 1
    said = [line.split("\t")[2] for line in capsys.readouterr().out.splitlines()]
    assert said == ["ok"] * 6 + ["HASH_MISMATCH"] + ["ok"] * 13


def test_tail_follows_new_records_and_new_segments(tmp_path: Path) -> None:
    writer = Writer().open()
    put(tmp_path, writer)
    command = [sys.executable, "-u", "-m", "otel_audit", "tail", "-f", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"}) as tail:
        assert tail.stdout is not None
        assert b"audit.stream.open" in tail.stdout.readline()
        with (tmp_path / writer.segment()).open("ab") as file:
            file.write(writer.event(1))
        assert b"\tok\tinvoice.delete\talice1\t" in tail.stdout.readline()
        (tmp_path / writer.segment(2)).write_bytes(writer.event(2))
        assert b"\tok\tinvoice.delete\talice2\t" in tail.stdout.readline()
        with (tmp_path / writer.segment(2)).open("ab") as file:
            writer.event(3)
            file.write(writer.event(4))
        assert b"\tSEQ_GAP\tinvoice.delete\talice4\t" in tail.stdout.readline()
        tail.terminate()


@pytest.mark.parametrize("is_there", [True, False], ids=["empty directory", "no such directory"])
def test_tail_waits_for_the_first_record_and_shows_all_from_it_on(tmp_path: Path, is_there: bool) -> None:
    journal = tmp_path / "journal"
    if is_there:
        journal.mkdir()
    writer = Writer().open()
    writer.event(1)
    command = [sys.executable, "-m", "otel_audit", "tail", "-n", "1", "-f", str(journal)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as tail:
        assert tail.stdout is not None
        assert tail.stderr is not None
        assert tail.stderr.readline().decode() == f"note: waiting for the first record in {journal}\n"
        written = tmp_path / "written"
        segment = put(written, writer)
        if is_there:
            segment.rename(journal / writer.segment())
        else:
            written.rename(journal)
        assert b"\tok\taudit.stream.open\t" in tail.stdout.readline()
        assert b"\tok\tinvoice.delete\talice1\t" in tail.stdout.readline()
        tail.terminate()
        assert tail.stderr.read() == b""


def test_show_prints_a_record_and_how_it_hangs_together(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", f"{whole().stream}-7", str(journal)]) == 0
    out = capsys.readouterr().out
    assert '"message": "gone 5"' in out
    assert out.count("yes: ") == 3


def test_show_of_an_altered_record(tampered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", f"{whole().stream}-7", str(tampered)]) == 1
    assert "NO: its content is what was sealed (HASH_MISMATCH)" in capsys.readouterr().out


def test_show_finds_the_journal_by_its_setting(
    journal: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_PYTHON_AUDIT_JOURNAL", str(journal))
    assert main(["show", f"{whole().stream}-1"]) == 0
    assert main(["show", f"{whole().stream}-99"]) == 5
    assert main(["show", "--raw", f"{whole().stream}-20"]) == 0
    assert capsys.readouterr().out.encode().endswith(whole().lines[19])


def test_a_bucket_cannot_be_followed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tail", "s3://worm/audit"]) == 2
    assert "does not grow line by line" in capsys.readouterr().err


def test_a_buckets_url_that_cannot_be_used_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "s3://worm/audit?region=eu-central-1&retian=7y"]) == 2
    assert capsys.readouterr().err.startswith(
        "error: archive s3://worm/audit: there is no option 'retian'; did you mean 'retain'?"
    )
