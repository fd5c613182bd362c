"""Epoch keys: what one seal proves, what a series of seals must be, and that old seeds are gone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from otel_audit.errors import ConfigurationError
from otel_audit.integrity import seedfile
from otel_audit.integrity.epochs import (
    MAX_EPOCHS,
    EpochAttestation,
    EpochKey,
    EpochsExhaustedError,
    EpochSigner,
    Schedule,
    certify,
)
from otel_audit.integrity.findings import Severity
from otel_audit.integrity.note import Note, NoteError, Signature, open_note, parse_note
from otel_audit.integrity.pins import Pins
from otel_audit.integrity.policy import read_vkey
from otel_audit.integrity.seedfile import is_seed_file, open_epochs, provision
from otel_audit.integrity.signatures import Ed25519Signer, sign_note

START = 1_800_000_000
SCHEDULE = Schedule(START, 60, 10)
SEED = bytes(range(32))
KEY, PUBLICS = certify("shop.example/audit", SCHEDULE, SEED)
TEXT = "shop.example/audit/x\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"


def signer_at(epoch: int) -> EpochSigner:
    signer = EpochSigner(KEY, PUBLICS, 0, bytearray(SEED))
    signer.advance(epoch)
    return signer


@pytest.mark.parametrize("epoch", range(10))
def test_each_epoch_signs_with_a_key_of_its_own(epoch: int) -> None:
    note = sign_note(TEXT, [signer_at(epoch)], time=START + 60 * epoch + 5, final=epoch % 2 == 0)
    (found,) = open_note(parse_note(note.encode()), [read_vkey(KEY.vkey)])
    assert found == EpochAttestation(found.key, START + 60 * epoch + 5, epoch, epoch % 2 == 0)


def test_the_verifier_key_says_it_all_in_one_line() -> None:
    key = read_vkey(KEY.vkey)
    assert isinstance(key, EpochKey)
    assert (key.schedule, key.root, key.vkey) == (SCHEDULE, KEY.root, KEY.vkey)


def test_no_bit_of_a_seal_can_be_changed() -> None:
    (signature,) = sign_note(TEXT, [signer_at(4)], time=START + 250).signatures
    for place in range(len(signature.payload) * 8):
        changed = bytearray(signature.payload)
        changed[place // 8] ^= 1 << place % 8
        with pytest.raises(NoteError):
            KEY.verify(TEXT, bytes(changed))
    for payload in (signature.payload[:-1], signature.payload + b"\0", b"", signature.payload[:40]):
        with pytest.raises(NoteError):
            KEY.verify(TEXT, payload)


def test_a_later_key_cannot_seal_for_an_earlier_epoch() -> None:
    """CVE-2023-31439: the key of epoch 5 is good for epoch 5, whatever number is written beside it."""
    thief = signer_at(5)
    thief.epoch = 3
    (signature,) = sign_note(TEXT, [thief], time=START + 200).signatures
    with pytest.raises(NoteError, match="does not verify"):
        KEY.verify(TEXT, signature.payload)


def test_a_seal_states_a_time_inside_its_epoch() -> None:
    early, late = sign_note(TEXT, [signer_at(5)], time=START), sign_note(TEXT, [signer_at(5)], time=START + 10**6)
    assert open_note(early, [KEY])[0].time == START + 300
    assert open_note(late, [KEY])[0].time == START + 359


def test_a_signer_never_goes_back_and_ends_with_its_schedule() -> None:
    signer = signer_at(5)
    signer.advance(3)
    assert signer.epoch == 5
    with pytest.raises(EpochsExhaustedError, match="the last of 10 epochs is over"):
        signer.advance(10)


def test_leaving_an_epoch_overwrites_its_seed() -> None:
    seed = bytearray(SEED)
    EpochSigner(KEY, PUBLICS, 0, seed).advance(1)
    assert bytes(seed) != SEED


def test_public_keys_of_another_schedule_are_refused() -> None:
    with pytest.raises(ConfigurationError):
        EpochSigner(KEY, PUBLICS[:-32] + bytes(32), 0, bytearray(SEED))


@pytest.mark.parametrize("material", ["start", "length", "count"])
def test_a_schedule_that_makes_no_sense_is_refused(material: str) -> None:
    schedule = {"start": Schedule(2**50, 60, 10), "length": Schedule(0, 0, 10), "count": Schedule(0, 60, 2**25)}
    with pytest.raises(NoteError):
        EpochKey.of("n", schedule[material], bytes(32))


# The file.


def test_a_seed_file_gives_the_signer_of_the_present_epoch(tmp_path: Path) -> None:
    path = tmp_path / "epochs"
    vkey = provision(path, "shop.example/audit", SCHEDULE)
    assert (tmp_path / "epochs.vkey").read_text() == vkey + "\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert is_seed_file(path)
    signer = open_epochs(path, now=START + 125)
    assert signer.epoch == 2
    note = sign_note(TEXT, [signer], time=START + 125)
    assert open_note(note, [read_vkey(vkey)])[0].epoch == 2  # type: ignore[attr-defined]


def test_no_older_seed_is_left_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "epochs"
    provision(path, "n", SCHEDULE)
    seeds = []
    for epoch in range(10):
        signer = open_epochs(path, now=START + 60 * epoch)
        seeds.append(bytes(signer._seed))
        content = path.read_bytes()
        assert content.count(seeds[-1]) == 1
        assert not any(seed in content for seed in seeds[:-1])


def test_another_process_may_be_ahead(tmp_path: Path) -> None:
    path = tmp_path / "epochs"
    vkey = provision(path, "n", SCHEDULE)
    slow, fast = open_epochs(path, now=START), open_epochs(path, now=START)
    fast.advance(7)
    slow.advance(4)
    assert open_epochs(path, now=START).epoch == 7
    note = sign_note(TEXT, [slow], time=START + 250)
    assert open_note(note, [read_vkey(vkey)])[0].epoch == 4  # type: ignore[attr-defined]


@pytest.mark.parametrize("crash_at", ["new seed written", "old seed half erased"])
def test_a_crash_while_moving_on_loses_nothing_and_leaves_no_old_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash_at: str
) -> None:
    path = tmp_path / "epochs"
    provision(path, "n", SCHEDULE)
    old = bytes(open_epochs(path, now=START)._seed)

    def crash(descriptor: int, place: int) -> None:
        if crash_at == "old seed half erased":
            os.pwrite(descriptor, bytes(20), place)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(seedfile, "_erase", crash)
        with pytest.raises(KeyboardInterrupt):
            open_epochs(path, now=START + 60)
    assert open_epochs(path, now=START).epoch == 1
    assert old not in path.read_bytes()


def test_a_seed_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "epochs"
    provision(path, "n", SCHEDULE)
    path.chmod(0o640)
    with pytest.raises(ConfigurationError, match="0640"):
        open_epochs(path)


def test_a_damaged_seed_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "epochs"
    provision(path, "n", SCHEDULE)
    raw = bytearray(path.read_bytes())
    raw[1024 + 10] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ConfigurationError, match="no whole seed"):
        open_epochs(path, now=START)
    path.write_bytes(b"x")
    with pytest.raises(ConfigurationError, match="no epoch keys"):
        open_epochs(path, now=START)


# The series.


@pytest.fixture
def sealed(make_stream: Any) -> Any:
    """Five epochs, the third one idle: a record and a seal in each, and a final seal when it is over."""
    stream, signer = make_stream(at=1), signer_at(0)
    for epoch in range(5):
        signer.advance(epoch)
        if epoch != 2:
            stream.log(3, at=60 * epoch + 10)
            stream.checkpoint(signer, at=60 * epoch + 11)
        stream.checkpoint(signer, at=60 * epoch + 59, final=True)
    return stream


@pytest.fixture
def policy(make_policy: Any) -> Any:
    return make_policy(KEY, lines="#! clock-skew 5s\n")


def codes(verdict: Any) -> set[str]:
    return {each.code for each in verdict.findings}


def without(sealed: Any, make_stream: Any, left_out: Any, *, signer: EpochSigner | None = None) -> Any:
    """The stream without the seals that `left_out` picks, sealed anew; as whoever can write the file makes it."""
    forged = sealed.copy(1)
    for record in sealed.records[1:]:
        if record["event_name"] == "audit.checkpoint" and left_out(record):
            continue
        forged.write(record["event_name"], record.get("data"), at=_at(record))
    return forged


def _at(record: dict[str, Any]) -> float:
    from datetime import datetime

    return datetime.fromisoformat(record["@timestamp"][:26] + "+00:00").timestamp() - START


def test_a_stream_sealed_through_five_epochs_is_intact_while_the_sixth_runs(sealed: Any, policy: Any) -> None:
    assert codes(sealed.check(policy, at=310)) == {"UNSIGNED_TAIL"}


def test_epochs_at_the_end_that_should_be_sealed_by_now_are_missed(sealed: Any, policy: Any) -> None:
    assert "EPOCH_UNSEALED" in codes(sealed.check(policy, at=400))


def test_after_a_sealed_close_no_more_seals_are_due(make_stream: Any, policy: Any) -> None:
    stream = make_stream(at=1)
    stream.close(at=30)
    note = stream.note(signer_at(0), at=30, final=True)
    assert stream.check(policy, at=10_000, checkpoints=[note]).findings == []


def test_case_56_old_records_sealed_with_a_later_key(sealed: Any, make_stream: Any, policy: Any) -> None:
    forged = sealed.copy(1)
    forged.log(9, at=10)
    forged.checkpoint(signer_at(4), at=241, final=True)
    assert "EPOCH_MISSING" in codes(forged.check(policy, at=310))


@pytest.mark.parametrize("size_of_tail", [0, 1])
def test_case_57_the_seal_of_an_idle_epoch_removed_at_the_end(
    sealed: Any, make_stream: Any, policy: Any, size_of_tail: int
) -> None:
    """Cut behind epoch 1: nothing contradicts, but epochs 2 to 4 have no seal."""
    cut = sealed.copy(11 - 1 + size_of_tail)
    verdict = cut.check(policy, at=310)
    assert "EPOCH_UNSEALED" in codes(verdict)
    assert {each.severity for each in verdict.findings} == {Severity.INCOMPLETE}


def test_case_57_the_seal_of_an_idle_epoch_removed_and_sealing_goes_on(make_stream: Any, policy: Any) -> None:
    stream, signer = make_stream(at=1), signer_at(0)
    stream.checkpoint(signer, at=59, final=True)
    signer.advance(2)
    stream.checkpoint(signer, at=179, final=True)
    assert "EPOCH_MISSING" in codes(stream.check(policy, at=190))


def test_case_58_a_second_final_seal_of_one_epoch(make_stream: Any, policy: Any) -> None:
    stream = make_stream(at=1)
    stream.checkpoint(signer_at(0), at=58, final=True)
    stream.log(1, at=58)
    stream.checkpoint(signer_at(0), at=59, final=True)
    assert "EPOCH_ORDER" in codes(stream.check(policy, at=61))


def test_one_seal_from_two_places_is_one_seal(make_stream: Any, policy: Any) -> None:
    stream = make_stream(at=1)
    note = stream.checkpoint(signer_at(0), at=58, final=True)
    assert codes(stream.check(policy, at=61, checkpoints=[note], anchors=[note])) == {"UNSIGNED_TAIL"}


def test_case_58_an_erased_key_used_again(sealed: Any, policy: Any) -> None:
    sealed.log(1, at=300)
    sealed.checkpoint(signer_at(1), at=301)
    assert "EPOCH_ORDER" in codes(sealed.check(policy, at=310))


def test_a_stream_whose_first_epochs_are_missing_is_not_taken_for_a_young_one(make_stream: Any, policy: Any) -> None:
    """The stream's id states its birth: sealing it from epoch 3 on does not make it born there."""
    stream, signer = make_stream(at=1), signer_at(3)
    stream.checkpoint(signer, at=239, final=True)
    assert "EPOCH_MISSING" in codes(stream.check(policy, at=241))


def test_records_that_claim_times_outside_their_epoch_are_noted(make_stream: Any, policy: Any) -> None:
    stream, signer = make_stream(at=1), signer_at(0)
    stream.log(1, at=20)
    stream.checkpoint(signer, at=59, final=True)
    signer.advance(1)
    stream.log(1, at=30)
    stream.checkpoint(signer, at=119, final=True)
    assert "EPOCH_TIME" in codes(stream.check(policy, at=121))
    assert "EPOCH_TIME" not in codes(stream.copy(3).check(policy, at=61))


@pytest.mark.parametrize(("at", "outside"), [(54, True), (55, False), (90, False), (125, False), (126, True)])
def test_a_time_is_outside_its_epoch_before_and_behind_it(
    make_stream: Any, policy: Any, at: float, outside: bool
) -> None:
    """The second epoch is from 60 to 120, and clocks may disagree by 5 seconds."""
    stream, signer = make_stream(at=1), signer_at(0)
    stream.checkpoint(signer, at=58, final=True)
    signer.advance(1)
    stream.log(1, at=at)
    stream.checkpoint(signer, at=119, final=True)
    assert ("EPOCH_TIME" in codes(stream.check(policy, at=121))) is outside


def test_times_count_although_the_section_was_folded_in_parts(make_stream: Any, policy: Any) -> None:
    """A pin in the middle of an epoch folds its beginning before the seal arrives."""
    stream, signer = make_stream(at=1), signer_at(0)
    stream.checkpoint(signer, at=59, final=True)
    signer.advance(1)
    stream.log(1, at=10)
    pins = Pins(trust_first_use=True)
    pins.advance(stream.origin, 3, stream.head().root)
    stream.log(1, at=70)
    stream.checkpoint(signer, at=119, final=True)
    assert "EPOCH_TIME" in codes(stream.check(policy, at=121, pins=pins))


def test_a_record_a_moment_over_the_border_is_honest(make_stream: Any, policy: Any) -> None:
    stream, signer = make_stream(at=1), signer_at(0)
    stream.log(1, at=62)
    stream.checkpoint(signer, at=59, final=True)
    assert "EPOCH_TIME" not in codes(stream.check(policy, at=63))


def test_a_plain_signature_does_not_stand_in_for_a_seal(sealed: Any, policy: Any, signer: Ed25519Signer) -> None:
    forged = sealed.copy(5)
    forged.checkpoint(signer)
    assert "UNKNOWN_SIGNER" in codes(forged.check(policy, at=62))


def test_a_seal_of_one_note_is_not_one_of_another() -> None:
    (signature,) = sign_note(TEXT, [signer_at(1)], time=START + 70).signatures
    moved = Note(TEXT.replace("\n1\n", "\n2\n"), (Signature(signature.name, signature.key_id, signature.payload),))
    with pytest.raises(NoteError):
        open_note(moved, [KEY])


@pytest.mark.parametrize("count", [0, -1, MAX_EPOCHS + 1])
def test_no_keys_are_made_for_a_schedule_that_makes_no_sense(count: int) -> None:
    with pytest.raises((ValueError, NoteError)):
        certify("n", Schedule(0, 60, count), SEED)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_seed_has_32_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        certify("n", Schedule(0, 60, 2), bytes(length))


def test_one_epoch_is_a_schedule() -> None:
    key, publics = certify("n", Schedule(0, 60, 1), SEED)
    assert (key.schedule.count, len(publics)) == (1, 32)


@pytest.mark.parametrize("length", [0, 1, 40])
def test_a_seal_that_is_cut_off_is_bad(length: int) -> None:
    payload = sign_note(TEXT, [signer_at(5)], time=START + 300).signatures[0].payload
    with pytest.raises(NoteError, match="too short"):
        KEY.verify(TEXT, payload[:length])


def test_a_seal_of_the_head_alone_is_bad() -> None:
    payload = sign_note(TEXT, [signer_at(5)], time=START + 300).signatures[0].payload
    for length in range(len(payload)):
        with pytest.raises(NoteError):
            KEY.verify(TEXT, payload[:length])


def test_a_schedule_may_be_as_long_as_the_limit_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_audit.integrity.epochs.MAX_EPOCHS", 3)
    assert len(certify("n", Schedule(0, 60, 3), SEED)[1]) == 96
    with pytest.raises(ValueError, match="between 1 and 3 epochs"):
        certify("n", Schedule(0, 60, 4), SEED)
