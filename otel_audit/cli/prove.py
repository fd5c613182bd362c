"""`otel-audit prove`: one record's proof, for someone who gets neither the log nor access to it."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from otel_audit.cli.output import say
from otel_audit.errors import ConfigurationError

if TYPE_CHECKING:
    from otel_audit.integrity.leaves import Leaves

__all__ = ["HELP", "add_arguments", "run"]

HELP = "Write a proof that one record stands in the signed log, without showing the others."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `prove` takes."""
    parser.add_argument("journal", help="directory with the stream's files")
    parser.add_argument("record", metavar="ID", help="the record's id: <stream>-<seq>")
    parser.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        metavar="FILE",
        help="signed checkpoint to prove it under (default: the newest that is there; of epochs' seals the first over "
        "the record); several copies of one, with different cosignatures, become one",
    )
    parser.add_argument(
        "--signature",
        action="store_true",
        help="write the record's own signature, BASE.note, in place of a proof (`record_signatures` of the writer)",
    )
    parser.add_argument("-o", "--output", metavar="BASE", help="writes BASE.tlog-proof and BASE.json (default: ID)")


def run(args: argparse.Namespace) -> int:
    """Write the proof and the record's line; print where."""
    from otel_audit.integrity.leaves import read_leaves
    from otel_audit.integrity.proof import make_proof

    found = re.fullmatch("([0-9a-f]{32})-([1-9][0-9]{0,15})", args.record)
    if found is None:
        raise ConfigurationError(f"{args.record!r} is no record id; it reads <stream, 32 hex digits>-<number>")
    stream, seq = found[1], int(found[2])
    leaves = read_leaves(args.journal, stream, line_of=seq)
    if leaves.line is None:
        raise ConfigurationError(f"the stream has {len(leaves.packed) // 32} records, none with number {seq}")
    base = args.output or args.record
    if args.signature:
        return _write_signature(base, args.journal, stream, seq, leaves)
    note = _checkpoint(args, stream, leaves)
    try:
        proof = make_proof(leaves.packed, seq - 1, note)
    except ValueError as error:
        raise ConfigurationError(f"the checkpoint does not prove this record: {error}") from error
    _write(f"{base}.tlog-proof", proof.encode().encode())
    _write(f"{base}.json", leaves.line)
    say(f"{base}.json is the record, {base}.tlog-proof its proof ({len(proof.encode().encode())} bytes)")
    return 0


def _write_signature(base: str, journal: str, stream: str, seq: int, leaves: Leaves) -> int:
    from otel_audit.integrity.leaves import read_signature

    note = read_signature(journal, stream, seq, leaves.packed[32 * seq - 32 : 32 * seq].hex())
    if note is None or leaves.line is None:
        raise ConfigurationError(
            "this record has no signature of its own; the setting `record_signatures` makes them. Without --signature, "
            "a proof under a signed checkpoint is written"
        )
    _write(f"{base}.note", note.encode())
    _write(f"{base}.json", leaves.line)
    say(f"{base}.json is the record, {base}.note its signature ({len(note.encode())} bytes)")
    return 0


def _checkpoint(args: argparse.Namespace, stream: str, leaves: Leaves) -> str:
    from otel_audit.integrity import CHECKPOINTS

    path = os.path.join(args.journal, CHECKPOINTS, f"{stream}.checkpoint")
    if args.checkpoint:
        return _merge(args.checkpoint)
    if leaves.covering is not None and _is_sealed(leaves.covering):
        return leaves.covering  # a later epoch's seal proves less
    if os.path.exists(path):
        return _merge([path])
    if leaves.checkpoint is None:
        raise ConfigurationError("nothing of this stream is signed; `otel-audit checkpoint` signs it")
    return leaves.checkpoint


def _is_sealed(note: str) -> bool:
    from otel_audit.integrity.epochs import reads_as_seal
    from otel_audit.integrity.note import parse_note

    return any(reads_as_seal(each.payload) for each in parse_note(note).signatures)


def _merge(paths: Sequence[str]) -> str:
    """Return one note with the signatures of all."""
    from otel_audit.integrity.note import parse_note

    merged = None
    for path in paths:
        with open(path, encoding="utf-8") as file:
            note = parse_note(file.read())
        if merged is not None and merged.text != note.text:
            raise ConfigurationError(f"{path} is another checkpoint than {paths[0]}: give copies of one")
        merged = note if merged is None else merged.signed_also_by(note.signatures)
    assert merged is not None
    return merged.encode()


def _write(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
