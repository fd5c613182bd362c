"""Where a processor stands among those of its provider, and whether audit events can be sealed there."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any, Final

__all__ = ["find_fault"]

_POOL: Final = "concurrent.futures.thread"
_DEPTH: Final = 4

CONCURRENT: Final = (
    "a ConcurrentMultiLogRecordProcessor runs processors in other threads and in no order: who acted is not known "
    "there, and the others may export a record before it is sealed. Use the provider's default, or `next=` with a "
    "processor of your own."
)


def find_fault(processor: object) -> str | None:
    """Return what is wrong with the place of a processor, to be called from within its `on_emit`; None if nothing.

    A processor is not told whom it is registered with. Who called it knows.
    """
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_DEPTH):
        if frame is None:
            return None
        if frame.f_globals.get("__name__") == _POOL:
            return CONCURRENT
        caller: Any = frame.f_locals.get("self")
        siblings = getattr(caller, "_log_record_processors", None)
        if isinstance(siblings, tuple) and processor in siblings:
            return _fault_among(siblings, processor)
        frame = frame.f_back
    return None


def _fault_among(siblings: tuple[object, ...], processor: object) -> str | None:
    place = siblings.index(processor)
    if place == 0:
        return None
    first = type(siblings[0]).__name__
    return (
        f"the audit processor is registered behind {first}, which may have changed or exported what is sealed only "
        "now. Register it first, use otel_audit.otel.install(provider), or wrap the other one: "
        f"AuditLogRecordProcessor(next={first}(...))."
    )
