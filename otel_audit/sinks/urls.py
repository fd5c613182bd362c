"""Sink URLs and their options: `scheme://host:port,host:port/path?name=value&name=value`.

A sink's options are the keyword-only parameters of the function that builds it. Their names and annotations
are the one list of what can be set, for URLs (every value is text) and for mappings (every value has a type).
A parameter that is a dataclass, such as `TcpSettings`, holds options that several sinks have: it stands for its
fields.

    url = split_url("syslog+tls://siem:6514?ca_file=/etc/ssl/audit.pem&connect_timeout=3")
    sink = SyslogSink(**read_options(url.options, SyslogSink.__init__, url, given={"hosts": url.authority}))
"""

from __future__ import annotations

import difflib
import inspect
import math
import re
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import is_dataclass
from typing import Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints
from urllib.parse import unquote

from otel_audit.errors import ConfigurationError
from otel_audit.units import parse_bytes, parse_seconds

__all__ = ["Option", "SinkUrl", "list_options", "nearest", "read_options", "read_scheme", "split_url"]

_Meaning = TypeVar("_Meaning")

_URL = re.compile(  # RFC 3986, appendix B
    r"([A-Za-z][A-Za-z0-9+.-]*):(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(#.*)?", re.DOTALL
)
_SECRET = re.compile(
    "password|passphrase|passwd|secret|token|credential|api_?key|private_?key|authorization", re.IGNORECASE
)
_TRUTH = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(("false", "no", "off", "0"), False)


class SinkUrl(NamedTuple):
    """The parts of a sink URL, percent-decoded but for `authority`."""

    scheme: str
    user: str | None
    authority: str
    """What follows `//` and any `user@`: one or several hosts, not checked here."""
    path: str
    options: dict[str, str]

    def __str__(self) -> str:
        """Return the URL without user and options, fit for a message."""
        slashes = "//" if self.authority or self.path.startswith("/") else ""
        return f"{self.scheme}:{slashes}{self.authority}{self.path}"


class Option(NamedTuple):
    """One thing that can be set."""

    wanted: Any
    """Its type."""
    default: Any
    """`inspect.Parameter.empty` where it must be given."""


def split_url(url: str, what: str = "sink") -> SinkUrl:
    """Split a sink URL (RFC 3986, appendix B; the authority may list several hosts). `what` it is of, for messages.

    Raises:
        ConfigurationError: it is not a URL, an option comes twice, or it holds a secret: URLs end in process
            lists, shell histories and error messages.
    """
    match = _URL.fullmatch(url)
    if match is None:
        such = {"sink": "logstash+tls://host:5044 or stdout:"}.get(what, "directory:///mnt/elsewhere")
        raise ConfigurationError(f"{_with_article(what)} URL begins with a scheme, such as {such}")
    scheme, authority, path, query, fragment = match.groups()
    userinfo, _, hosts = (authority or "").rpartition("@")
    place = f"{what} {scheme.lower()}://{hosts}"
    if ":" in userinfo:
        raise ConfigurationError(
            f"{place}: the URL holds a password; give it by a *_file option or by an environment variable"
        )
    options: dict[str, str] = {}
    for pair in filter(None, (query or "").split("&")):
        name, equals, value = pair.partition("=")
        name = unquote(name)
        _refuse_secret(name, place)
        if not equals:
            raise ConfigurationError(f"{place}: the option {name!r} has no value; write {name}=...")
        if name in options:
            raise ConfigurationError(f"{place}: the option {name!r} comes twice; separate values by commas")
        options[name] = unquote(value)
    if fragment:
        raise ConfigurationError(f"{place}: '#' begins a fragment, which means nothing here; write %23")
    return SinkUrl(scheme.lower(), unquote(userinfo) or None, hosts, unquote(path), options)


def read_scheme(url: SinkUrl, schemes: Mapping[str, _Meaning], what: str = "sink") -> _Meaning:
    """Return what a URL's scheme stands for.

    Raises:
        ConfigurationError: it is none of `schemes`; the message names the nearest.
    """
    if url.scheme not in schemes:
        raise ConfigurationError(f"{what} {url}: unknown scheme{nearest(url.scheme, schemes)}")
    return schemes[url.scheme]


def list_options(builder: Callable[..., object]) -> dict[str, Option]:
    """Return what can be set of what `builder` makes, by name."""
    found: dict[str, Option] = {}
    for name, option in _parameters(builder).items():
        found |= list_options(option.wanted) if _is_group(option.wanted) else {name: option}
    return found


def read_options(
    options: Mapping[str, object],
    builder: Callable[..., object],
    origin: object,
    *,
    given: Mapping[str, object] = types.MappingProxyType({}),
    what: str = "sink",
) -> dict[str, Any]:
    """Return keyword arguments of `builder`: what is `given`, and the options, turned into the types that it declares.

    Text becomes str, int, float, bool, a Literal's word or, split at commas, a tuple of str. `origin` says in
    messages where the options come from; what is `given` is no option.

    Raises:
        ConfigurationError: an option is unknown (the message names the nearest known one), missing, a secret
            in clear, or not of its type.
    """
    place = f"{what} {origin}"
    known = {name: option for name, option in list_options(builder).items() if name not in given}
    for name in options:
        if name not in known:
            _refuse_secret(name, place)
            raise ConfigurationError(f"{place}: there is no option {name!r}{nearest(name, known)}")
    for name, option in known.items():
        if option.default is inspect.Parameter.empty and name not in options:
            raise ConfigurationError(f"{place}: the option {name!r} is needed")
    read = {
        name: _convert(value, known[name].wanted, f"{place}: the option {name!r}") for name, value in options.items()
    }
    return _arrange(builder, {**given, **read})


def _parameters(builder: Callable[..., object]) -> dict[str, Option]:
    hints = get_type_hints(builder)
    return {
        name: Option(hints[name], parameter.default)
        for name, parameter in inspect.signature(builder).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


def _is_group(wanted: Any) -> bool:
    return is_dataclass(wanted)


def _arrange(builder: Callable[..., object], values: Mapping[str, object]) -> dict[str, Any]:
    """Return values as keyword arguments, those that are a dataclass's fields within one."""
    arguments: dict[str, Any] = {}
    for name, (wanted, _) in _parameters(builder).items():
        if _is_group(wanted):
            arguments[name] = wanted(**_arrange(wanted, values))
        elif name in values:
            arguments[name] = values[name]
    return arguments


def _with_article(what: str) -> str:
    return f"{'an' if what[0] in 'aeiou' else 'a'} {what}"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the nearest known one, else all that are known."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, 1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(names) or 'none'}"


def _refuse_secret(name: str, place: str) -> None:
    if _SECRET.search(name) and not name.endswith("_file"):
        raise ConfigurationError(
            f"{place}: {name!r} looks like a secret; give it by a *_file option or by an environment variable"
        )


def _convert(value: object, wanted: Any, what: str) -> object:
    if get_origin(wanted) in (Union, types.UnionType):
        if value is None:
            return None
        (wanted,) = (kind for kind in get_args(wanted) if kind is not type(None))
    if get_origin(wanted) is tuple:
        items = value.split(",") if isinstance(value, str) else value
        if isinstance(items, (list, tuple)) and all(isinstance(item, str) for item in items):
            return tuple(stripped for item in items if (stripped := item.strip()))
        raise ConfigurationError(f"{what} is a list of words, separated by commas")
    if get_origin(wanted) is Literal:
        words = get_args(wanted)
        if value in words:
            return value
        raise ConfigurationError(f"{what} is one of {', '.join(words)}{nearest(str(value), words)}")
    if wanted is bool:
        truth = value if isinstance(value, bool) else _TRUTH.get(str(value).lower())
        if truth is None:
            raise ConfigurationError(f"{what} is true or false")
        return truth
    if wanted in (int, float):
        number = _number(value, wanted)
        if number is None:
            form = "a whole number, or a size such as 64MiB" if wanted is int else "a number, or a time such as 5s"
            raise ConfigurationError(f"{what} is {form}")
        return number
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{what} is text and not empty")
    return value


def _number(value: object, kind: type[int | float]) -> int | float | None:
    """Read a number; text may also be a time for a float (`5s`), or a size for an int (`64MiB`)."""
    accepted = (str, int) if kind is int else (str, int, float)
    if isinstance(value, bool) or not isinstance(value, accepted):
        return None
    try:
        number = kind(value)
    except ValueError:
        return parse_bytes(value) if kind is int else parse_seconds(value)
    return number if math.isfinite(number) else None
