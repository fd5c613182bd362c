"""What anchors behind an HTTP POST have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, TypeVar
from urllib.parse import quote

from otel_audit.errors import ConfigurationError
from otel_audit.integrity.publishing import AnchorError, AnchorRefused
from otel_audit.sinks.base import SinkUnavailable
from otel_audit.sinks.http import Answer
from otel_audit.sinks.posting import HttpSettings, Poster
from otel_audit.sinks.urls import read_options, read_scheme, split_url

__all__ = ["HttpAnchor"]

_Anchor = TypeVar("_Anchor", bound="HttpAnchor")
_PASSING: Final = frozenset({408, 425, 429})
"""Answers of 4xx that say to come back later (RFC 9110, section 15.5; RFC 8470; RFC 6585)."""


class HttpAnchor:
    """An anchor that is posted to.

    Args:
        http: where to, and how.
        name: the anchor's name.

    Raises:
        ConfigurationError: a setting cannot be used.
    """

    kind: ClassVar[str]
    """What the URL's scheme begins with, and the name where none is given."""

    def __init__(self, *, http: HttpSettings, name: str | None = None) -> None:
        self.name = name or self.kind
        self._poster = Poster(http, f"anchor {self.name}", "checkpoints")

    @classmethod
    def from_url(cls: type[_Anchor], url: str) -> _Anchor:  # noqa: PYI019 - typing.Self is 3.11
        """Return the anchor of `<kind>+https://host:port/path?option=value`; `+http` is plain text.

        Raises:
            ConfigurationError: the URL or one of its options is unusable.
        """
        parts = split_url(url, "anchor")
        schemes = {f"{cls.kind}+https": "https", cls.kind: "https", f"{cls.kind}+http": "http"}
        scheme = read_scheme(parts, schemes, "anchor")
        if parts.user or not parts.authority:
            raise ConfigurationError(f"anchor {parts}: a host is needed, and no user; use headers_file")
        given = {"hosts": parts.authority, "scheme": scheme, "target": quote(parts.path or "/")}
        return cls(**read_options(parts.options, cls.__init__, parts, given=given, what="anchor"))

    def close(self) -> None:
        """End the connection; the next checkpoint makes a new one."""
        self._poster.close()

    def _post(self, body: bytes, headers: Mapping[str, str], *, below: str = "") -> Answer:
        """POST to the target, or to a path below it, and return whatever is answered.

        Raises:
            AnchorError: there was no answer.
        """
        try:
            return self._poster.post(body, headers, below=below)
        except SinkUnavailable as error:
            raise AnchorError(str(error), retry_after=error.retry_after) from error

    def _refusal(self, answer: Answer) -> AnchorError:
        """Return what an answer means that is not the one hoped for."""
        message = self._poster.describe(answer)
        if 400 <= answer.status < 500 and answer.status not in _PASSING:
            return AnchorRefused(message)
        return AnchorError(message, retry_after=answer.retry_after)
