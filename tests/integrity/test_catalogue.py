"""The list of seventy mutations: which test stands for which, and that none of them was forgotten or renamed away."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from otel_audit.cli.__main__ import main
from otel_audit.integrity.merkle import node_hash
from otel_audit.integrity.proof import TlogProof
from tests.integrity.site import Site, build

TESTS = Path(__file__).parents[1]

TABLES = ("integrity/test_seventy_cases.py", "verify/test_tampering_cases.py")
"""Their cases bear their numbers."""

ELSEWHERE: dict[int, tuple[str, ...]] = {
    2: (
        "integrity/test_every_bit.py::test_every_bit_of_the_log",
        "integrity/test_every_bit.py::test_every_bit_of_the_checkpoint_beside_the_log",
        "integrity/test_every_bit.py::test_every_bit_of_the_policy",
        "integrity/test_every_bit.py::test_every_bit_of_the_pins",
        "integrity/test_every_bit.py::test_every_bit_of_a_proof_and_of_its_record",
    ),
    50: ("integrity/test_catalogue.py::test_50_a_false_proof_is_exit_1",),
    51: ("integrity/test_merkle.py::test_a_false_consistency_proof_proves_nothing",),
    53: (
        "anchors/test_tsa.py::test_what_is_no_stamp_over_this_is_refused",
        "anchors/test_tsa.py::test_a_certificate_that_may_not_stamp_is_refused",
        "anchors/test_tsa.py::test_a_false_stamp_beside_the_log_is_found",
        "anchors/test_tsa.py::test_stamps_that_go_back_are_found",
    ),
    55: (
        "servers/test_s3_verified.py::test_case_55_a_lock_that_is_not_what_it_should_be",
        "servers/test_s3_verified.py::test_case_55_whose_lock_was_shortened_since_the_records_were_written",
        "servers/test_s3_verified.py::test_that_is_not_the_one_of_which_the_records_speak",
        "servers/test_s3_verified.py::test_case_55_a_lock_that_was_shortened_since_the_stream_said_what_it_is",
        "verify/test_keeping.py::test_case_55_what_a_lock_comes_to",
        "verify/test_keeping.py::test_case_55_a_bucket_without_object_lock",
        "verify/test_keeping.py::test_case_55_what_the_stream_says_of_its_lock",
    ),
    56: ("integrity/test_epochs.py::test_case_56_old_records_sealed_with_a_later_key",),
    57: (
        "integrity/test_epochs.py::test_case_57_the_seal_of_an_idle_epoch_removed_at_the_end",
        "integrity/test_epochs.py::test_case_57_the_seal_of_an_idle_epoch_removed_and_sealing_goes_on",
        "integrity/test_signed_process.py::test_57_a_seal_that_is_missing",
    ),
    58: (
        "integrity/test_epochs.py::test_case_58_a_second_final_seal_of_one_epoch",
        "integrity/test_epochs.py::test_case_58_an_erased_key_used_again",
    ),
    60: ("integrity/test_epoch_game.py::test_",),
    61: (
        "verify/test_findings.py::test_a_clock_that_went_back",
        "verify/test_findings.py::test_a_clock_that_was_set_forward_shows_between_heartbeats",
        "integrity/test_epochs.py::test_records_that_claim_times_outside_their_epoch_are_noted",
    ),
    62: (
        "handler/test_silence.py::test_a_silenced_logger_is_noticed_and_its_recovery_too",
        "verify/test_findings.py::test_missing_heartbeats_are_silence",
        "verify/test_findings.py::test_silence_is_measured_against_what_was_asked",
    ),
    63: (
        "writer/test_crash.py::test_confirmed_records_survive_twenty_kills",
        "writer/test_crash.py::test_a_journal_cut_off_at_any_byte_is_a_crash_not_tampering",
        "writer/test_crash.py::test_pages_lost_in_a_power_cut_are_only_what_was_not_synced",
    ),
    64: (
        "journal/test_full_disk.py::test_warn_loses_says_so_and_declares_exactly_how_many",
        "journal/test_full_disk.py::test_a_short_write_is_finished",
        "journal/test_full_disk.py::test_a_half_line_that_cannot_be_taken_back_stays_behind_as_a_torn_tail",
    ),
    65: (
        "writer/test_fork.py::test_eight_forked_processes_of_eight_threads_keep_every_stream_whole",
        "writer/test_fork.py::test_multiprocessing",
        "writer/test_fork.py::test_gunicorn_with_preload",
    ),
    66: (
        "delivery/test_pressure.py::test_memory_does_not_grow_while_a_sink_is_down",
        "journal/test_full_disk.py::test_a_gap_is_recorded_without_a_further_record",
    ),
    67: (
        "handler/test_odd_input.py::test_odd_values_that_have_a_spelling_are_kept",
        "handler/test_odd_input.py::test_any_object_anywhere_gives_one_canonical_line",
    ),
    68: (
        "verify/test_hostile_input.py::test_a_line_without_an_end_is_not_held_in_memory",
        "verify/test_hostile_input.py::test_a_gzip_bomb_is_refused",
        "verify/test_hostile_input.py::test_a_fifo_is_not_waited_for",
        "verify/test_hostile_input.py::test_a_file_that_grows_while_it_is_read_ends",
    ),
    69: (
        "redaction/test_erasure.py::test_after_an_erasure_nothing_gives_the_values_back_and_the_chain_holds",
        "redaction/test_sealing.py::test_what_was_sealed_opens_with_its_key_in_its_place",
        "redaction/test_erasure.py::test_a_changed_sealed_field_is_reported",
    ),
    70: ("integrity/test_commands.py::test_case_70_copies_that_disagree",),
}
"""Cases with a suite of their own: more than one mutation, a command of its own, a process that is killed."""


def numbered() -> set[int]:
    """The numbers of the tables' cases."""
    text = "".join((TESTS / table).read_text() for table in TABLES)
    named = re.findall(r'@case\(f?"([0-9 ]+)|CASES\.append\(\(f"([0-9]+)|def test_([0-9]{2})_', text)
    return {int(number) for groups in named for each in groups for number in each.split()}


def test_every_case_of_the_list_has_its_test() -> None:
    assert numbered() | ELSEWHERE.keys() == set(range(1, 71))


@pytest.mark.parametrize("test", [test for tests in ELSEWHERE.values() for test in tests])
def test_a_test_that_stands_for_a_case_is_there(test: str) -> None:
    path, _, name = test.partition("::")
    assert f"def {name}" in (TESTS / path).read_text()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return build(tmp_path_factory.mktemp("site") / "site", streams=1, records=60, flush_each=20)


def _index(by: int) -> Callable[[TlogProof, bytes], dict[str, object]]:
    return lambda proof, leaf: {"index": proof.index + by}


FALSE_PROOFS: dict[str, Callable[[TlogProof, bytes], dict[str, object]]] = {
    "a wrong index": _index(1),
    "an index beyond the size": _index(10_000),
    "a hash less": lambda proof, leaf: {"path": proof.path[:-1]},
    "a hash more": lambda proof, leaf: {"path": (*proof.path, proof.path[-1])},
    "none": lambda proof, leaf: {"path": ()},
    "two hashes swapped": lambda proof, leaf: {"path": (proof.path[1], proof.path[0], *proof.path[2:])},
    "the node above in place of the sibling": lambda proof, leaf: {
        "path": (node_hash(leaf, proof.path[0]), *proof.path[1:])
    },
    "a step skipped": lambda proof, leaf: {"path": proof.path[1:], "index": proof.index // 2},
}


@pytest.mark.parametrize("change", FALSE_PROOFS.values(), ids=FALSE_PROOFS)
def test_50_a_false_proof_is_exit_1(
    site: Site, tmp_path: Path, change: Callable[[TlogProof, bytes], dict[str, object]]
) -> None:
    log, base = site.logs[0], tmp_path / "evidence"
    assert main(["prove", str(site.journal), f"{log.stream}-13", "-o", str(base)]) == 0
    path = Path(f"{base}.tlog-proof")
    command = ["verify-proof", f"{base}.json", str(path), "--policy", str(site.policy), "--quiet"]
    assert main(command) == 0
    proof, leaf = TlogProof.parse(path.read_bytes()), bytes.fromhex(log.records[12]["hash"])
    made = {"index": proof.index, "path": proof.path, "checkpoint": proof.checkpoint, **change(proof, leaf)}
    path.write_text(TlogProof(**made).encode())  # type: ignore[arg-type]
    assert main(command) == 1


def test_50_a_proof_is_not_one_under_another_checkpoint_of_the_same_log(site: Site, tmp_path: Path) -> None:
    log, base = site.logs[0], tmp_path / "evidence"
    note = tmp_path / "earlier.checkpoint"
    note.write_text(log.notes()[0])
    assert main(["prove", str(site.journal), f"{log.stream}-13", "-o", str(base), "--checkpoint", str(note)]) == 0
    path = Path(f"{base}.tlog-proof")
    proof = TlogProof.parse(path.read_bytes())
    path.write_text(TlogProof(proof.index, proof.path, log.notes()[1]).encode())
    assert main(["verify-proof", f"{base}.json", str(path), "--policy", str(site.policy), "-q"]) == 1


def test_50_a_node_of_the_tree_is_no_record(site: Site, tmp_path: Path) -> None:
    """Leaves and nodes are hashed apart (RFC 6962, section 2.1): no line has the hash of a node."""
    log = site.logs[0]
    left, right = (bytes.fromhex(log.records[place]["hash"]) for place in (12, 13))
    record = tmp_path / "record"
    record.write_bytes(b"\x01" + left + right)
    base = tmp_path / "evidence"
    assert main(["prove", str(site.journal), f"{log.stream}-13", "-o", str(base)]) == 0
    assert main(["verify-proof", str(record), f"{base}.tlog-proof", "--policy", str(site.policy), "-q"]) == 1
    assert base64.b64encode(right).decode() in Path(f"{base}.tlog-proof").read_text()
