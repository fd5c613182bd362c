"""otel-audit: existing logging calls become audit records that nobody can quietly change, and that arrive.

import otel_audit
from otel_audit import audit

otel_audit.configure(journal="/var/lib/shop/audit")
audit.record("invoice.delete", actor="alice", target="invoice/7", outcome="success")
"""

__version__ = "0.1.0"

from typing import TYPE_CHECKING, Any

from . import api as audit
from .api import action, audited, bind, record
from .config import configure, current_trail
from .durability import Receipt
from .errors import AuditError, ConfigurationError, DeliveryTimeout, FormatError, RecordLost
from .handler import AuditHandler
from .trail import AuditTrail

__all__ = [
    "AuditError",
    "AuditFormatter",
    "AuditHandler",
    "AuditTrail",
    "ConfigurationError",
    "DeliveryTimeout",
    "FormatError",
    "Receipt",
    "RecordLost",
    "__version__",
    "action",
    "audit",
    "audited",
    "bind",
    "configure",
    "current_trail",
    "record",
]

if TYPE_CHECKING:
    from .formatter import AuditFormatter


def __getattr__(name: str) -> Any:
    if name == "AuditFormatter":  # needs python-json-logger, which not every process that logs should pay for
        from .formatter import AuditFormatter

        return AuditFormatter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
