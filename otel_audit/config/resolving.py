"""From what was given to what holds, and where each value is from: arguments, environment, YAML, defaults."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from otel_audit.errors import ConfigurationError
from otel_audit.sinks.urls import nearest

from .settings import CONFIG_VARIABLE, PREFIX, SCHEMA, SECRET_VARIABLES, START_VARIABLES, Settings

__all__ = ["DEFAULT", "Effective", "find_unknown", "resolve"]

DEFAULT: Final = "default"


@dataclass(frozen=True)
class Effective:
    """The settings that hold, and for each the place that it comes from."""

    settings: Settings
    origins: Mapping[str, str]


@dataclass(frozen=True)
class _Given:
    """A value, the place to name in a message about it, and its origin."""

    value: Any
    place: str
    origin: str


class _Layer(dict[str, _Given]):
    """What one source gives: setting -> value."""


def resolve(given: Mapping[str, Any], environ: Mapping[str, str]) -> Effective:
    """Return the settings that hold. `given` may hold `config`: a YAML file's path, or a mapping in its stead.

    Raises:
        ConfigurationError: something is unknown or unusable; one line for each.
    """
    wrong: list[str] = []
    values: dict[str, Any] = {}
    origins = dict.fromkeys(SCHEMA, DEFAULT)
    # Each layer is read in full, though a later one may win: what is wrong stays wrong when that one goes away.
    for layer in (
        _from_config(given.get("config"), environ, wrong),
        _from_environment(environ, wrong),
        _from_arguments(given, wrong),
    ):
        for name, one in layer.items():
            try:
                values[name] = SCHEMA[name].kind.parse(one.value)
                origins[name] = one.origin
            except ValueError as error:  # noqa: PERF203 - every mistake is told, not the first alone
                wrong += [f"{one.place}{_join(message)}" for message in error.args]
    if wrong:
        raise ConfigurationError("\n".join(wrong))
    return Effective(Settings(**values), origins)


def _join(message: str) -> str:
    return message if message.startswith("[") else f" {message}"


def _from_arguments(given: Mapping[str, Any], wrong: list[str]) -> _Layer:
    layer = _Layer()
    for name, value in given.items():
        if name in SCHEMA:
            if value is not None:
                layer[name] = _Given(value, name, "argument")
        elif name != "config":
            wrong.append(_unknown("there is no setting", name, (*SCHEMA, "config")))
    return layer


def _from_environment(environ: Mapping[str, str], wrong: list[str]) -> _Layer:
    layer = _Layer()
    variables = {each.variable: each for each in SCHEMA.values() if each.variable}
    for variable, setting in variables.items():
        text = environ.get(variable)
        if text is not None and (text.strip() or setting.kind.empty):
            layer[setting.name] = _Given(text, variable, variable)
    wrong += find_unknown(environ)
    return layer


def find_unknown(environ: Mapping[str, str]) -> list[str]:
    """Return what is to be said of each variable that looks like one of ours and is none; it names the nearest one."""
    variables = (each.variable for each in SCHEMA.values() if each.variable)
    known = {*variables, CONFIG_VARIABLE, *SECRET_VARIABLES, *START_VARIABLES}
    own = [name for name in known if name.startswith(PREFIX)]
    unknown = [variable for variable in environ if variable.startswith(PREFIX) and variable not in known]
    return [f"{variable}: there is no such variable{nearest(variable, own)}" for variable in unknown]


def _from_config(given: Any, environ: Mapping[str, str], wrong: list[str]) -> _Layer:
    config = given if given is not None else environ.get(CONFIG_VARIABLE, "").strip()
    if isinstance(config, Mapping):
        return _from_mapping({str(name): value for name, value in config.items()}, {}, "config", wrong)
    if not isinstance(config, (str, os.PathLike)):
        wrong.append(f"config is {type(config).__name__}; it must be a YAML file's path or a mapping")
        return _Layer()
    if not os.fspath(config):
        return _Layer()
    from .yaml_file import read_yaml

    try:
        values, lines = read_yaml(config)
    except ValueError as error:
        wrong.append(f"{CONFIG_VARIABLE}: {error}" if given is None else str(error))
        return _Layer()
    return _from_mapping(values, lines, os.fspath(config), wrong)


def _from_mapping(values: dict[str, Any], lines: Mapping[str, int], source: str, wrong: list[str]) -> _Layer:
    layer = _Layer()
    for name, value in values.items():
        place = f"{source}:{lines[name]}" if name in lines else source
        if name not in SCHEMA:
            wrong.append(_unknown(f"{place}: there is no setting", name, SCHEMA))
        elif value is not None:
            layer[name] = _Given(value, f"{place}: {name}", place)
    return layer


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    return f"{what} {name!r}{nearest(name, known)}"
