"""The Lumberjack protocol, version 2, which Beats speak and Logstash's `beats` input understands.

    client   2 W count                              how many events one acknowledgement may cover
             2 C length (zlib of data frames)       or the data frames as they are
             2 J number length JSON                 one event; numbers start at 1 in every window
    server   2 A number                             all up to this event is taken over; 0: still at work

Integers are four bytes, big-endian. The version and the kind are ASCII characters.
"""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Sequence
from typing import Any

import orjson

from otel_audit.errors import ConfigurationError
from otel_audit.sinks.base import AnsweredSink, SealedLine, SinkUnavailable
from otel_audit.sinks.connection import Connection

__all__ = ["BeatsSink", "encode_window"]

_FRAME = struct.Struct(">2sI")
_DATA = struct.Struct(">2sII")


def encode_window(batch: Sequence[SealedLine], compression: int) -> bytes:
    """Return the frames of one window. `compression` is zlib's level; 0 sends the data frames as they are.

    An event carries the line, without its newline, as the string `message`, so that it stays as it was
    sealed, and the record's id as `@metadata._id`, for Logstash to make the document's id of.
    """
    frames = bytearray()
    for number, record in enumerate(batch, 1):
        event = orjson.dumps(_event(record))
        frames += _DATA.pack(b"2J", number, len(event)) + event
    if compression:
        packed = zlib.compress(frames, compression)
        frames[:] = _FRAME.pack(b"2C", len(packed)) + packed
    return _FRAME.pack(b"2W", len(batch)) + frames


def _event(record: SealedLine) -> dict[str, Any]:
    return {
        "@metadata": {"_id": record.id, "beat": "otel-audit", "type": "_doc"},
        "message": record.line.decode("utf-8", "surrogateescape").removesuffix("\n"),
    }


class BeatsSink(AnsweredSink):
    """Sends each batch as one window and returns when the far end has acknowledged all of it.

    `ack_timeout`, in seconds, is how long the far end may be silent. While its pipeline is blocked,
    Logstash sends acknowledgements of what it has, or of nothing, and the wait begins anew: sending the
    same batch once more, on another connection, would only add to what it has to do.

    Raises:
        ConfigurationError: a limit is not positive, or `compression` is not from 0 to 9.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        name: str,
        max_records: int,
        max_bytes: int,
        ack_timeout: float,
        compression: int,
    ) -> None:
        if min(max_records, max_bytes, ack_timeout) <= 0 or not 0 <= compression <= 9:
            raise ConfigurationError(
                f"sink {name}: max_records, max_bytes, ack_timeout must be above 0, compression from 0 to 9"
            )
        self.name = name
        self.max_records = max_records
        self.max_bytes = max_bytes
        self._connection = connection
        self._ack_timeout = ack_timeout
        self._compression = compression

    def send(self, batch: Sequence[SealedLine]) -> None:
        """Deliver a batch and wait for its acknowledgement.

        Raises:
            SinkUnavailable: the connection failed, the far end was silent too long, or what it said makes
            no sense.
        """
        window = encode_window(batch, self._compression)
        self._connect()
        self._connection.write(window)
        acknowledged = 0
        while acknowledged < len(batch):
            acknowledged = max(acknowledged, self._read_ack(len(batch)))

    def close(self) -> None:
        """End the connection in order."""
        self._connection.close()

    def _connect(self) -> None:
        """See to a connection whose peer is there; one that left after the last batch owes nothing."""
        try:
            self._connection.check()
        except SinkUnavailable:
            self._connection.open()
        else:
            self._skip_late_acks()

    def _skip_late_acks(self) -> None:
        """Drop whole frames that arrived after the last window was complete: a late "still at work"."""
        received = self._connection.received
        if len(received) % _FRAME.size:
            self._fail("a frame that is cut off")
        received.clear()

    def _read_ack(self, expected: int) -> int:
        kind, number = _FRAME.unpack(self._connection.read(_FRAME.size, time.monotonic() + self._ack_timeout))
        if kind != b"2A" or number > expected:
            self._fail(f"{kind!r} {number} instead of an acknowledgement of at most {expected}")
        return int(number)

    def _fail(self, what: str) -> None:
        endpoint = self._connection.endpoint
        self._connection.close()
        raise SinkUnavailable(f"{endpoint}: the far end sent {what}; is it a beats input?")
