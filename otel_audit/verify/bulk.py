"""Many lines at once: the same checks as `content` and `schema`, made on columns instead of line by line.

It only ever says "all of these are sound and follow one another", which is what nearly every block of an honest log
is. Whatever it cannot say that of goes to the checks line by line, which alone make findings.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import chain as chained
from itertools import count
from operator import itemgetter
from typing import Any, Final, NamedTuple

from otel_audit.canonical import jcs
from otel_audit.chain import HASH_MEMBER_LENGTH, seal_tail
from otel_audit.record import ACTOR_TYPES, AUDIT_MEMBERS, MAX_LINE

from .content import Entry, is_control
from .schema import (
    AUDIT_TYPES,
    AUDIT_WORDS,
    HEAD_MEMBERS,
    MAX_SEQ,
    REQUIRED_ACTOR,
    REQUIRED_AUDIT,
    REQUIRED_HEAD,
    TOP_TYPES,
    otel_fault,
    timestamp_is_valid,
)

try:
    import orjson
except ImportError:  # then every line is checked by itself, on the standard library
    orjson = None  # type: ignore[assignment]

__all__ = ["Run", "read_runs", "stream_of"]

_HASH_END: Final = HASH_MEMBER_LENGTH - 1
_TAIL: Final = re.compile(
    rb',(?:"prev_hash":"(?P<prev>[0-9a-f]{64})",)?"seq":(?P<seq>[1-9][0-9]{0,15}),"stream":"(?P<stream>[0-9a-f]{32})",'
    rb'"hash":"[0-9a-f]{64}"\}$'
)
_LONGEST_TAIL: Final = 256
_FRACTIONS: Final = re.compile(r"(?:[0-9]{9}Z)+")
_SCALARS: Final = frozenset({str, int, bool, type(None)})
_LEAF: Final = sha256(b"\x00")
"""What every record's hash begins with (RFC 6962, section 2.1). Never updated, only copied."""
_BEYOND_BMP: Final = tuple(bytes([lead]) for lead in range(0xF0, 0xF5))

Head = dict[str, Any]


stream_of: Final = itemgetter(slice(-_HASH_END - 33, -_HASH_END - 1))
"""Return what stands where a sealed line has its stream's id."""


class Run(NamedTuple):
    """Sound records of one stream, in order and without a hole. `heads` are their members but for the chain's."""

    stream: str
    seq: int
    prev: str | None
    hashes: list[str]
    times: list[str]
    heads: list[Head]
    controls: list[int]
    """Places of control records in the lists."""

    def entry(self, place: int) -> Entry:
        """Return one of the records as the checks line by line see it."""
        head, digest = self.heads[place], self.hashes[place]
        event = head["event_name"]
        data = head.get("data", {}) if is_control(event) else None
        prev = self.hashes[place - 1] if place else self.prev
        return Entry(self.stream, self.seq + place, prev, digest, digest, self.times[place], event, data)


def read_runs(lines: Sequence[bytes]) -> list[Run] | None:
    """Check lines of one stream; None says nothing about them but that they need a closer look."""
    first = _TAIL.search(lines[0], max(0, len(lines[0]) - _LONGEST_TAIL))
    if orjson is None or first is None or max(map(len, lines)) >= MAX_LINE:
        return None
    stream, seq = first["stream"].decode(), int(first["seq"])
    prev = first["prev"].decode() if first["prev"] else None
    if (prev is None) != (seq == 1) or seq + len(lines) > MAX_SEQ:
        return None
    runs: list[Run] = []
    start = 0
    while start < len(lines):
        # All tails of a piece have one length: those of the first record, and of equally long numbers.
        end = 1 if seq == 1 else min(len(lines), start + 10 ** len(str(seq)) - seq)
        try:
            run = _read_run(lines[start:end], stream, seq, prev)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None  # not even of the shape that these checks take for granted
        if run is None:
            return None
        runs.append(run)
        seq, prev, start = seq + end - start, run.hashes[-1], end
    return runs


def _read_run(lines: Sequence[bytes], stream: str, seq: int, prev: str | None) -> Run | None:
    hashes = []
    for line in lines:
        leaf = _LEAF.copy()  # takes half the time that making a new one does
        leaf.update(line[:-_HASH_END])
        leaf.update(b"}")
        hashes.append(leaf.hexdigest())
    tails = _tails(stream, seq, prev, hashes)
    length = len(tails) // len(lines)
    if b"".join([line[-length:] for line in lines]) != tails:
        return None
    texts = [line[:-length] + b"}" for line in lines]
    heads = list(map(orjson.loads, texts))
    if not _are_canonical(heads, texts) or not _are_valid(heads):
        return None
    times = [head["@timestamp"] for head in heads]
    if not _are_times(times):
        return None
    events = [head["event_name"] for head in heads]
    controls: list[int] = []
    if any(map(is_control, set(events))):
        controls = [place for place, event in enumerate(events) if is_control(event)]
    return Run(stream, seq, prev, hashes, times, heads, controls)


def _tails(stream: str, seq: int, prev: str | None, hashes: list[str]) -> bytes:
    """Return what the lines must end in, one behind the other: the chain's members and the hash."""
    if prev is None:
        return b'%b,"hash":"%b"}' % (seal_tail(stream, seq, None)[:-1], hashes[0].encode())
    end = f',"stream":"{stream}","hash":"'
    return "".join(
        [
            f',"prev_hash":"{before}","seq":{number}{end}{own}"}}'
            for before, number, own in zip((prev, *hashes), count(seq), hashes)
        ]
    ).encode()


def _are_canonical(heads: list[Head], texts: list[bytes]) -> bool:
    # An object ends where its brace closes, so equal joined texts of objects mean equal objects.
    joined = b"".join((b"[", b",".join(texts), b"]"))
    if orjson.dumps(heads, option=orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER) != joined:
        return False
    if joined.isascii() or not any(lead in joined for lead in _BEYOND_BMP):
        return True
    # orjson sorts keys by code point, JCS by UTF-16 unit: they differ only with characters beyond the BMP.
    return all(text.isascii() or jcs(head) == text for head, text in zip(heads, texts, strict=True))


def _are_times(times: list[str]) -> bool:
    # Many records share a second: each second is checked in full once, the fractions all at once.
    if not all(timestamp_is_valid(f"{second}000000000Z") for second in {time[:20] for time in times}):
        return False
    fractions = "".join([time[20:] for time in times])
    return _FRACTIONS.fullmatch(fractions) is not None and set(map(len, times)) == {30}


def _are_valid(heads: list[Head]) -> bool:
    for names, columns in _columns(heads):
        if not REQUIRED_HEAD <= names <= HEAD_MEMBERS:
            return False
        for name, column in columns:
            if name in TOP_TYPES and set(map(type, column)) != {TOP_TYPES[name]}:
                return False
            check = _TOP_CHECKS.get(name)
            if check is not None and not check(column):
                return False
    return True


def _are_valid_audits(audits: Sequence[Head]) -> bool:
    for names, columns in _columns(audits):
        if not REQUIRED_AUDIT <= names <= AUDIT_MEMBERS:
            return False
        for name, column in columns:
            kinds = set(map(type, column))
            if name in AUDIT_TYPES and kinds != {AUDIT_TYPES[name]}:
                return False
            if name in AUDIT_WORDS and not (kinds == {str} and AUDIT_WORDS[name].issuperset(column)):
                return False
            if not (_are_valid_actors(column) if name == "actor" else kinds == {str} or _are_plain(column)):
                return False
    return True


def _are_valid_actors(actors: Sequence[Head]) -> bool:
    for names, columns in _columns(actors):
        if not names >= REQUIRED_ACTOR:
            return False
        for name, column in columns:
            if set(map(type, column)) != {str} and (name in REQUIRED_ACTOR or not _are_plain(column)):
                return False
            if name == "type" and not ACTOR_TYPES.issuperset(column):
                return False
    return True


_TOP_CHECKS: Final[dict[str, Callable[[Sequence[Any]], bool]]] = {
    "audit": _are_valid_audits,
    "data": lambda column: _are_plain(_members(column)),
    "event_name": all,
    "otel": lambda column: not any(map(otel_fault, column)),
}


def _columns(objects: Sequence[Head]) -> Iterator[tuple[frozenset[str], Iterable[tuple[str, Sequence[Any]]]]]:
    """Turn objects into columns: for each set of member names, each name with the values it has."""
    names = tuple(objects[0])
    if set(map(len, objects)) == {len(names)}:
        try:
            columns = [list(map(itemgetter(name), objects)) for name in names]
        except KeyError:
            pass  # as many names, but others
        else:
            yield frozenset(names), zip(names, columns, strict=True)
            return
    alike: defaultdict[tuple[str, ...], list[Head]] = defaultdict(list)
    for each in objects:
        alike[tuple(each)].append(each)
    for names, some in alike.items():
        yield frozenset(names), zip(names, zip(*map(dict.values, some), strict=True), strict=True)


def _members(objects: Iterable[Head]) -> list[Any]:
    return list(chained.from_iterable(map(dict.values, objects)))


def _are_plain(values: Sequence[Any]) -> bool:
    """Tell whether orjson spells these values, and all that is inside them, as JCS does."""
    kinds = set(map(type, values))
    if kinds <= _SCALARS:
        return True
    if float in kinds and not all(_is_plain_float(value) for value in values if type(value) is float):
        return False
    if dict in kinds and not _are_plain(_members(value for value in values if type(value) is dict)):
        return False
    if list in kinds:
        return _are_plain(list(chained.from_iterable(value for value in values if type(value) is list)))
    return True


def _is_plain_float(value: float) -> bool:
    # With a fraction, and between these bounds, both write the shortest digits without an exponent.
    return 1e-5 <= abs(value) < 1e16 and not value.is_integer()
