"""A service whose audit records go to its journal; the agent beside it takes them from there."""

from __future__ import annotations

import logging
import sys

import otel_audit

if __name__ == "__main__":
    directory, count = sys.argv[1], int(sys.argv[2])
    otel_audit.configure(journal=directory, sinks=[])
    logging.basicConfig(level=logging.INFO, handlers=[otel_audit.AuditHandler()])
    with otel_audit.bind(actor="alice", tenant="acme"):
        for number in range(count):
            logging.getLogger("shop").info("order placed", extra={"order": number})
