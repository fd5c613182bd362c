"""A canary for loggers: those that used to reach the trail and now would not, and what silenced them.

No test record is sent through `logging`, where other handlers would print it: the walk that a record would take is
taken here step by step, over the same switches (`logging.disable`, `disabled`, levels, handlers, `propagate`).

What a filter does with a record is known only to the filter, and asking it is no look but an act: one that counts, or
drops what it has seen before, would treat the next real record otherwise. So only what filters do to real records is
watched, and only where there are any.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Final

from .trail import AuditTrail

__all__ = ["NEVER", "SilenceWatch", "watch_for_silence"]

_MOST_LOGGERS: Final = 512
_FEW: Final = 3
"""Records in a row that a new filter may leave out: a filter is there to leave things out, but not everything."""
NEVER: Final = 1 << 30
"""Above any level."""


class _Sieve:
    """What the filters at one place did with the records of one logger."""

    __slots__ = ("dropped", "trusted")

    def __init__(self) -> None:
        self.trusted: list[Any] = []
        """The filters that were there when a record last came through: these let something through."""
        self.dropped = 0
        """Records that were left out since."""

    def pass_on(self, filters: list[Any]) -> None:
        self.dropped = 0
        if self.trusted != filters:
            self.trusted = filters[:]

    def is_shut(self, filters: list[Any]) -> bool:
        return self.dropped >= _FEW and any(each not in self.trusted for each in filters)


class SilenceWatch:
    """Remembers which loggers were heard at which level; tells which of them no longer would be.

    Args:
        handler_type: a logger is heard if a handler of this type is on the way of its records.
    """

    def __init__(self, handler_type: type[logging.Handler]) -> None:
        self._handler_type = handler_type
        self.levels: dict[str, int] = {}
        """The least level heard of each logger: what is at or above it is no news."""
        self._sieves: weakref.WeakKeyDictionary[logging.Filterer, dict[str, _Sieve]] = weakref.WeakKeyDictionary()

    def heard(self, record: logging.LogRecord) -> None:
        """Note that a record of this logger and level came through."""
        if record.levelno < self.levels.get(record.name, NEVER) and len(self.levels) < _MOST_LOGGERS:
            # Records that come another way (a queue's listener) say nothing about the logger they name.
            if self._find_cause(record.name, record.levelno) is None:
                self.levels[record.name] = record.levelno
                self._trust_filters(record.name)
            else:
                self.levels[record.name] = -NEVER

    def _trust_filters(self, name: str) -> None:
        """A record came through all of them just now."""
        place = logger = _find_logger(name)
        places: list[logging.Filterer] = [] if logger is None else [logger]
        while place is not None:
            places += [handler for handler in place.handlers if isinstance(handler, self._handler_type)]
            place = place.parent if place.propagate else None
        for each in places:
            if each.filters:
                self._sieve(each, name).pass_on(each.filters)

    def sifted(self, place: logging.Filterer, record: logging.LogRecord, *, passed: bool) -> None:
        """Note what the filters of a logger or a handler did with a real record."""
        try:
            if passed:
                self._sieve(place, record.name).pass_on(place.filters)
            elif record.levelno >= self.levels.get(record.name, NEVER):
                self._sieve(place, record.name).dropped += 1
        except TypeError:  # a record made by hand, with a name or level that is none
            pass

    def _sieve(self, place: logging.Filterer, name: str) -> _Sieve:
        sieves = self._sieves.setdefault(place, {})
        sieve = sieves.get(name)
        if sieve is None:
            sieve = _Sieve()
            if len(sieves) < _MOST_LOGGERS:
                sieves[name] = sieve
        return sieve

    def _is_shut(self, place: logging.Filterer, name: str) -> bool:
        sieve = self._sieves.get(place, {}).get(name)
        if sieve is not None and not place.filters:
            sieve.dropped = 0
        return sieve is not None and sieve.is_shut(place.filters)

    def __call__(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the silenced loggers: a key for each, its cause and details."""
        found: dict[str, Mapping[str, Any]] = {}
        for name, level in list(self.levels.items()):
            if level == -NEVER:
                continue
            _observe_filters(name)
            if (by := self._find_cause(name, level)) is not None:
                found[f"logger silenced: {name}"] = {"cause": "logger silenced", "logger": name, "by": by}
        return found

    def _find_cause(self, name: str, level: int) -> str | None:
        logger = _find_logger(name)
        if logging.root.manager.disable >= level:
            return "logging.disable"
        if logger is None:
            return "no such logger"
        if logger.disabled:
            return "disabled"
        if logger.getEffectiveLevel() > level:
            return "level"
        if self._is_shut(logger, name):
            return "filter"
        too_high = shut = False
        place: logging.Logger | None = logger
        while place is not None:
            for handler in place.handlers:
                if isinstance(handler, self._handler_type):
                    if handler.level > level:
                        too_high = True
                    elif self._is_shut(handler, name):
                        shut = True
                    else:
                        return None
            place = place.parent if place.propagate else None
        return "handler filter" if shut else "handler level" if too_high else "handler removed"


def _find_logger(name: str) -> logging.Logger | None:
    known = logging.root.manager.loggerDict.get(name)  # unlike `getLogger`, this makes none
    return logging.root if name == "root" else known if isinstance(known, logging.Logger) else None


def _observe_filters(name: str) -> None:
    """Be told what a logger's filters do, as long as it has any.

    Only the filters themselves know, and `logging` tells nobody; so the logger's own `filter` is called through ours.
    """
    logger = _find_logger(name)
    if logger is None:
        return
    ours = getattr(logger.__dict__.get("filter"), "tells", False)
    if logger.filters and "filter" not in logger.__dict__:
        logger.filter = _telling(logger)  # type: ignore[method-assign, assignment]
    elif ours and not logger.filters:
        del logger.filter


def _telling(logger: logging.Logger) -> Callable[[logging.LogRecord], Any]:
    decide = logger.filter

    def filter_and_tell(record: logging.LogRecord) -> Any:
        passed: Any = decide(record)  # since Python 3.12 it may be another record
        for watch in list(_watches.values()):
            watch.sifted(logger, record, passed=bool(passed))
        return passed

    filter_and_tell.tells = True  # type: ignore[attr-defined]
    return filter_and_tell


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
