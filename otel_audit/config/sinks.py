"""The setting `sinks`: a list of URLs, or of mappings with a `url`.

Both forms say the same, the sink's own options and what its shipper is told: an option is a key of the mapping or a
part of the URL's query.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from otel_audit.errors import ConfigurationError
from otel_audit.routing import make_route
from otel_audit.sinks.urls import SinkUrl, split_url

from .kinds import TRUTH, Kind, duration, show
from .schemes import LOCAL_SCHEMES, find_type

__all__ = ["SHIPPING", "SINKS", "SinkSettings"]


@dataclass(frozen=True, slots=True)
class SinkSettings:
    """One sink as it was asked for."""

    url: str
    """Scheme, place and the sink's own options."""
    required: bool = False
    linger: float = 0.0
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
            if value := getattr(self, name):
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
    "linger": (duration(), "How long to wait for more records before a batch that is not full is sent."),
    "route": (
        Kind("mapping", _route, _ROUTE, scalar=False),
        "Which records this sink gets: `event_name`, `level`, `logger`, `field`. All of them by default.",
    ),
}
"""What any sink's shipper is told, beside the sink's own options."""


def _parse_list(value: object) -> tuple[SinkSettings, ...]:
    if isinstance(value, str):
        value = _split(value)
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"is {show(value)}; it must be a list of URLs or mappings")
    found, wrong = [], []
    for index, item in enumerate(value):
        try:
            found.append(_parse(item))
        except ValueError as error:  # noqa: PERF203 - every mistake is told
            wrong.append(f"[{index}]: {error}")
    if wrong:
        raise ValueError(*wrong)
    return tuple(found)


# A comma may also stand between hosts and in an option; it ends a URL where another scheme follows.
_BETWEEN: Final = re.compile(r",\s*(?=[A-Za-z][A-Za-z0-9+.-]*:(?://|/|\?|,|\s*$))")


def _split(text: str) -> list[str]:
    return [url.strip(" ,") for url in _BETWEEN.split(text) if url.strip(" ,")]


def _parse(item: object) -> SinkSettings:
    given: dict[str, Any] = {}
    if isinstance(item, Mapping):
        given = {str(name): value for name, value in item.items()}
        url = given.pop("url", None)
        if url is None and len(given) == 1 and None in given.values():
            url, given = f"{next(iter(given))}:", {}  # `- stdout:` is a mapping to YAML
        if not isinstance(url, str):
            raise ConfigurationError("a sink's mapping needs a url, such as {url: 'logstash+tls://logs:5044'}")
    elif isinstance(item, str):
        url = item
    else:
        raise ConfigurationError(f"{show(item)} is no sink; write a URL or a mapping with a url")
    return _read(url.strip(), given)


def _read(url: str, given: dict[str, Any]) -> SinkSettings:
    parts = split_url(url)
    find_type(parts.scheme)
    shipping: dict[str, Any] = {}
    own: dict[str, str] = {}
    for name, value in [*parts.options.items(), *given.items()]:
        if name in own or name in shipping:
            raise ConfigurationError(f"sink {parts}: the option {name!r} is given in the URL and beside it")
        if name in SHIPPING:
            shipping[name] = _shipping_value(parts, name, value)
        elif value is not None:
            own[name] = _spell(parts, name, value)
    base = url.partition("?")[0]
    query = "&".join(f"{quote(name)}={quote(text, safe='/,:@')}" for name, text in own.items())
    merged = f"{base}?{query}" if query else base
    split_url(merged)  # refuses secrets among the mapping's keys
    return SinkSettings(merged, **shipping)


def _shipping_value(parts: SinkUrl, name: str, value: object) -> Any:
    try:
        return SHIPPING[name][0].parse(value)
    except ConfigurationError as error:
        raise ConfigurationError(f"sink {parts}: {error}") from None
    except ValueError as error:
        raise ConfigurationError(f"sink {parts}: {name} {error}") from None


def _spell(parts: SinkUrl, name: str, value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, int, float)):
        return str(value)
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) and "," not in item for item in value):
        return ",".join(value)
    raise ConfigurationError(f"sink {parts}: the option {name!r} is a word, a number, or a list of words")


SINKS: Final = Kind(
    "list of URLs or mappings", _parse_list, {"type": "array", "items": {"$ref": "#/$defs/sink"}}, empty=True
)
