"""What a caller is promised of a record: when the call returns, what it returns, what it sees of a failure."""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["Durability", "FailurePolicy", "OnFailure", "Receipt"]

Durability = Literal["process", "relaxed", "always", "ack"]
OnFailure = Literal["warn", "raise", "block"]


class Receipt(NamedTuple):
    """Where a record stands. `seq` and `hash` are None only if it was logged from inside the write of another
    (a signal handler, `__del__`): then the record is kept, but had no place yet when the call returned."""

    stream: str
    seq: int | None
    hash: str | None

    @property
    def id(self) -> str:
        """The record's id, `<stream>-<seq>`."""
        return f"{self.stream}-{self.seq}"


class FailurePolicy(NamedTuple):
    """What happens to a caller whose record cannot be kept. The loss itself always becomes an `audit.gap` record."""

    on_failure: OnFailure = "warn"
    block_timeout: float = 10.0
    """Seconds that `block` keeps trying before it raises."""
