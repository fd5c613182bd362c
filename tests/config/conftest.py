"""What the tests of the configuration share: no trail and no listening logger is left behind."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from otel_audit import config
from otel_audit.config.loggers import listen_to


@pytest.fixture(autouse=True)
def no_trail_left_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(config, "_trail", None)
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)
    if config._trail is not None:
        config._trail.close(timeout=0.2)
    listen_to([])
