"""Checkpoints (c2sp.org/tlog-checkpoint): the head of a stream's Merkle tree as three lines of text.

    <origin>            the signing key's name, a slash, the stream's id
    <size>              records covered, in decimal
    <root>              base64 of the root hash

A key signs many streams, one a process lifetime, so the origin is the key's name *and* the stream. A key
named `shop.example/audit` may speak for the origin `shop.example/audit` itself and for
`shop.example/audit/<stream>`.
"""

from __future__ import annotations

import base64
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from otel_audit.errors import AuditError
from otel_audit.integrity.durable import read_file, replace_file
from otel_audit.integrity.merkle import HASH_SIZE
from otel_audit.integrity.note import MAX_NOTE, Note, NoteError, decode_base64, parse_note

__all__ = [
    "WINDOW",
    "Checkpoint",
    "EquivocationError",
    "HeadFile",
    "birth_of",
    "file_stem_of",
    "origin_of",
    "speaks_for",
    "stream_of",
]

MAX_SIZE: Final = 2**63 - 1
WINDOW: Final = 262_144
"""How many records a checkpoint may lie behind its place in the stream: 8 MB of hashes."""
_SIZE: Final = re.compile("0|[1-9][0-9]{0,18}")
_STREAM: Final = re.compile("[0-9a-f]{32}")


class EquivocationError(AuditError):
    """What is asked to be signed does not extend what was signed before: signing it would be equivocation."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head: which log, how many leaves, which root."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def encode(self) -> str:
        """Return the note text."""
        lines = (self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.extensions)
        return "".join(f"{line}\n" for line in lines)

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read a note's text as a checkpoint.

        Raises:
            NoteError: it is not one.
        """
        lines = text.split("\n")
        if lines.pop() != "" or len(lines) < 3 or not all(lines):
            raise NoteError("checkpoint-lines", "a checkpoint has three lines or more, none empty")
        origin, size, root, *extensions = lines
        if not _SIZE.fullmatch(size) or int(size) > MAX_SIZE:
            raise NoteError("checkpoint-size", f"not a tree size: {size[:40]!r}")
        decoded = decode_base64(root)
        if len(decoded) != HASH_SIZE:
            raise NoteError("checkpoint-root", f"a root hash takes {HASH_SIZE} bytes, this one {len(decoded)}")
        return cls(origin, int(size), decoded, tuple(extensions))


def origin_of(name: str, stream: str) -> str:
    """Return the origin of a stream's checkpoints under a signing key's name."""
    return f"{name}/{stream}"


def stream_of(origin: str) -> str | None:
    """Return the stream id that an origin ends in, or None."""
    tail = origin.rpartition("/")[2]
    return tail if _STREAM.fullmatch(tail) else None


def file_stem_of(origin: str) -> str:
    """Return what a file of an origin's checkpoints is called: the stream's id if it ends in one."""
    return stream_of(origin) or origin.replace("/", "_")


def birth_of(stream: str) -> float:
    """Return the moment (POSIX seconds) that a stream id, a UUIDv7, states (RFC 9562, section 5.7)."""
    return int(stream[:12], 16) / 1000


def speaks_for(name: str, origin: str) -> bool:
    """Tell whether a key of this name may sign checkpoints of this origin."""
    return origin == name or (origin.startswith(name + "/") and _STREAM.fullmatch(origin[len(name) + 1 :]) is not None)


class HeadFile:
    """The last checkpoint that was signed for one origin, kept so that no inconsistent one is ever signed.

    The file holds the signed note. A new one is there, durably, *before* `advance` returns it to be published
    (c2sp.org/tlog-checkpoint: a log must not sign a checkpoint that is inconsistent with one it signed
    before).
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)

    def read(self) -> Checkpoint | None:
        """Return the last head, or None where nothing was signed yet.

        Raises:
            EquivocationError: the file does not hold a checkpoint.
        """
        note = self.read_note()
        return None if note is None else Checkpoint.parse(note.text)

    def read_note(self) -> Note | None:
        """Return the last head with its signatures, none of them checked; None where nothing was signed yet.

        Raises:
            EquivocationError: the file does not hold a checkpoint.
        """
        try:
            note = parse_note(read_file(self.path, MAX_NOTE + 1))
            Checkpoint.parse(note.text)
            return note
        except FileNotFoundError:
            return None
        except NoteError as error:
            raise EquivocationError(
                f"{self.path} does not hold a checkpoint ({error}); as long as nobody knows what was "
                "signed last, "
                "nothing more is signed"
            ) from error

    def advance(self, head: Checkpoint, extends: Checkpoint | None, sign: Callable[[], str]) -> str:
        """Sign `head`, keep it as the last one, and return the signed note.

        `extends` is the head that the caller knows `head` to extend; it must be the one in the file.

        Raises:
            EquivocationError: another head stands in the file (another signer of this stream, a restored
            copy), or
                `head` is shorter, or has another root at the same size. Nothing was signed.
            OSError: the file could not be written; nothing must be published.
        """
        if extends is not None and not _may_follow(head, extends):
            raise EquivocationError(f"a head of {head.size} records cannot follow the signed one of {extends.size}")
        with self._locked():
            last = self.read()
            if last != extends:
                known = "nothing" if extends is None else f"{extends.size} records"
                found = "nothing" if last is None else f"{last.size} records of {last.origin}"
                raise EquivocationError(
                    f"{self.path} says that {found} were signed last, this signer knows of {known}: "
                    "two signers on one stream, or a restored copy? Nothing is signed"
                )
            note = sign()
            replace_file(self.path, note.encode(), 0o644)
        return note

    def keep_beside(self, note: str, size: int) -> None:
        """Keep a signed note that a later one replaced, and that is written nowhere else.

        Raises:
            OSError: it could not be written.
        """
        root, ending = os.path.splitext(self.path)
        content = note.encode()
        own = sha256(content).hexdigest()[:16]  # several epochs may end at one size
        replace_file(f"{root}.{size}-{own}{ending}", content, 0o644)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self.path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _may_follow(head: Checkpoint, last: Checkpoint) -> bool:
    if head.origin != last.origin or head.size < last.size:
        return False
    return head.size > last.size or head.root == last.root
