"""What is published of the settings: a JSON Schema for YAML files, and the tables of docs/configuration.md.

`python -m otel_audit.config.published` writes both anew; a test says when that is due.
"""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Union, get_args, get_origin

from .anchors import ANCHORING
from .kinds import Kind
from .schemes import ANCHOR_TYPES, TYPES, AnchorType, PlaceType
from .settings import CONFIG_VARIABLE, SCHEMA, SECRET_VARIABLES, START_VARIABLES, Setting
from .sinks import SHIPPING, SinkSettings

__all__ = ["document_anchors", "document_settings", "document_sinks", "fill_in", "json_schema"]

_BEGIN: Final = "<!-- {}: written by `python -m otel_audit.config.published` -->"
_END: Final = "<!-- end of {} -->"


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a YAML file of settings."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "otel-audit settings",
        "type": "object",
        "additionalProperties": False,
        "properties": {each.name: _property(each) for each in SCHEMA.values()},
        "$defs": {
            "sink": {"anyOf": [_URL, _BARE, _mapping(_URL, SHIPPING, TYPES)]},
            "anchor": {"anyOf": [_ANCHOR_URL, _mapping(_ANCHOR_URL, ANCHORING, ANCHOR_TYPES)]},
        },
    }


def _pattern(*kinds: PlaceType) -> str:
    schemes = (scheme.replace("+", "[+]") for kind in kinds for scheme in kind.schemes)
    return f"^({'|'.join(schemes)}):"


_URL: Final = {"type": "string", "pattern": _pattern(*TYPES)}
_ANCHOR_URL: Final = {"type": "string", "pattern": _pattern(*ANCHOR_TYPES)}
_BARE: Final = {  # `- stdout:` without quotes, which YAML reads as a mapping of one key to nothing
    "type": "object",
    "properties": {name: {"type": "null"} for name in ("stdout", "stderr")},
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
}


def _property(setting: Setting) -> dict[str, Any]:
    found: dict[str, Any] = {"description": setting.description, **_nullable(setting.kind.schema)}
    if setting.default is not None and setting.name != "sinks":
        found["default"] = list(setting.default) if isinstance(setting.default, tuple) else setting.default
    return found


def _nullable(schema: Any) -> dict[str, Any]:
    return {"anyOf": [*schema.get("anyOf", [schema]), {"type": "null"}]}


def _mapping(
    url: Mapping[str, Any], common: Mapping[str, tuple[Kind, str]], types: Sequence[PlaceType]
) -> dict[str, Any]:
    shared = {name: {"description": text, **_nullable(kind.schema)} for name, (kind, text) in common.items()}
    return {
        "type": "object",
        "required": ["url"],
        "properties": {"url": url, **shared},
        "allOf": [_options_of(kind) for kind in types],
        "unevaluatedProperties": False,
    }


def _options_of(kind: PlaceType) -> dict[str, Any]:
    return {
        "if": {"properties": {"url": {"pattern": _pattern(kind)}}},
        "then": {"properties": {name: _nullable(_schema_of(wanted)) for name, (wanted, _) in kind.options().items()}},
    }


def _schema_of(wanted: Any) -> dict[str, Any]:
    wanted = _without_none(wanted)
    if get_origin(wanted) is Literal:
        words: list[Any] = [*get_args(wanted)]
        return {"enum": words + [float(word) for word in words if word.replace(".", "", 1).isdigit()]}
    if get_origin(wanted) is tuple:
        return {"type": ["string", "array"], "items": {"type": "string"}}
    if wanted is bool:
        return {"type": "boolean"}
    if wanted in {int, float}:
        return {"type": ["integer" if wanted is int else "number", "string"]}
    return {"type": "string", "minLength": 1}


def _without_none(wanted: Any) -> Any:
    if get_origin(wanted) in {Union, types.UnionType}:
        (wanted,) = (kind for kind in get_args(wanted) if kind is not type(None))
    return wanted


def document_settings() -> str:
    """Return the table of settings and the table of variables that are no setting, in Markdown."""
    rows = [
        _row(
            f"`{each.name}`",
            each.kind.label,
            _default(each.default),
            f"`{each.variable}`" if each.variable else "",
            each.description,
        )
        for each in SCHEMA.values()
    ]
    others = {
        CONFIG_VARIABLE: "YAML file of settings; `config=` in code.",
        **{name: f"Secret. {text}" for name, text in SECRET_VARIABLES.items()},
        **START_VARIABLES,
    }
    return "\n".join(
        [
            _row("setting", "value", "default", "environment variable", "meaning"),
            _row(*["---"] * 5),
            *rows,
            "",
            _row("variable that is no setting", "meaning"),
            _row(*["---"] * 2),
            *(_row(f"`{name}`", text) for name, text in others.items()),
        ]
    )


def document_sinks() -> str:
    """Return the options of each kind of sink, in Markdown."""
    return _document(TYPES, "Any sink behind a journal:", SHIPPING)


def document_anchors() -> str:
    """Return the options of each kind of anchor, in Markdown."""
    return _document(ANCHOR_TYPES, "Any anchor:", ANCHORING)


def _document(types: Sequence[PlaceType], any_of_them: str, common: Mapping[str, tuple[Kind, str]]) -> str:
    parts = [
        any_of_them,
        "",
        _row("option", "value", "meaning"),
        _row(*["---"] * 3),
        *(_row(f"`{name}`", kind.label, text) for name, (kind, text) in common.items()),
    ]
    for kind in types:
        schemes = ", ".join(f"`{scheme}:`" for scheme in kind.schemes)
        title = f"**[{kind.title}]({page})**" if (page := _page(kind)) else f"**{kind.title}**"
        parts += ["", f"{title}: {schemes}", "", _row("option", "value", "default"), _row(*["---"] * 3)]
        if isinstance(kind, AnchorType):
            parts.append(_row("`every`", "time", _default(kind.every)))
        parts += [
            _row(f"`{name}`", _label(name, wanted), _default(default))
            for name, (wanted, default) in kind.options().items()
        ]
    return "\n".join(parts)


def _page(kind: PlaceType) -> str | None:
    if isinstance(kind, AnchorType):
        return _ANCHOR_PAGES.get(kind.schemes[0])
    return None if kind.schemes[0] == "stdout" else f"sinks/{kind.module.rpartition('.')[2]}.md"


_ANCHOR_PAGES: Final = {
    "tsa+https": "how-to/tsa.md",
    "witness+https": "how-to/witness.md",
    "s3": "how-to/worm-bucket.md",
}
"""How-to pages of anchors, by their first scheme."""


def _label(name: str, wanted: Any) -> str:
    wanted = _without_none(wanted)
    if get_origin(wanted) is Literal:
        return " \\| ".join(f"`{word}`" for word in get_args(wanted))
    if get_origin(wanted) is tuple:
        return "list of words"
    if wanted is int:
        return "size" if name.endswith("_bytes") or name == "window" else "number"
    return {bool: "true \\| false", float: "time"}.get(wanted, "text")


def _default(value: Any) -> str:
    if value is inspect.Parameter.empty:
        return "needed"
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return ", ".join(f"`{item.url if isinstance(item, SinkSettings) else item}`" for item in value)
    if isinstance(value, int) and value >= 1 << 20 and value % (1 << 20) == 0:
        return f"`{value >> 20}MiB`"
    return f"`{value:g}s`" if isinstance(value, float) else f"`{value}`"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def fill_in(text: str) -> str:
    """Return docs/configuration.md with its generated parts as they should be."""
    parts = {"settings": document_settings(), "sinks": document_sinks(), "anchors": document_anchors()}
    for title, part in parts.items():
        before, begin, rest = text.partition(_BEGIN.format(title))
        _, end, after = rest.partition(_END.format(title))
        text = f"{before}{begin}\n{part}\n{end}{after}"
    return text


def _write() -> None:
    package = Path(__file__).parent
    (package / "schema.json").write_text(f"{json.dumps(json_schema(), indent=2)}\n", encoding="utf-8")
    page = package.parents[1] / "docs" / "configuration.md"
    page.write_text(fill_in(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    _write()
