"""`otel-audit verify-proof`: check one record's proof. Needs the record, the proof and a policy; no log, no network."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from otel_audit.cli.output import escape, paint, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_audit.cli.output import Style
    from otel_audit.integrity.policy import Policy
    from otel_audit.integrity.statements import Revocation
    from otel_audit.verify.content import Entry

__all__ = ["HELP", "add_arguments", "run"]

HELP = "Check that a record stands in a log that a trust policy trusts, by its proof alone."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `verify-proof` takes."""
    parser.add_argument("record", help="file with the record's line, byte for byte; - for stdin")
    parser.add_argument("proof", help="the .tlog-proof file, or the record's own signature, a .note file")
    parser.add_argument("--policy", required=True, metavar="FILE", help="trust policy; get it from elsewhere")
    parser.add_argument(
        "--revocation", action="append", default=[], metavar="FILE", help="a key revocation; may be repeated"
    )
    parser.add_argument("--quiet", "-q", action="store_true", help="print nothing; the exit code says it")
    parser.epilog = (
        "exit codes: 0 proved, 1 contradicted, 2 usage, 3 quorum missed or sealed too late, 4 signed by no trusted "
        "key, or a revoked one"
    )


def run(args: argparse.Namespace) -> int:
    """Check, print one sentence, and return the exit code."""
    from otel_audit.integrity.merkle import ProofError
    from otel_audit.integrity.note import NoteError
    from otel_audit.integrity.policy import Policy
    from otel_audit.integrity.proof import MAX_PROOF, LateSealError, QuorumError

    policy = Policy.load(args.policy)
    revocations = [_read_revocation(path, policy) for path in args.revocation]
    line = _read_line(args.record)
    with open(args.proof, "rb") as file:
        raw = file.read(MAX_PROOF + 1)
    check = _check_signature if _is_note(raw) else _check
    try:
        code, text = 0, check(line, raw, policy, revocations)
    except (LateSealError, QuorumError) as error:
        code, text = 3, str(error)
    except NoteError as error:
        code, text = (
            4 if error.code in {"note-no-known-signature", "note-type-missing", "key-revoked"} else 1,
            str(error),
        )
    except ProofError as error:
        code, text = 1, str(error)
    if not args.quiet:
        label = {0: "PROVED", 1: "TAMPERED", 3: "INCOMPLETE", 4: "UNVERIFIABLE"}[code]
        style: Style = "good" if code == 0 else "bad" if code == 1 else "doubtful"
        say(f"{paint(label, style)}: {escape(text)}")
    return code


def _is_note(raw: bytes) -> bool:
    from otel_audit.integrity.recordsign import HEADER

    return raw.startswith(f"{HEADER}\n".encode())


def _read_revocation(path: str, policy: Policy) -> Revocation:
    from otel_audit.errors import ConfigurationError
    from otel_audit.integrity.note import MAX_NOTE, NoteError
    from otel_audit.integrity.statements import Revocation

    with open(path, "rb") as file:
        raw = file.read(MAX_NOTE + 1)
    try:
        return Revocation.open(raw, policy.revokers)
    except NoteError as error:
        raise ConfigurationError(f"{path}: {error}") from error


def _check_signature(line: bytes, raw: bytes, policy: Policy, revocations: Sequence[Revocation]) -> str:
    from otel_audit.integrity.checkpoint import origin_of
    from otel_audit.integrity.heads import key_types
    from otel_audit.integrity.note import NoteError
    from otel_audit.integrity.proof import QuorumError
    from otel_audit.integrity.recordsign import check_record

    entry = _read_record(line)
    keys = [key for key in policy.logs if key in policy.log_keys(origin_of(key.name, entry.stream))]
    revoked = {
        key.vkey
        for key in keys
        for each in revocations
        if each.covers(key, origin_of(key.name, entry.stream), entry.seq)
    }
    signers = check_record(raw, entry.stream, entry.seq, entry.computed, keys)
    if revoked:
        try:
            trusted = [key for key in keys if key.vkey not in revoked]
            signers = check_record(raw, entry.stream, entry.seq, entry.computed, trusted)
        except NoteError as error:
            raise NoteError("key-revoked", "the key that signed it was revoked") from error
    if not policy.quorum_met([]):
        raise QuorumError(
            f"a record's own signature carries no cosignatures, and the policy demands quorum {policy.quorum!r}; "
            "ask for a proof (prove without --signature)"
        )
    if policy.each_type and len(key_types(keys)) > 1:
        raise NoteError(
            "note-type-missing",
            "a record's own signature is of one key, and the policy demands one of each type; ask for a proof "
            "(prove without --signature)",
        )
    return (
        f"record {entry.stream}-{entry.seq} of {entry.time} is the one that {', '.join(signers)} signed; what stands "
        "before and behind it, and whether it is still in the log, this does not show"
    )


def _read_record(line: bytes) -> Entry:
    from otel_audit.integrity.merkle import ProofError
    from otel_audit.verify.content import examine

    entry, fault = examine(line.removesuffix(b"\n"))
    if entry is None or fault is not None:
        raise ProofError(f"this is no record as it was sealed: {fault.code if fault else 'NOT_A_RECORD'}")
    return entry


def _check(line: bytes, raw: bytes, policy: Policy, revocations: Sequence[Revocation]) -> str:
    from otel_audit.integrity.checkpoint import stream_of
    from otel_audit.integrity.heads import is_revoked
    from otel_audit.integrity.merkle import ProofError
    from otel_audit.integrity.note import NoteError
    from otel_audit.integrity.proof import TlogProof, check_epoch
    from otel_audit.integrity.verification import posix_time

    proof, entry = TlogProof.parse(raw), _read_record(line)
    head = proof.verify(bytes.fromhex(entry.computed), policy, now=time.time())
    if is_revoked(head, policy, revocations):
        raise NoteError("key-revoked", f"the key that signed the first {head.checkpoint.size} records was revoked")
    if entry.seq != proof.index + 1 or entry.stream != stream_of(head.checkpoint.origin):
        raise ProofError(f"the proof is of record {proof.index + 1} of {head.checkpoint.origin}, this is another")
    check_epoch(head, posix_time(entry.time) or 0.0, skew=policy.clock_skew)
    signers = ", ".join(sorted({each.key.name for each in head.signers}))
    witnesses = ", ".join(sorted(key.name for key in head.witnesses)) or "no witness"
    return (
        f"record {entry.stream}-{entry.seq} of {entry.time} is one of the first {head.checkpoint.size} records that "
        f"{signers} signed; seen by {witnesses}"
    )


def _read_line(path: str) -> bytes:
    from otel_audit.record import MAX_LINE

    if path == "-":
        return sys.stdin.buffer.read(MAX_LINE + 1)
    with open(path, "rb") as file:
        return file.read(MAX_LINE + 1)
