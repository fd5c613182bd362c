"""Elasticsearch and OpenSearch: `elasticsearch+https://search:9200/audit?api_key_file=/run/secrets/key`.

Each record becomes one document (`ecs`) with the record's id, written by `_bulk` `create`: a record that was
already there is not written again, and one that is there with other content is a finding, not a duplicate.
The far end counts item by item, and so does this sink. Plain HTTP with `application/x-ndjson` is what every
version of both products takes.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal
from urllib.parse import quote

import orjson

from otel_audit import __version__
from otel_audit.errors import ConfigurationError

from .base import AnsweredSink, RecordsRefused, SealedLine, SinkUnavailable
from .ecs import document
from .http import Answer, HttpClient, check_headers, excerpt
from .secrets import read_secret
from .tls import DEFAULT_TLS, TlsSettings
from .urls import read_options, read_scheme, split_url

__all__ = ["ElasticsearchSink"]

_SCHEMES: Final = {
    f"{product}{suffix}": scheme
    for product in ("elasticsearch", "opensearch")
    for suffix, scheme in (("", "https"), ("+https", "https"), ("+http", "http"))
}
_DEFAULT_PORT: Final = 9200
_INDEX: Final = re.compile(r"(?![-_+.])[^A-Z\\/*?\"<>| ,#:\x00-\x1f]{1,255}")
_MAPPING_ERRORS: Final = frozenset(
    {"mapper_parsing_exception", "document_parsing_exception", "strict_dynamic_mapping_exception"}
)
_TOO_LONG: Final = "immense term"
"""Lucene's words for a keyword of more than 32,766 bytes; the error's type is that of a full mapping too."""
_HINTS: Final = {
    401: " (check api_key_file or password_file)",
    403: " (the account needs create and read on the index)",
    404: " (make the index or its template first, or allow auto-creation)",
}
_KEY_VARIABLE: Final = "OTEL_PYTHON_AUDIT_ELASTICSEARCH_API_KEY"
_PASSWORD_VARIABLE: Final = "OTEL_PYTHON_AUDIT_ELASTICSEARCH_PASSWORD"  # noqa: S105 - the variable's name


class ElasticsearchSink(AnsweredSink):
    """Writes one document a record, and takes for delivered what each item of the answer confirms.

    Args:
        hosts: `host:port`, or several of one cluster, of which one that fails gives way to the next.
        index: name of an index, alias or data stream.
        prefix: path before the index, behind a proxy.
        scheme: `http` is plain text and warned of.
        user: for basic authentication, with `password_file` or OTEL_PYTHON_AUDIT_ELASTICSEARCH_PASSWORD.
        api_key_file: holds an API key in its encoded form; or OTEL_PYTHON_AUDIT_ELASTICSEARCH_API_KEY.
        timeout: seconds for each of connecting, sending and answering.
        allow: addresses that may be connected to beside public ones; see `HostPolicy`.
        tls: whom to trust, and as whom to appear.

    Raises:
        ConfigurationError: a setting cannot be used.
    """

    def __init__(
        self,
        *,
        hosts: str,
        index: str,
        prefix: str = "",
        scheme: Literal["https", "http"] = "https",
        user: str | None = None,
        password_file: str | None = None,
        api_key_file: str | None = None,
        timeout: float = 30.0,
        allow: tuple[str, ...] = (),
        tls: TlsSettings = DEFAULT_TLS,
        max_records: int = 500,
        max_bytes: int = 2 << 20,
        name: str = "elasticsearch",
    ) -> None:
        if not _INDEX.fullmatch(index):
            raise ConfigurationError(f"sink {name}: {index!r} cannot be the name of an index; use lower case")
        self.name = name
        self.max_records = max_records
        self.max_bytes = max_bytes
        self._prefix = quote(prefix.rstrip("/"))
        self._index = quote(index, safe="")
        self._place = f"{scheme}://{hosts}/{index}"
        self._user = user
        self._password_file = password_file
        self._api_key_file = api_key_file
        self._headers()
        self._client = HttpClient(
            hosts=hosts,
            default_port=_DEFAULT_PORT,
            plaintext=scheme == "http",
            timeout=timeout,
            allow=allow,
            tls=tls,
        )

    @classmethod
    def from_url(cls, url: str) -> ElasticsearchSink:
        """Return the sink of `elasticsearch[+https|+http]://user@host:port/index` (or `opensearch...`).

        Raises:
            ConfigurationError: the URL or one of its options is unusable.
        """
        parts = split_url(url)
        scheme = read_scheme(parts, _SCHEMES)
        prefix, _, index = parts.path.rpartition("/")
        if not parts.authority or not index:
            raise ConfigurationError(f"sink {parts}: write {parts.scheme}://host:9200/index")
        given = {
            "hosts": parts.authority,
            "index": index,
            "prefix": prefix,
            "scheme": scheme,
            "user": parts.user,
        }
        return cls(**read_options(parts.options, cls.__init__, parts, given=given))

    def send(self, batch: Sequence[SealedLine]) -> None:
        """Write a batch; return when every record is stored.

        Raises:
            SinkUnavailable: no answer, or one that says later for the request or any item.
            RecordsRefused: the index cannot take some documents, or holds others under their ids.
        """
        refused: dict[str, str] = {}
        body = bytearray()
        written = []
        for sealed in batch:
            try:
                line = sealed.line.decode().removesuffix("\n")
                mapped = orjson.dumps(document(orjson.loads(line), line))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                refused[sealed.id] = f"the line is not a record of format 1 ({type(error).__name__})"
                continue
            body += b'{"create":{"_id":"%b"}}\n%b\n' % (sealed.id.encode(), mapped)
            written.append(sealed)
        if written:
            held = self._create(written, bytes(body), refused)
            if held:
                self._compare(held, refused)
        if refused:
            first, why = next(iter(refused.items()))
            raise RecordsRefused(
                f"{self._place}: {len(refused)} of {len(batch)} records refused; {first}: {why}",
                ids=frozenset(refused),
            )

    def close(self) -> None:
        """End the connection; the next send makes a new one."""
        self._client.close()

    def _create(
        self, batch: Sequence[SealedLine], body: bytes, refused: dict[str, str]
    ) -> list[tuple[SealedLine, str]]:
        """Return the records whose id is taken, with the index that holds it; add those that cannot be
        stored.
        """
        wanted = "errors,items.*._id,items.*._index,items.*.status,items.*.error.type,items.*.error.reason"
        answer = self._post(f"/{self._index}/_bulk?filter_path={wanted}", body)
        items = [item.get("create", {}) for item in answer.get("items", [])]
        if [item.get("_id") for item in items] != [sealed.id for sealed in batch]:
            raise SinkUnavailable(f"{self._place}: the answer does not list the records that were sent")
        held = []
        later = []
        for sealed, item in zip(batch, items, strict=True):
            status, error = item.get("status"), item.get("error") or {}
            if status in (200, 201):
                continue
            said = excerpt(f"{error.get('type')}: {error.get('reason')}", ())
            if status == 409:
                held.append((sealed, str(item.get("_index"))))
            elif status == 413 or (status == 400 and _is_of_the_document(error)):
                refused[sealed.id] = said
            else:
                later.append(f"{sealed.id}: {status} {said}")
        if later:
            raise SinkUnavailable(f"{self._place}: {len(later)} of {len(batch)} not stored; {later[0]}")
        return held

    def _compare(self, held: Sequence[tuple[SealedLine, str]], refused: dict[str, str]) -> None:
        """Add to `refused` the records under whose id the index holds something else than their line."""
        wanted = [{"_index": index, "_id": sealed.id, "_source": ["event.original"]} for sealed, index in held]
        found = self._post("/_mget", orjson.dumps({"docs": wanted})).get("docs", [])
        stored = {each.get("_id"): each.get("_source") for each in found if each.get("found")}
        for sealed, index in held:
            if sealed.id not in stored:
                raise SinkUnavailable(f"{self._place}: {sealed.id} is said to exist in {index}, and is not there")
            original = ((stored[sealed.id] or {}).get("event") or {}).get("original")
            if original != sealed.line.decode().removesuffix("\n"):
                refused[sealed.id] = (
                    f"{index} holds a document with this id whose event.original is not this record's line: "
                    "it was changed, or somebody else wrote it; compare both before removing either"
                )

    def _post(self, target: str, body: bytes) -> dict[str, Any]:
        try:
            headers = self._headers()
        except ConfigurationError as error:  # a file that was there when the sink was made
            raise SinkUnavailable(str(error)) from error
        answer = self._client.post(
            self._prefix + target,
            body,
            {
                "Content-Type": "application/x-ndjson" if "_bulk" in target else "application/json",
                "User-Agent": f"otel-audit/{__version__}",
                **headers,
            },
        )
        if answer.status == 413:
            raise RecordsRefused(f"{self._place} answered 413: the request is larger than it takes")
        if answer.status != 200:
            raise self._failure(answer, headers)
        try:
            found = orjson.loads(answer.body)
        except ValueError as error:
            raise SinkUnavailable(f"{self._place}: the answer is not JSON") from error
        if not isinstance(found, dict):
            raise SinkUnavailable(f"{self._place}: the answer is not an object")
        return found

    def _failure(self, answer: Answer, headers: Mapping[str, str]) -> SinkUnavailable:
        said = excerpt(answer.body, headers.values())
        hint = _HINTS.get(answer.status, "")
        return SinkUnavailable(
            f"{self._place} answered {answer.status}{hint}{f': {said}' if said else ''}",
            retry_after=answer.retry_after,
        )

    def _headers(self) -> dict[str, str]:
        key = read_secret(self._api_key_file, _KEY_VARIABLE, "api_key_file")
        if key is not None:
            headers = {"Authorization": f"ApiKey {key}"}
        elif self._user is not None:
            password = read_secret(self._password_file, _PASSWORD_VARIABLE, "password_file")
            if password is None:
                raise ConfigurationError(f"sink {self.name}: set password_file or {_PASSWORD_VARIABLE}")
            pair = base64.b64encode(f"{self._user}:{password}".encode()).decode()
            headers = {"Authorization": f"Basic {pair}"}
        else:
            return {}
        check_headers(headers, f"sink {self.name}")
        return headers


def _is_of_the_document(error: Mapping[str, Any]) -> bool:
    """Tell whether a 400 is for what this document holds, and not for what the index cannot do with any."""
    return error.get("type") in _MAPPING_ERRORS or _TOO_LONG in str(error.get("reason"))
