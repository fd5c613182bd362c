"""What this package raises.

AuditError
├── ConfigurationError   a setting is wrong; the message names it and says what to do
├── RecordLost           a record could not be kept and the failure policy says to raise
├── DeliveryTimeout      required sinks did not confirm a record before the deadline
└── FormatError          bytes that should be a record line are not
"""

from __future__ import annotations

__all__ = ["AuditError", "ConfigurationError", "DeliveryTimeout", "FormatError", "RecordLost"]


class AuditError(Exception):
    """Base of every error that this package raises on purpose."""


class ConfigurationError(AuditError, ValueError):
    """A setting is unusable. The message names the setting, where it came from and what to do; no secret is in it."""

    def __init__(self, message: str = "") -> None:
        try:
            from .redaction.text import mask_text  # not before it is needed: errors are imported by all
        except ImportError:  # the single-file verifier has no settings, and no secrets
            super().__init__(message)
        else:
            super().__init__(mask_text(message))


class RecordLost(AuditError):
    """A record was not kept (disk full, quota, I/O error). The loss is also counted in an `audit.gap` record."""


class DeliveryTimeout(AuditError):
    """Required sinks did not confirm a record in time. The record itself is in the journal."""


class FormatError(AuditError, ValueError):
    """Bytes offered as a record line are not one."""
