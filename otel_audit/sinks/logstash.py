"""Logstash over TCP: JSON Lines for its `tcp` input, or, with acknowledgements, the Beats protocol.

    LogstashSink.from_url("logstash+tls://logs:5044,logs-2:5044?ca_file=/etc/ssl/audit.pem")
    LogstashSink.from_url("beats+tls://logs:5045")

JSON Lines has no acknowledgement: what is guaranteed, and what is not, `otel_audit.sinks.oneway` says. With
Beats a batch counts as delivered when Logstash has said so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from otel_audit.errors import ConfigurationError
from otel_audit.sinks.base import Batch, SealedLine, Sink
from otel_audit.sinks.beats import BeatsSink
from otel_audit.sinks.network import TcpSettings, read_place
from otel_audit.sinks.oneway import DEFAULT_WINDOW, OneWaySink
from otel_audit.sinks.urls import read_options, read_scheme, split_url

__all__ = ["LogstashSink"]

Protocol = Literal["json_lines", "beats"]

_SCHEMES: Final[dict[str, tuple[dict[str, object], bool]]] = {
    "logstash": ({}, False),
    "logstash+tls": ({}, False),
    "logstash+tcp": ({}, True),
    "beats": ({"protocol": "beats"}, False),
    "beats+tls": ({"protocol": "beats"}, False),
    "beats+tcp": ({"protocol": "beats"}, True),
}


class LogstashSink(OneWaySink):
    """Sends the sealed lines as they are to a Logstash `tcp` input with the `json_lines` codec."""

    def frame(self, record: SealedLine) -> bytes:
        """Return the line itself: its newline is the frame."""
        return record.line

    def frame_all(self, batch: Sequence[SealedLine]) -> bytes:
        """Return the lines, one behind the other."""
        return batch.data if isinstance(batch, Batch) else super().frame_all(batch)

    @classmethod
    def from_url(cls, url: str) -> Sink:
        """Return the sink that a URL describes: `logstash[+tls|+tcp]://` or `beats[+tls|+tcp]://`.

        `+tcp` is the explicit word for plain text. Options are the parameters of `from_settings`.

        Raises:
            ConfigurationError: the URL or one of its options is unusable.
        """
        parts = split_url(url)
        implied, plaintext = read_scheme(parts, _SCHEMES)
        given = read_place(parts, plaintext=plaintext)
        return cls.from_settings(**read_options(implied | parts.options, cls.from_settings, parts, given=given))

    @classmethod
    def from_settings(
        cls,
        *,
        name: str = "logstash",
        protocol: Protocol = "json_lines",
        tcp: TcpSettings,
        max_records: int = 2048,
        max_bytes: int = 1024 * 1024,
        window: int | None = None,
        settle_after: float | None = None,
        ack_timeout: float | None = None,
        compression: int | None = None,
    ) -> Sink:
        """Return a sink for the hosts of `tcp`.

        `window` (bytes, default 8 MiB) and `settle_after` (seconds, default 2) belong to `json_lines`,
        `ack_timeout` (seconds, default 30) and `compression` (0 to 9, default 3) to `beats`.

        Raises:
            ConfigurationError: a setting is unusable or belongs to the other protocol.
        """
        own = {"window": window, "settle_after": settle_after}
        other = {"ack_timeout": ack_timeout, "compression": compression}
        if protocol == "beats":
            own, other = other, own
        strange = [option for option, value in other.items() if value is not None]
        if strange:
            raise ConfigurationError(f"sink {name}: {' and '.join(strange)} mean nothing with protocol {protocol}")
        connection = tcp.connection()
        if protocol == "beats":
            return BeatsSink(
                connection,
                name=name,
                max_records=max_records,
                max_bytes=max_bytes,
                ack_timeout=30.0 if ack_timeout is None else ack_timeout,
                compression=3 if compression is None else compression,
            )
        return cls(
            connection,
            name=name,
            max_records=max_records,
            max_bytes=max_bytes,
            window=DEFAULT_WINDOW if window is None else window,
            settle_after=2.0 if settle_after is None else settle_after,
        )
