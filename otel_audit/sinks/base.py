"""What a sink is: the far end of one shipper.

A sink gets sealed lines in order and returns once the far end has them. It knows nothing of chains, journals,
cursors or other sinks; retrying, back-off and remembering how far it got belong to the shipper (`shipping`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import NamedTuple, Protocol, overload, runtime_checkable

__all__ = ["AnsweredSink", "Archive", "Batch", "RecordsRefused", "SealedLine", "Sink", "SinkUnavailable"]


class SealedLine(NamedTuple):
    """One record as every sink gets it: its place and its bytes, newline included."""

    stream: str
    seq: int
    line: bytes

    @property
    def id(self) -> str:
        """The record's id, `<stream>-<seq>`."""
        return f"{self.stream}-{self.seq}"


class Batch(Sequence[SealedLine]):
    """Records of one stream as they lie in the journal, one line behind the other.

    They are taken apart only when somebody looks at one: a sink that sends lines as they are sends `data`.
    """

    __slots__ = ("_records", "data", "seqs", "stream")

    def __init__(self, stream: str, seqs: Sequence[int], data: bytes) -> None:
        self.data = data
        self.stream = stream
        self.seqs = seqs
        self._records: list[SealedLine] | None = None

    def __len__(self) -> int:
        return len(self.seqs)

    @overload
    def __getitem__(self, index: int) -> SealedLine: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[SealedLine]: ...
    def __getitem__(self, index: int | slice) -> SealedLine | Sequence[SealedLine]:
        return self._take_apart()[index]

    def __iter__(self) -> Iterator[SealedLine]:
        return iter(self._take_apart())

    def _take_apart(self) -> list[SealedLine]:
        if self._records is None:
            lines = [line + b"\n" for line in self.data.split(b"\n")]
            self._records = [*map(SealedLine, repeat(self.stream), self.seqs, lines)]
        return self._records


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


class AnsweredSink:
    """Base of the sinks whose `send` returns when the far end has the batch: nothing is left to settle."""

    window = 0

    def settled(self) -> bool:
        """Return True: what was sent is delivered."""
        return True


@runtime_checkable
class Archive(Sink, Protocol):
    """A sink that keeps each batch as one object for ever.

    A batch that was begun is sent again as it was, after a kill too: records that came in the meantime go into the
    next one. Otherwise two objects would hold the same records.
    """

    linger: float
    """Seconds that a batch which is not full waits for more, unless the shipper is told otherwise."""
