"""Starting without a line of code: the environment says what the trail is and which loggers become audit.

What a program does to its own logging later (`dictConfig`, `fileConfig`, `basicConfig(force=True)`) takes handlers off
loggers, and by default disables each logger that it does not name but finds, as it finds ours, which were made before
it began: both are undone at once.
"""

from __future__ import annotations

import functools
import logging
import logging.config
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from .config import configure
from .config.loggers import listen_to
from .config.resolving import resolve
from .trail import AuditTrail

__all__ = ["DEFAULT_LOGGERS", "start"]

DEFAULT_LOGGERS: Final = ("audit",)
"""What becomes audit if OTEL_PYTHON_AUDIT_LOGGERS names nothing."""

_listen: Callable[[], None] | None = None


def start(**given: Any) -> AuditTrail:
    """Build the process's trail from the environment, attach it to loggers, and keep it attached.

    Args:
        given: settings, as for `configure`, over those of the environment.

    Raises:
        ConfigurationError: a setting is unusable.
    """
    global _listen
    settings = resolve(given, os.environ).settings
    loggers = settings.loggers or DEFAULT_LOGGERS
    trail = configure(**{**given, "loggers": loggers})
    if _listen is None:
        _follow_reconfiguration()
    _listen = functools.partial(_listen_again, loggers, settings.select)
    return trail


def _listen_again(loggers: Sequence[str], select: Mapping[str, Any] | None) -> None:
    listen_to(loggers, select)
    for name in loggers:
        logging.getLogger(name).disabled = False


def _follow_reconfiguration() -> None:
    for module, name in ((logging.config, "dictConfig"), (logging.config, "fileConfig"), (logging, "basicConfig")):
        setattr(module, name, _listening_again(getattr(module, name)))


def _listening_again(reconfigure: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(reconfigure)
    def reconfigure_and_listen(*args: Any, **kwargs: Any) -> Any:
        try:
            return reconfigure(*args, **kwargs)
        finally:
            if _listen is not None:
                _listen()

    return reconfigure_and_listen
