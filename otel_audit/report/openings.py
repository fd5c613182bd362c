"""What streams say of themselves in their first record: who writes them, and with which keys they are signed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["keys_of", "label_of", "service_of"]


def keys_of(opening: Mapping[str, Any]) -> list[str]:
    """Return the verifier keys that a stream names. Anybody could have put them there."""
    value = opening.get("keys")
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def label_of(opening: Mapping[str, Any]) -> str:
    """Return who wrote a stream, as far as its first record says so: service@host/pid."""
    host, pid = _member(opening, "host", "name"), _member(opening, "process", "pid")
    label = "@".join(each[:60] for each in (service_of(opening), host) if isinstance(each, str) and each)
    return f"{label}/{pid}" if label and type(pid) is int else label


def service_of(opening: Mapping[str, Any]) -> str:
    """Return the name of the service, or nothing."""
    name = _member(opening, "service", "name")
    return name if isinstance(name, str) else ""


def _member(opening: Mapping[str, Any], outer: str, inner: str) -> Any:
    value = opening.get(outer)
    return value.get(inner) if isinstance(value, dict) else None
