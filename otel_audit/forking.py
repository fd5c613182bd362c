"""What a fork means to a stream: nobody is in the middle of a record, and the child writes one of its own.

The child's stream has its id before the fork, so that the parent can say what it is.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol

from .chain import new_stream_id

__all__ = ["Forkable", "survive_forks"]


class Forkable(Protocol):
    """What is asked of a stream around a fork."""

    def stand_still(self) -> None:
        """Before it: let no thread be in the middle of a record."""

    def go_on(self, child: str) -> None:
        """Behind it, in the parent: a child was made, whose stream will be `child`."""

    def start_anew(self, child: str) -> None:
        """Behind it, in the child: become the stream `child`."""


_streams: weakref.WeakSet[Forkable] = weakref.WeakSet()


class _Fork(threading.local):
    """The fork that this thread is in the middle of: each stream, and the id that it has in the child."""

    streams: tuple[tuple[Forkable, str], ...] = ()


_fork = _Fork()


def survive_forks(stream: Forkable) -> None:
    """Have a stream asked around every fork, as long as somebody else holds on to it."""
    _streams.add(stream)


def _before_fork() -> None:
    _fork.streams = tuple((stream, new_stream_id()) for stream in _streams)
    for stream, _ in _fork.streams:
        stream.stand_still()


def _after_fork_in_parent() -> None:
    streams, _fork.streams = _fork.streams, ()
    for stream, child in streams:
        stream.go_on(child)


def _after_fork_in_child() -> None:
    announced, _fork.streams = dict(_fork.streams), ()
    for stream in list(_streams):  # not only those that were asked before: Ctrl-C may have cut that short
        stream.start_anew(announced.get(stream) or new_stream_id())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
