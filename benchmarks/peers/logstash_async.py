"""python-logstash-async, with its events in memory: over TLS, and in the clear."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from logstash_async.formatter import LogstashFormatter
from logstash_async.handler import AsynchronousLogstashHandler

from benchmarks.cases import LOGSTASH, Far, Log, Way
from benchmarks.peers.standard import attach


def _open(_: Path, far: Far, *, tls: bool) -> Log:
    handler = AsynchronousLogstashHandler(
        "localhost", far.port, None, ssl_enable=tls, ca_certs=str(far.authority) if tls else None
    )
    handler.setFormatter(LogstashFormatter(extra_prefix=None))
    return attach(handler)._replace(close=lambda: None)  # what it does at its end is not measured


WAYS = (
    Way(LOGSTASH, "tls", partial(_open, tls=True), events=3_000),
    Way("python-logstash-async, in the clear", "tcp", partial(_open, tls=False), events=3_000),
)
