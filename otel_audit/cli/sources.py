"""Which records a command looks at."""

from __future__ import annotations

import argparse
import os

__all__ = ["add_sources"]


def add_sources(parser: argparse.ArgumentParser) -> None:
    """Declare `sources`, which need not be given where the environment names a journal."""
    journal = os.environ.get("OTEL_PYTHON_AUDIT_JOURNAL")
    parser.add_argument(
        "sources",
        nargs="*" if journal else "+",
        metavar="SRC",
        default=[journal],
        help="files or directories (default: the journal that OTEL_PYTHON_AUDIT_JOURNAL names)",
    )
