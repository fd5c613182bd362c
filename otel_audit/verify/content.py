"""One line by itself: is it a record, are its bytes the canonical ones, and does its hash fit its content?

One edit gives one fault. A line whose place (stream, seq, hashes) can still be read is an `Entry` even when it has a
fault, so that the records behind it can be judged.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from otel_audit.canonical import DuplicateMember, canonicalize, jcs, parse
from otel_audit.chain import HASH_MEMBER_LENGTH, leaf_hash
from otel_audit.record import CONTROL_PREFIX, FORMAT, MAX_LINE, MEMBERS, Control

from .schema import audit_fault, place_fault, unknown_members

__all__ = [
    "Entry",
    "Fault",
    "behind_other_text",
    "declared_format",
    "examine",
    "is_control",
    "looks_like_record",
    "may_begin_record",
]

_HASH_END: Final = re.compile(rb',"hash":"[0-9a-f]{64}"\}')
_MARKS: Final = (b'{"@timestamp":"', b'"prev_hash":"', b'"stream":"', b',"hash":"')
_SHOWN: Final = 96


class Entry(NamedTuple):
    """A record's place, and what the chain checks need of it."""

    stream: str
    seq: int
    prev: str | None
    hash: str
    """As the line states it."""
    computed: str
    """As its bytes give it; differs from `hash` only in a record with a fault."""
    time: str
    event: str
    data: dict[str, Any] | None
    """Only of control records."""


class Fault(NamedTuple):
    """What is wrong with one line."""

    code: str
    expected: str | None = None
    actual: str | None = None
    detail: str = ""


def looks_like_record(line: bytes) -> bool:
    """Tell whether a line is, or before an edit was, a record: one damaged byte does not hide all the marks."""
    return sum(mark in line for mark in _MARKS) >= 2


def behind_other_text(line: bytes) -> bytes:
    """Return the record that stands behind what a program had printed of its own line when the record was written."""
    return line if line.startswith(b"{") else line[max(0, line.find(_MARKS[0])) :]


def may_begin_record(rest: bytes) -> bool:
    """Tell whether a line that was cut anywhere may have been a record; nothing, of which all is lost, may have."""
    return _MARKS[0].startswith(rest[: len(_MARKS[0])])


def examine(line: bytes, *, parsed_copy: bool = False) -> tuple[Entry | None, Fault | None]:
    """Judge one line, given without its newline.

    With `parsed_copy` the line may have been parsed and written again by a pipeline, and may have members at its
    root that the pipeline added: its canonical bytes are derived anew.
    """
    if len(line) >= MAX_LINE:
        return None, Fault("OVERLONG_LINE", f"at most {MAX_LINE} bytes", f"{len(line) + 1} bytes")
    if not line.lstrip().startswith(b"{"):
        return None, Fault("NOT_A_RECORD", actual=_excerpt(line), detail="not a JSON object")
    try:
        record = parse(line)
    except DuplicateMember as error:
        return None, Fault("DUPLICATE_MEMBER", actual=_excerpt(line), detail=str(error))
    except ValueError as error:
        return None, Fault("NOT_A_RECORD", actual=_excerpt(line), detail=_reason(error))
    if parsed_copy:
        record = {name: value for name, value in record.items() if name in MEMBERS}
    return _judge(line, record, parsed_copy)


def declared_format(line: bytes) -> str | None:
    """Return the format that a stream's first record declares, if the line is one and its format is not ours."""
    try:
        record = parse(line)
    except ValueError:
        return None
    data = record.get("data")
    if record.get("event_name") != Control.STREAM_OPEN or not isinstance(data, dict):
        return None
    declared = data.get("format")
    return f"format {declared}" if type(declared) is int and declared > FORMAT else None


def _judge(line: bytes, record: dict[str, Any], parsed_copy: bool) -> tuple[Entry | None, Fault | None]:
    fault = place_fault(record)
    if fault is not None:
        return None, Fault("BAD_SCHEMA", actual=_excerpt(line), detail=fault)
    stated = record["hash"]
    rest = {name: value for name, value in record.items() if name != "hash"}
    written = _sealed_bytes(line)
    derived = _derive(rest)
    computed = leaf_hash(derived if parsed_copy or written is None else written)
    entry = _entry(record, stated, computed)
    if parsed_copy:
        fault_found = None if computed == stated else Fault("VALUE_MUTATED", expected=stated, actual=computed)
    else:
        fault_found = _fault_of_bytes(entry, rest, written, derived)
    if fault_found is None and (wrong := audit_fault(record)) is not None:
        fault_found = Fault("BAD_SCHEMA", actual=_excerpt(line), detail=wrong)
    return entry, fault_found


def is_control(event: str) -> bool:
    """Tell whether an event name is one of the trail's own."""
    return event.startswith(CONTROL_PREFIX)


def _entry(record: dict[str, Any], stated: str, computed: str) -> Entry:
    event, data = record.get("event_name"), record.get("data", {})
    if not isinstance(event, str):
        event = ""
    data = data if is_control(event) and isinstance(data, dict) else None
    place = (record["stream"], record["seq"], record.get("prev_hash"))
    return Entry(*place, stated, computed, record["@timestamp"], event, data)


def _fault_of_bytes(entry: Entry, rest: dict[str, Any], written: bytes | None, derived: bytes) -> Fault | None:
    if unknown := unknown_members(rest):
        return Fault("UNKNOWN_MEMBER", actual=", ".join(unknown)[:_SHOWN])
    if written is not None and entry.computed == entry.hash:
        if written == derived:
            return None
        return Fault("NON_CANONICAL", detail="these bytes were sealed, but they are not in RFC 8785 form")
    if derived and leaf_hash(derived) == entry.hash:
        return Fault("NON_CANONICAL", detail="the content is what was sealed; spaces, order or spellings are not")
    return Fault("HASH_MISMATCH", expected=entry.hash, actual=entry.computed)


def _sealed_bytes(line: bytes) -> bytes | None:
    """Return what the hash covers, if `hash` stands where a sealed line has it."""
    length = HASH_MEMBER_LENGTH - 1
    if _HASH_END.fullmatch(line[-length:]) is None:
        return None
    return line[:-length] + b"}"


def _derive(rest: dict[str, Any]) -> bytes:
    """Return the canonical bytes of what was read; none if it is JSON that no writer makes."""
    try:
        return canonicalize(rest)
    except (ValueError, TypeError, RecursionError):
        pass  # a lone surrogate, 1e400, 10 000 levels - or an integer beyond 2^53, which JCS reads as a double
    try:
        return jcs(_with_doubles(rest))
    except (ValueError, TypeError, RecursionError, OverflowError):
        return b""


def _with_doubles(value: Any) -> Any:
    """Read numbers as ECMAScript does, which JCS builds on: digits beyond 2^53 are a double (RFC 8785, section 3.1)."""
    if isinstance(value, dict):
        return {name: _with_doubles(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_doubles(item) for item in value]
    return float(value) if type(value) is int and abs(value) >= 2**53 else value


def _excerpt(line: bytes) -> str:
    text = line[:_SHOWN].decode("utf-8", "backslashreplace")
    return text + ("…" if len(line) > _SHOWN else "")


def _reason(error: ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 at byte {error.start}"
    return str(error).partition(":")[0][:_SHOWN].lower()
