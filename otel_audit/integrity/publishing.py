"""Publishing checkpoints to anchors: one thread an anchor, at the anchor's own pace, for as long as it takes.

A later checkpoint covers all that an earlier one does, so an anchor that is slow or down costs one checkpoint of
memory and gets the newest one when it is back. Anchors of one pace are offered the same checkpoints, so that the
cosignatures of several witnesses stand under one text.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from otel_audit.errors import AuditError
from otel_audit.integrity.checkpoint import Checkpoint

__all__ = ["Anchor", "AnchorError", "AnchorPlan", "AnchorRefused", "Anchored", "Publisher", "Receipt", "SignedHead"]

_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 60.0
_CLOSING_PAUSE: Final = 0.1
_SAID_EACH: Final = 60.0
"""Seconds between two `audit.anchor` records about an anchor that gives no receipt."""
_REFUSES: Final = "anchor refuses"
_DOUBTS: Final = 3
"""Attempts with an unknown outcome from whose sizes a witness may still ask for a proof."""


_left_behind: Final[list[Anchor | None]] = []
"""A parent's anchors in a forked child, kept from the garbage collector: their destructors might say goodbye."""


class AnchorError(AuditError):
    """The anchor does not have the checkpoint; it is offered again, or a newer one is.

    The message is for people and holds no secret. `retry_after` is what the far end asked for, in seconds.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class AnchorRefused(AnchorError):
    """The anchor was reached and said no: this checkpoint contradicts what it knows, or it does not know the log."""


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A signed checkpoint on its way to an anchor."""

    note: str
    checkpoint: Checkpoint
    prove: Callable[[int], list[bytes]]
    """Returns the consistency proof from the tree of so many records to this one (RFC 9162, section 2.1.4); raises
    `AnchorError` where it cannot be made any more. For anchors whose class says `proves = True`."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an anchor gave in return."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    """Plain JSON for the `audit.anchor` record: a stamp, a version id, a commit. Names that stand for secrets, such as
    `token`, are masked in any record."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """What is kept beside the stream's checkpoint as `checkpoints/<stream>.<anchor's name>.<ending>`, by its ending.
    `checkpoint` ends a signed note; the verifier finds it by itself."""


class Anchor(Protocol):
    """A place outside the log's reach that keeps checkpoints of one stream. One thread at a time calls it."""

    name: str
    """Short, unique within a trail, fit for a file's name; in messages and records. Holds no secret."""

    def publish(self, head: SignedHead) -> Receipt | None:
        """Keep a signed checkpoint; return when it is kept. None where there is nothing to show for it.

        Has to give up by itself in some seconds.

        Raises:
            AnchorRefused: it was reached and said no.
            AnchorError: it has not got it. Anything else that is raised counts the same.
        """

    def close(self) -> None:
        """Release connections. It may be used again afterwards."""


class AnchorPlan(NamedTuple):
    """One anchor as it was configured; each stream gets its own."""

    name: str
    make: Callable[[], Anchor]
    every: float = 0.0
    """Seconds between two checkpoints that it gets, beside the last one; 0 for each."""
    proves: bool = False
    """Whether it asks for consistency proofs (`SignedHead.prove`)."""


class Anchored(NamedTuple):
    """A checkpoint that an anchor has."""

    anchor: str
    head: SignedHead
    receipt: Receipt
    recorded: bool
    """Whether it is worth an `audit.anchor` record."""


class Publisher:
    """Brings checkpoints of one stream to one anchor."""

    def __init__(self, plan: AnchorPlan, *, report: Callable[[str], None], kept: Callable[[Anchored], None]) -> None:
        """`report` is told, once each, that the anchor fails and that it is back; `kept` what it has.

        `kept` is called in the publisher's thread, and not behind `close`.
        """
        self.name = plan.name
        self.proves = plan.proves
        self._plan = plan
        self._report = report
        self._kept = kept
        self._changed = threading.Condition()
        self._head: SignedHead | None = None
        self._due = float("-inf")
        self._offered = -1
        self._said = float("-inf")
        self._deadline: float | None = None
        self._thread: threading.Thread | None = None
        self._anchor: Anchor | None = None
        self._trouble: Mapping[str, Any] | None = None
        self._confirmed = 0
        self._doubtful: tuple[int, ...] = ()
        self._failures = 0

    def wants(self, head: Checkpoint, now: float, *, last: bool = False) -> bool:
        """Tell whether this checkpoint is for this anchor: one is due at this monotonic time, or it is the last one.

        An anchor that fails gets the newest when it is back.
        """
        return head.size > self._offered if last else now >= self._due or self._trouble is not None

    def offer(self, head: SignedHead, now: float) -> None:
        """Take a newer checkpoint; whatever was not published yet is replaced by it."""
        self._due = now + self._plan.every
        self._offered = head.checkpoint.size
        with self._changed:
            self._head = head
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=f"otel-audit-anchor-{self.name}", daemon=True)
                with contextlib.suppress(RuntimeError):  # the interpreter is going down: `close` publishes
                    thread.start()
                    self._thread = thread
            self._changed.notify_all()

    def bases(self) -> Iterator[int]:
        """Return the sizes from which the anchor may ask for a proof."""
        head = self._head
        yield self._confirmed
        yield from self._doubtful
        if head is not None:
            yield head.checkpoint.size

    def troubles(self) -> Mapping[str, Any] | None:
        """Return what is wrong with the anchor now, for a record; None if nothing is.

        That one attempt came to nothing is nothing yet; a refusal is.
        """
        refused = self._trouble is not None and self._trouble["cause"] == _REFUSES
        return self._trouble if refused or self._failures > 1 else None

    def close(self, timeout: float) -> None:
        """Give the last checkpoint `timeout` seconds to arrive, then stop."""
        if self._thread is None:
            if self._head is not None:
                self._publish(self._head)
            self._leave()
            return
        with self._changed:
            self._deadline = time.monotonic() + timeout
            self._changed.notify_all()
        self._thread.join(timeout + _CLOSING_PAUSE)
        if self._thread.is_alive():
            self._report(f"anchor {self.name} does not have the last checkpoint")

    def abandon(self) -> None:
        """In a forked child, where the thread does not exist: forget it."""
        _left_behind.append(self._anchor)
        self._thread, self._head, self._anchor = None, None, None
        self._changed = threading.Condition()

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._head is not None or self._deadline is not None)
                head = self._head
            if head is None:
                break
            asked = self._publish(head)
            if asked is None:
                pause = _FIRST_PAUSE
                with self._changed:
                    if self._head is head:
                        self._head = None
            elif self._gives_up_after(max(asked, random.uniform(0, pause))):  # noqa: S311 - jitter, not a secret
                self._report(f"anchor {self.name} does not have the last checkpoint")
                break
            else:
                pause = min(2 * pause, _LONGEST_PAUSE)
        self._leave()

    def _gives_up_after(self, pause: float) -> bool:
        """Wait before the next attempt; tell whether there will be none."""
        with self._changed:
            head = self._head
            if not self._changed.wait_for(lambda: self._deadline is not None, pause):
                return False
            if self._head is head and self._trouble is not None and self._trouble["cause"] == _REFUSES:
                return True  # it would say the same again
            self._changed.wait(_CLOSING_PAUSE)
            return self._deadline is not None and time.monotonic() >= self._deadline

    def _publish(self, head: SignedHead) -> float | None:
        """Return None once the anchor has it, else how many seconds it asked to be left alone."""
        if self.proves and head.checkpoint.size not in self._doubtful:
            self._doubtful = (*self._doubtful, head.checkpoint.size)[-_DOUBTS:]
        try:
            if self._anchor is None:
                self._anchor = self._plan.make()
            receipt = self._anchor.publish(head)
        except AnchorError as error:
            self._fail(error, str(error))
            return min(error.retry_after or 0.0, _LONGEST_PAUSE)
        except Exception as error:  # noqa: BLE001 - an anchor is someone else's code and network
            self._fail(error, type(error).__name__)
            return 0.0
        self._confirmed = head.checkpoint.size
        self._doubtful, self._failures = (), 0
        if self._trouble is not None:
            self._trouble = None
            self._report(f"anchor {self.name} takes checkpoints again")
        self._tell(head, receipt)
        return None

    def _tell(self, head: SignedHead, receipt: Receipt | None) -> None:
        now = time.monotonic()
        recorded = receipt is not None or now >= self._said + _SAID_EACH
        if recorded:
            self._said = now
        self._kept(Anchored(self.name, head, receipt or Receipt(), recorded))

    def _fail(self, error: Exception, why: str) -> None:
        cause = _REFUSES if isinstance(error, AnchorRefused) else "anchor failing"
        if self._trouble is None or self._trouble["cause"] != cause:
            self._report(f"anchor {self.name} does not take checkpoints: {why}")
        self._failures += 1
        self._trouble = {"cause": cause, "anchor": self.name, "error": why}

    def _leave(self) -> None:
        if self._anchor is not None:
            with contextlib.suppress(Exception):
                self._anchor.close()
            self._anchor = None
