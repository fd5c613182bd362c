"""OTLP protobuf, written straight from sealed lines.

Building message objects is what OTLP export spends most of its time on, and nearly all of what an audit
record carries is either one string (the line) or an attribute seen a moment ago. So each record is written
as the bytes of one `LogRecord` message, with recent attributes kept ready-made, and a request is the
concatenation of its records: protobuf allows that for repeated fields (Encoding, "Message structure"). The
field numbers are those of opentelemetry-proto 1.x, where they are frozen (logs "Stable"); the tests read
every byte back with its own classes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

import orjson

from otel_audit.record import record_id

from .projection import Projection, Value, project

__all__ = ["RequestWriter", "encode_record"]

_LENGTH_DELIMITED: Final = 2
_SHORT: Final = 0x80 - 4
"""Below it, the lengths of an attribute and of its parts are one byte each."""
_MAX_CACHED_TEXT: Final = 256
_UNIQUE: Final = frozenset(
    {"audit.record.id", "audit.sequence.previous_hash", "audit.sequence.previous_record_id"}
)
"""Attributes that no two records share: keeping them ready-made would only push out others."""
_TIMES: Final = struct.Struct("<BQBQ")
_DOUBLE: Final = struct.Struct("<Bd")
_FLAGS: Final = struct.Struct("<BI")


def _varint(number: int) -> bytes:
    if number < 0x80:
        return _SMALL[number]
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_SMALL: Final = [bytes([number]) for number in range(0x80)]


def _field(number: int, content: bytes) -> bytes:
    """Write a string, bytes or embedded message: tag, length, content."""
    return b"%c%b%b" % (number << 3 | _LENGTH_DELIMITED, _varint(len(content)), content)


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
    return _field(1, name.encode()) + _field(2, _any_value(value))


def _attribute(name: str, value: Value) -> bytes:
    """Write one `attributes` field of a `LogRecord`."""
    if type(value) is str:
        key, text = _key(name), value.encode()
        length = len(text)
        if length + len(key) < _SHORT:
            return b"2%c%b\x12%c\n%c%b" % (length + len(key) + 4, key, length + 2, length, text)
    return _field(6, _key_value(name, value))


@lru_cache(256)
def _key(name: str) -> bytes:
    return _field(1, name.encode())


_recent_attribute = lru_cache(4096)(_attribute)


def _attributes(attributes: Mapping[str, Value]) -> list[bytes]:
    # Only text is looked up: to a cache, 1, 1.0 and True are one key.
    return [
        _recent_attribute(name, value)
        if type(value) is str and name not in _UNIQUE and len(value) <= _MAX_CACHED_TEXT
        else _attribute(name, value)
        for name, value in attributes.items()
    ]


def encode_record(stream: str, seq: int, line: bytes) -> bytes:
    """Return a sealed line as one `log_records` field of a `ScopeLogs` message.

    No line is refused: one that is not a record of format 1 travels with its id as its only attributes, and
    one that is not UTF-8 travels as bytes.
    """
    text = line.removesuffix(b"\n")
    try:
        return _field(2, _log_record(project(orjson.loads(text)), _field(1, text)))
    except (KeyError, TypeError, ValueError, AttributeError, struct.error):
        body = _field(1, text) if _is_utf8(text) else _field(7, text)
        return _field(2, _log_record(_unreadable(stream, seq), body))


def _log_record(shown: Projection, body: bytes) -> bytes:
    parts = [_TIMES.pack(0x09, shown.timestamp, 0x59, shown.timestamp)]
    if shown.severity_number:
        parts.append(b"\x10%c" % shown.severity_number)
    if shown.severity_text:
        parts.append(_field(3, shown.severity_text.encode()))
    parts.append(_field(5, body))
    parts.extend(_attributes(shown.attributes))
    if shown.trace_id and shown.span_id:
        parts.append(_FLAGS.pack(0x45, shown.trace_flags))
        parts.append(_field(9, bytes.fromhex(shown.trace_id)))
        parts.append(_field(10, bytes.fromhex(shown.span_id)))
    if shown.event_name:
        parts.append(_field(12, shown.event_name.encode()))
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
