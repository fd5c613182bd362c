"""Signed checkpoints that lie outside the streams: beside a journal, at anchors, in files that somebody was given."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from otel_audit.integrity import CHECKPOINTS

from .findings import Finding, Findings
from .places import Elsewhere, Missing, Reader, Unreadable
from .sources import Source, is_archive, open_source

__all__ = ["FileNote", "find_beside", "read_files", "sort_notes"]

_NAME: Final = re.compile(r"([0-9a-f]{32})(?:\.[A-Za-z0-9_-]+)?\.checkpoint")
_STREAM: Final = re.compile("[0-9a-f]{32}")
_KEPT: Final = re.compile(r"[0-9]{16}-[0-9a-f]{32}\.checkpoint")
"""As the S3 anchor names its objects, in a directory a stream."""
_ENDING: Final = ".checkpoint"
_STAMP: Final = ".tsr"
_LIKE_A_NOTE: Final = re.compile(rb"(?m)^\xe2\x80\x94 |\A[^\n]+\n[^\n]*[0-9][^\n]*\n[A-Za-z0-9+/=]{20,}\r?(?:\n|\Z)")
"""A signature's line, or a checkpoint's first three: whatever was done to it since, this was a checkpoint once."""
_MOST_READ: Final = 262_145
"""One more than the longest note has."""


class FileNote(NamedTuple):
    """A note, the file that it stands in, and the stream that the file's name promises."""

    path: str
    raw: bytes
    stream: str | None
    reply: bytes | None = None
    """A time-stamp reply over the note, from the file of the same name that ends in `.tsr`."""
    named: bool = False
    """Whether this very file was asked for, not the directory that it was found in."""


def read_files(paths: Sequence[str | os.PathLike[str]], findings: Findings) -> Iterator[FileNote]:
    """Read files with one note each, and directories as anchors keep them.

    These hold `<stream>[.<anchor>].checkpoint`, or all that a stream ever had: `<stream>/<size>-<digest>.checkpoint`. A
    time stamp over a note is read with it. The URL of an S3 anchor is what that anchor stored.

    Raises:
        ConfigurationError: such a URL cannot be used.
    """
    for place in [os.fspath(path) for path in paths]:
        named = not (is_archive(place) or os.path.isdir(place))
        for path in [place] if named else _expand(place):
            if isinstance(path, Missing):
                findings.add(Finding("UNREADABLE", path.path, detail=path.detail))
                continue
            try:
                with open_source(Source(path)) as file:
                    raw = _read(file)
                reply = _read_stamp(path)
            except Unreadable as error:
                findings.add(Finding("UNREADABLE", path, detail=str(error)))
            else:
                yield FileNote(path, raw, _promised_stream(path), reply, named)


def find_beside(journals: Iterable[str], findings: Findings) -> Iterator[FileNote]:
    """Read what the writers of these journals signed last."""
    rooms = [os.path.join(journal, CHECKPOINTS) for journal in sorted(set(journals))]
    return read_files([room for room in rooms if os.path.isdir(room)], findings)


def sort_notes(notes: Iterable[FileNote], findings: Findings) -> dict[str, list[FileNote]]:
    """Return notes by the stream that they are about; report what is no checkpoint, or of another stream.

    A file that was asked for by name and that never was a checkpoint says nothing of the log: it is the wrong file.
    """
    from otel_audit.integrity.checkpoint import Checkpoint, stream_of
    from otel_audit.integrity.note import NoteError, parse_note

    found: defaultdict[str, list[FileNote]] = defaultdict(list)
    for note in notes:
        try:
            origin = Checkpoint.parse(parse_note(note.raw).text).origin
        except NoteError as error:
            if note.named and not _LIKE_A_NOTE.search(note.raw):
                findings.add(Finding("NO_CHECKPOINT", note.path, detail=_describe(note.raw)))
                continue
            code = "CHECKPOINT_UNSIGNED" if error.code == "note-unsigned" else "CHECKPOINT_MALFORMED"
            findings.add(Finding(code, note.path, stream=note.stream, detail=str(error)))
            continue
        stream = stream_of(origin)
        if stream is None or note.stream not in {None, stream}:
            detail = f"its origin is {origin[:200]!r}"
            findings.add(Finding("FOREIGN_CHECKPOINT", note.path, stream=note.stream, detail=detail))
        else:
            found[stream].append(note)
    return found


def _describe(raw: bytes) -> str:
    if not raw.strip():
        return "the file is empty"
    first = raw.lstrip()[:80].splitlines()[0].decode(errors="replace")
    return f"it begins with {first[:40]!r}"


def _promised_stream(path: str) -> str | None:
    directory, name = os.path.split(path)
    if named := _NAME.fullmatch(name):
        return named[1]
    stream = os.path.basename(directory)
    return stream if _KEPT.fullmatch(name) and _STREAM.fullmatch(stream) else None


def _expand(directory: str) -> Iterable[str | Missing]:
    if is_archive(directory):
        from .archive import Archive

        return Archive(directory).notes()
    try:
        names = sorted(os.listdir(directory))
        found = [os.path.join(directory, name) for name in names if _NAME.fullmatch(name)]
        if _STREAM.fullmatch(os.path.basename(os.path.realpath(directory))):
            found += [os.path.join(directory, name) for name in names if _KEPT.fullmatch(name)]
        for name in filter(_STREAM.fullmatch, names):
            below = os.path.join(directory, name)
            found += [os.path.join(below, each) for each in sorted(os.listdir(below)) if _KEPT.fullmatch(each)]
        return found
    except OSError:
        return [directory]  # whose reading says what is wrong


def _read_stamp(path: str) -> bytes | None:
    if isinstance(path, Elsewhere):
        return None
    stamp = f"{path.removesuffix(_ENDING)}{_STAMP}"
    if not os.path.lexists(stamp):
        return None
    with open_source(Source(stamp)) as file:
        return _read(file)


def _read(file: Reader) -> bytes:
    raw = b""
    while len(raw) < _MOST_READ and (more := file.read(_MOST_READ - len(raw))):
        raw += more
    return raw
