"""One rule for tests that need a real server: skip with the reason, or fail where servers are required."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(server: str, how_to_get_it: str) -> NoReturn:
    """Skip the test, or fail it where `OTEL_AUDIT_REQUIRE_SERVERS` is set (as `.ci/run` does)."""
    message = f"{server} is not here: {how_to_get_it}"
    if os.environ.get("OTEL_AUDIT_REQUIRE_SERVERS"):
        pytest.fail(message)
    pytest.skip(message)
