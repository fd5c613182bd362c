"""Reading a YAML file of settings: its values, and the line that each stands on."""

from __future__ import annotations

import os
from typing import Any, Final

import yaml

__all__ = ["read_yaml"]

_MOST_BYTES: Final = 1 << 20
_MOST_NODES: Final = 20_000


def read_yaml(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the file's top-level keys with their values, and with their lines.

    Raises:
        ValueError: it cannot be read, is no mapping, or says a key twice. The message names file and line.
    """
    place = os.fspath(path)
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{place}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{place}: is not UTF-8 text") from error
    if len(text) > _MOST_BYTES:
        raise ValueError(f"{place}: is larger than {_MOST_BYTES} characters; this is no file of settings")
    try:
        loader = yaml.SafeLoader(text)
    except yaml.reader.ReaderError as error:
        raise ValueError(f"{place}: holds a character that YAML does not allow, at {error.position}") from error
    try:
        return _read(loader, place)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{place}{line}: is not YAML: {error.problem}") from error
    finally:
        loader.dispose()


def _read(loader: yaml.SafeLoader, place: str) -> tuple[dict[str, Any], dict[str, int]]:
    node = loader.get_single_node()
    if node is None:
        return {}, {}
    if not isinstance(node, yaml.MappingNode):
        raise ValueError(f"{place}: must be a mapping of settings, such as `journal: /var/lib/shop/audit`")
    _look_through(node, place)
    lines = {str(key.value): key.start_mark.line + 1 for key, _ in node.value}
    values = loader.construct_document(node)
    return {str(key): value for key, value in values.items()}, lines


def _look_through(top: yaml.Node, place: str) -> None:
    """Refuse keys that come twice, of which YAML would keep the last, and aliases that multiply beyond reason."""
    waiting, seen = [top], 0
    while waiting:
        node = waiting.pop()
        seen += 1
        if seen > _MOST_NODES:
            raise ValueError(f"{place}: holds more than {_MOST_NODES} values; this is no file of settings")
        if isinstance(node, yaml.MappingNode):
            keys = set()
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise ValueError(f"{place}:{key.start_mark.line + 1}: a key must be a word")
                if key.value in keys:
                    raise ValueError(f"{place}:{key.start_mark.line + 1}: {key.value!r} comes twice")
                keys.add(key.value)
                waiting.append(value)
        elif isinstance(node, yaml.SequenceNode):
            waiting.extend(node.value)
