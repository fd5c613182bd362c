"""`otel-audit compare`: two copies of the same streams, and where they first differ."""

from __future__ import annotations

import argparse
import json
from typing import Any

from otel_audit.cli.output import escape, paint, say
from otel_audit.errors import ConfigurationError

__all__ = ["HELP", "add_arguments", "run"]

HELP = "Compare two copies of the same streams record by record; say where they first differ."

_MOST_SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `compare` takes."""
    parser.add_argument("one", help="file or directory")
    parser.add_argument("other", help="file or directory")
    parser.add_argument("--json", action="store_true", help="print a machine-readable report (otel-audit.compare/1)")
    parser.epilog = (
        "exit codes: 0 the same, 1 they contradict each other, 2 unreadable, 3 one lacks a whole stream or records at "
        "a stream's beginning or end, 5 nothing there. Lines may come in any order. Both are record lines as they were "
        "sealed; what a store dumps, with the lines inside documents, is for `otel-audit reconcile`. Whether a copy "
        "fits together in itself is what `otel-audit verify` says."
    )


class _Stream:
    """The record hashes of one stream in one copy, by number: packed as far as they came in order."""

    def __init__(self) -> None:
        self._first = 0
        self._packed = bytearray()
        self._apart: dict[int, bytes] = {}
        self.forks: list[int] = []

    def put(self, seq: int, digest: bytes) -> None:
        if not self._packed:
            self._first = seq
        if seq == self._first + len(self._packed) // 32:
            self._packed += digest
        elif (known := self.get(seq)) is None:
            self._apart[seq] = digest
        elif known != digest:
            self.forks.append(seq)

    def get(self, seq: int) -> bytes | None:
        place = 32 * (seq - self._first)
        if 0 <= place < len(self._packed):
            return bytes(self._packed[place : place + 32])
        return self._apart.get(seq)

    def numbers(self) -> set[int]:
        return {*range(self._first, self._first + len(self._packed) // 32), *self._apart}


class _Copy:
    """One side: its streams, and lines that are no sealed records."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.streams: dict[str, _Stream] = {}
        self.faults: list[str] = []

    def read(self) -> _Copy:
        from otel_audit.verify.content import examine
        from otel_audit.verify.lines import Block, read_blocks
        from otel_audit.verify.places import Missing
        from otel_audit.verify.sources import find_sources, open_source

        for source in find_sources([self.path]):
            if isinstance(source, Missing):
                raise ConfigurationError(f"{source.path}: no such file, or no *.jsonl or *.json file under it")
            with open_source(source) as reader:
                for part in read_blocks(reader.read):
                    if not isinstance(part, Block):
                        continue  # a torn tail, or what is too long for a record: `verify` judges these
                    for number, line in enumerate(part.lines, part.number):
                        entry, fault = examine(line)
                        if entry is None or fault is not None:
                            self.faults.append(f"{source.path}:{number}")
                        else:
                            stream = self.streams.setdefault(entry.stream, _Stream())
                            stream.put(entry.seq, bytes.fromhex(entry.computed))
        return self


def run(args: argparse.Namespace) -> int:
    """Compare, print, and return the exit code."""
    one, other = _Copy(args.one).read(), _Copy(args.other).read()
    differences = [*_faults(one), *_faults(other)]
    for name in sorted(one.streams.keys() | other.streams.keys()):
        differences += _compare(name, one, other)
    code = 1 if any(each["contradiction"] for each in differences) else 3 if differences else 0
    if not one.streams and not other.streams and not differences:
        code = 5
    if args.json:
        say(json.dumps({"format": "otel-audit.compare/1", "exit_code": code, "differences": differences}, indent=2))
        return code
    for each in differences[:_MOST_SHOWN]:
        label = paint(each["kind"].upper(), "bad" if each["contradiction"] else "doubtful")
        about = each["stream"] if each["seq"] is None else f"record {each['stream']}-{each['seq']}"
        say(f"{label} {about or ''} {escape(each['detail'])}")
    if len(differences) > _MOST_SHOWN:
        say(f"and {len(differences) - _MOST_SHOWN} more (--json lists them)")
    if code == 0:
        count = sum(len(stream.numbers()) for stream in one.streams.values())
        say(f"{paint('THE SAME', 'good')}: {count} records in {len(one.streams)} streams")
    elif code == 5:
        say(f"{paint('EMPTY', 'doubtful')}: neither holds a record")
    return code


def _hint(copy: _Copy) -> str:
    return "" if copy.streams else " (if a store dumped it, use `otel-audit reconcile`)"


def _faults(copy: _Copy) -> list[dict[str, Any]]:
    found = [
        _difference("fault", name, seq, f"stands in {copy.path} in two versions")
        for name, stream in copy.streams.items()
        for seq in stream.forks
    ]
    found += [
        _difference("fault", None, None, f"{place} is no record as it was sealed{_hint(copy)}") for place in copy.faults
    ]
    return found


def _compare(name: str, one: _Copy, other: _Copy) -> list[dict[str, Any]]:
    """Return how one stream differs: at most its first contradiction, and what is missing at either end."""
    here, there = one.streams.get(name), other.streams.get(name)
    if here is None or there is None:
        missing = one if here is None else other
        return [_difference("absent", name, None, f"is not in {missing.path}", contradiction=False)]
    left, right = here.numbers(), there.numbers()
    both = left & right
    found = []
    lacks = [
        (seq, copy.path)
        for copy, have, more in ((one, left, right), (other, right, left))
        for seq in more - have
        if min(have) < seq < max(have)
    ]
    changed = [seq for seq in both if here.get(seq) != there.get(seq)]
    first = min([*changed, *(seq for seq, _ in lacks)], default=None)
    if first is not None:
        paths = dict(lacks)
        detail = f"is missing in {paths[first]}" if first in paths else "differs"
        found.append(_difference("missing" if first in paths else "differs", name, first, detail))
    for copy, have, more in ((one, left, right), (other, right, left)):
        if min(more) < min(have):
            detail = f"is the first of those that {copy.path} lacks at the beginning"
            found.append(_difference("later", name, min(more), detail, contradiction=False))
        if max(more) > max(have):
            detail = f"is the last; {copy.path} ends with record {max(have)}"
            found.append(_difference("shorter", name, max(more), detail, contradiction=False))
    return found


def _difference(
    kind: str, stream: str | None, seq: int | None, detail: str, *, contradiction: bool = True
) -> dict[str, Any]:
    return {"kind": kind, "stream": stream, "seq": seq, "detail": detail, "contradiction": contradiction}
