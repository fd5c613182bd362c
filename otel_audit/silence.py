"""A canary for loggers: those that used to reach the trail and now would not, and what silenced them.

No test record is sent through `logging`, where other handlers would print it: the walk that a record would take is
taken here step by step, over the same switches (`logging.disable`, `disabled`, levels, handlers, `propagate`).
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Mapping
from typing import Any, Final

from .trail import AuditTrail

__all__ = ["NEVER", "SilenceWatch", "watch_for_silence"]

_MOST_LOGGERS: Final = 512
NEVER: Final = 1 << 30
"""Above any level."""


class SilenceWatch:
    """Remembers which loggers were heard at which level; tells which of them no longer would be.

    Args:
        handler_type: a logger is heard if a handler of this type is on the way of its records.
    """

    def __init__(self, handler_type: type[logging.Handler]) -> None:
        self._handler_type = handler_type
        self.levels: dict[str, int] = {}
        """The least level heard of each logger: what is at or above it is no news."""

    def heard(self, record: logging.LogRecord) -> None:
        """Note that a record of this logger and level came through."""
        if record.levelno < self.levels.get(record.name, NEVER) and len(self.levels) < _MOST_LOGGERS:
            # Records that come another way (a queue's listener) say nothing about the logger they name.
            if self._find_cause(record.name, record.levelno) is None:
                self.levels[record.name] = record.levelno
            else:
                self.levels[record.name] = -NEVER

    def __call__(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the silenced loggers: a key for each, its cause and details."""
        found: dict[str, Mapping[str, Any]] = {}
        for name, level in list(self.levels.items()):
            if level == -NEVER:
                continue
            if (by := self._find_cause(name, level)) is not None:
                found[f"logger silenced: {name}"] = {"cause": "logger silenced", "logger": name, "by": by}
        return found

    def _find_cause(self, name: str, level: int) -> str | None:
        known = logging.root.manager.loggerDict.get(name)  # unlike `getLogger`, this makes none
        logger = logging.root if name == "root" else known if isinstance(known, logging.Logger) else None
        if logging.root.manager.disable >= level:
            return "logging.disable"
        if logger is None:
            return "no such logger"
        if logger.disabled:
            return "disabled"
        if logger.getEffectiveLevel() > level:
            return "level"
        too_high = False
        place: logging.Logger | None = logger
        while place is not None:
            for handler in place.handlers:
                if isinstance(handler, self._handler_type):
                    if handler.level <= level:
                        return None
                    too_high = True
            place = place.parent if place.propagate else None
        return "handler level" if too_high else "handler removed"


_watches: weakref.WeakKeyDictionary[AuditTrail, SilenceWatch] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def watch_for_silence(trail: AuditTrail, handler_type: type[logging.Handler]) -> SilenceWatch:
    """Return the trail's watch over loggers, which its keeper asks each second."""
    with _lock:
        watch = _watches.get(trail)
        if watch is None:
            watch = _watches[trail] = SilenceWatch(handler_type)
            trail.watch(watch)
        return watch
