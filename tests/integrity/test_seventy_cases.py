"""The catalogue of tampering against a signed, anchored and pinned journal: each case, and its exit code.

The numbers are those of the project's list of mutations. What needs no key is in `tests/verify/test_tampering_cases`.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from otel_audit.config import build_trail
from otel_audit.integrity import keys
from otel_audit.integrity.note import parse_note
from otel_audit.integrity.opening import open_signer
from otel_audit.integrity.policy import Policy
from otel_audit.integrity.signatures import CosignatureSigner, sign_note
from otel_audit.integrity.statements import Revocation, Rotation
from otel_audit.journal.retention import Limits
from otel_audit.journal.writer import JournalWriter
from otel_audit.retention import Retention
from otel_audit.verify import verify
from tests.integrity.site import CHECKPOINT, NAME, Log, Site, build, forged_signature, main_to

Mutation = Callable[[Site], object]
CASES: list[tuple[str, int, str | None, Mutation, tuple[str, ...]]] = []


def case(number: str, exit_code: int, code: str | None, *arguments: str) -> Callable[[Mutation], Mutation]:
    """Declare what a mutation comes to, and the code of one finding among those it makes."""

    def add(mutate: Mutation) -> Mutation:
        CASES.append((f"{number} {mutate.__name__}", exit_code, code, mutate, arguments))
        return mutate

    return add


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return build(tmp_path_factory.mktemp("site") / "site")


@pytest.fixture
def site(original: Site, tmp_path: Path) -> Site:
    return original.copy(tmp_path / "site")


def last(site: Site) -> Log:
    """The stream that no other stream speaks of."""
    return site.logs[-1]


def changed(log: Log, place: int = 50) -> list[dict]:
    records = log.records
    records[place]["data"]["amount"] = 99.5
    return records


@case("1", 0, None)
def nothing(site: Site) -> None:
    pass


@case("1", 3, "NO_POLICY", "without policy")
def nothing_but_no_policy_is_given(site: Site) -> None:
    site.forget_outside()


@case("3", 1, "HASH_MISMATCH")
def a_value_is_changed(site: Site) -> None:
    last(site).path.write_bytes(last(site).path.read_bytes().replace(b'"amount":12.5', b'"amount":12.6', 1))


@case("4", 1, "PREV_MISMATCH")
def a_value_is_changed_and_its_line_sealed(site: Site) -> None:
    log = last(site)
    lines = log.lines
    lines[50] = log.sealed(changed(log)[:51])[50]
    log.lines = lines


@case("5", 1, "CHECKPOINT_ROOT")
def everything_behind_is_sealed_again(site: Site) -> None:
    site.forget_outside()
    last(site).seal_anew(changed(last(site)))


@case("6", 1, "PIN_TRUNCATED")
def and_all_checkpoints_are_removed(site: Site) -> None:
    log = last(site)
    log.seal_anew([record for record in changed(log) if record["event_name"] != CHECKPOINT])
    log.state.unlink()


@case("6", 4, "NOT_SIGNED")
def and_there_are_neither_pins_nor_anchors(site: Site) -> None:
    and_all_checkpoints_are_removed(site)
    site.forget_outside()


@case("7", 1, "PIN_MISMATCH")
def rewritten_with_the_key(site: Site) -> None:
    last(site).sign_anew(changed(last(site)))


@case("7", 1, "EQUIVOCATION")
def rewritten_with_the_key_against_an_anchor(site: Site) -> None:
    site.pins.unlink()
    last(site).sign_anew(changed(last(site)))


@case("7", 3, "NOT_ANCHORED")
def rewritten_with_the_key_and_nothing_kept_outside(site: Site) -> None:
    site.forget_outside()
    last(site).sign_anew(changed(last(site)))


@case("8", 1, "SEQ_GAP")
def a_line_is_deleted(site: Site) -> None:
    last(site).lines = last(site).lines[:50] + last(site).lines[51:]


@case("9", 1, "SEQ_GAP")
def a_range_with_a_checkpoint_is_deleted(site: Site) -> None:
    last(site).lines = last(site).lines[:80] + last(site).lines[160:]


@case("10", 1, "HEAD_CUT")
def the_beginning_is_deleted(site: Site) -> None:
    last(site).lines = last(site).lines[40:]


def prune(site: Site, *more: str) -> None:
    """Two of the last stream's four segments and the first stream are removed, as retention does it."""
    command = ["prune", str(site.journal), "--keep-bytes", "1000", "--key", str(site.key), *more]
    assert main_to(site.directory / "pruned", command) == 0


def split(log: Log, parts: int = 4) -> None:
    """Part the stream into segments."""
    lines = log.lines
    size = len(lines) // parts + 1
    for number in range(parts):
        log.path.with_name(f"{log.stream}.{number + 1:06d}.jsonl").write_bytes(
            b"".join(lines[number * size : number * size + size])
        )


@case("11", 3, "PRUNED")
def whole_streams_are_pruned(site: Site) -> None:
    prune(site, "--anchor", f"directory://{site.anchor}")


@case("11", 3, "PRUNED")
def the_beginning_of_a_stream_is_pruned(site: Site) -> None:
    split(last(site))
    live = os.open(last(site).path.with_name(f"{last(site).stream}.000004.jsonl"), os.O_RDWR)
    fcntl.flock(live, fcntl.LOCK_EX)
    prune(site, "--anchor", f"directory://{site.anchor}")
    os.close(live)


@case("11", 1, "HEAD_CUT")
def more_is_removed_than_was_recorded(site: Site) -> None:
    the_beginning_of_a_stream_is_pruned(site)
    path = next(site.journal.glob("*.000004.jsonl"))
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[10:]))


def killed(site: Site) -> Log:
    """The last stream as a kill leaves it some records behind its last checkpoint."""
    log = last(site)
    log.lines = log.lines[: log.roll_back_to(1) + 5]
    return log


def forge_prune(log: Log, gone: Log, end: dict[str, Any] | None = None) -> None:
    """Write behind the end of a stream that retention removed another one up to a record; remove what is kept of it."""
    end = end or gone.records[-1]
    cut = {"first_seq": 1, "last_hash": end["hash"], "last_seq": end["seq"], "reason": "older than 3600 s"}
    forged = {
        **log.records[-1],
        "data": {**cut, "segments": [gone.path.name], "stream": gone.stream},
        "event_name": "audit.prune",
    }
    log.seal_anew([*log.records, forged])
    for path in [*gone.path.parent.rglob(f"{gone.stream}.*"), gone.anchored]:
        path.unlink(missing_ok=True)


@case("11", 1, "MISSING_STREAM")
def a_stream_is_removed_and_a_removal_forged_in_an_unsigned_end(site: Site) -> None:
    site.forget_outside()
    forge_prune(killed(site), site.logs[0])


@case("11", 1, "PIN_MISSING_LOG")
def a_pinned_stream_is_removed_and_a_removal_forged_in_an_unsigned_end(site: Site) -> None:
    forge_prune(killed(site), site.logs[0])


@case("11", 1, "HEAD_CUT")
def a_beginning_is_removed_and_a_removal_forged_in_an_unsigned_end(site: Site) -> None:
    site.forget_outside()
    log, first = killed(site), site.logs[0]
    whole = first.lines
    forge_prune(log, first, json.loads(whole[99]))
    first.lines = whole[100:]


@case("11", 1, "MISSING_STREAM")
def a_removal_is_forged_in_a_stream_that_nobody_signed(site: Site) -> None:
    site.forget_outside()
    trail = build_trail({"journal": str(site.journal), "sinks": [], "heartbeat": 0}, {})
    store = trail.stream.store
    assert isinstance(store, JournalWriter)
    Retention(trail, store, Limits(size=0), opens=True).prune()
    trail.close()


@case("11", 1, "PIN_MISSING_LOG")
def all_is_removed_of_a_stream_whose_beginning_was_pruned(site: Site) -> None:
    stream = last(site).stream
    the_beginning_of_a_stream_is_pruned(site)
    for path in site.journal.rglob(f"{stream}.*"):
        path.unlink()


@case("11", 1, "CHECKPOINT_ROOT")
def what_is_left_is_changed(site: Site) -> None:
    the_beginning_of_a_stream_is_pruned(site)
    path = next(site.journal.glob("*.000004.jsonl"))
    records = [json.loads(line) for line in path.read_bytes().splitlines()]
    records[5]["data"]["amount"] = 99.5
    path.write_bytes(b"".join(Log(site, path).sealed(records, behind=records[0])))


@case("7", 3, "NOT_ANCHORED")
def the_key_s_holder_rewrites_what_the_auditor_s_anchor_does_not_cover(site: Site) -> None:
    site.pins.unlink()
    log = last(site)
    log.anchored.write_text(log.notes()[0])
    records = log.records
    records[-20]["message"] = "another one"
    log.sign_anew(records)


@case("12", 1, "SIGNED_TRUNCATED")
def the_end_is_cut_before_the_last_anchored_size(site: Site) -> None:
    last(site).lines = last(site).lines[:250]


@case("12", 1, "PIN_TRUNCATED")
def the_end_is_cut_and_every_checkpoint_rolled_back(site: Site) -> None:
    log = last(site)
    log.lines = log.lines[: log.roll_back_to(1) + 5]


@case("13", 3, "UNSIGNED_TAIL")
def the_end_is_cut_behind_the_last_anchor(site: Site) -> None:
    site.pins.unlink()
    log = last(site)
    log.lines = log.lines[: log.roll_back_to(1) + 20]


@case("14", 3, "UNCLOSED")
def the_end_is_cut_at_a_checkpoint(site: Site) -> None:
    site.pins.unlink()
    log = last(site)
    log.lines = log.lines[: log.roll_back_to(1)]


@case("14", 1, "SIGNED_TRUNCATED")
def the_end_is_cut_at_a_checkpoint_before_the_anchor(site: Site) -> None:
    site.pins.unlink()
    log = last(site)
    kept = log.anchored.read_text()
    log.lines = log.lines[: log.roll_back_to(1)]
    log.anchored.write_text(kept)


@case("15", 3, "TORN_TAIL")
def torn_in_a_line(site: Site) -> None:
    the_end_is_cut_behind_the_last_anchor(site)
    last(site).path.write_bytes(last(site).path.read_bytes()[:-30])


@case("16", 3, "TORN_DECLARED")
def torn_in_a_line_and_declared_at_restart(site: Site) -> None:
    torn_in_a_line(site)
    site.record(20)


@case("17", 1, "TORN_MISMATCH")
def torn_bytes_are_others_than_was_declared(site: Site) -> None:
    torn_in_a_line_and_declared_at_restart(site)
    log = site.logs[2]
    log.path.write_bytes(log.path.read_bytes()[:-10] + b"0123456789")


@case("18", 1, "PIN_MISSING_LOG")
def a_file_is_emptied(site: Site) -> None:
    last(site).path.write_bytes(b"")


@case("18", 5, "EMPTY")
def all_files_are_emptied_and_nothing_is_kept_outside(site: Site) -> None:
    site.forget_outside()
    shutil.rmtree(site.checkpoints)
    for log in site.logs:
        log.path.write_bytes(b"")


@case("19", 1, "PIN_MISSING_LOG")
def a_file_is_deleted(site: Site) -> None:
    log = last(site)
    log.path.unlink()
    log.state.unlink()
    log.anchored.unlink()


@case("19", 5, "MISSING_PATH")
def the_journal_is_deleted_and_nothing_is_kept_outside(site: Site) -> None:
    site.forget_outside()
    shutil.rmtree(site.journal)


@case("20", 1, "MISSING_STREAM")
def a_stream_is_deleted_that_the_next_one_names(site: Site) -> None:
    site.forget_outside()
    site.logs[0].path.unlink()


@case("20", 1, "SIGNED_TRUNCATED")
def a_stream_is_deleted_that_an_anchor_names(site: Site) -> None:
    site.pins.unlink()
    shutil.rmtree(site.checkpoints)
    last(site).path.unlink()


@case("21", 1, "ORDER")
def two_lines_are_swapped(site: Site) -> None:
    lines = last(site).lines
    lines[50], lines[51] = lines[51], lines[50]
    last(site).lines = lines


@case("22", 1, "CHECKPOINT_ROOT")
def two_lines_are_swapped_and_sealed(site: Site) -> None:
    site.forget_outside()
    records = last(site).records
    records[50], records[51] = records[51], records[50]
    last(site).seal_anew(records)


@case("23", 0, None, "--unordered")
def an_export_in_another_order(site: Site) -> None:
    for log in site.logs:
        log.lines = log.lines[::-1]


@case("24", 1, "ORDER")
def another_order_in_a_journal(site: Site) -> None:
    last(site).lines = last(site).lines[::-1]


@case("25", 1, "DUPLICATE")
def a_line_twice(site: Site) -> None:
    last(site).lines = last(site).lines[:50] + last(site).lines[49:]


@case("25", 0, "IDENTICAL_COPIES", "--unordered")
def a_line_twice_in_an_export(site: Site) -> None:
    a_line_twice(site)


@case("26", 1, "FORK")
def two_records_in_one_place(site: Site) -> None:
    log = last(site)
    log.lines = [*log.lines[:51], log.sealed(changed(log)[:51])[50], *log.lines[51:]]


@case("27", 1, "FOREIGN_STREAM")
def a_line_of_another_stream(site: Site) -> None:
    last(site).lines = [*last(site).lines[:50], site.logs[0].lines[50], *last(site).lines[50:]]


@case("28", 1, "CHECKPOINT_ROOT")
def the_end_of_another_log(site: Site) -> None:
    site.forget_outside()
    log = last(site)
    log.seal_anew(log.records[:60] + site.logs[0].records[60:])


@case("29", 1, "PIN_MISSING_LOG")
def another_log_of_the_same_signer(site: Site) -> None:
    shutil.rmtree(site.journal)
    shutil.rmtree(site.anchor)
    site.anchor.mkdir()
    site.record(20)


def roll_back(site: Site) -> None:
    log = last(site)
    size = log.roll_back_to(1)
    log.lines = log.lines[:size]


@case("30", 1, "PIN_TRUNCATED")
def an_old_snapshot(site: Site) -> None:
    roll_back(site)


@case("30", 3, "STALE", "--max-age", "0.001")
def an_old_snapshot_without_pins(site: Site) -> None:
    site.pins.unlink()
    roll_back(site)


@case("31", 1, "EQUIVOCATION")
def a_split_view(site: Site) -> None:
    site.pins.unlink()
    log = last(site)
    log.sign_anew(changed(log, 250))


@case("32", 1, "EQUIVOCATION")
def a_record_inserted_with_the_key(site: Site) -> None:
    site.pins.unlink()
    log = last(site)
    records = log.records
    log.sign_anew([*records[:50], records[49], *records[50:]])


@case("33", 1, "UNKNOWN_MEMBER")
def a_member_is_added(site: Site) -> None:
    log = last(site)
    log.lines = [line.replace(b'{"@timestamp"', b'{"0":1,"@timestamp"', 1) for line in log.lines]


@case("41", 1, "FORMAT_CHANGE")
def the_format_changes_in_the_middle(site: Site) -> None:
    log = last(site)
    records = log.records
    opening = json.loads(json.dumps(records[0]))
    opening["data"]["format"] = 2
    log.seal_anew([*records[:50], opening, *records[50:]])


@case("42", 4, "UNKNOWN_FORMAT")
def an_unknown_format_from_the_start(site: Site) -> None:
    site.forget_outside()
    for log in site.logs[1:]:
        log.path.unlink()
        log.state.unlink()
    records = site.logs[0].records
    records[0]["data"]["format"] = 2
    site.logs[0].sign_anew(records)


def replace_notes(log: Log, change: Callable[[str], str]) -> None:
    records = log.records
    for record in records:
        if record["event_name"] == CHECKPOINT:
            record["data"]["note"] = change(record["data"]["note"])
    log.seal_anew(records)


@case("43", 1, "CHECKPOINT_UNSIGNED")
def signatures_are_removed_in_the_stream(site: Site) -> None:
    site.forget_outside()
    replace_notes(last(site), lambda note: note.partition("\n\n")[0] + "\n")


@case("43", 1, "CHECKPOINT_UNSIGNED")
def signatures_are_removed_beside_the_stream(site: Site) -> None:
    last(site).change_note(lambda note: note.partition("\n\n")[0] + "\n")


def stranger(site: Site, name: str = NAME) -> str:
    path = site.directory / "stranger.pem"
    if not path.exists():
        keys.generate(path, name)
    return str(path)


@case("44", 4, "UNKNOWN_SIGNER")
def signed_by_another_key_of_the_same_name(site: Site) -> None:
    log = last(site)
    log.state.write_text(log.note(log.leaves(), open_signer(stranger(site))))


@case("44", 1, "BAD_SIGNATURE")
def signed_by_another_key_with_the_same_key_id(site: Site) -> None:
    last(site).change_note(forged_signature)


@case("44", 0, None)
def another_signature_beside_the_good_one(site: Site) -> None:
    log = last(site)
    other = parse_note(log.note(log.leaves(), open_signer(stranger(site)))).signatures
    log.change_note(lambda note: parse_note(note).signed_also_by(other).encode())


@case("45", 1, "BAD_SIGNATURE")
def a_bad_signature_beside_a_good_one(site: Site) -> None:
    other = open_signer(stranger(site))
    site.write_policy(f"log {other.vkey}\n")
    log = last(site)
    good = parse_note(log.note(log.leaves(), other)).signatures
    log.change_note(lambda note: parse_note(forged_signature(note)).signed_also_by(good).encode())


@case("46", 4, "NOT_SIGNED")
def the_key_is_swapped_and_everything_signed_with_it(site: Site) -> None:
    site.forget_outside()
    log, thief = last(site), open_signer(stranger(site))
    records = log.records
    records[0]["data"]["keys"] = [thief.vkey]
    log.sign_anew(records, thief)


def malformed(number: str, exit_code: int, code: str, change: Callable[[str], str]) -> None:
    """A checkpoint in a wrong form, that the key's holder signed."""

    def mutate(site: Site) -> None:
        log = last(site)
        text = change(parse_note(log.state.read_text()).text)
        log.state.write_bytes(sign_note(text, [site.signer()], time=0).encode().encode())

    mutate.__name__ = f"a checkpoint with {number}"
    CASES.append((f"47 {mutate.__name__}", exit_code, code, mutate, ()))


def line(number: int, change: Callable[[str], str]) -> Callable[[str], str]:
    def edit(text: str) -> str:
        lines = text.split("\n")
        lines[number] = change(lines[number])
        return "\n".join(lines)

    return edit


malformed("a size beyond the log", 1, "SIGNED_TRUNCATED", line(1, lambda size: f"{int(size) + 1}"))
malformed("a wrong size", 1, "EQUIVOCATION", line(1, lambda size: f"{int(size) - 1}"))
malformed("a wrong root", 1, "EQUIVOCATION", line(2, lambda root: "A" * 43 + "="))
malformed("a leading zero", 1, "CHECKPOINT_MALFORMED", line(1, lambda size: f"0{size}"))
malformed("a sign", 1, "CHECKPOINT_MALFORMED", line(1, lambda size: f"+{size}"))
malformed("an extension", 4, "CHECKPOINT_EXTENSION", lambda text: f"{text}more\n")
malformed("unpadded base64", 1, "CHECKPOINT_MALFORMED", line(2, lambda root: root.rstrip("=")))
malformed(
    "another spelling of base64",
    1,
    "CHECKPOINT_MALFORMED",
    line(2, lambda root: f"{root[:-2]}{chr(ord(root[-2]) + 1)}="),
)
malformed("a short root", 1, "CHECKPOINT_MALFORMED", line(2, lambda root: "AAAA"))
malformed("an empty line", 1, "CHECKPOINT_MALFORMED", line(2, lambda root: ""))
malformed("another log's origin", 4, "UNKNOWN_SIGNER", line(0, lambda origin: f"other.example/{origin}"))
malformed("another stream's origin", 1, "FOREIGN_CHECKPOINT", line(0, lambda origin: f"{origin[:-4]}0000"))


@case("47", 1, "CHECKPOINT_MALFORMED")
def a_checkpoint_with_carriage_returns(site: Site) -> None:
    last(site).change_note(lambda note: note.replace("\n", "\r\n"))


@case("47", 1, "CHECKPOINT_MALFORMED")
def a_checkpoint_with_a_control_character(site: Site) -> None:
    last(site).change_note(lambda note: note.replace("\n", "\t\n", 1))


@case("47", 1, "CHECKPOINT_MALFORMED")
def a_checkpoint_without_its_last_newline(site: Site) -> None:
    last(site).change_note(lambda note: note[:-1])


@case("48", 1, "EQUIVOCATION")
def two_checkpoints_of_one_size(site: Site) -> None:
    log = last(site)
    log.anchored.write_text(log.note(log.leaves(), root=bytes(32)))


@case("49", 1, "CHECKPOINT_ORDER")
def checkpoints_go_down(site: Site) -> None:
    site.forget_outside()
    log = last(site)
    records, old = log.records, log.notes()[0]
    places = [place for place, record in enumerate(records) if record["event_name"] == CHECKPOINT]
    log.sign_anew(records)
    resigned = log.records
    resigned[places[-1]]["data"]["note"] = old
    log.seal_anew(resigned)
    log.state.write_text(log.note(log.leaves()))


def witnessed(site: Site, *, wanted: str = "W", sign: Callable[[Log, CosignatureSigner], str]) -> None:
    """Every stream's anchored checkpoint is cosigned, and the policy asks for it."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate()
    witness = CosignatureSigner.from_private("witness.example/w", private)
    site.write_policy(f"witness W {witness.vkey}\n", quorum=wanted)
    for log in site.logs:
        log.anchored.write_text(sign(log, witness))


def cosigned(log: Log, witness: CosignatureSigner, *, time: int = 1_700_000_000, text: str | None = None) -> str:
    note = parse_note(log.anchored.read_text())
    return note.signed_also_by([witness.sign(text or note.text, time=time)]).encode()


@case("52", 0, None)
def seen_by_a_witness(site: Site) -> None:
    witnessed(site, sign=cosigned)


@case("52", 3, "QUORUM_MISSED")
def seen_by_no_witness(site: Site) -> None:
    witnessed(site, sign=lambda log, witness: log.anchored.read_text())


@case("52", 1, "BAD_SIGNATURE")
def a_cosignature_of_another_log(site: Site) -> None:
    other = parse_note(site.logs[0].anchored.read_text()).text.replace(NAME, "other.example")
    witnessed(site, sign=lambda log, witness: cosigned(log, witness, text=other))


@case("52", 1, "TIME_IN_FUTURE")
def a_cosignature_of_the_future(site: Site) -> None:
    witnessed(site, sign=lambda log, witness: cosigned(log, witness, time=2**40))


@case("52", 3, "QUORUM_MISSED")
def a_witness_of_the_same_name(site: Site) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    other = CosignatureSigner.from_private("witness.example/w", Ed25519PrivateKey.generate())
    witnessed(site, sign=lambda log, witness: cosigned(log, other))


@case("54", 1, "PIN_TRUNCATED")
def an_older_anchor_and_a_log_cut_to_it(site: Site) -> None:
    the_end_is_cut_and_every_checkpoint_rolled_back(site)


@case("54", 3, "STALE", "--max-age", "0.001")
def an_older_anchor_a_log_cut_to_it_and_no_pins(site: Site) -> None:
    the_end_is_cut_at_a_checkpoint(site)


def rotated(site: Site, *, by: str, keep: bool = True) -> None:
    """The last stream's checkpoints from the second on are a new key's."""
    old, new = site.signer(), open_signer(stranger(site))
    site.write_policy(f"log {new.vkey}\n")
    site.forget_outside()
    log = last(site)
    records = log.records
    places = [place for place, record in enumerate(records) if record["event_name"] == CHECKPOINT]
    text = Rotation(log.origin, old.vkey, new.vkey, places[1]).encode()
    statement = sign_note(text, [old if by == "old" else new], time=0).encode()
    rotation = {**records[places[1]], "event_name": "audit.key.rotate", "data": {"statement": statement}}
    signed = [*records[: places[1]], *([rotation] if keep else []), *records[places[1] :]]
    log.sign_anew(signed, new)
    fresh = log.records
    first = next(place for place, record in enumerate(fresh) if record["event_name"] == CHECKPOINT)
    fresh[first]["data"]["note"] = log.note(log.leaves(first), old)
    chain_of_notes(log, fresh, old, new)


def chain_of_notes(log: Log, records: list[dict], old: object, new: object) -> None:
    """Sign the first checkpoint with the old key and the others with the new one, over the records as they come."""
    seen = 0
    for place, record in enumerate(records):
        if record["event_name"] == CHECKPOINT:
            log.seal_anew(records)
            records[place]["data"]["note"] = log.note(log.leaves(place), old if seen == 0 else new)  # type: ignore[arg-type]
            seen += 1
    log.seal_anew(records)
    log.state.write_text(log.note(log.leaves(), new))  # type: ignore[arg-type]


@case("59", 3, "NOT_ANCHORED")
def a_key_is_rotated(site: Site) -> None:
    rotated(site, by="old")


@case("59", 1, "ROTATION_INVALID")
def a_key_is_rotated_by_the_new_key(site: Site) -> None:
    rotated(site, by="new")


@case("59", 1, "KEY_CHANGED")
def a_rotation_is_deleted(site: Site) -> None:
    rotated(site, by="old", keep=False)


def revoke(site: Site, good: dict[str, int]) -> None:
    security = site.directory / "security.pem"
    keys.generate(security, "security.example")
    by = open_signer(security)
    site.write_policy(f"#! revoker {by.vkey}\n")
    text = Revocation(site.signer().vkey, 1_700_000_000, "stolen", good).encode()
    (site.directory / "revocation").write_text(sign_note(text, [by], time=0).encode())


@case("59", 4, "KEY_REVOKED", "--revocation", "{site}/revocation")
def a_key_is_revoked(site: Site) -> None:
    revoke(site, {})


@case("59", 0, None, "--revocation", "{site}/revocation")
def a_key_is_revoked_for_what_comes_later(site: Site) -> None:
    revoke(site, {log.origin: len(log.lines) for log in site.logs})


@case("68", 1, "CHECKPOINT_MALFORMED")
def a_checkpoint_with_very_many_signatures(site: Site) -> None:
    last(site).change_note(lambda note: note + (note.splitlines()[-1] + "\n") * 20_000)


@case("68", 2, "UNREADABLE")
def a_pipe_where_a_checkpoint_should_be(site: Site) -> None:
    import os

    last(site).state.unlink()
    os.mkfifo(last(site).state)


@pytest.mark.parametrize(
    ("exit_code", "code", "mutate", "arguments"),
    [pytest.param(*rest, id=name) for name, *rest in CASES],
)
def test_a_case_of_the_catalogue(
    site: Site, exit_code: int, code: str | None, mutate: Mutation, arguments: tuple[str, ...]
) -> None:
    mutate(site)
    given = [each.replace("{site}", str(site.directory)) for each in arguments if each != "without policy"]
    found = site.verify(*given, policy="without policy" not in arguments)
    assert found[0] == exit_code, found
    assert code in found[1] if code else found[1] == set(), found


def test_11_the_rest_of_a_pruned_stream_still_leads_to_what_was_signed(site: Site) -> None:
    the_beginning_of_a_stream_is_pruned(site)
    report = verify([site.journal], policy=Policy.load(site.policy), anchors=[site.anchor])
    assert set(report.findings.counts()) == {"PRUNED"}
    assert [(each.first_seq > 1, each.tier) for each in report.streams] == [(True, "anchored"), (False, "anchored")]


def test_11_what_prune_records_is_signed_and_anchored_as_the_settings_say(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_PYTHON_AUDIT_SIGNING_KEY_FILE", str(site.key))
    monkeypatch.setenv("OTEL_PYTHON_AUDIT_ANCHORS", f"directory://{site.anchor}")
    before = len([*site.anchor.iterdir()])
    command = ["prune", str(site.journal), "--keep-bytes", "1000"]
    assert main_to(site.directory / "pruned", command) == 0
    report = verify([site.journal], policy=Policy.load(site.policy), anchors=[site.anchor])
    assert set(report.findings.counts()) == {"PRUNED"}
    assert len([*site.anchor.iterdir()]) == before + 1


def test_11_prune_without_a_key_is_refused_where_streams_are_signed(site: Site) -> None:
    before = sorted(path.name for path in site.journal.glob("*.jsonl"))
    out = site.directory / "pruned"
    assert main_to(out, ["prune", str(site.journal), "--keep-bytes", "1000"]) == 2
    assert "are signed" in out.with_suffix(".err").read_text()
    assert "--key" in out.with_suffix(".err").read_text()
    assert sorted(path.name for path in site.journal.glob("*.jsonl")) == before


@pytest.mark.parametrize(
    ("since", "code"), [("2100-01-01T00:00:00Z", "PRUNED"), ("2020-01-01T00:00:00Z", "MISSING_STREAM")]
)
def test_11_an_unsigned_record_excuses_where_the_policy_asks_for_no_signature(
    site: Site, since: str, code: str
) -> None:
    site.forget_outside()
    forge_prune(killed(site), site.logs[0])
    vkey = Path(f"{site.key}.vkey").read_text().strip()
    policy = Policy.parse(f"log {vkey}\nquorum none\n#! signed since {since}\n".encode())
    assert code in verify([site.journal], policy=policy).findings.counts()


def test_11_the_record_that_excuses_nothing_is_named(site: Site) -> None:
    site.forget_outside()
    log = killed(site)
    forge_prune(log, site.logs[0])
    report = verify([site.journal], policy=Policy.load(site.policy))
    (found,) = [each for each in report.findings.listed if each.code == "MISSING_STREAM"]
    said = f"record {log.records[-1]['seq']} of stream {log.stream} says that they were removed"
    assert said in found.detail


def test_70_copies_that_disagree_are_told_apart(site: Site, tmp_path: Path) -> None:
    copy = site.copy(tmp_path / "other")
    assert main_to(tmp_path / "out", ["compare", str(site.journal), str(copy.journal)]) == 0
    a_value_is_changed(copy)
    assert main_to(tmp_path / "out", ["compare", str(site.journal), str(copy.journal)]) == 1


def test_68_more_checkpoints_than_are_kept_is_never_a_pass(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one file of a stream: that the others hold few does not make up for it."""
    split(last(site), 2)
    first = max((len(note) for note in last(site).notes()), default=0)
    monkeypatch.setattr("otel_audit.verify.trace.MOST_SAID", first + 400)
    exit_code, found = site.verify()
    assert (exit_code, "TOO_MANY_CHECKPOINTS" in found) == (4, True)


def test_pins_move_on_although_the_end_is_not_signed_yet(site: Site) -> None:
    the_end_is_cut_behind_the_last_anchor(site)
    assert site.verify("--trust-first-use")[0] == 3
    pinned = json.loads(site.pins.read_text())
    assert str(len(last(site).lines)) in json.dumps(pinned)
    site.verify()
    cut = last(site)
    cut.lines = cut.lines[:-1]
    assert "PIN_TRUNCATED" in site.verify()[1]
