"""Lines inside other lines: what container runtimes, collectors and search stores wrap around a record.

An envelope takes whole lines of a source and gives the record lines in them. What it does not recognise it hands on
as it is, if it looks like a record: nothing is skipped because something else stands before it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from .content import looks_like_record
from .lines import LINE_CAP

__all__ = ["Envelope", "Opened", "Watch", "choose_envelope"]

_RECORD_START: Final = b'{"@timestamp":"'
_INNER_START: Final = rb'"{\"@timestamp\":\"'
_RECORD_END: Final = re.compile(rb',"hash":"[0-9a-f]{64}"\}\Z')
_CRI: Final = re.compile(rb"\d{4}-\d\d-\d\dT\S+ (stdout|stderr) ([FP])(?::\S*)? (.*)", re.DOTALL)
_OTLP_START: Final = '{"resourceLogs":'
_SNIFFED: Final = 1000
_MOST_TORN: Final = 16
"""Unfinished documents in one line, behind which more is looked for."""

_decode: Final = json.JSONDecoder().raw_decode


class Opened:
    """What an envelope knows of the line that it opens, and the pieces that runtimes split lines into."""

    __slots__ = ("documents", "pieces", "torn")

    def __init__(self) -> None:
        self.pieces: dict[str, bytes] = {}
        self.documents: list[Any] = []
        """The JSON documents of this line."""
        self.torn = False
        """Whether a document in this line has no end."""


Watch = Callable[[Opened, int], None]
"""Shown every line that held documents, or the beginning of one, and its number."""


class Envelope:
    """What wraps the records of one source; keeps the pieces of lines that a runtime split."""

    def __init__(self, unwrap: Callable[[bytes, Opened], Iterator[bytes]], *, ordered: bool) -> None:
        self._unwrap = unwrap
        self._opened = Opened()
        self.ordered = ordered
        """Whether records come out in the order in which they were written, and once."""

    def open(
        self, lines: Sequence[bytes], numbers: Sequence[int], watch: Watch = lambda opened, number: None
    ) -> tuple[list[bytes], list[int]]:
        """Return the lines inside these lines, each with the number of the line that it stood in."""
        opened = self._opened
        inner: list[bytes] = []
        inner_numbers: list[int] = []
        for line, number in zip(lines, numbers, strict=True):
            for found in self._unwrap(line, opened):
                inner.append(found)
                inner_numbers.append(number)
            if opened.documents or opened.torn:
                watch(opened, number)
                opened.documents, opened.torn = [], False
        return inner, inner_numbers


def choose_envelope(lines: Sequence[bytes]) -> Envelope | None:
    """Return the envelope of the first line that holds a record; None if that record stands there by itself.

    OTLP JSON is known without one: a batch of ordinary logs may come before.
    """
    opened = [Opened() for _ in _ENVELOPES]
    for line in lines[:_SNIFFED]:
        if _is_bare(line):
            return None
        for (unwrap, ordered), kept in zip(_ENVELOPES, opened, strict=True):
            if any(looks_like_record(inner) and inner != line for inner in unwrap(line, kept)):
                return Envelope(unwrap, ordered=ordered)
    if any(line.startswith(_OTLP_START.encode()) for line in lines[:_SNIFFED]):
        return Envelope(_open_json, ordered=False)
    return None


def _open_cri(line: bytes, opened: Opened) -> Iterator[bytes]:
    """Kubernetes: `<time> stdout F <line>`; P marks a piece that goes on in the next line of the same stream."""
    found = _CRI.fullmatch(line)
    if found is None:
        yield line
        return
    stream, pieces = found[1].decode(), opened.pieces
    whole = pieces.pop(stream, b"") + found[3]
    if found[2] == b"F":
        yield whole
    elif len(whole) <= LINE_CAP:
        pieces[stream] = whole


def _open_docker(line: bytes, opened: Opened) -> Iterator[bytes]:
    """Docker's json-file: `{"log":"<line>\\n","stream":"stdout",...}`; without the newline it is a piece."""
    value = _parse(line)
    if not _is_docker(value):
        yield line
        return
    stream, pieces = value["stream"], opened.pieces
    whole = pieces.pop(stream, b"") + value["log"].encode("utf-8", "surrogatepass")
    if whole.endswith(b"\n"):
        yield whole[:-1]
    elif len(whole) <= LINE_CAP:
        pieces[stream] = whole


def _open_json(line: bytes, opened: Opened) -> Iterator[bytes]:
    """Any JSON that holds record lines as strings: an OTLP body, `event.original`, `raw_data`, a Loki entry."""
    if _is_bare(line):
        yield line
        return
    documents, opened.torn = _parse_all(line)
    if not documents or _is_docker(documents[0]):
        if not opened.torn:
            yield line
        return
    opened.documents = documents
    waiting = documents[::-1]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            waiting.extend(reversed(each.values()))
        elif isinstance(each, list):
            waiting.extend(reversed(each))
        elif isinstance(each, str) and looks_like_record(text := each.encode("utf-8", "surrogatepass")):
            yield text.rstrip(b"\n")


def _open_prefixed(line: bytes, opened: Opened) -> Iterator[bytes]:
    """Something before the line: `docker compose logs`, `kubectl logs --prefix`, `logcli`, syslog."""
    start = line.find(_RECORD_START)
    yield line[max(0, start) :]


_ENVELOPES: Final = (
    (_open_cri, True),
    (_open_docker, True),
    (_open_json, False),
    (_open_prefixed, True),
)


def _is_bare(line: bytes) -> bool:
    """Tell whether a line is a record by itself. A search store's fields around one have names like its members."""
    if not looks_like_record(line):  # a record's own quotes stand unescaped only outside a string
        return False
    return line.startswith(b"{") and (_INNER_START not in line or _RECORD_END.search(line) is not None)


def _is_docker(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("log"), str) and value.get("stream") in {"stdout", "stderr"}


def _parse_all(line: bytes) -> tuple[list[Any], bool]:
    """Return the JSON documents in a line, and whether one has no end.

    A Collector that dies while it writes leaves half a document, without a newline; after its restart the next one
    stands behind it in the same line.
    """
    try:
        return [json.loads(line)], False
    except (ValueError, RecursionError):
        text = line.decode("utf-8", "replace")  # what was cut may end within a character
    found: list[Any] = []
    torn = 0
    start = text.find(_OTLP_START)
    while start >= 0 and torn < _MOST_TORN:
        try:
            value, end = _decode(text, start)
            found.append(value)
        except (ValueError, RecursionError):
            torn, end = torn + 1, start + 1
        start = text.find(_OTLP_START, end)
    return found, torn > 0


def _parse(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
