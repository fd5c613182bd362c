"""Anchors: where checkpoints go beside the log, each named by a URL.

directory:///mnt/elsewhere/checkpoints      `<stream>.checkpoint` files, replaced atomically
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from ..errors import ConfigurationError
from ..sinks.urls import SinkUrl, nearest, split_url

if TYPE_CHECKING:
    from ..integrity.publishing import Anchor

__all__ = ["make_anchors"]


def make_anchors(urls: Sequence[str]) -> list[Anchor]:
    """Return the anchors that these URLs name. Nothing is written or connected.

    Raises:
        ConfigurationError: one of them names none; a line for each.
    """
    made: list[Anchor] = []
    wrong: list[str] = []
    for index, url in enumerate(urls):
        try:
            made.append(_make(split_url(url)))
        except ConfigurationError as error:  # noqa: PERF203 - every mistake is told
            wrong.append(f"anchors[{index}]: {error}")
    if wrong:
        raise ConfigurationError("\n".join(wrong))
    return made


def _make(url: SinkUrl) -> Anchor:
    maker = _MAKERS.get(url.scheme)
    if maker is None:
        raise ConfigurationError(f"{url.scheme!r} is no kind of anchor{nearest(url.scheme, _MAKERS)}")
    return maker(url)


def _directory(url: SinkUrl) -> Anchor:
    from ..integrity.publishing import DirectoryAnchor

    if url.authority or url.options or not url.path.startswith("/"):
        raise ConfigurationError("write directory:///absolute/path")
    return DirectoryAnchor(url.path)


_MAKERS: Final[dict[str, Callable[[SinkUrl], Anchor]]] = {"directory": _directory}
"""Kind of anchor, by the URL's scheme."""
