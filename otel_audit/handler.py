"""The standard library's side of the road: a logging handler that records.

`AuditHandler.handle` takes no lock: encoding runs in the calling thread, and the stream orders what comes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from . import twice
from .config import current_trail
from .context import SelfMade
from .logrecord import admit
from .selection import Select, make_selection
from .silence import NEVER, SilenceWatch, watch_for_silence
from .trail import AuditTrail

__all__ = ["AuditHandler"]


class AuditHandler(logging.Handler):
    """Turns logging records into audit records.

    Args:
        trail: the trail that keeps them; the configured one if None.
        level: least level that is recorded.
        select: which of the records that reach this handler are audit events; all of them if None.
            A callable, or a mapping with `loggers`, `level`, `marker` (see `selection`).

    `extra={"audit": {...}}` fills the schema, `extra={"audit": "invoice.delete"}` gives just the event's name;
    other extras go to `data`. `close()` is not final: a handler that `dictConfig` closed works on if it is used.
    """

    def __init__(
        self, trail: AuditTrail | None = None, *, level: int | str = logging.NOTSET, select: Select = None
    ) -> None:
        super().__init__(level)
        self._trail = trail
        self._select = make_selection(select)
        self._heard_by: AuditTrail | None = None
        self._silence: SilenceWatch
        self._levels: dict[str, int]
        twice.enter("handler")

    def handle(self, record: logging.LogRecord) -> bool:
        """Record it, unless a filter or `select` leaves it out. Takes no lock."""
        if self.filters:
            passed: Any = self.filter(record)  # since Python 3.12 a filter may return another record
            if self._heard_by is not None:
                self._silence.sifted(self, record, passed=bool(passed))
            if not passed:
                return False
            if isinstance(passed, logging.LogRecord):
                record = passed
        if self._select is not None and not self._is_selected(self._select, record):
            return False
        self.emit(record)
        return True

    def _is_selected(self, select: Callable[[logging.LogRecord], bool], record: logging.LogRecord) -> bool:
        try:
            return bool(select(record))
        except Exception:  # noqa: BLE001 - where nobody can tell, it is recorded
            self.handleError(record)
            return True

    def emit(self, record: logging.LogRecord) -> None:
        """Record it.

        Raises:
            RecordLost: it could not be kept, and the failure policy says to raise.
        """
        trail = self._trail or current_trail()
        if trail is not self._heard_by:
            self._heard_by, self._silence = trail, watch_for_silence(trail, AuditHandler)
            self._levels = self._silence.levels
        try:
            if record.levelno < self._levels.get(record.name, NEVER):
                self._silence.heard(record)
        except TypeError:  # a record made by hand, with a name or level that is none
            pass
        try:
            if twice.watching:
                call = _identify(record)
                if twice.take_sealed("processor", trail, *call):
                    return
                trail.keep(admit(trail.door, record))
                twice.note_sealed("handler", trail, *call)
            else:
                trail.keep(admit(trail.door, record))
        except SelfMade:
            return

    def __repr__(self) -> str:
        return f"<AuditHandler {logging.getLevelName(self.level)}>"


def _identify(record: logging.LogRecord) -> tuple[int | None, str | None]:
    """Return what the OpenTelemetry handler tells of this call as well; nothing if somebody made the record by hand."""
    try:
        return int(record.created * 1e9), record.name
    except Exception:  # noqa: BLE001 - what is no time may raise anything; the event must live
        return None, None
