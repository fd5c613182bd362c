"""A process that logs to a sink in some state: `python -m tests.delivery.caller JOURNAL URL RECORDS`.

It prints the 99th percentile of its calls in µs, and how many bytes its resident memory grew by after a warm-up.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import warnings

import otel_audit

WARM_UP = 5_000


def main() -> None:
    journal, url, records = sys.argv[1], sys.argv[2], int(sys.argv[3])
    warnings.simplefilter("ignore")
    otel_audit.configure(journal=journal, sinks=[url])
    logger = logging.getLogger("shop")
    logger.setLevel(logging.INFO)
    logger.addHandler(otel_audit.AuditHandler())
    for number in range(WARM_UP):
        logger.info("invoice paid", extra={"number": number, "iban": "x" * 100})
    time.sleep(0.3)
    before = resident_bytes()
    calls = [0] * min(records, 100_000)  # of the last ones
    for number in range(records):
        began = time.perf_counter_ns()
        logger.info("invoice paid", extra={"number": number, "iban": "x" * 100})
        calls[number % len(calls)] = time.perf_counter_ns() - began
    grown = resident_bytes() - before
    calls.sort()
    print(json.dumps({"p99": calls[len(calls) * 99 // 100] / 1e3, "grown": grown}), flush=True)
    os._exit(0)  # nothing more is to be delivered


def resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
