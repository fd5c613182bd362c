"""Sinks whose far end never answers: TCP takes the bytes, and nothing says that they were read.

What can be known is less than an acknowledgement, and is used for what it is:

* Before every write the connection is read: a peer that has closed it, or refused the client certificate, is
  found out before more is written to it (a plain write would succeed, and its data be lost).
* The last `window` bytes count as unconfirmed. After a broken connection they are sent again, so records can
  arrive twice, and `<stream>-<seq>` tells the far end which.
* When sending pauses, everything counts as delivered once the peer's kernel has confirmed all of it and the
  peer is still there `settle_after` seconds later.

A receiver that reads records and loses them before it has stored them cannot be noticed by any sender without
acknowledgements; where that matters, choose a sink that has them (Beats, OTLP).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from otel_audit.errors import ConfigurationError
from otel_audit.sinks.base import SealedLine, SinkUnavailable
from otel_audit.sinks.connection import Connection

__all__ = ["DEFAULT_WINDOW", "OneWaySink"]

DEFAULT_WINDOW: Final = 8 * 1024 * 1024
"""Bytes. More than a broken connection can swallow with Linux's defaults: our send buffer (512 KiB) and the
peer's receive buffer (6 MiB, the last number of `net.ipv4.tcp_rmem`)."""


class OneWaySink:
    """Writes each line in a frame to a connection and reads nothing but the peer's farewell.

    Raises:
        ConfigurationError: a limit is not positive, or `window` is less than a batch.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        name: str,
        max_records: int,
        max_bytes: int,
        window: int,
        settle_after: float,
    ) -> None:
        if min(max_records, max_bytes, settle_after) <= 0:
            raise ConfigurationError(f"sink {name}: max_records, max_bytes and settle_after must be above 0")
        if window < max_bytes:
            raise ConfigurationError(
                f"sink {name}: window ({window}) must hold at least one batch (max_bytes, {max_bytes})"
            )
        self.name = name
        self.max_records = max_records
        self.max_bytes = max_bytes
        self.window = window
        self._connection = connection
        self._settle_after = settle_after
        self._unconfirmed = False
        self._quiet_since: float | None = None

    def frame(self, record: SealedLine) -> bytes:
        """Return the bytes that carry one line to the far end."""
        raise NotImplementedError

    def frame_all(self, batch: Sequence[SealedLine]) -> bytes:
        """Return the bytes that carry a batch."""
        return b"".join([self.frame(record) for record in batch])

    def send(self, batch: Sequence[SealedLine]) -> None:
        """Write the batch. The far end's kernel may have it then or not: see `window` and `settled`.

        Raises:
            SinkUnavailable: the connection failed or was found closed; what it swallowed is unknown.
        """
        data = self.frame_all(batch)
        self._quiet_since = None
        with self._reporting_loss():
            if not self._peer_is_there():
                self._connection.open()
            self._unconfirmed = True
            self._connection.write(data)

    def settled(self) -> bool:
        """Whether the peer has confirmed all bytes at the TCP level and stayed for `settle_after` seconds.

        Where the system does not tell what the peer's kernel confirmed (other than Linux), the stay alone
        counts.

        Raises:
            SinkUnavailable: the connection broke before that.
        """
        if not self._unconfirmed:
            return True
        with self._reporting_loss():
            self._connection.check()
            unsent = self._connection.unsent()
        self._connection.received.clear()
        now = time.monotonic()
        if unsent:
            self._quiet_since = None
        elif self._quiet_since is None:
            self._quiet_since = now
        elif now - self._quiet_since >= self._settle_after:
            self._unconfirmed = False
        return not self._unconfirmed

    def close(self) -> None:
        """End the connection in order. What is unconfirmed stays so; the next call reports it."""
        self._connection.close()

    def _peer_is_there(self) -> bool:
        """Whether the connection can be used; one that is closed and owes nothing is simply replaced."""
        try:
            self._connection.check()
        except SinkUnavailable:
            if self._unconfirmed:
                raise
            return False
        self._connection.received.clear()
        return True

    @contextmanager
    def _reporting_loss(self) -> Iterator[None]:
        """Owe nothing any more once the caller has been told, by the exception, to send it again."""
        try:
            yield
        except SinkUnavailable:
            self._unconfirmed = False
            raise
