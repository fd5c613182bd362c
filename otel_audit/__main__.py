"""`python -m otel_audit`."""

import sys

from otel_audit.cli.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
