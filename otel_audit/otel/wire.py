"""OTLP protobuf, written straight from sealed lines.

Building message objects is what OTLP export spends most of its time on, and nearly all of what an audit
record carries is text behind a few names. So each record is written as the bytes of one `LogRecord` message,
and a request is the concatenation of its records: protobuf allows that for repeated fields (Encoding,
"Message structure"). The field numbers are those of opentelemetry-proto 1.x, where they are frozen (logs
"Stable"); the tests read every byte back with its own classes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias

import orjson

from otel_audit.record import record_id

from .projection import Projection, Value, project

__all__ = ["RequestWriter", "Sign", "encode_record", "encode_text"]

Sign: TypeAlias = Callable[[Projection, str], Mapping[str, str]]
"""Takes what stands beside a record, and the record's line; returns attributes that prove both."""

_LENGTH_DELIMITED: Final = 2
_MAX_KNOWN: Final = 256
_TIMES: Final = struct.Struct("<BQBQ")
_DOUBLE: Final = struct.Struct("<Bd")
_FLAGS: Final = struct.Struct("<BI")


def _varint(number: int) -> bytes:
    if number < 0x80:
        return _ONE_BYTE[number]
    if number < 0x4000:
        return b"%c%c" % (number & 0x7F | 0x80, number >> 7)
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_ONE_BYTE: Final = [bytes([number]) for number in range(0x80)]


def _field(number: int, content: bytes) -> bytes:
    """Write a string, bytes or embedded message: tag, length, content."""
    return b"%c%b%b" % (number << 3 | _LENGTH_DELIMITED, _varint(len(content)), content)


def _word(number: int, text: str) -> bytes:
    """Write a string field whose values come again and again."""
    return _known_word(number, text) if len(text) <= _MAX_KNOWN else _field(number, text.encode())


@lru_cache(1024)
def _known_word(number: int, text: str) -> bytes:
    return _field(number, text.encode())


def _any_value(value: Value) -> bytes:
    """Write the fields of an `AnyValue`."""
    if isinstance(value, str):
        return _field(1, value.encode())
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        return b"\x18" + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)
    if isinstance(value, float):
        return _DOUBLE.pack(0x21, value)
    return _field(5, b"".join(_field(1, _any_value(item)) for item in value))


def _key_value(name: str, value: Value) -> bytes:
    """Write the fields of a `KeyValue`."""
    return _key(name) + _field(2, _any_value(value))


@lru_cache(256)
def _key(name: str) -> bytes:
    return _field(1, name.encode())


def _attribute(name: str, value: Value) -> bytes:
    """Write one `attributes` field of a `LogRecord`."""
    if type(value) is str:
        text = value.encode()
        return _text_head(name, len(text)) + text
    return _field(6, _key_value(name, value))


@lru_cache(4096)
def _text_head(name: str, length: int) -> bytes:
    """Return what stands before the text of an attribute: names are few, and so are the lengths of their
    values.
    """
    text = b"\n" + _varint(length)
    value = b"\x12" + _varint(len(text) + length) + text
    head = _key(name) + value
    return b"2" + _varint(len(head) + length) + head


def encode_record(stream: str, seq: int, line: bytes, sign: Sign | None = None) -> bytes:
    """Return a sealed line as one `log_records` field of a `ScopeLogs` message, with the attributes that `sign` adds.

    No line is refused: one that is not a record of format 1 travels with its id as its only attributes, and
    one that is not UTF-8 travels as bytes.
    """
    text = line.removesuffix(b"\n")
    try:
        shown = project(orjson.loads(text))
        if sign is not None:
            shown.attributes.update(sign(shown, text.decode()))
        return _field(2, _log_record(shown, _field(1, text)))
    except (KeyError, TypeError, ValueError, AttributeError, struct.error):
        body = _field(1, text) if _is_utf8(text) else _field(7, text)
        return _field(2, _log_record(_unreadable(stream, seq), body))


def encode_text(shown: Projection, body: str) -> bytes:
    """Return a text that is no record as one `log_records` field of a `ScopeLogs` message."""
    return _field(2, _log_record(shown, _field(1, body.encode())))


def _log_record(shown: Projection, body: bytes) -> bytes:
    parts = [_TIMES.pack(0x09, shown.timestamp, 0x59, shown.timestamp)]
    if shown.severity_number:
        parts.append(b"\x10%c" % shown.severity_number)
    if shown.severity_text:
        parts.append(_word(3, shown.severity_text))
    parts.append(_field(5, body))
    parts += [_attribute(name, value) for name, value in shown.attributes.items()]
    if shown.trace_id and shown.span_id:
        parts.append(_FLAGS.pack(0x45, shown.trace_flags))
        parts.append(_field(9, bytes.fromhex(shown.trace_id)))
        parts.append(_field(10, bytes.fromhex(shown.span_id)))
    if shown.event_name:
        parts.append(_word(12, shown.event_name))
    return b"".join(parts)


def _unreadable(stream: str, seq: int) -> Projection:
    identity: dict[str, Value] = {
        "audit.record.id": record_id(stream, seq),
        "audit.sequence.stream_id": stream,
        "audit.sequence.number": seq,
    }
    return Projection(identity, "", 0, 0, "", "", "", 0)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


class RequestWriter:
    """Writes `ExportLogsServiceRequest` messages of one resource and one scope."""

    def __init__(self, resource: Mapping[str, Any], scope_name: str, scope_version: str) -> None:
        attributes = b"".join(_field(1, _key_value(name, _plain(value))) for name, value in resource.items())
        self._resource = _field(1, attributes)
        self._scope = _field(1, _field(1, scope_name.encode()) + _field(2, scope_version.encode()))

    def write(self, records: Iterable[bytes]) -> bytes:
        """Return a request that holds these records, each as `encode_record` returned it."""
        scope_logs = self._scope + b"".join(records)
        return _field(1, self._resource + _field(2, scope_logs))


def _plain(value: Any) -> Value:
    if isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, (list, tuple)):
        return [str(item) for item in value]
    return str(value)
