"""A shop that logs with the standard library. Three lines make its audit log tamper-evident."""

import logging
import sys

import otel_audit

logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
log = logging.getLogger("shop.audit")


def delete_invoice(number: int, user: str) -> None:
    log.info(
        "invoice %s deleted",
        number,
        extra={"audit": {"event": "invoice.delete", "actor": user, "target": f"invoice/{number}", "outcome": True}},
    )


if __name__ == "__main__":
    otel_audit.configure(journal=sys.argv[1], sinks=[], loggers=["shop.audit"])
    for number in range(1, 6):
        delete_invoice(number, "alice")
    with otel_audit.bind(actor="bob", tenant="acme"):
        log.warning("login refused", extra={"audit": {"event": "user.login", "outcome": "denied"}})
