"""Lines to an HTTP endpoint: a POST of NDJSON a batch, `webhook+https://hooks.example/audit`.

    POST /audit HTTP/1.1
    Content-Type: application/x-ndjson
    Idempotency-Key: "01a200a867407357b1ffeabe75c3f9c0-7.50"

A batch counts as delivered with an answer of 2xx. What was not answered is sent again, so the endpoint can
get a record twice: `<stream>-<seq>` tells. The key names a batch by its first record and its length; the
shipper may divide what it sends again otherwise than before, so the endpoint must not rely on it for single
records.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from otel_audit.errors import ConfigurationError

from .base import AnsweredSink, RecordsRefused, SealedLine, SinkUnavailable
from .posting import HttpSettings, Poster
from .urls import read_options, read_scheme, split_url

__all__ = ["WebhookSink"]

_SCHEMES: Final = {"webhook": "https", "webhook+https": "https", "webhook+http": "http"}
_REFUSALS: Final = frozenset({400, 413, 422})
_HINTS: Final = {401: " (check headers_file)", 403: " (check headers_file)", 404: " (check the path)"}


class WebhookSink(AnsweredSink):
    """POSTs batches of lines.

    Args:
        http: where to, and how.
        max_records, max_bytes: most of one batch.
        name: the sink's name.

    Raises:
        ConfigurationError: a setting cannot be used.
    """

    def __init__(
        self,
        *,
        http: HttpSettings,
        max_records: int = 500,
        max_bytes: int = 1 << 20,
        name: str = "webhook",
    ) -> None:
        self.name = name
        self.max_records = max_records
        self.max_bytes = max_bytes
        self._poster = Poster(http, f"sink {name}")

    @classmethod
    def from_url(cls, url: str) -> WebhookSink:
        """Return the sink of `webhook[+https|+http]://host:port/path?option=value`.

        Raises:
            ConfigurationError: the URL or one of its options is unusable.
        """
        parts = split_url(url)
        scheme = read_scheme(parts, _SCHEMES)
        if parts.user or not parts.authority:
            raise ConfigurationError(f"sink {parts}: a host is needed, and no user; use headers_file")
        given = {"hosts": parts.authority, "scheme": scheme, "target": quote(parts.path or "/")}
        return cls(**read_options(parts.options, cls.__init__, parts, given=given))

    def send(self, batch: Sequence[SealedLine]) -> None:
        """POST a batch; return at an answer of 2xx.

        Raises:
            SinkUnavailable: no answer, or another one.
            RecordsRefused: the answer is 400, 413 or 422.
        """
        headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": f'"{batch[0].id}.{len(batch)}"'}
        answer = self._poster.post(b"".join([sealed.line for sealed in batch]), headers)
        if 200 <= answer.status < 300:
            return
        reason = self._poster.describe(answer)
        if answer.status in _REFUSALS:
            raise RecordsRefused(reason)
        raise SinkUnavailable(f"{reason}{_HINTS.get(answer.status, '')}", retry_after=answer.retry_after)

    def close(self) -> None:
        """End the connection; the next send makes a new one."""
        self._poster.close()
