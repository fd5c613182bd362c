"""Checks audit streams: what is there, whether it is what was written, and what is missing.

    report = verify(["/var/lib/shop/audit"])
    report.exit_code        # 0 intact, 1 tampered, 2 unreadable, 3 incomplete, 4 unverifiable, 5 empty
    print(report.sentence)

It shares with the writer only the definitions of a record, its canonical bytes and the chain, and runs on the
standard library alone. It is offline, but for a source or an anchor whose path begins with `s3://`.
"""

from __future__ import annotations

from .findings import CODES, Code, Finding, Findings, Severity
from .report import Input, Report, StreamSummary
from .run import Progress, verify

__all__ = [
    "CODES",
    "Code",
    "Finding",
    "Findings",
    "Input",
    "Progress",
    "Report",
    "Severity",
    "StreamSummary",
    "verify",
]
