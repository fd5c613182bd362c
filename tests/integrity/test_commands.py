"""The commands around keys, checkpoints and proofs, as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from otel_audit.cli.__main__ import main
from otel_audit.integrity.checkpoint import Checkpoint
from otel_audit.integrity.note import open_note, parse_note, short_vkey
from otel_audit.integrity.policy import Policy, read_vkey
from otel_audit.integrity.statements import Revocation, Rotation

NAME = "shop.example/audit"


@pytest.fixture
def journal(tmp_path: Path, make_stream: Any) -> Any:
    """A directory with one stream in two segments, of which the second repeats the last line of the first."""
    made = make_stream()
    made.log(20)
    directory = tmp_path / "journal"
    directory.mkdir()
    (directory / f"{made.stream}.000001.jsonl").write_bytes(b"".join(made.lines[:10]))
    (directory / f"{made.stream}.000002.jsonl").write_bytes(b"".join(made.lines[9:]) + b'{"torn')
    made.directory = directory
    return made


@pytest.fixture
def key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["keys", "generate", str(tmp_path / "key.pem"), "--name", NAME]) == 0
    capsys.readouterr()
    return tmp_path / "key.pem"


@pytest.fixture
def policy(tmp_path: Path, key: Path) -> Path:
    path = tmp_path / "trust.policy"
    path.write_text(f"log {Path(f'{key}.vkey').read_text()}quorum none\n")
    return path


def test_a_key_is_made_once_and_shown_by_its_public_half(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "k")
    assert main(["keys", "generate", path, "--name", NAME]) == 0
    made = capsys.readouterr().out.strip()
    assert main(["keys", "show", path]) == 0
    assert capsys.readouterr().out.strip() == made
    assert main(["keys", "generate", path, "--name", NAME]) == 2
    assert "exists" in capsys.readouterr().err
    (tmp_path / "k").chmod(0o644)
    assert main(["keys", "show", path]) == 2
    assert "chmod 600" in capsys.readouterr().err


def test_epoch_keys_sign_by_hand_like_any_other(
    tmp_path: Path, journal: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "epochs")
    assert main(["keys", "epochs", path, "--name", NAME, "--length", "15m", "--count", "10"]) == 0
    vkey = capsys.readouterr().out.strip()
    assert main(["keys", "show", path]) == 0
    assert capsys.readouterr().out.strip() == vkey
    assert main(["checkpoint", str(journal.directory), journal.stream, "--key", path]) == 0
    assert open_note(parse_note(capsys.readouterr().out), [read_vkey(vkey)])


def test_statements_are_printed_as_signed_notes(tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "generate", str(tmp_path / "new"), "--name", NAME]) == 0
    new = capsys.readouterr().out.strip()
    old = read_vkey(Path(f"{key}.vkey").read_text().strip())
    assert main(["keys", "rotate", "--old", str(key), "--new", new, "--origin", f"{NAME}/x", "--size", "5"]) == 0
    assert Rotation.open(capsys.readouterr().out, [old]) == Rotation(f"{NAME}/x", old.vkey, new, 5)
    assert main(["keys", "revoke", "--by", str(key), "--key", new, "--reason", "lost", "--good", f"{NAME}/x:7"]) == 0
    found = Revocation.open(capsys.readouterr().out, [old])
    assert (found.key, found.reason, found.good) == (new, "lost", {f"{NAME}/x": 7})
    assert main(["keys", "revoke", "--by", str(key), "--key", new, "--reason", "lost", "--good", "7"]) == 2


def test_a_head_signed_by_hand_must_extend_the_last_one(
    journal: Any, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["checkpoint", str(journal.directory), journal.stream, "--key", str(key)]
    assert main(arguments) == 0
    first = Checkpoint.parse(parse_note(capsys.readouterr().out).text)
    assert first == journal.head()
    journal.log(3)
    segment = journal.directory / f"{journal.stream}.000002.jsonl"
    segment.write_bytes(b"".join(journal.lines[9:]))
    assert main(arguments) == 0
    assert Checkpoint.parse(parse_note(capsys.readouterr().out).text) == journal.head()
    forged = journal.copy(15)
    forged.write("invoice.keep")
    forged.log(20)
    segment.write_bytes(b"".join(forged.lines[9:]))
    assert main(arguments) == 2
    assert "nothing is signed" in capsys.readouterr().err
    segment.write_bytes(b"".join(journal.lines[9:14]))
    assert main(arguments) == 2


@pytest.mark.parametrize("name", [NAME, "else.example/audit"])
def test_another_key_does_not_replace_what_was_signed_last(
    tmp_path: Path, journal: Any, key: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    other = tmp_path / "other"
    assert main(["keys", "generate", str(other), "--name", name]) == 0
    arguments = ["checkpoint", str(journal.directory), journal.stream]
    assert main([*arguments, "--key", str(key)]) == 0
    state = journal.directory / "checkpoints" / f"{journal.stream}.checkpoint"
    before = state.read_bytes()
    capsys.readouterr()
    assert main([*arguments, "--key", str(other)]) == 2
    said = capsys.readouterr()
    assert (said.out, state.read_bytes()) == ("", before)
    assert short_vkey(Path(f"{key}.vkey").read_text().strip()) in said.err
    advised = said.err.rpartition("--state ")[2].strip()
    assert main([*arguments, "--key", str(other), "--state", advised]) == 0
    assert state.read_bytes() == before
    assert main([*arguments, "--key", str(key)]) == 0


def test_a_head_that_two_keys_signed_needs_both_again(
    tmp_path: Path, journal: Any, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    assert main(["keys", "generate", str(other), "--name", NAME]) == 0
    arguments = ["checkpoint", str(journal.directory), journal.stream, "--key", str(key)]
    assert main([*arguments, "--key", str(other)]) == 0
    assert main(arguments) == 2
    assert main([*arguments, "--key", str(other)]) == 0


@pytest.mark.parametrize("place", ["content", "hash", "order", "other stream"])
def test_nothing_is_signed_over_records_that_do_not_stand(
    journal: Any, key: Path, make_stream: Any, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    lines = {
        "content": [journal.lines[0].replace(b"otel-audit", b"someone-el"), *journal.lines[1:]],
        "hash": [journal.lines[0][:-10] + b'aaaaaaa"}\n', *journal.lines[1:]],
        "order": [journal.lines[0], journal.lines[2], journal.lines[1]],
        "other stream": make_stream().lines,
    }[place]
    (journal.directory / f"{journal.stream}.000002.jsonl").unlink()
    (journal.directory / f"{journal.stream}.000001.jsonl").write_bytes(b"".join(lines))
    assert main(["checkpoint", str(journal.directory), journal.stream, "--key", str(key)]) == 2
    assert capsys.readouterr().out == ""


@pytest.fixture
def proved(journal: Any, key: Path, tmp_path: Path) -> Path:
    assert main(["checkpoint", str(journal.directory), journal.stream, "--key", str(key)]) == 0
    base = tmp_path / "proof"
    assert main(["prove", str(journal.directory), f"{journal.stream}-12", "-o", str(base)]) == 0
    return base


def test_one_record_is_proved_without_the_log(
    journal: Any, proved: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert (proved.parent / "proof.json").read_bytes() == journal.lines[11]
    assert main(["verify-proof", f"{proved}.json", f"{proved}.tlog-proof", "--policy", str(policy)]) == 0
    assert f"record {journal.stream}-12" in capsys.readouterr().out


def test_a_proof_convinces_of_its_own_record_only(
    journal: Any, proved: Path, policy: Path, tmp_path: Path, make_stream: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "record"
    for content in (
        journal.lines[12],
        journal.lines[11].replace(b"invoice", b"invoyce"),
        make_stream().lines[0],
        b"{}",
        b"",
        b"\xff" * 100,
    ):
        record.write_bytes(content)
        assert main(["verify-proof", str(record), f"{proved}.tlog-proof", "--policy", str(policy)]) == 1
        assert "TAMPERED" in capsys.readouterr().out


def test_the_policy_decides_what_a_proof_is_worth(proved: Path, tmp_path: Path) -> None:
    main(["keys", "generate", str(tmp_path / "other"), "--name", NAME])
    main(["keys", "generate", str(tmp_path / "w"), "--name", "witness.example/w", "--algorithm", "cosignature"])
    other, witness = (Path(tmp_path / f"{name}.vkey").read_text().strip() for name in ("other", "w"))
    ours = (tmp_path / "key.pem.vkey").read_text().strip()
    path = tmp_path / "another.policy"
    arguments = ["verify-proof", f"{proved}.json", f"{proved}.tlog-proof", "--policy", str(path), "-q"]
    for text, code in (
        (f"log {other}\nquorum none\n", 4),
        (f"log {ours}\nwitness w {witness}\nquorum w\n", 3),
        (f"log {ours}\nquorum non\n", 2),
        (f"log {ours}\nquorum none\n", 0),
    ):
        path.write_text(text)
        assert main(arguments) == code
    assert Policy.load(path).quorum == "none"


def test_a_proof_needs_a_record_that_is_there_and_signed(
    journal: Any, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = str(journal.directory)
    assert main(["prove", directory, "12"]) == 2
    assert "no record id" in capsys.readouterr().err
    assert main(["prove", directory, f"{journal.stream}-12"]) == 2
    assert "nothing of this stream is signed" in capsys.readouterr().err
    assert main(["prove", directory, f"{journal.stream}-99"]) == 2
    assert "none with number 99" in capsys.readouterr().err
    assert main(["prove", directory, f"{'0' * 32}-1"]) == 2


# compare


def copy_of(tmp_path: Path, name: str, lines: list[bytes]) -> str:
    path = tmp_path / f"{name}.jsonl"
    path.write_bytes(b"".join(lines))
    return str(path)


@pytest.fixture
def lines(make_stream: Any) -> list[bytes]:
    made = make_stream()
    made.log(9)
    result: list[bytes] = made.lines
    return result


def difference(one: str, other: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[tuple[str, int | None]]]:
    code = main(["compare", one, other, "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["exit_code"] == code
    return code, [(each["kind"], each["seq"]) for each in report["differences"]]


@pytest.mark.parametrize(
    ("change", "code", "found"),
    [
        pytest.param(lambda lines, other: lines, 0, [], id="the same"),
        pytest.param(lambda lines, other: lines[::-1], 0, [], id="another order"),
        pytest.param(lambda lines, other: [*lines, lines[3]], 0, [], id="a line twice"),
        pytest.param(lambda lines, other: lines[:6], 3, [("shorter", 10)], id="shorter"),
        pytest.param(lambda lines, other: lines[4:], 3, [("later", 1)], id="pruned"),
        pytest.param(lambda lines, other: lines[:4] + lines[6:], 1, [("missing", 5)], id="a hole"),
        pytest.param(lambda lines, other: lines[:4] + other[4:], 1, [("differs", 5)], id="another history"),
        pytest.param(lambda lines, other: [*lines, other[7]], 1, [("fault", 8)], id="two versions in one copy"),
        pytest.param(
            lambda lines, other: [*lines[:-1], lines[-1].replace(b"invoice", b"invoyce")],
            1,
            [("fault", None), ("shorter", 10)],
            id="a changed line",
        ),
    ],
)
def test_case_70_copies_that_disagree(
    tmp_path: Path,
    make_stream: Any,
    capsys: pytest.CaptureFixture[str],
    change: Any,
    code: int,
    found: list[tuple[str, int | None]],
) -> None:
    made = make_stream()
    made.log(9)
    other = made.copy(4)
    other.write("invoice.keep")
    other.log(5)
    one = copy_of(tmp_path, "one", made.lines)
    two = copy_of(tmp_path, "two", change(made.lines, other.lines))
    assert difference(one, two, capsys) == (code, found)
    assert difference(two, one, capsys)[0] == code


def test_a_stream_that_one_copy_lacks(
    tmp_path: Path, lines: list[bytes], make_stream: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    one = copy_of(tmp_path, "one", [*lines, *make_stream().lines])
    assert difference(one, copy_of(tmp_path, "two", lines), capsys) == (3, [("absent", None)])


def test_nothing_is_not_the_same_as_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = copy_of(tmp_path, "one", []), copy_of(tmp_path, "two", [])
    assert main(["compare", one, two]) == 5
    assert "EMPTY" in capsys.readouterr().out
    assert main(["compare", one, str(tmp_path / "nowhere")]) == 2


def test_the_answer_is_a_line_for_people(
    tmp_path: Path, lines: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    one = copy_of(tmp_path, "one", lines)
    assert main(["compare", one, copy_of(tmp_path, "two", lines)]) == 0
    assert capsys.readouterr().out == "THE SAME: 10 records in 1 streams\n"
    assert main(["compare", one, copy_of(tmp_path, "two", lines[:4])]) == 3
    assert "SHORTER" in capsys.readouterr().out


def test_a_dump_of_a_store_is_sent_to_the_command_that_reads_it(
    tmp_path: Path, make_stream: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_stream()
    made.log(2)
    one, dump = tmp_path / "one.jsonl", tmp_path / "dump.jsonl"
    one.write_bytes(b"".join(made.lines))
    dump.write_text(json.dumps({"body": [line.decode().rstrip() for line in made.lines]}) + "\n")
    assert main(["compare", str(one), str(dump)]) == 1
    assert "use `otel-audit reconcile`" in capsys.readouterr().out
    assert main(["reconcile", str(one), str(dump)]) == 0
