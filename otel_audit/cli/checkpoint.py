"""`otel-audit checkpoint`: sign the head of a stream by hand."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from otel_audit.cli.output import say

if TYPE_CHECKING:
    from otel_audit.integrity.checkpoint import HeadFile
    from otel_audit.integrity.signatures import Signer

__all__ = ["HELP", "add_arguments", "run"]

HELP = "Sign the present head of a stream, after checking that it extends what was signed before."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `checkpoint` takes."""
    parser.add_argument("journal", help="directory with the stream's files")
    parser.add_argument("stream", help="the stream's id")
    parser.add_argument("--key", required=True, action="append", metavar="FILE", help="key file; may be repeated")
    parser.add_argument(
        "--state", metavar="FILE", help="the last signed checkpoint (default: JOURNAL/checkpoints/STREAM.checkpoint)"
    )


def run(args: argparse.Namespace) -> int:
    """Sign, keep the checkpoint as the last one, and print it."""
    from otel_audit.integrity import CHECKPOINTS
    from otel_audit.integrity.checkpoint import Checkpoint, EquivocationError, HeadFile, origin_of
    from otel_audit.integrity.leaves import read_leaves
    from otel_audit.integrity.merkle import root_hash
    from otel_audit.integrity.opening import open_signer
    from otel_audit.integrity.signatures import sign_note

    signers = [open_signer(path) for path in args.key]
    leaves = read_leaves(args.journal, args.stream).packed
    size = len(leaves) // 32
    if args.state is None:
        os.makedirs(os.path.join(args.journal, CHECKPOINTS), mode=0o700, exist_ok=True)
    state = HeadFile(args.state or os.path.join(args.journal, CHECKPOINTS, f"{args.stream}.checkpoint"))
    _check_keys(state, args.stream, signers)
    last = state.read()
    if last is not None and (last.size > size or root_hash(leaves, 0, last.size) != last.root):
        raise EquivocationError(
            f"these {size} records do not extend the {last.size} that {state.path} says were signed; nothing is signed"
        )
    head = Checkpoint(origin_of(signers[0].name, args.stream), size, root_hash(leaves))
    note = state.advance(head, last, lambda: sign_note(head.encode(), signers, time=int(time.time())).encode())
    say(note.removesuffix("\n"))
    return 0


def _check_keys(state: HeadFile, stream: str, signers: Sequence[Signer]) -> None:
    """See that every key that signed the last head signs the next one too: in its place, theirs would be gone."""
    from otel_audit.errors import ConfigurationError
    from otel_audit.integrity.note import short_vkey

    last = state.read_note()
    keys = {short_vkey(signer.vkey) for signer in signers}
    signed = {f"{each.name}+{each.key_id.hex()}" for each in (last.signatures if last else ())}
    if missing := sorted(signed - keys):
        own = os.path.join(os.path.dirname(state.path), f"{stream}.other.checkpoint")
        raise ConfigurationError(
            f"{state.path} holds what {', '.join(missing)} signed last, and this would replace it by a checkpoint of "
            f"{', '.join(sorted(keys))}. Nothing is signed: give the key files of all that signed it (--key may be "
            f"repeated), or let the other key keep a state of its own: --state {own}"
        )
