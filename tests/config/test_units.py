"""Times and sizes as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_audit.units import parse_bytes, parse_seconds


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("20ms", 0.02),
        ("5s", 5.0),
        ("5", 5.0),
        (" 1.5 h ", 5400.0),
        ("10m", 600.0),
        ("2d", 172_800.0),
        (3, 3.0),
        (".5s", 0.5),
    ],
)
def test_a_time_may_have_a_unit(written: object, seconds: float) -> None:
    assert parse_seconds(written) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("written", "size"),
    [("64MiB", 64 << 20), ("1gb", 10**9), ("4096", 4096), ("1.5 KiB", 1536), (7, 7), ("12B", 12), ("2TiB", 2 << 40)],
)
def test_a_size_may_have_a_unit(written: object, size: int) -> None:
    assert parse_bytes(written) == size


@pytest.mark.parametrize(
    "written", ["", "5 seconds", "s", "-1", -1, "1e3", "inf", float("nan"), True, None, [], "٣s", "1" * 100]
)
def test_what_is_no_time_is_none(written: object) -> None:
    assert parse_seconds(written) is None


@pytest.mark.parametrize("written", ["", "64M", "1.5", "1.0001KB1", "-1", -1, 1.5, True, None, "1 EiB", "0x10"])
def test_what_is_no_size_is_none(written: object) -> None:
    assert parse_bytes(written) is None


@given(st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.binary()))
def test_reading_never_raises(written: object) -> None:
    for amount in (parse_seconds(written), parse_bytes(written)):
        assert amount is None or amount >= 0


@given(st.integers(0, 2**60))
def test_a_number_of_bytes_is_exact(size: int) -> None:
    assert parse_bytes(str(size)) == parse_bytes(size) == size
