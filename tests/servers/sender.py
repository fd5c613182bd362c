"""A process that logs through the real `configure`: `python -m tests.servers.sender '{"journal": ...}' first last`.

It says the number of each hundredth record once the call has returned, and waits to be killed; with `--leave` it
delivers everything, and leaves with 0 if all of it was confirmed.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys

import otel_audit


def main() -> None:
    settings, first, last = json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    trail = otel_audit.configure(**settings)
    logger = logging.getLogger("shop")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(otel_audit.AuditHandler())
    for number in range(first, last):
        logger.info("invoice paid", extra={"number": number, "note": "naïve \u2028" + "x" * (number % 300)})
        if number % 100 == 99 or number == last - 1:
            os.write(1, b"%d\n" % number)
    if "--leave" not in sys.argv:
        signal.pause()
    sys.exit(0 if trail.close(300) else 1)


if __name__ == "__main__":
    main()
