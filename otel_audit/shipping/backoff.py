"""How long to wait before the next try: exponential, with full jitter, so that many senders do not return at once."""

from __future__ import annotations

import random

__all__ = ["Backoff"]


class Backoff:
    """Waits between tries: anything up to `base * 2**n` seconds, never more than `most`, for ever.

    `reset` is called only when data was accepted, not when a connection came about.
    """

    def __init__(self, base: float = 0.2, most: float = 30.0) -> None:
        self._base = base
        self._most = most
        self.failures = 0

    def next(self, asked: float | None = None) -> float:
        """Return the seconds to wait now; at least what the far end `asked` for (capped at an hour)."""
        ceiling = min(self._most, self._base * 2 ** min(self.failures, 30))
        self.failures += 1
        wait = random.uniform(0, ceiling)  # noqa: S311 - spreads load; nothing secret
        return max(wait, min(asked, 3600.0)) if asked else wait

    def reset(self) -> None:
        """Start over after a success."""
        self.failures = 0
