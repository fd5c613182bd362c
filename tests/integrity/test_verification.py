"""What is said of a stream whose head was signed: the attacks on it as a table, and the honest histories.

The attacker holds every file of the log. Where a row says so, he also holds the present signing key.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from otel_audit.integrity import verification
from otel_audit.integrity.findings import CODES, Severity, Tier
from otel_audit.integrity.merkle import Frontier, root_hash
from otel_audit.integrity.note import Note, Signature, parse_note
from otel_audit.integrity.pins import Pins
from otel_audit.integrity.policy import read_vkey
from otel_audit.integrity.signatures import Signer, sign_note
from otel_audit.integrity.stamps import read_roots
from otel_audit.integrity.statements import Revocation, Rotation
from otel_audit.integrity.verdict import Verdict, missing_logs
from otel_audit.integrity.verification import StreamIntegrity
from tests.certificates import make_certificates

TAMPERED, INCOMPLETE, UNVERIFIABLE = Severity.TAMPERED, Severity.INCOMPLETE, Severity.UNVERIFIABLE


def codes(verdict: Verdict) -> set[str]:
    return {each.code for each in verdict.findings}


def severities(verdict: Verdict) -> set[Severity]:
    return {each.severity for each in verdict.findings}


@pytest.fixture
def log(make_stream: Any, signer: Signer) -> Any:
    """50 records, a checkpoint after each ten, closed; its last checkpoint is kept beside it."""
    stream = make_stream()
    for number in range(5):
        stream.log(10, at=number)
        stream.checkpoint(signer, at=number)
    stream.close(at=5)
    stream.last = stream.note(signer, at=5)
    return stream


@pytest.fixture
def policy(make_policy: Any, signer: Signer) -> Any:
    return make_policy(signer)


def test_an_honest_signed_stream_has_no_findings(log: Any, policy: Any) -> None:
    verdict = log.check(policy, checkpoints=[log.last])
    assert verdict.findings == []
    assert verdict.tier == Tier.SIGNED
    assert verdict.signed == verdict.size == len(log.hashes)
    assert verdict.sentence == Tier.SIGNED.sentence


@pytest.mark.parametrize("batch", [1, 2, 11, 1000])
def test_the_verdict_does_not_depend_on_how_records_are_fed(log: Any, policy: Any, batch: int) -> None:
    assert log.check(policy, checkpoints=[log.last], batch=batch).findings == []


def test_without_a_policy_nothing_signed_is_claimed(log: Any) -> None:
    verdict = log.check(None)
    assert codes(verdict) == {"NO_POLICY"}
    assert verdict.tier == Tier.CHAINED


def test_records_after_the_last_signature_are_counted(log: Any, policy: Any) -> None:
    verdict = log.check(policy)
    assert codes(verdict) == {"UNSIGNED_TAIL"}
    assert verdict.sentence.startswith(f"Records 1 to {verdict.signed} of {verdict.size}: ")


def rewritten(log: Any, make_stream: Any, *signers: Signer, first: int = 20, notes: bool = False) -> Any:
    """The log from record `first` on with other content, sealed anew; checkpoints copied, signed anew or left out."""
    forged = log.copy(first)
    for record in log.records[first:]:
        at = 1
        if record["event_name"] == "audit.checkpoint":
            if signers:
                forged.checkpoint(*signers, at=at)
            elif notes:
                forged.write("audit.checkpoint", record["data"], at=at)
        elif record["event_name"] == "audit.stream.close":
            forged.close(at=at)
        else:
            forged.write("invoice.keep", at=at)
    return forged


def test_case_5_a_rewrite_without_the_key_contradicts_the_checkpoints(log: Any, policy: Any, make_stream: Any) -> None:
    verdict = rewritten(log, make_stream, notes=True).check(policy)
    assert codes(verdict) & {"CHECKPOINT_ROOT", "EQUIVOCATION"}
    assert verdict.tier == Tier.PLAIN
    assert "Contradictions" in verdict.sentence


def test_case_5_is_found_without_any_policy_too(log: Any, make_stream: Any) -> None:
    assert "CHECKPOINT_ROOT" in codes(rewritten(log, make_stream, notes=True).check(None))


def test_case_6_a_rewrite_without_its_checkpoints_is_not_signed(log: Any, policy: Any, make_stream: Any) -> None:
    forged = rewritten(log, make_stream, first=5)
    verdict = forged.check(policy)
    assert codes(verdict) == {"NOT_SIGNED"}
    assert severities(verdict) == {UNVERIFIABLE}


def test_case_6_with_a_pin_it_is_a_contradiction(log: Any, policy: Any, make_stream: Any) -> None:
    forged = padded(rewritten(log, make_stream, first=5), len(log.hashes))
    assert "PIN_MISMATCH" in codes(forged.check(policy, pins=pinned(log, policy)))


def padded(stream: Any, size: int) -> Any:
    stream.log(max(0, size - len(stream.hashes)), at=2)
    return stream


def pinned(log: Any, policy: Any) -> Pins:
    pins = Pins(trust_first_use=True)
    log.check(policy, checkpoints=[log.last]).advance(pins)
    assert pins.get(log.origin) is not None
    return pins


def test_case_7_a_rewrite_with_the_key_contradicts_a_pin(
    log: Any, policy: Any, make_stream: Any, signer: Signer
) -> None:
    forged = rewritten(log, make_stream, signer)
    assert forged.check(policy, checkpoints=[forged.note(signer)]).findings == []
    assert "PIN_MISMATCH" in codes(forged.check(policy, pins=pinned(log, policy)))


def test_case_7_a_rewrite_with_the_key_contradicts_an_anchor(
    log: Any, policy: Any, make_stream: Any, signer: Signer
) -> None:
    verdict = rewritten(log, make_stream, signer).check(policy, anchors=[log.note(signer, size=30)])
    assert codes(verdict) >= {"EQUIVOCATION"}


def test_case_7_without_any_outside_state_a_demanded_anchor_is_missing(
    log: Any, make_stream: Any, make_policy: Any, signer: Signer
) -> None:
    forged = rewritten(log, make_stream, signer)
    verdict = forged.check(make_policy(signer, lines="#! anchored always\n"), checkpoints=[forged.note(signer)])
    assert codes(verdict) == {"NOT_ANCHORED"}
    assert severities(verdict) == {INCOMPLETE}


@pytest.mark.parametrize("size", [1, 11, 12, 33, 55])
def test_cases_12_and_14_a_cut_below_a_known_head_is_found(log: Any, policy: Any, make_stream: Any, size: int) -> None:
    cut = log.copy(size)
    assert "PIN_TRUNCATED" in codes(cut.check(policy, pins=pinned(log, policy)))
    assert "SIGNED_TRUNCATED" in codes(cut.check(policy, checkpoints=[log.last]))


@pytest.mark.parametrize("size", [15, 22, 23, 55])
def test_case_13_a_cut_above_every_known_head_is_incomplete(log: Any, policy: Any, size: int) -> None:
    assert severities(log.copy(size).check(policy)) == {INCOMPLETE}


def test_case_29_another_log_of_the_same_signer_does_not_pass_for_this_one(
    log: Any, policy: Any, make_stream: Any, signer: Signer
) -> None:
    other = make_stream()
    other.log(60)
    other.checkpoint(signer)
    claimed = other.copy(len(other.hashes))
    claimed.stream = log.stream
    assert "FOREIGN_CHECKPOINT" in codes(claimed.check(policy))
    assert "PIN_MISMATCH" in codes(claimed.check(policy, pins=pinned(log, policy)))


def test_case_30_a_rollback_is_stale_and_against_a_pin_a_contradiction(
    log: Any, make_policy: Any, signer: Signer
) -> None:
    policy = make_policy(signer, lines="#! max-age 60s\n")
    old = log.copy(23)
    note = old.note(signer)
    assert "STALE" in codes(old.check(policy, checkpoints=[note], at=600))
    assert "STALE" not in codes(old.check(policy, checkpoints=[note], at=30))
    assert "PIN_TRUNCATED" in codes(old.check(policy, checkpoints=[note], pins=pinned(log, policy)))


def test_a_closed_stream_does_not_grow_stale(log: Any, make_policy: Any, signer: Signer) -> None:
    policy = make_policy(signer, lines="#! max-age 60s\n")
    assert log.check(policy, checkpoints=[log.last], at=10**6).findings == []


def test_case_31_a_split_view_is_shown_by_the_two_heads(
    log: Any, policy: Any, make_stream: Any, signer: Signer
) -> None:
    one, two = log.copy(30), log.copy(30)
    one.log(10)
    two.write("invoice.delete", {"by": "mallory"})
    two.log(9)
    verdict = one.check(policy, checkpoints=[one.note(signer)], anchors=[two.note(signer)])
    (finding,) = verdict.findings
    assert finding.code == "EQUIVOCATION"
    assert finding.expected is not None


def test_case_32_a_record_put_in_later_with_the_key_contradicts_what_is_anchored(
    log: Any, policy: Any, make_stream: Any, signer: Signer
) -> None:
    forged = log.copy(35)
    forged.write("invoice.approve")
    forged.log(25)
    verdict = forged.check(policy, checkpoints=[forged.note(signer)], anchors=[log.note(signer, size=45)])
    assert TAMPERED in severities(verdict)


def with_note(make_stream: Any, change: Any, *signers: Signer) -> Any:
    """A stream with one checkpoint, whose note went through `change`."""
    stream = make_stream()
    stream.log(10)
    stream.write("audit.checkpoint", {"note": change(stream.note(*signers))})
    return stream


def test_case_43_a_checkpoint_without_its_signatures_is_tampered_with(
    make_stream: Any, policy: Any, signer: Signer
) -> None:
    stream = with_note(make_stream, lambda note: note.split("— ")[0], signer)
    assert codes(stream.check(policy)) == {"CHECKPOINT_UNSIGNED", "NOT_SIGNED"}


def test_case_43_nor_can_a_witness_stand_in_for_the_log(
    make_stream: Any, make_policy: Any, signer: Signer, witness: Signer
) -> None:
    policy = make_policy(signer, lines=f"witness w {witness.vkey}\n", quorum="w")
    stream = with_note(make_stream, str, witness)
    assert codes(stream.check(policy)) == {"UNKNOWN_SIGNER", "NOT_SIGNED"}


@pytest.mark.parametrize("case", [44, 46])
def test_cases_44_and_46_a_key_that_the_policy_does_not_name_signs_nothing(
    make_stream: Any, policy: Any, other_signer: Signer, case: int
) -> None:
    stream = with_note(make_stream, str, other_signer)
    verdict = stream.check(policy, checkpoints=[stream.note(other_signer)])
    assert codes(verdict) == {"UNKNOWN_SIGNER", "NOT_SIGNED"}
    assert severities(verdict) == {UNVERIFIABLE}


def test_case_45_a_bad_signature_is_not_made_good_by_another(
    make_stream: Any, make_policy: Any, signer: Signer, other_signer: Signer
) -> None:
    policy = make_policy(signer, other_signer)

    def spoil(note: str) -> str:
        first, second = parse_note(note).signatures
        return Note(parse_note(note).text, (first, Signature(second.name, second.key_id, bytes(64)))).encode()

    assert "BAD_SIGNATURE" in codes(with_note(make_stream, spoil, signer, other_signer).check(policy))


def resigned(change: Any, *signers: Signer) -> Any:
    return lambda note: sign_note(change(parse_note(note).text), signers, time=0).encode()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(lambda text: text.replace("\n11\n", "\n12\n"), {"CHECKPOINT_SIZE"}, id="size beyond its place"),
        pytest.param(lambda text: text.replace("\n11\n", "\n10\n"), {"CHECKPOINT_ROOT"}, id="another size"),
        pytest.param(lambda text: text.replace("\n11\n", "\n011\n"), {"CHECKPOINT_MALFORMED"}, id="leading zero"),
        pytest.param(lambda text: text.replace("\n11\n", "\n+11\n"), {"CHECKPOINT_MALFORMED"}, id="a sign"),
        pytest.param(lambda text: text.replace("\n11\n", "\n١١\n"), {"CHECKPOINT_MALFORMED"}, id="other digits"),
        pytest.param(lambda text: text.replace("\n11\n", "\n\n"), {"CHECKPOINT_MALFORMED"}, id="no size"),
        pytest.param(lambda text: text + "extra\n", {"CHECKPOINT_EXTENSION"}, id="an extension line"),
        pytest.param(lambda text: text.rsplit("\n", 2)[0] + "\n", {"CHECKPOINT_MALFORMED"}, id="no root"),
        pytest.param(lambda text: text[:-3] + "\n", {"CHECKPOINT_MALFORMED"}, id="padding"),
        pytest.param(lambda text: "x" + text, {"UNKNOWN_SIGNER"}, id="another origin"),
        pytest.param(lambda text: text.replace("/audit/", "/audit/x"), {"FOREIGN_CHECKPOINT"}, id="another stream"),
    ],
)
def test_case_47_a_checkpoint_that_is_not_written_as_it_must_be(
    make_stream: Any, policy: Any, signer: Signer, change: Any, expected: set[str]
) -> None:
    """Signed, too: the key's holder made these."""
    verdict = with_note(make_stream, resigned(change, signer), signer).check(policy)
    assert codes(verdict) - {"NOT_SIGNED"} == expected


@pytest.mark.parametrize("change", [lambda note: note.replace("\n", "\r\n"), lambda note: note[:-1], lambda note: None])
def test_case_47_a_note_that_is_none(make_stream: Any, policy: Any, signer: Signer, change: Any) -> None:
    verdict = with_note(make_stream, change, signer).check(policy)
    assert codes(verdict) == {"CHECKPOINT_MALFORMED", "NOT_SIGNED"}


def test_case_48_two_heads_of_one_size(log: Any, policy: Any, signer: Signer) -> None:
    other = log.copy(19)
    other.write("invoice.keep")
    verdict = log.check(policy, checkpoints=[log.note(signer, size=20), other.note(signer, size=20)])
    assert "EQUIVOCATION" in codes(verdict)


def test_case_49_sizes_that_go_down(make_stream: Any, policy: Any, signer: Signer) -> None:
    stream = make_stream()
    stream.log(10)
    early = stream.note(signer)
    stream.log(10)
    stream.checkpoint(signer)
    stream.write("audit.checkpoint", {"note": early})
    assert "CHECKPOINT_ORDER" in codes(stream.check(policy))


def test_case_52_a_witness_that_signs_ahead_of_time(
    make_stream: Any, make_policy: Any, signer: Signer, witness: Signer
) -> None:
    policy = make_policy(signer, lines=f"witness w {witness.vkey}\n", quorum="w")
    stream = make_stream()
    stream.log(5)
    assert stream.check(policy, anchors=[stream.note(signer, witness, at=90)], at=100).tier == Tier.WITNESSED
    assert "TIME_IN_FUTURE" in codes(stream.check(policy, anchors=[stream.note(signer, witness, at=500)], at=100))


def test_case_52_a_quorum_that_is_not_met_is_incomplete(
    make_stream: Any, make_policy: Any, signer: Signer, witness: Signer
) -> None:
    policy = make_policy(signer, lines=f"witness w {witness.vkey}\n", quorum="w")
    stream = make_stream()
    stream.log(5)
    verdict = stream.check(policy, anchors=[stream.note(signer)])
    assert codes(verdict) == {"QUORUM_MISSED"}
    assert verdict.tier == Tier.ANCHORED


def test_case_54_an_older_anchor_is_stale(log: Any, make_policy: Any, signer: Signer) -> None:
    policy = make_policy(signer, lines="#! max-age 60s\n#! anchored always\n")
    old = log.copy(23)
    assert "STALE" in codes(old.check(policy, anchors=[old.note(signer)], at=900))


def rotate(stream: Any, old: Signer, new: Signer, *, by: Signer | None = None) -> None:
    text = Rotation(stream.origin, old.vkey, new.vkey, len(stream.hashes)).encode()
    stream.write("audit.key.rotate", {"statement": sign_note(text, [by or old], time=0).encode()})


def test_a_key_may_hand_over_to_another_that_the_policy_names(
    make_stream: Any, make_policy: Any, signer: Signer, other_signer: Signer
) -> None:
    stream = make_stream()
    stream.checkpoint(signer)
    rotate(stream, signer, other_signer)
    stream.checkpoint(other_signer)
    stream.log(3)
    policy = make_policy(signer, other_signer)
    assert stream.check(policy, checkpoints=[stream.note(other_signer)]).findings == []
    assert "UNKNOWN_SIGNER" in codes(stream.check(make_policy(signer)))


def test_case_59_a_rotation_that_the_old_key_did_not_sign(
    make_stream: Any, make_policy: Any, signer: Signer, other_signer: Signer
) -> None:
    stream = make_stream()
    stream.checkpoint(signer)
    rotate(stream, signer, other_signer, by=other_signer)
    stream.checkpoint(other_signer)
    assert codes(stream.check(make_policy(signer, other_signer))) >= {"ROTATION_INVALID", "KEY_CHANGED"}


def test_without_a_policy_a_rotation_says_nothing(make_stream: Any, signer: Signer, other_signer: Signer) -> None:
    stream = make_stream()
    rotate(stream, signer, other_signer)
    assert stream.check(None).findings == []


def test_case_59_a_rotation_that_was_left_out(
    make_stream: Any, make_policy: Any, signer: Signer, other_signer: Signer
) -> None:
    stream = make_stream()
    stream.checkpoint(signer)
    stream.checkpoint(other_signer)
    assert "KEY_CHANGED" in codes(stream.check(make_policy(signer, other_signer)))


def test_case_59_a_revoked_key_is_believed_up_to_its_last_good_head(
    make_stream: Any, policy: Any, signer: Signer, other_signer: Signer
) -> None:
    stream = make_stream()
    stream.log(10)
    stream.checkpoint(signer)
    stream.log(10)
    stream.checkpoint(signer)
    revoked = Revocation(signer.vkey, 0, "stolen", {stream.origin: 11})
    text = sign_note(revoked.encode(), [other_signer], time=0).encode()
    opened = Revocation.open(text, [read_vkey(other_signer.vkey)])
    assert opened == revoked
    verdict = stream.check(policy, revocations=[opened])
    assert codes(verdict) == {"KEY_REVOKED", "UNSIGNED_TAIL"}
    assert verdict.signed == 11


def test_pins_are_made_only_when_told(log: Any, policy: Any) -> None:
    pins = Pins()
    verdict = log.check(policy, checkpoints=[log.last], pins=pins)
    assert codes(verdict) == {"NOT_PINNED"}
    verdict.advance(pins)
    assert list(pins) == []


def test_a_pin_moves_on_with_an_honest_log_and_counts_as_an_anchor(
    make_stream: Any, policy: Any, signer: Signer
) -> None:
    stream, pins = make_stream(), Pins(trust_first_use=True)
    for _ in range(3):
        stream.log(5)
        verdict = stream.check(policy, checkpoints=[stream.note(signer)], pins=pins)
        assert verdict.findings == []
        verdict.advance(pins)
        assert pins.get(stream.origin).size == len(stream.hashes)
    assert verdict.tier == Tier.ANCHORED


def test_a_pin_on_an_unsigned_log_is_said_to_be_more_than_a_chain(make_stream: Any) -> None:
    stream, pins = make_stream(), Pins(trust_first_use=True)
    stream.log(4)
    stream.check(None, pins=pins).advance(pins)
    stream.log(4)
    verdict = stream.check(None, pins=pins)
    assert (verdict.tier, verdict.anchored) == (Tier.CHAINED, 5)
    assert "The first 5 agree" in verdict.sentence
    assert "PIN_TRUNCATED" in codes(stream.copy(3).check(None, pins=pins))


def test_a_contradicted_log_moves_no_pin(log: Any, policy: Any, make_stream: Any, signer: Signer) -> None:
    pins = pinned(log, policy)
    before = pins.get(log.origin)
    padded(rewritten(log, make_stream, signer), 80).check(policy, pins=pins).advance(pins)
    assert pins.get(log.origin) == before


def test_a_checkpoint_far_behind_its_place_is_not_taken_for_checked(
    make_stream: Any, policy: Any, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "WINDOW", 16)
    stream = make_stream()
    note = stream.note(signer)
    stream.log(100)
    stream.write("audit.checkpoint", {"note": note})
    assert "CHECKPOINT_LATE" in codes(stream.check(policy))
    verdict = stream.check(policy, checkpoints=[note])
    assert codes(verdict) == {"UNSIGNED_TAIL"}
    assert verdict.root == stream.head().root


def test_cases_18_to_20_a_log_that_is_known_and_not_there(log: Any, policy: Any) -> None:
    assert [each.code for _, each in missing_logs({"x"}, notes=[log.last])] == ["SIGNED_TRUNCATED"]
    ((stream, finding),) = missing_logs(set(), pins=pinned(log, policy))
    assert (stream, finding.code) == (log.stream, "PIN_MISSING_LOG")
    assert missing_logs({log.stream}, pins=pinned(log, policy), notes=[log.last, "garbage"]) == []


def test_a_pin_above_the_last_signature_counts_too(log: Any, policy: Any, signer: Signer) -> None:
    stream = log.copy(25)
    pins = Pins(trust_first_use=True)
    stream.check(policy, pins=pins).advance(pins)
    assert pins.get(stream.origin).size == 25
    assert codes(stream.check(policy, pins=pins)) == {"UNSIGNED_TAIL"}
    forged = log.copy(24)
    forged.write("invoice.keep")
    assert "PIN_MISMATCH" in codes(forged.check(policy, pins=pins))


def test_a_rotation_of_another_stream_is_none_of_this_one(
    make_stream: Any, make_policy: Any, signer: Signer, other_signer: Signer
) -> None:
    stream, other = make_stream(), make_stream()
    stream.checkpoint(signer)
    text = Rotation(other.origin, signer.vkey, other_signer.vkey, 1).encode()
    stream.write("audit.key.rotate", {"statement": sign_note(text, [signer], time=0).encode()})
    stream.checkpoint(other_signer)
    assert codes(stream.check(make_policy(signer, other_signer))) >= {"ROTATION_INVALID", "KEY_CHANGED"}


def test_a_rotation_counts_from_the_size_that_it_states(
    make_stream: Any, make_policy: Any, signer: Signer, other_signer: Signer
) -> None:
    stream = make_stream()
    stream.checkpoint(signer)
    text = Rotation(stream.origin, signer.vkey, other_signer.vkey, 100).encode()
    stream.write("audit.key.rotate", {"statement": sign_note(text, [signer], time=0).encode()})
    stream.checkpoint(other_signer)
    assert "KEY_CHANGED" in codes(stream.check(make_policy(signer, other_signer)))


def test_hashes_that_are_none_are_refused(policy: Any) -> None:
    integrity = StreamIntegrity("0" * 32, policy=policy)
    for hashes in (["00" * 31], ["zz" * 32], ["00" * 33]):
        with pytest.raises(ValueError):  # noqa: PT011 - bytes.fromhex has words of its own
            integrity.extend(hashes)
    with pytest.raises(ValueError, match="33 bytes"):
        integrity.extend_packed(bytes(33))


def test_notes_of_other_streams_are_passed_over(make_stream: Any, policy: Any, signer: Signer) -> None:
    stream, other = make_stream(), make_stream()
    other.log(100)
    verdict = stream.check(policy, checkpoints=[stream.note(signer), other.note(signer)])
    assert verdict.findings == []


@pytest.mark.parametrize("data", [None, {}, [], {"note": 5}, {"note": ""}, {"statement": "x"}, {"note": "a\n\nb\n"}])
@pytest.mark.parametrize("event", ["audit.checkpoint", "audit.key.rotate", "audit.stream.close", "audit.other"])
def test_garbage_in_control_records_is_a_finding_and_no_exception(
    make_stream: Any, policy: Any, signer: Signer, event: str, data: Any
) -> None:
    stream = make_stream()
    stream.write(event)
    stream.records[-1]["data"] = data
    assert stream.check(policy).tier == Tier.CHAINED or event in {"audit.checkpoint", "audit.key.rotate"}


@pytest.mark.parametrize("seq", [None, "5", True, 5.0])
@pytest.mark.parametrize("event", ["audit.checkpoint", "audit.stream.close"])
def test_a_control_record_without_a_number_is_passed_over(policy: Any, event: str, seq: Any) -> None:
    integrity = StreamIntegrity("0" * 32, policy=policy)
    integrity.control({"event_name": event, "seq": seq, "data": {"note": "x"}})
    assert integrity.finish().findings == []


def test_no_bit_of_a_checkpoint_in_the_stream_can_be_changed(make_stream: Any, policy: Any, signer: Signer) -> None:
    stream = make_stream()
    stream.log(5)
    raw = stream.note(signer).encode()
    stream.write("audit.checkpoint", {"note": ""})
    for place in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[place // 8] ^= 1 << place % 8
        stream.records[-1]["data"]["note"] = changed.decode("utf-8", "surrogateescape")
        verdict = stream.check(policy)
        assert verdict.tier < Tier.SIGNED
        assert severities(verdict) & {TAMPERED, UNVERIFIABLE}


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_edit_below_an_anchored_head_is_a_contradiction(
    make_stream: Any, policy_of_signer: Any, signer: Signer, data: st.DataObject
) -> None:
    """Delete, move, change, insert or double a record, seal everything anew, and sign it with the real key."""
    stream = make_stream()
    for number in range(9):
        stream.write(f"event.{number}")
    honest = [record["event_name"] for record in stream.records]
    events = honest.copy()
    place = data.draw(st.integers(1, len(events) - 1))
    kind = data.draw(st.sampled_from(["delete", "move", "change", "insert", "double"]))
    if kind == "delete":
        del events[place]
    elif kind == "move":
        events.insert(data.draw(st.integers(1, len(events) - 1)), events.pop(place))
    elif kind == "change":
        events[place] += ".x"
    elif kind == "insert":
        events.insert(place, "x.y")
    else:
        events.insert(place, events[place])
    assume(events[: len(honest)] != honest)
    forged = stream.copy(1)
    for event in events[1:]:
        forged.write(event)
    verdict = forged.check(policy_of_signer, checkpoints=[forged.note(signer)], anchors=[stream.note(signer)])
    assert TAMPERED in severities(verdict)


@pytest.fixture(scope="module")
def policy_of_signer(make_policy: Any, signer: Signer) -> Any:
    return make_policy(signer)


def test_every_code_says_what_it_means_and_what_to_do() -> None:
    for code, entry in CODES.items():
        assert code.isupper()
        assert entry.meaning.endswith(".")
        assert entry.next_step.endswith(".")


def test_the_documentation_lists_every_code_with_its_exit_code() -> None:
    text = (Path(__file__).parents[2] / "docs" / "integrity.md").read_text()
    listed = re.findall(r"^\| `([A-Z_]+)` \| (\d) \| (.*) \|$", text, re.MULTILINE)
    assert listed == [(code, str(int(entry.severity)), entry.meaning) for code, entry in CODES.items()]


def test_a_rotation_by_a_trusted_key_that_does_not_sign_this_stream(
    make_stream: Any, make_policy: Any, signer: Signer, other_signer: Signer
) -> None:
    stream = make_stream()
    stream.checkpoint(signer)
    rotate(stream, other_signer, signer)
    assert "ROTATION_INVALID" in codes(stream.check(make_policy(signer, other_signer)))


def test_nothing_is_demanded_before_the_policy_demands_it(make_stream: Any, make_policy: Any, signer: Signer) -> None:
    stream = make_stream()
    stream.log(3, at=50)
    later = "#! signed since 2040-01-01T00:00:00Z\n#! anchored since 2040-01-01T00:00:00Z\n"
    assert stream.check(make_policy(signer, lines=later)).findings == []
    now = later.replace("2040", "2020")
    assert codes(stream.check(make_policy(signer, lines=now))) == {"NOT_SIGNED", "NOT_ANCHORED"}


def test_a_log_that_was_seen_before_needs_no_first_use(log: Any, policy: Any, tmp_path: Path) -> None:
    pins = Pins(tmp_path / "pins", trust_first_use=True)
    log.check(policy, checkpoints=[log.last], pins=pins).advance(pins)
    pins.save()
    assert log.check(policy, checkpoints=[log.last], pins=Pins(tmp_path / "pins")).findings == []


def test_checkpoints_name_the_log_even_without_a_policy(log: Any) -> None:
    assert log.check(None).origin == log.origin


def test_several_heads_of_one_size_are_honest_if_they_are_the_same(
    make_stream: Any, policy: Any, signer: Signer
) -> None:
    """As after epochs that went by while the process was suspended."""
    stream = make_stream()
    note = stream.note(signer)
    for _ in range(3):
        stream.write("audit.checkpoint", {"note": note})
    assert codes(stream.check(policy)) == {"UNSIGNED_TAIL"}


@pytest.mark.parametrize(
    "data",
    [
        None,
        7,
        {},
        {"note": 7},
        {"note": "x"},
        {"note": None, "stamp": "x"},
        {"anchor": "s3", "size": 5, "root": "x", "key": "k"},
    ],
)
def test_an_anchor_record_that_holds_nothing_to_check_proves_nothing(make_stream: Any, policy: Any, data: Any) -> None:
    stream = make_stream()
    stream.log(3)
    integrity = StreamIntegrity(stream.stream, policy=policy, now=2e9)
    integrity.extend(stream.hashes)
    integrity.control({"event_name": "audit.anchor", "seq": 4, "data": data})
    found = {each.code for each in integrity.finish().findings}
    assert found <= {"NOT_SIGNED", "CHECKPOINT_MALFORMED", "CHECKPOINT_UNSIGNED"}


def test_an_anchor_record_cannot_cover_what_comes_behind_it(make_stream: Any, policy: Any, signer: Signer) -> None:
    stream = make_stream()
    stream.log(9)
    note = stream.note(signer)
    integrity = StreamIntegrity(stream.stream, policy=policy, now=2e9)
    integrity.extend(stream.hashes[:5])
    integrity.control({"event_name": "audit.anchor", "seq": 5, "data": {"note": note}})
    assert "CHECKPOINT_SIZE" in {each.code for each in integrity.finish().findings}


@pytest.mark.parametrize("stamp", ["x", "", "AAAA", "a" * 70_000, "ä"])
def test_a_stamp_that_is_none_is_found(
    make_stream: Any, policy: Any, signer: Signer, stamp: str, tmp_path: Path
) -> None:
    roots = read_roots(Path(make_certificates(tmp_path).ca).read_bytes(), "root")
    stream = make_stream()
    stream.log(5)
    note = stream.note(signer)
    stream.write("audit.anchor", {"note": note, "stamp": stamp})
    trusting = dataclasses.replace(policy, tsa_roots=roots)
    assert codes(stream.check(trusting)) >= {"STAMP_MALFORMED"}
    assert "STAMP_UNCHECKED" in codes(stream.check(policy)) or stamp in {"x", "ä"}


@pytest.mark.parametrize(("size", "changed"), [(2, False), (3, True)])
def test_a_rotation_counts_from_its_size_on_and_not_before(
    make_stream: Any, make_policy: Any, signer: Signer, other_signer: Signer, size: int, changed: bool
) -> None:
    """The new key's first checkpoint covers two records; the old key handed over at `size`."""
    stream = make_stream()
    stream.checkpoint(signer)
    text = Rotation(stream.origin, signer.vkey, other_signer.vkey, size).encode()
    statement = sign_note(text, [signer], time=0).encode()
    early = stream.note(other_signer, size=2)
    stream.write("audit.key.rotate", {"statement": statement})
    stream.write("audit.checkpoint", {"note": early})
    assert ("KEY_CHANGED" in codes(stream.check(make_policy(signer, other_signer)))) is changed


def pruned(stream: Any, size: int, policy: Any, **given: Any) -> Any:
    """Check a stream whose first records are gone, with the tree over them."""
    gone = Frontier()
    gone.extend(stream.packed(size))
    integrity = StreamIntegrity(stream.stream, policy=policy, now=1_800_001_000, pruned=gone, **given)
    integrity.extend(stream.hashes[size:], until=stream.records[-1]["@timestamp"])
    for record in stream.records[size:]:
        integrity.control(record)
    return integrity.finish()


def test_the_rest_of_a_pruned_stream_leads_to_the_signed_root(make_stream: Any, policy: Any, signer: Signer) -> None:
    stream = make_stream()
    stream.log(20)
    note = stream.note(signer)
    verdict = pruned(stream, 9, policy, anchors=[note])
    assert (verdict.findings, verdict.signed, verdict.anchored, verdict.tier) == ([], 21, 21, Tier.ANCHORED)


@pytest.mark.parametrize(("known", "beyond"), [(8, True), (9, False), (10, False)])
@pytest.mark.parametrize("source", ["anchor", "checkpoint", "pin"])
def test_what_was_seen_of_the_pruned_part_cannot_be_compared(
    make_stream: Any, policy: Any, signer: Signer, tmp_path: Path, source: str, known: int, beyond: bool
) -> None:
    stream = make_stream()
    stream.log(20)
    pins = Pins(tmp_path / "pins.json", trust_first_use=True)
    pins.advance(stream.origin, known, root_hash(stream.packed(known)))
    notes, old = [stream.note(signer)], [stream.note(signer, size=known)]
    given: dict[str, Any] = {
        "anchor": {"checkpoints": notes, "anchors": old},
        "checkpoint": {"checkpoints": [*notes, *old]},
        "pin": {"checkpoints": notes, "pins": pins},
    }[source]
    verdict = pruned(stream, 9, policy, **given)
    expected = [("PRUNED_BEYOND", 10)] if beyond and source != "checkpoint" else []
    assert [(each.code, each.seq) for each in verdict.findings] == expected
    assert verdict.anchored == (0 if beyond or source == "checkpoint" else known)


def test_a_wrong_tree_over_the_pruned_part_leads_to_no_signed_root(
    make_stream: Any, policy: Any, signer: Signer
) -> None:
    stream, other = make_stream(), make_stream()
    stream.log(20)
    other.log(20)
    note = stream.note(signer)
    gone = Frontier()
    gone.extend(other.packed(9))
    integrity = StreamIntegrity(stream.stream, policy=policy, checkpoints=[note], pruned=gone)
    integrity.extend(stream.hashes[9:])
    assert "CHECKPOINT_ROOT" in codes(integrity.finish())


@pytest.mark.parametrize(("at", "stale"), [(10, False), (70, False), (71, True)])
def test_a_head_is_stale_once_it_is_older_than_the_policy_allows(
    make_stream: Any, make_policy: Any, signer: Signer, witness: Signer, at: int, stale: bool
) -> None:
    """A witness states the time 10."""
    stream = make_stream()
    note = stream.note(signer, witness, at=10)
    policy = make_policy(signer, lines=f"witness W {witness.vkey}\n#! max-age 60s\n", quorum="W")
    assert ("STALE" in codes(stream.check(policy, at=at, checkpoints=[note]))) is stale
