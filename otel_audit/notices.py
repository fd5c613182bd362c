"""What the package has to say about itself: on stderr, a line at a time, never more than one a second on one subject.

Never through `logging`: the trail may be what handles it.
"""

from __future__ import annotations

import os
import time

from .descriptors import is_closed
from .redaction.text import mask_text

__all__ = ["notice"]

_INTERVAL = 1.0
_said: dict[str, tuple[float, int]] = {}


def notice(message: str, *, subject: str = "") -> None:
    """Write one line to standard error, unless the same subject was spoken of within the last second.

    What a sink or the system said may hold a credential: it is masked.
    """
    if is_closed("stderr"):
        return
    # No lock: a forked child or a signal handler could find it taken for ever. Two threads may both speak, at worst.
    now = time.monotonic()
    last, held_back = _said.get(subject or message, (float("-inf"), 0))
    if now - last < _INTERVAL:
        _said[subject or message] = (last, held_back + 1)
        return
    if len(_said) > 256:
        _said.clear()
    _said[subject or message] = (now, 0)
    message = mask_text(message)
    more = f" (and {held_back} more like this)" if held_back else ""
    try:
        os.write(2, f"otel-audit: {message}{more}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        return  # nobody listens; the journal says it too
