"""What the commands that write a record of their own sign it with: a policy may demand it of each stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from otel_audit.config.settings import Settings

__all__ = ["sign_as_set"]

_SIGNING: Final = ("signing_key_file", "second_signing_key_file", "record_signatures", "mac_key_file")


def sign_as_set(settings: Settings) -> dict[str, Any]:
    """Return the settings that sign and anchor a stream; nothing where they name no signing key."""
    if settings.signing_key_file is None:
        return {}
    anchors = [anchor.as_json() for anchor in settings.anchors]
    return {**{name: getattr(settings, name) for name in _SIGNING}, "anchors": anchors}
