"""A shop that knows nothing of otel-audit, and configures logging for itself."""

import logging
import logging.config

logging.config.dictConfig(
    {
        "version": 1,
        "formatters": {"short": {"format": "%(levelname)s %(name)s: %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "short"}},
        "root": {"level": "INFO", "handlers": ["stderr"]},
    }
)

logging.getLogger("shop.accounts").info("login", extra={"user": "alice", "password": "correct horse"})
logging.getLogger("shop.invoices").info("invoice 7 deleted", extra={"user": "alice"})
logging.getLogger("urllib3").info("connection pool is full")
