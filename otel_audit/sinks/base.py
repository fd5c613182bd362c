"""What a sink is: the far end of one shipper.

A sink gets sealed lines in order and returns once the far end has them. It knows nothing of chains, journals,
cursors or other sinks; retrying, back-off and remembering how far it got belong to the shipper (`shipping`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

__all__ = ["RecordsRefused", "SealedLine", "Sink", "SinkUnavailable"]


class SealedLine(NamedTuple):
    """One record as every sink gets it: its place and its bytes, newline included."""

    stream: str
    seq: int
    line: bytes

    @property
    def id(self) -> str:
        """The record's id, `<stream>-<seq>`."""
        return f"{self.stream}-{self.seq}"


class SinkUnavailable(Exception):
    """Nothing, or not everything, of a batch was confirmed; the shipper sends it again later.

    `retry_after` is what the far end asked for, in seconds. The message says what failed and never holds a secret.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RecordsRefused(Exception):
    """The far end refuses records for what they are: sending them again cannot help.

    `ids` names the refused ones where the far end said which (all others of the batch were accepted); it is
    None where it only said no to the batch, and the shipper then bisects it.
    """

    def __init__(self, message: str, *, ids: frozenset[str] | None = None) -> None:
        super().__init__(message)
        self.ids = ids


@runtime_checkable
class Sink(Protocol):
    """The interface that every sink implements. One thread at a time calls it."""

    name: str
    """Short, unique within a trail; in messages, metrics and the cursor's file name. Holds no secret."""

    max_records: int
    """Most records in one batch."""

    max_bytes: int
    """Most bytes of lines in one batch (one longer line is still sent alone)."""

    window: int
    """How many of the last bytes sent count as unconfirmed until `settled()`, and are sent again after a
    broken connection. 0 where `send` returning means that the far end has the batch."""

    def send(self, batch: Sequence[SealedLine]) -> None:
        """Deliver a batch, in order; return when it is accepted.

        Raises:
            SinkUnavailable: try the same batch again later.
            RecordsRefused: these records can never be accepted.
        """

    def settled(self) -> bool:
        """Whether everything sent so far may be taken as delivered. Called when idle, only if `window` > 0.

        Raises:
            SinkUnavailable: the connection broke; send the unconfirmed bytes again, though nothing new waits.
        """

    def close(self) -> None:
        """Release connections and files. The sink may be used again afterwards and then reconnects."""
