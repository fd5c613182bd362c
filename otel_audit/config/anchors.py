"""The setting `anchors`: where checkpoints go beside the log, as a list of URLs or of mappings with a `url`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from otel_audit.errors import ConfigurationError
from otel_audit.integrity.publishing import AnchorPlan
from otel_audit.sinks.urls import SinkUrl, split_url

from .entries import EntryReader
from .kinds import Kind, duration
from .schemes import find_anchor_type

__all__ = ["ANCHORING", "ANCHORS", "AnchorSettings", "plan_anchors"]

_NAME: Final = re.compile("[A-Za-z0-9][A-Za-z0-9_-]{0,39}")

ANCHORING: Final[dict[str, tuple[Kind, str]]] = {
    "every": (
        duration(),
        "Time between two checkpoints that it gets, beside the first and the last one of a stream; 0 for each.",
    ),
}
"""What is said of any anchor, beside its own options."""


@dataclass(frozen=True, slots=True)
class AnchorSettings:
    """One anchor as it was asked for."""

    url: str
    """Scheme, place and the anchor's own options."""
    every: float | None = None

    @property
    def parts(self) -> SinkUrl:
        """The URL in parts."""
        return split_url(self.url, "anchor")

    def as_json(self) -> dict[str, Any]:
        """Return what was asked for, without what is as usual."""
        return {"url": self.url} if self.every is None else {"url": self.url, "every": self.every}


_READER: Final = EntryReader("anchor", "directory:///mnt/elsewhere/checkpoints", find_anchor_type, ANCHORING)


def _parse_list(value: object) -> tuple[AnchorSettings, ...]:
    return tuple(AnchorSettings(entry.url, **entry.common) for entry in _READER.read(value))


ANCHORS: Final = Kind(
    "list of URLs or mappings", _parse_list, {"type": "array", "items": {"$ref": "#/$defs/anchor"}}, empty=True
)


def plan_anchors(anchors: Sequence[AnchorSettings], resource: Mapping[str, Any]) -> list[AnchorPlan]:
    """Build each anchor once, to see that it can be, and return how to build it again. Nothing is connected.

    Raises:
        ConfigurationError: one cannot be built, or has another's name; a line for each.
    """
    found: list[AnchorPlan] = []
    wrong: list[str] = []
    for index, anchor in enumerate(anchors):
        try:
            plan = _plan(anchor, resource)
            if any(plan.name == other.name for other in found):
                raise ConfigurationError(
                    f"anchor {anchor.parts}: another anchor is called {plan.name!r}; give it a name="
                )
            found.append(plan)
        except ConfigurationError as error:  # noqa: PERF203 - every mistake is told
            wrong.append(f"anchors[{index}]: {error}")
    if wrong:
        raise ConfigurationError("\n".join(wrong))
    return found


def _plan(anchor: AnchorSettings, resource: Mapping[str, Any]) -> AnchorPlan:
    parts = anchor.parts
    kind = find_anchor_type(parts.scheme)
    make = partial(kind.make, anchor.url, resource)
    built = make()
    built.close()
    if not _NAME.fullmatch(built.name):
        raise ConfigurationError(f"anchor {parts}: the name {built.name[:80]!r} is not of letters, digits, - and _")
    every = kind.every if anchor.every is None else anchor.every
    return AnchorPlan(built.name, make, every, kind.proves)
