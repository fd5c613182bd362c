"""auditchain's logging handler: a hash chain written by a background thread."""

from __future__ import annotations

import asyncio
from pathlib import Path

from auditchain import AuditLog, AuditLogHandler, JsonlBackend

from benchmarks.cases import Case, Log
from benchmarks.peers.standard import attach


def _open(directory: Path) -> Log:
    log = AuditLog(JsonlBackend(directory / "log.jsonl"))
    asyncio.run(log.init())
    logger = attach(AuditLogHandler(log))
    return Log(
        lambda event: logger.write({"audit_actor": event["user"], "audit_metadata": event}),
        logger.flush,
        logger.close,
    )


CASES = (Case("auditchain AuditLogHandler", _open, events=2_000),)
