"""The machine: which versions run, and whether its clock can be believed."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import sys
import sysconfig
import time
from datetime import datetime, timezone
from typing import Final

from otel_audit import __version__, native

from .check import Check

__all__ = ["check_clock", "check_native", "check_synchronization", "check_versions"]

_OPTIONAL: Final = ("opentelemetry-sdk", "opentelemetry-exporter-otlp", "confluent-kafka")
_EARLIEST: Final = datetime(2025, 1, 1, tzinfo=timezone.utc)
_WATCHED: Final = 0.2
_TOLERANCE: Final = 0.05
_TIMESYNCD: Final = "/run/systemd/timesync/synchronized"
_STA_UNSYNC: Final = 0x0040
_TIME_ERROR: Final = 5


def check_versions() -> Check:
    """Say what runs here."""
    found = [f"otel-audit {__version__}", f"Python {platform.python_version()}", f"{platform.system()}"]
    for name in _OPTIONAL:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:  # noqa: PERF203 - an extra that is not installed
            continue
    return Check("versions", "ok", ", ".join(found))


def check_native() -> Check:
    """See whether the part that is written in C was built."""
    if native.Encoder is None and (sysconfig.get_config_var("Py_GIL_DISABLED") or sys.implementation.name != "cpython"):
        return Check("speed", "ok", "the part in C is not made for this Python: a logging call costs more without it")
    if native.Encoder is None:
        return Check(
            "speed",
            "warn",
            "otel-audit was installed without its part in C: a logging call costs about four times as much",
            "install it again where there is a C compiler (and the Python headers), or from a wheel for this platform",
        )
    return Check("speed", "ok", "the part in C was built")


def check_clock(wait: float = _WATCHED) -> Check:
    """See whether the wall clock runs as the monotonic one does, and shows a possible year."""
    wall, steady = time.time(), time.monotonic()
    time.sleep(wait)
    drift = (time.time() - wall) - (time.monotonic() - steady)
    now = datetime.now(timezone.utc)
    if now < _EARLIEST:
        return Check("clock", "fail", f"it is set to {now:%Y-%m-%d}", "set the clock; records carry its time")
    if abs(drift) > _TOLERANCE:
        return Check(
            "clock", "warn", f"it was set by {drift:+.3f} s while we looked", "find out what sets it; slew, not step"
        )
    return Check("clock", "ok", f"{now:%Y-%m-%dT%H:%M:%SZ}, and running evenly")


def check_synchronization() -> Check:
    """Ask the kernel, or systemd, whether something keeps the clock right."""
    synchronized = _ask_kernel()
    if synchronized is None and os.path.exists(_TIMESYNCD):
        synchronized = True
    if synchronized is None:
        return Check("time source", "unknown", "this system does not say whether NTP keeps its clock")
    if not synchronized:
        return Check(
            "time source", "warn", "nothing keeps the clock: it is not synchronized", "run chrony or systemd-timesyncd"
        )
    return Check("time source", "ok", "the clock is synchronized")


class _Timex(ctypes.Structure):
    """The head of `struct timex` (adjtimex(2)), with room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def _ask_kernel() -> bool | None:
    """Return whether the kernel takes its clock for synchronized (adjtimex(2)); None if it does not say."""
    if not sys.platform.startswith("linux"):
        return None
    timex = _Timex()  # modes 0: only read
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return None
    if state < 0:
        return None
    return state != _TIME_ERROR and not timex.status & _STA_UNSYNC
