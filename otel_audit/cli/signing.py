"""The stream of a command that writes a record of its own, signed as others are: a policy may demand it of each."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from otel_audit.config.settings import Settings
    from otel_audit.trail import AuditTrail

__all__ = ["open_trail"]

_SIGNING: Final = ("signing_key_file", "second_signing_key_file", "record_signatures", "mac_key_file")


def open_trail(
    journal: str | os.PathLike[str],
    key: str | None,
    read_settings: Callable[[], Settings],
    anchors: Sequence[str] | None = None,
) -> AuditTrail:
    """Return a trail that writes a stream of its own into a journal and sends it nowhere.

    It is signed with `key`, else as the settings say, with their anchors where no others are given.

    Raises:
        ConfigurationError: settings, key or an anchor cannot be used.
    """
    from otel_audit.config import build_trail

    given: dict[str, Any] = {"journal": str(journal), "sinks": [], "heartbeat": 0, "signing_key_file": key}
    if key is None and (settings := read_settings()).signing_key_file is not None:
        given |= {name: getattr(settings, name) for name in _SIGNING}
        given["anchors"] = [anchor.as_json() for anchor in settings.anchors]
    if anchors is not None:
        given["anchors"] = anchors
    return build_trail({name: value for name, value in given.items() if value is not None}, {})
