"""The documents that exports hold, beyond the lines in them: fields, signatures, and documents without an end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from otel_audit.record import DRAFT_NAMES

from .content import looks_like_record
from .envelopes import Opened
from .findings import Finding, Findings
from .projected import disagreements

if TYPE_CHECKING:
    from otel_audit.otel.signed import Checked, TrustedKeys

__all__ = ["Documents"]

_SIGNATURE: Final = DRAFT_NAMES["integrity.value"]
_RECORD_ID: Final = re.compile(r"([0-9a-f]{32})-([0-9]{1,16})")


class Documents:
    """Checks the documents of one source as they are opened.

    Args:
        keys: whose signatures on OTLP records count; None if they are not to be checked.
    """

    def __init__(self, path: str, findings: Findings, keys: TrustedKeys | None) -> None:
        self._path = path
        self._findings = findings
        self._keys = keys
        self._counted: dict[str, Finding] = {}
        self.signatures = 0
        """How many signatures were checked and are good."""
        self.signable = 0
        """How many lines stood where a signature covers them, be it there or not."""

    def take(self, opened: Opened, number: int) -> None:
        """Check the documents of one line."""
        if opened.torn:
            self._count("TORN_DOCUMENT", number)
        for document in opened.documents:
            for each in disagreements(document):
                found = Finding("PROJECTION_MISMATCH", self._path, number, stream=each.stream, seq=each.seq)
                found.expected, found.actual, found.detail = each.expected, each.actual, each.name
                self._findings.add(found)
            if isinstance(document, dict) and "resourceLogs" in document:
                self._check_signatures(document, number)

    def _check_signatures(self, document: dict[str, Any], number: int) -> None:
        if self._keys is None:
            if signed := sum(_SIGNATURE in _names(record) for record in _log_records(document)):
                self._count("OTEL_SIGNATURES_UNCHECKED", number, signed)
            return
        from otel_audit.otel.signed import State, check_signatures

        for record, checked in zip(_log_records(document), check_signatures(document, self._keys), strict=True):
            self.signable += _count_lines(record)
            if checked.state is State.GOOD:
                self.signatures += 1
            elif checked.state is State.BAD:
                self._report("OTEL_SIGNATURE_BAD", checked, number)
            elif checked.state is State.UNVERIFIABLE:
                self._report("OTEL_SIGNATURE_UNKNOWN_KEY", checked, number)
            elif _is_audit(record):
                self._count("OTEL_SIGNATURE_MISSING", number)

    def _report(self, code: str, checked: Checked, number: int) -> None:
        found = Finding(code, self._path, number, detail=checked.detail)
        if named := _RECORD_ID.fullmatch(checked.record_id):
            found.stream, found.seq = named[1], int(named[2])
        self._findings.add(found)

    def _count(self, code: str, number: int, count: int = 1) -> None:
        """Report once a source what would else be said of every record in it."""
        found = self._counted.get(code)
        if found is None:
            self._counted[code] = self._findings.add(Finding(code, self._path, number, count=count))
        else:
            found.count += count


def _log_records(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for resource_logs in _objects(document.get("resourceLogs")):
        for scope_logs in _objects(resource_logs.get("scopeLogs")):
            yield from _objects(scope_logs.get("logRecords"))


def _objects(value: Any) -> list[dict[str, Any]]:
    return [each if isinstance(each, dict) else {} for each in value] if isinstance(value, list) else []


def _names(record: dict[str, Any]) -> list[Any]:
    return [pair.get("key") for pair in _objects(record.get("attributes"))]


def _is_audit(record: dict[str, Any]) -> bool:
    return _count_lines(record) > 0 or DRAFT_NAMES["id"] in _names(record)


def _count_lines(record: dict[str, Any]) -> int:
    """Count the lines in a record's body and attributes: what a signature covers."""
    values = [record.get("body"), *(pair.get("value") for pair in _objects(record.get("attributes")))]
    texts = [value.get("stringValue") for value in values if isinstance(value, dict)]
    return sum(isinstance(text, str) and looks_like_record(text.encode("utf-8", "surrogatepass")) for text in texts)
