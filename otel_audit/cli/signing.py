"""What the commands that write a record of their own sign it with: a policy may demand it of each stream."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from otel_audit.config.settings import Settings

__all__ = ["settings_of_own"]

_SIGNING: Final = ("signing_key_file", "second_signing_key_file", "record_signatures", "mac_key_file")


def settings_of_own(
    journal: str | os.PathLike[str],
    key: str | None,
    read_settings: Callable[[], Settings],
    anchors: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return the settings of a trail that writes a stream of a command's own into a journal, and sends it nowhere.

    It is signed with `key`, else as the settings say, with their anchors where no others are given.

    Raises:
        ConfigurationError: the settings cannot be read.
    """
    given: dict[str, Any] = {"journal": str(journal), "sinks": [], "heartbeat": 0, "signing_key_file": key}
    if key is None and (settings := read_settings()).signing_key_file is not None:
        given |= {name: getattr(settings, name) for name in _SIGNING}
        given["anchors"] = [anchor.as_json() for anchor in settings.anchors]
    if anchors is not None:
        given["anchors"] = anchors
    return {name: value for name, value in given.items() if value is not None}
