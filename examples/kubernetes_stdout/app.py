"""An ordinary service with ordinary logging calls. Its audit records go to standard output, one sealed line each."""

from __future__ import annotations

import logging

import otel_audit

log = logging.getLogger("shop.orders")


def place_order(number: int) -> None:
    log.info("order placed", extra={"order": number, "amount": 12.5})


def delete_invoice(number: int) -> None:
    with otel_audit.action("invoice.delete", target=f"invoice/{number}"):
        pass  # the work; if it raised, the record would say so


if __name__ == "__main__":
    otel_audit.configure()  # no journal and no sink named: standard output
    logging.basicConfig(level=logging.INFO, handlers=[otel_audit.AuditHandler()])
    with otel_audit.bind(actor="alice", tenant="acme"):
        for number in range(1, 6):
            place_order(number)
        delete_invoice(3)
