"""One logging call, one record: where both `AuditHandler` and the OpenTelemetry processor meet it, the first seals it.

The processor does not see the `logging.LogRecord`, and a mark on that would show up in everybody's output. What both
know is the thread, the logger and the time of the call; whoever seals leaves those for the other, who takes them.
"""

from __future__ import annotations

import threading
from typing import Final, Literal, TypeAlias

__all__ = ["Sealer", "enter", "note_sealed", "take_sealed"]

Sealer: TypeAlias = Literal["handler", "processor"]

watching: bool = False
"""Whether both are in this process: otherwise nobody need ask."""

_there: Final[set[Sealer]] = set()


class _Last(threading.local):
    """What this thread sealed last, if the other one has not met it yet."""

    sealed: tuple[Sealer, object, int | None, str | None] | None = None


_last: Final = _Last()


def enter(sealer: Sealer) -> None:
    """Have the two leave word for each other, once both have entered."""
    global watching
    _there.add(sealer)
    watching = len(_there) == 2


def note_sealed(by: Sealer, trail: object, nanoseconds: int | None, logger: str | None) -> None:
    """Leave word that a logging call of this time and logger is in this trail now."""
    _last.sealed = (by, trail, nanoseconds, logger)


def take_sealed(by: Sealer, trail: object, nanoseconds: int | None, logger: str | None) -> bool:
    """Tell whether the other one, `by`, has just sealed this logging call. It answers for each call once."""
    if _last.sealed != (by, trail, nanoseconds, logger):
        return False
    _last.sealed = None
    return True
