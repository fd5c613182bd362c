"""Pins: what was seen is not forgotten, not moved back, and not made up."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_audit.errors import ConfigurationError
from otel_audit.integrity.pins import Pin, Pins


def test_pins_come_back_from_their_file(tmp_path: Path) -> None:
    path = tmp_path / "pins"
    pins = Pins(path, trust_first_use=True)
    pins.advance("a/ü", 5, bytes(32))
    pins.save()
    assert Pins(path).get("a/ü") == Pin(5, bytes(32))
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["pins"]


def test_a_new_log_is_pinned_only_when_told(tmp_path: Path) -> None:
    pins = Pins(tmp_path / "pins")
    pins.advance("a", 5, bytes(32))
    assert pins.get("a") is None


@pytest.mark.parametrize(("size", "root"), [(4, bytes(32)), (5, b"\x01" * 32), (0, bytes(32))])
def test_a_pin_does_not_go_back(size: int, root: bytes) -> None:
    pins = Pins(trust_first_use=True)
    pins.advance("a", 5, bytes(32))
    with pytest.raises(ValueError, match="does not go back"):
        pins.advance("a", size, root)
    pins.advance("a", 5, bytes(32))
    pins.advance("a", 6, b"\x02" * 32)
    assert pins.get("a") == Pin(6, b"\x02" * 32)


ROOT = "A" * 43 + "="


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"format": "otel-audit.pins/2", "pins": {}}',
        '{"format": "otel-audit.pins/1"}',
        '{"format": "otel-audit.pins/1", "pins": []}',
        f'{{"format": "otel-audit.pins/1", "pins": {{"a": {{"size": true, "root": "{ROOT}"}}}}}}',
        f'{{"format": "otel-audit.pins/1", "pins": {{"a": {{"size": -1, "root": "{ROOT}"}}}}}}',
        '{"format": "otel-audit.pins/1", "pins": {"a": {"size": 1, "root": "AAAA"}}}',
        "[" * 100_000,
    ],
)
def test_a_damaged_pin_file_is_an_error_and_not_an_empty_one(tmp_path: Path, content: str) -> None:
    (tmp_path / "pins").write_text(content)
    with pytest.raises(ConfigurationError, match="not a whole pin file"):
        Pins(tmp_path / "pins", trust_first_use=True)
