"""The setting `sinks`: a list of URLs, or of mappings with a `url`.

Both forms say the same, the sink's own options and what its shipper is told: an option is a key of the mapping or a
part of the URL's query.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from otel_audit.routing import make_route
from otel_audit.sinks.urls import SinkUrl, split_url

from .entries import EntryReader
from .kinds import TRUTH, Kind, duration
from .schemes import LOCAL_SCHEMES, find_type

__all__ = ["SHIPPING", "SINKS", "SinkSettings"]


@dataclass(frozen=True, slots=True)
class SinkSettings:
    """One sink as it was asked for."""

    url: str
    """Scheme, place and the sink's own options."""
    required: bool = False
    linger: float | None = None
    route: Mapping[str, Any] | None = None

    @property
    def parts(self) -> SinkUrl:
        """The URL in parts."""
        return split_url(self.url)

    @property
    def is_local(self) -> bool:
        """Whether it can stand in the journal's place."""
        return self.parts.scheme in LOCAL_SCHEMES

    def as_json(self) -> dict[str, Any]:
        """Return what was asked for, without what is as usual."""
        shown: dict[str, Any] = {"url": self.url}
        for name in SHIPPING:
            value = getattr(self, name)
            if value is not None and value is not False:
                shown[name] = value
        return shown


def _route(value: object) -> dict[str, Any]:
    make_route(value)  # type: ignore[arg-type]  # refuses what is no mapping
    return dict(value)  # type: ignore[call-overload,no-any-return]


_VALUES: Final = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_PLAIN: Final = {"type": ["string", "number", "boolean"]}
_ROUTE: Final = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": False,
    "properties": {
        "event_name": _VALUES,
        "level": {"type": ["string", "integer"]},
        "logger": _VALUES,
        "field": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"anyOf": [_PLAIN, {"type": "array", "items": _PLAIN}]},
        },
    },
}

SHIPPING: Final[dict[str, tuple[Kind, str]]] = {
    "required": (TRUTH, "`durability: ack` waits until this sink has a record."),
    "linger": (
        duration(),
        "How long to wait for more records before a batch that is not full is sent; a minute for S3, else not at all.",
    ),
    "route": (
        Kind("mapping", _route, _ROUTE, scalar=False),
        "Which records this sink gets: `event_name`, `level`, `logger`, `field`. All of them by default.",
    ),
}
"""What any sink's shipper is told, beside the sink's own options."""


_READER: Final = EntryReader("sink", "logstash+tls://logs:5044", find_type, SHIPPING)


def _parse_list(value: object) -> tuple[SinkSettings, ...]:
    return tuple(SinkSettings(entry.url, **entry.common) for entry in _READER.read(value))


SINKS: Final = Kind(
    "list of URLs or mappings", _parse_list, {"type": "array", "items": {"$ref": "#/$defs/sink"}}, empty=True
)
