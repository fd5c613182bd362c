"""Text of strangers in a page: a user name may be a script."""

from __future__ import annotations

import html
import json
import re
from typing import Any, Final

from otel_audit.spelling import spell_out

__all__ = ["as_json", "as_text"]

_ACTIVE: Final = re.compile("[<>&]")


def as_text(value: object) -> str:
    """Return a value as HTML text or attribute value, with what acts on a screen spelled out."""
    return html.escape(spell_out(str(value)))


def as_json(value: Any) -> str:
    """Return a value as ASCII JSON that can stand in a `<script>` element: no markup, no comment, no end tag in it."""
    return _ACTIVE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, separators=(",", ":")))
