"""otel-audit: existing logging calls become audit records that nobody can quietly change, and that arrive.

import otel_audit
from otel_audit import audit

otel_audit.configure(journal="/var/lib/shop/audit")
audit.record("invoice.delete", actor="alice", target="invoice/7", outcome="success")
"""

__version__ = "0.1.0"

from . import api as audit
from .api import action, audited, bind, record
from .config import configure, current_trail
from .errors import AuditError, ConfigurationError, DeliveryTimeout, FormatError, RecordLost
from .handler import AuditFormatter, AuditHandler
from .stream import Receipt
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
