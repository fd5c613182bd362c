"""Signed checkpoints as a browser can check them again: what each signature covers, and with which key."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from otel_audit.verify.findings import Findings
from otel_audit.verify.notes import read_files, sort_notes

if TYPE_CHECKING:
    import os

    from otel_audit.integrity.note import VerifierKey
    from otel_audit.integrity.policy import Policy

__all__ = ["describe_notes", "read_notes", "size_of"]

_MOST: Final = 200
_LONGEST: Final = 64 * 1024
_KINDS: Final = {0x01: "ed25519", 0x04: "cosignature"}
"""Signature types (c2sp.org/signed-note) that WebCrypto can check; by the byte that a key begins with."""


def read_notes(paths: Iterable[str | os.PathLike[str]]) -> dict[str, list[str]]:
    """Return the checkpoints in files and directories, by stream; what is none was a finding of the verifier's."""
    findings = Findings()
    notes = sort_notes(read_files(list(paths), findings), findings)
    return {stream: [note.raw.decode() for note in about] for stream, about in notes.items()}


def size_of(note: str) -> int:
    """Return how many records a checkpoint covers; 0 if it is none."""
    from otel_audit.integrity.checkpoint import Checkpoint
    from otel_audit.integrity.note import NoteError, parse_note

    try:
        return Checkpoint.parse(parse_note(note).text).size
    except NoteError:
        return 0


def describe_notes(
    notes: Mapping[str, Mapping[str, Sequence[str]]], policy: Policy | None, named: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """Describe the newest checkpoint of each origin (`stream`, `file`, `anchor`) and stream.

    Args:
        notes: origin -> stream -> checkpoints.
        policy: whose keys count; without one, each stream's own.
        named: the keys that streams name themselves.
    """
    described: list[dict[str, Any]] = []
    for source, streams in notes.items():
        for stream, about in streams.items():
            newest = max(about, key=size_of)
            if len(described) < _MOST and size_of(newest) and len(newest) <= _LONGEST:
                described.append(_describe(source, stream, newest, policy, named.get(stream, ())))
    return described


def _describe(source: str, stream: str, raw: str, policy: Policy | None, named: Sequence[str]) -> dict[str, Any]:
    from otel_audit.integrity.checkpoint import Checkpoint
    from otel_audit.integrity.note import parse_note

    note = parse_note(raw)
    checkpoint = Checkpoint.parse(note.text)
    keys = _own_keys(named) if policy is None else [*policy.log_keys(checkpoint.origin), *policy.witness_keys()]
    known = {(key.name, key.key_id): key for key in keys}
    signatures = []
    for each in note.signatures:
        key = known.get((each.name, each.key_id))
        if key is not None:
            signatures.append(_describe_signature(note.text, each.payload, key))
    return {
        "source": source,
        "stream": stream,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "text": note.text,
        "trusted": policy is not None,
        "signatures": signatures,
    }


def _describe_signature(text: str, payload: bytes, key: VerifierKey) -> dict[str, Any]:
    from otel_audit.integrity.note import NoteError

    try:
        key.verify(text, payload)
        good = True
    except NoteError:
        good = False
    return {
        "name": key.name,
        "kind": _KINDS.get(getattr(key, "type_byte", 0), "other"),
        "key": base64.b64encode(key.public).decode(),
        "payload": base64.b64encode(payload).decode(),
        "good": good,
    }


def _own_keys(named: Sequence[str]) -> list[VerifierKey]:
    from otel_audit.errors import ConfigurationError
    from otel_audit.integrity.note import NoteError
    from otel_audit.integrity.policy import read_vkey

    keys = []
    for each in named:
        try:
            keys.append(read_vkey(each))
        except (NoteError, ConfigurationError):  # noqa: PERF203 - a key of a type that is not known here
            continue
    return keys
