"""A directory: on another disk, on another host's share, wherever the log's own writer is not the owner.

directory:///mnt/elsewhere/checkpoints      `<stream>.checkpoint` files, replaced atomically
"""

from __future__ import annotations

import os

from otel_audit.errors import ConfigurationError
from otel_audit.integrity.checkpoint import file_stem_of
from otel_audit.integrity.durable import replace_file
from otel_audit.integrity.publishing import AnchorError, SignedHead
from otel_audit.sinks.urls import read_options, split_url

__all__ = ["DirectoryAnchor"]


class DirectoryAnchor:
    """Keeps the newest checkpoint of each stream as `<directory>/<stream>.checkpoint`."""

    def __init__(self, directory: str | os.PathLike[str], *, name: str = "directory") -> None:
        self._directory = os.fspath(directory)
        self.name = name

    @classmethod
    def from_url(cls, url: str) -> DirectoryAnchor:
        """Return the anchor of `directory:///absolute/path`.

        Raises:
            ConfigurationError: the URL or one of its options is unusable.
        """
        parts = split_url(url, "anchor")
        if parts.authority or parts.user or not parts.path.startswith("/"):
            raise ConfigurationError("write directory:///absolute/path")
        return cls(parts.path, **read_options(parts.options, cls.__init__, parts, what="anchor"))

    def publish(self, head: SignedHead) -> None:
        """Replace the stream's file, atomically.

        Raises:
            AnchorError: the file is as it was.
        """
        name = f"{file_stem_of(head.checkpoint.origin)}.checkpoint"
        try:
            replace_file(os.path.join(self._directory, name), head.note.encode(), 0o644)
        except OSError as error:  # not made here: an empty directory in place of a mount would be no anchor
            raise AnchorError(f"{self._directory}: {error.strerror or type(error).__name__}") from error

    def close(self) -> None:
        """Nothing is held."""
