"""What control records say, of their own stream and of others. It comes from outside: nothing of it is trusted."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from otel_audit.record import FORMAT, Control

from .content import Entry
from .schema import HEX32, HEX64

if TYPE_CHECKING:
    from .span import Span

__all__ = ["Claim", "Cut", "Fork", "read_control"]

_ALGORITHMS: Final = {"canonical": "rfc8785", "hash": "sha256"}
_MOST_LINKS: Final = 4096
_MOST_ARCHIVES: Final = 16
_DELIVERY: Final = frozenset({"sink failing", "anchor failing"})
"""Causes that lie behind the log: its records are all here."""
_REPEATING: Final = frozenset({"sync failed", "segment removed", "segment replaced", "segment truncated"})
"""Causes upon which the writer writes lines again, into a new segment."""
_DEEPEST_TREE: Final = 63


@dataclasses.dataclass(frozen=True, slots=True)
class Claim:
    """What a stream's first record says of another stream: how it ended, or where it forked."""

    by: str
    stream: str
    seq: int
    hash: str | None
    closed: bool | None
    """None if the claim is about a parent, which goes on."""
    torn: dict[str, Any] | None
    file: str
    line: int


@dataclasses.dataclass(frozen=True, slots=True)
class Cut:
    """What an `audit.prune` record says was removed: a stream's records up to this one."""

    stream: str
    last_seq: int
    last_hash: str
    tree: tuple[str, ...] = ()
    """The Merkle tree's complete subtrees over these records, largest first, where they were signed."""
    by: str = ""
    """The stream that the record stands in."""
    at: int = 0
    """... and its number there."""


@dataclasses.dataclass(frozen=True, slots=True)
class Fork:
    """A child that an `audit.stream.fork` record announces."""

    child: str
    seq: int
    line: int


def read_control(span: Span, entry: Entry, line: int) -> None:
    """Take in one control record. What is missing or has the wrong type is a BAD_SCHEMA finding."""
    reader = _READERS.get(entry.event)
    if reader is None:
        return
    try:
        reader(span, entry, entry.data or {}, line)
    except (KeyError, TypeError, ValueError) as error:
        span.report("BAD_SCHEMA", line, entry.seq, detail=f"data of {entry.event}: {type(error).__name__} {error}")


def _open(span: Span, entry: Entry, data: dict[str, Any], line: int) -> None:
    known = data["format"] == FORMAT and type(data["format"]) is int and data["algorithms"] == _ALGORITHMS
    if entry.seq != 1:
        span.report("SECOND_OPEN" if known else "FORMAT_CHANGE", line, entry.seq)
        return
    if not known:
        said = f"format {data['format']!r:.32}, {data['algorithms']!r:.96}"
        span.report("UNKNOWN_FORMAT", line, entry.seq, expected=f"format {FORMAT}, {_ALGORITHMS}", actual=said)
        span.unknown_format = True
        return
    for ending in data.get("previous", [])[:_MOST_LINKS]:
        closed = _typed(ending["closed"], bool)
        span.claims.append(_claim(span, ending, line, closed=closed))
    archives = data.get("archives", [])
    if isinstance(archives, list):
        span.archives = tuple(each for each in archives[:_MOST_ARCHIVES] if isinstance(each, str))
    if "parent" in data:
        span.claims.append(_claim(span, data["parent"], line, closed=None))


def _claim(span: Span, link: dict[str, Any], line: int, *, closed: bool | None) -> Claim:
    seq = _typed(link["seq"], int)
    digest = _hex(link["hash"], 64) if seq else None
    torn = link.get("torn")
    if torn is not None:
        torn = {
            "segment": _typed(torn["segment"], str),
            "offset": _typed(torn["offset"], int),
            "length": _typed(torn["length"], int),
            "sha256": _hex(torn["sha256"], 64),
        }
    return Claim(span.stream, _hex(link["stream"], 32), seq, digest, closed, torn, span.file, line)


def _close(span: Span, entry: Entry, data: dict[str, Any], line: int) -> None:
    span.closed_at = entry.seq
    if _typed(data["records"], int) != entry.seq:
        span.report(
            "BAD_SCHEMA",
            line,
            entry.seq,
            expected=str(entry.seq),
            actual=str(data["records"]),
            detail="the closing record's count is not its own number",
        )
    lost = _typed(data["lost"], int)
    if lost > span.lost:
        span.report("RECORDS_LOST", line, entry.seq, detail=f"{lost} lost in all, by the closing record's count")
        span.lost = lost
    if "never_opened" in data:
        said = _typed(data["never_opened"], list)[:_MOST_LINKS]
        span.never_opened = frozenset(each for each in said if isinstance(each, str))


def _fork(span: Span, entry: Entry, data: dict[str, Any], line: int) -> None:
    if len(span.forks) < _MOST_LINKS:
        span.forks.append(Fork(_hex(data["child"], 32), entry.seq, line))


def _prune(span: Span, entry: Entry, data: dict[str, Any], line: int) -> None:
    tree = tuple(_hex(each, 64) for each in _typed(data.get("tree", []), list)[:_DEEPEST_TREE])
    stream, last_seq, last_hash = _hex(data["stream"], 32), _typed(data["last_seq"], int), _hex(data["last_hash"], 64)
    span.cuts.append(Cut(stream, last_seq, last_hash, tree, span.stream, entry.seq))
    del span.cuts[:-_MOST_LINKS]  # a later cut of a stream stands for those before it


def _gap(span: Span, entry: Entry, data: dict[str, Any], line: int) -> None:
    count = _typed(data["count"], int)
    span.lost += count
    reason = _typed(data["reason"], str)
    when = f"from {data['from']} to {data['to']}"
    span.report("RECORDS_LOST", line, entry.seq, detail=f"{count} lost {when:.80}: {reason:.200}")


def _degraded(span: Span, entry: Entry, data: dict[str, Any], line: int) -> None:
    cause = _typed(data["cause"], str)
    if cause in _REPEATING:
        span.repeated_by = entry.seq
    others = ", ".join(f"{name} {value}" for name, value in sorted(data.items()) if name != "cause")
    code = "DELIVERY_DEGRADED" if cause in _DELIVERY else "PIPELINE_DEGRADED"
    span.report(code, line, entry.seq, detail=f"{cause:.100}{': ' if others else ''}{others:.200}")


def _suppressed(span: Span, entry: Entry, data: dict[str, Any], line: int) -> None:
    span.report("SUPPRESSED", line, entry.seq, detail=", ".join(f"{k} {v}" for k, v in sorted(data.items()))[:200])


def _heartbeat(span: Span, entry: Entry, data: dict[str, Any], line: int) -> None:
    span.beat(entry, float(_number(data["interval"])), float(_number(data["monotonic"])), line)


def _typed(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"a {type(value).__name__} stands where a {kind.__name__} must")
    return value


def _number(value: Any) -> int | float:
    if type(value) not in {int, float}:
        raise TypeError(f"a {type(value).__name__} stands where a number must")
    return value  # type: ignore[no-any-return]


def _hex(value: Any, length: int) -> str:
    form = HEX64 if length == 64 else HEX32
    if not isinstance(value, str) or form.fullmatch(value) is None:
        raise ValueError(f"not {length} lower-case hex digits")
    return value


_READERS: Final = {
    Control.STREAM_OPEN: _open,
    Control.STREAM_CLOSE: _close,
    Control.STREAM_FORK: _fork,
    Control.PRUNE: _prune,
    Control.GAP: _gap,
    Control.DEGRADED: _degraded,
    Control.SUPPRESSED: _suppressed,
    Control.HEARTBEAT: _heartbeat,
}
