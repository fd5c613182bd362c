"""The OpenTelemetry side: a processor at one end of the road, the OTLP projection at the other.

What needs the OpenTelemetry SDK is imported when it is asked for: the OTLP sink and the verifier use this package
without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .installation import install
    from .metrics import observe
    from .processor import AuditLogRecordProcessor

__all__ = ["AuditLogRecordProcessor", "install", "observe"]

_HOMES: Final = {"AuditLogRecordProcessor": "processor", "install": "installation", "observe": "metrics"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
