"""How long a stored object cannot be deleted or overwritten: S3 Object Lock.

The server keeps the promise, not this package: `COMPLIANCE` binds everyone including the account's root user,
`GOVERNANCE` whoever lacks `s3:BypassGovernanceRetention` (Amazon S3 User Guide, "Locking objects with Object Lock").
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from otel_audit.errors import ConfigurationError

from .urls import SinkUrl, read_options, split_url

__all__ = ["LockMode", "ObjectLock", "read_promise", "spell_promise"]

LockMode = Literal["compliance", "governance"]

_PERIOD: Final = re.compile(r"([1-9][0-9]{0,4})(d|y)")
_MOST_DAYS: Final = 36_500
"""The longest period that Amazon S3 takes."""


@dataclass(frozen=True)
class ObjectLock:
    """What is asked for each object.

    Args:
        mode: who is bound.
        retain: for how long from when it is stored, in days (`90d`) or calendar years (`7y`); None leaves it to the
            bucket's default retention.
        legal_hold: whether it is held until somebody with the right to do so lifts the hold, however long that is.

    Raises:
        ConfigurationError: the period is none, or a mode is given without one.
    """

    mode: LockMode | None = None
    retain: str | None = None
    legal_hold: bool = False

    def __post_init__(self) -> None:
        if self.retain is None:
            if self.mode is not None:
                raise ConfigurationError(f"lock={self.mode} needs retain=..., such as retain=7y or retain=90d")
            return
        if self._period() is None:
            raise ConfigurationError(f"retain is {self.retain!r}; write days or years, such as 90d or 7y, at most 100y")

    @property
    def asked(self) -> bool:
        """Whether objects are to be locked whatever the bucket's default is."""
        return self.retain is not None or self.legal_hold

    def parameters(self, now: datetime) -> dict[str, Any]:
        """Return what `PutObject` takes for it; `now` has a time zone."""
        found: dict[str, Any] = {}
        if (period := self._period()) is not None:
            found["ObjectLockMode"] = (self.mode or "compliance").upper()
            found["ObjectLockRetainUntilDate"] = _add(now, *period)
        if self.legal_hold:
            found["ObjectLockLegalHoldStatus"] = "ON"
        return found

    def _period(self) -> tuple[int, str] | None:
        match = _PERIOD.fullmatch(self.retain or "")
        if match is None:
            return None
        count, unit = int(match[1]), match[2]
        return (count, unit) if count * (365 if unit == "y" else 1) <= _MOST_DAYS else None


def spell_promise(url: SinkUrl) -> str:
    """Return where an S3 sink archives and what lock it asks for, as a stream's first record says it.

    `s3://worm/shop/audit/?retain=7y`: of the sink's options, only those of the lock.
    """
    asked = [f"{name}={url.options[name]}" for name in ("lock", "retain", "legal_hold") if name in url.options]
    prefix = url.path.strip("/")
    place = f"s3://{url.authority}/{prefix}{'/' if prefix else ''}"
    return f"{place}?{'&'.join(asked)}" if asked else place


def read_promise(text: str) -> tuple[str, ObjectLock]:
    """Return the place, and the lock, that `spell_promise` has spelled.

    Raises:
        ConfigurationError: it is no such text.
    """
    url = split_url(text, "archive")
    return f"s3://{url.authority}{url.path}", _open_lock(**read_options(url.options, _open_lock, url, what="archive"))


def _open_lock(*, lock: LockMode | None = None, retain: str | None = None, legal_hold: bool = False) -> ObjectLock:
    return ObjectLock(lock, retain, legal_hold)


def _add(moment: datetime, count: int, unit: str) -> datetime:
    if unit == "d":
        return moment + timedelta(days=count)
    try:
        return moment.replace(year=moment.year + count)
    except ValueError:  # a 29th of February: one day more rather than one less
        return moment.replace(year=moment.year + count, month=3, day=1)
