"""Making existing loggers audit: one handler on each, so that a program's logging calls need no change."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from ..handler import AuditHandler

__all__ = ["listen_to"]

_attached: dict[logging.Logger, AuditHandler] = {}
_lock = threading.Lock()


def listen_to(names: Sequence[str], select: Mapping[str, Any] | None = None) -> None:
    """Attach one `AuditHandler` to the named loggers, in place of those of the call before.

    A logger whose records reach an `AuditHandler` on their way up gets none: its records would be written twice. A
    logger without a level of its own, whose parents would drop INFO, is set to INFO.
    """
    with _lock:
        for logger, handler in _attached.items():
            logger.removeHandler(handler)
        _attached.clear()
        handler = AuditHandler(select=select)
        for name in sorted(names, key=lambda each: (each != "root", each.count("."))):
            logger = logging.getLogger(name)
            if not _is_heard(logger):
                logger.addHandler(handler)
                _attached[logger] = handler
            if logger.level == logging.NOTSET and logger.getEffectiveLevel() > logging.INFO:
                logger.setLevel(logging.INFO)


def _is_heard(logger: logging.Logger) -> bool:
    reached: logging.Logger | None = logger
    while reached is not None:
        if any(isinstance(handler, AuditHandler) for handler in reached.handlers):
            return True
        reached = reached.parent if reached.propagate else None
    return False
