"""Lists of sinks and of anchors: each a URL, or a mapping with a `url`, which say the same.

Options that belong to the sink or anchor itself end up in the URL; those that any of them has come out by themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final
from urllib.parse import quote

from otel_audit.errors import ConfigurationError
from otel_audit.sinks.urls import SinkUrl, split_url

from .kinds import Kind, show

__all__ = ["Entry", "EntryReader"]

_ALIKE: Final = 0.8
"""How alike a name and an option that any entry has must be for the one to be the other, misspelt."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One sink or anchor as it was asked for."""

    url: str
    """Scheme, place and its own options."""
    common: Mapping[str, Any]
    """Options that any of them has, those that were given."""


@dataclass(frozen=True, slots=True)
class EntryReader:
    """Reads entries of one sort."""

    what: str
    """`sink` or `anchor`."""
    example: str
    find: Callable[[str], object]
    """Refuses an unknown scheme."""
    common: Mapping[str, tuple[Kind, str]]

    def read(self, value: object) -> tuple[Entry, ...]:
        """Read a list, or text with commas between URLs.

        Raises:
            ValueError: something is wrong; an argument for each mistake.
        """
        if isinstance(value, str):
            value = _split(value)
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"is {show(value)}; it must be a list of URLs or mappings")
        found, wrong = [], []
        for index, item in enumerate(value):
            try:
                found.append(self._read_item(item))
            except ValueError as error:  # noqa: PERF203 - every mistake is told
                wrong.append(f"[{index}]: {error}")
        if wrong:
            raise ValueError(*wrong)
        return tuple(found)

    def _read_item(self, item: object) -> Entry:
        given: dict[str, Any] = {}
        a_place = f"{'an' if self.what == 'anchor' else 'a'} {self.what}"
        if isinstance(item, Mapping):
            given = {str(name): value for name, value in item.items()}
            url = given.pop("url", None)
            if url is None and len(given) == 1 and None in given.values():
                url, given = f"{next(iter(given))}:", {}  # `- stdout:` is a mapping to YAML
            if not isinstance(url, str):
                raise ConfigurationError(f"{a_place}'s mapping needs a url, such as {{url: '{self.example}'}}")
        elif isinstance(item, str):
            url = item
        else:
            raise ConfigurationError(f"{show(item)} is no {self.what}; write a URL or a mapping with a url")
        return self._merge(url.strip(), given)

    def _merge(self, url: str, given: dict[str, Any]) -> Entry:
        parts = split_url(url, self.what)
        self.find(parts.scheme)
        common: dict[str, Any] = {}
        own: dict[str, str] = {}
        for name, value in [*parts.options.items(), *given.items()]:
            if name in own or name in common:
                raise ConfigurationError(f"{self.what} {parts}: the option {name!r} is given in the URL and beside it")
            if name in self.common:
                common[name] = self._common_value(parts, name, value)
            elif near := get_close_matches(name, self.common, 1, _ALIKE):
                raise ConfigurationError(f"{self.what} {parts}: there is no option {name!r}; did you mean {near[0]!r}?")
            elif value is not None:
                own[name] = self._spell(parts, name, value)
        base = url.partition("?")[0]
        query = "&".join(f"{quote(name)}={quote(text, safe='/,:@')}" for name, text in own.items())
        merged = f"{base}?{query}" if query else base
        split_url(merged, self.what)  # refuses secrets among the mapping's keys
        return Entry(merged, common)

    def _common_value(self, parts: SinkUrl, name: str, value: object) -> Any:
        try:
            return self.common[name][0].parse(value)
        except ConfigurationError as error:
            raise ConfigurationError(f"{self.what} {parts}: {error}") from None
        except ValueError as error:
            raise ConfigurationError(f"{self.what} {parts}: {name} {error}") from None

    def _spell(self, parts: SinkUrl, name: str, value: object) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, (str, int, float)):
            return str(value)
        if isinstance(value, (list, tuple)) and all(isinstance(item, str) and "," not in item for item in value):
            return ",".join(value)
        raise ConfigurationError(f"{self.what} {parts}: the option {name!r} is a word, a number, or a list of words")


# A comma may also stand between hosts and in an option; it ends a URL where another scheme follows.
_BETWEEN: Final = re.compile(r",\s*(?=[A-Za-z][A-Za-z0-9+.-]*:(?://|/|\?|,|\s*$))")


def _split(text: str) -> list[str]:
    return [url.strip(" ,") for url in _BETWEEN.split(text) if url.strip(" ,")]
