"""Records as they come: files read on from where they ended, each stream followed across its segments."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from otel_audit.canonical import parse
from otel_audit.errors import ConfigurationError
from otel_audit.record import MAX_LINE

from .content import Entry, examine
from .findings import Findings
from .places import Missing
from .sources import find_sources, is_archive
from .span import Rules, Shared, Span

__all__ = ["Follower", "Seen"]

_FIRST_LOOK: Final = MAX_LINE
"""Bytes at the end of each file that the first look covers."""


class Seen(NamedTuple):
    """One line, and the code of what is wrong with it or its place, if anything is."""

    time: str
    record: dict[str, Any]
    finding: str | None


class Follower:
    """Reads what is new in files and directories, whenever it is asked."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.files: dict[str, int] = {}
        """Each file, and how far it was read."""
        self._paths = list(paths)
        self._looked = False
        self._shared = Shared(Findings())
        self._spans: dict[str, Span] = {}

    def read(self) -> Iterator[Seen]:
        """Yield the lines that were completed since the last time, file by file.

        Raises:
            ConfigurationError: it is a bucket that is to be followed.
        """
        begun, self._looked = self._looked, True
        if any(map(is_archive, self._paths)):
            raise ConfigurationError("what is in a bucket does not grow line by line: follow the journal, or `verify`")
        for source in find_sources(self._paths):
            if not isinstance(source, Missing):
                for line in self._new_lines(source.path, from_start=begun):
                    yield self._judge(line)

    def _new_lines(self, path: str, *, from_start: bool) -> Iterator[bytes]:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = self.files.get(path)
            if start is None:
                start = 0 if from_start else max(0, size - _FIRST_LOOK)
                if start:
                    file.seek(start)
                    start += len(file.readline(MAX_LINE))  # what is left of a line that began before
            file.seek(start)
            while (line := file.readline(2 * MAX_LINE)).endswith(b"\n"):
                start += len(line)
                yield line[:-1]
            self.files[path] = start

    def _judge(self, line: bytes) -> Seen:
        entry, fault = examine(line)
        try:
            record = parse(line)
        except ValueError:
            record = {"message": line[:200].decode("utf-8", "backslashreplace")}
        code = fault.code if fault is not None else self._follow(entry)
        if fault is not None and entry is not None and entry.stream in self._spans:
            self._spans[entry.stream].take_damaged(entry, 0)
        return Seen(str(record.get("@timestamp", "")), record, code)

    def _follow(self, entry: Entry | None) -> str | None:
        if entry is None:
            return None
        span = self._spans.get(entry.stream)
        if span is None:
            span = self._spans[entry.stream] = Span(entry.stream, "", None, Rules(), self._shared)
        span.take(entry, 0)
        found = self._shared.findings.last()
        self._shared.findings.listed.clear()
        return None if found is None else found.code
