"""What every test starts from: none of this machine's settings."""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import settings

settings.register_profile("thorough", max_examples=1000, deadline=None)

if os.environ.get("OTEL_AUDIT_WITHOUT_C"):
    sys.modules["otel_audit._native"] = None  # type: ignore[assignment] - importing it raises, as where it was not built

_CA_VARIABLES = {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drop OTEL_* settings and the CA bundles that a machine may point HTTP clients at."""
    for name in list(os.environ):
        if name in _CA_VARIABLES or (name.startswith("OTEL_") and name != "OTEL_AUDIT_REQUIRE_SERVERS"):
            monkeypatch.delenv(name)
