"""What a run of the verifier found, as one value: findings, streams, verdict, and what it proves."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from otel_audit.integrity.findings import Tier

from .findings import CODES, Findings, Severity

__all__ = ["SCHEMA", "Input", "Report", "StreamSummary", "counted"]

SCHEMA: Final = "otel-audit.verify/1"

_STRICT: Final = frozenset({Severity.INCOMPLETE, Severity.UNVERIFIABLE, Severity.EMPTY})
_MOST_LISTED: Final = 1000


@dataclasses.dataclass(frozen=True, slots=True)
class StreamSummary:
    """One stream as it was found."""

    stream: str
    first_seq: int
    last_seq: int
    records: int
    first_time: str
    last_time: str
    closed: bool
    last_hash: str
    tier: str
    """How far the proof reaches: plain, chained, keyed, signed, anchored or witnessed."""
    proved: str
    """What that means, in one sentence."""
    signed: int
    """Records, from the first on, that a trusted signature covers."""
    anchored: int
    """Records that an anchor or a pin covers."""
    witnessed: int
    """Records that a checkpoint with the witnesses' quorum covers."""
    stamped: int = 0
    """Records that the last trusted time stamp covers."""
    stamped_at: str = ""
    """When that was, by the authority's clock; empty if there is none."""
    keyed: int = 0
    """Records that an evolving MAC marks."""
    record_signatures: int = 0
    """Records whose own signature was checked and is good."""


@dataclasses.dataclass(frozen=True, slots=True)
class Input:
    """One source as it was read."""

    path: str
    bytes: int
    """Decompressed."""
    lines: int
    sha256: str | None
    """Of the file as it lies there; None if that was not asked for, or it could not be read to its end."""


@dataclasses.dataclass(slots=True)
class Report:
    """The outcome of one run."""

    sources: int
    bytes: int
    lines: int
    records: int
    streams: list[StreamSummary]
    findings: Findings
    otel_signatures: int = 0
    """Signatures on OTLP records that were checked and are good."""
    strict: bool = False
    inputs: list[Input] = dataclasses.field(default_factory=list)
    objects: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    """What was read from buckets: `object`, its `version`, `bytes`, when it was `stored`, `lock`, `retain_until`."""

    @property
    def verdict(self) -> Severity:
        """What it comes to; `strict` makes everything that is not a pass a failure."""
        found = self.findings.verdict()
        return Severity.TAMPERED if self.strict and found in _STRICT else found

    @property
    def exit_code(self) -> int:
        """The process's exit code: 0 intact, 1 tampered, 2 unreadable, 3 incomplete, 4 unverifiable, 5 empty."""
        return int(self.verdict)

    @property
    def tier(self) -> Tier:
        """The tier that every stream reaches."""
        return min((Tier[stream.tier.upper()] for stream in self.streams), default=Tier.PLAIN)

    @property
    def sentence(self) -> str:
        """Say in one sentence what has been proved and what has not."""
        found = self.findings.verdict()
        sentences = _SENTENCES if self.tier < Tier.KEYED else _SENTENCES | _KEYED_SENTENCES
        said = (_ABOVE_SENTENCE if self._is_only_above() else sentences[found]).format(
            records=counted(self.records, "record"),
            streams=counted(len(self.streams), "stream"),
            beyond=self.tier.sentence + self._stamps(),
            signature="checkpoint" if self.otel_signatures else "signature",
        )
        return said if found is self.verdict else f"{said} With --strict this is a failure."

    def _is_only_above(self) -> bool:
        """Tell whether all that was tampered with lies above what an archive holds, which was checked below it."""
        tampered = {code for code in self.findings.counts() if CODES[code].severity is Severity.TAMPERED}
        return bool(tampered) and tampered <= _ABOVE

    def _stamps(self) -> str:
        times = [stream.stamped_at for stream in self.streams]
        if not all(times) or not times:
            return ""
        if len(times) == 1:
            return f" The first {self.streams[0].stamped} existed by {times[0]}, as a time-stamping authority attests."
        return f" A time-stamping authority attests when each stream was there, the last one by {max(times)}."

    def as_json(self) -> dict[str, Any]:
        """Return the `otel-audit.verify/1` report. Lists are cut at 1000; the counts are of everything."""
        return {
            "schema": SCHEMA,
            "verdict": self.verdict.name.lower() if self.verdict else "intact",
            "exit_code": self.exit_code,
            "sentence": self.sentence,
            "tier": self.tier.name.lower(),
            "sources": self.sources,
            "bytes": self.bytes,
            "lines": self.lines,
            "records": self.records,
            "otel_signatures": self.otel_signatures,
            "stream_count": len(self.streams),
            "streams": [dataclasses.asdict(stream) for stream in self.streams[:_MOST_LISTED]],
            "object_count": len(self.objects),
            "objects": self.objects[:_MOST_LISTED],
            "finding_counts": dict(sorted(self.findings.counts().items())),
            "findings": [found.as_json() for found in self.findings.listed],
        }


def counted(number: int, noun: str) -> str:
    """Return a number of things in words: `1 stream`, `1 206 records`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}".replace(",", " ")


_SENTENCES: Final = {
    Severity.NOTE: (
        "Proved: {records} in {streams} are unchanged, in order and complete from first to last by their own chain. "
        "Not proved: that nobody wrote the whole chain anew, or removed whole streams newer than the last one that "
        "another names; no {signature} and no anchor was checked."
    ),
    Severity.INCOMPLETE: (
        "Proved: nothing contradicts; {records} in {streams} are unchanged and in order by their own chain. "
        "Not proved: that they are all there were (see the findings), nor that nobody wrote the whole chain anew."
    ),
    Severity.TAMPERED: (
        "Proved: what is here is not what was written (see the findings). "
        "Not proved: who did it, when, or that the rest of {records} in {streams} is genuine."
    ),
    Severity.UNREADABLE: "Proved: nothing as a whole, because not everything could be read; {records} were checked.",
    Severity.UNVERIFIABLE: (
        "Proved: nothing about the streams that could not be judged (see the findings); {records} were read."
    ),
    Severity.EMPTY: "Proved: nothing; there is nothing here to check where something should be.",
}

_ABOVE: Final = frozenset({"OBJECT_OVERWRITTEN", "OBJECT_HIDDEN"})
_ABOVE_SENTENCE: Final = (
    "Proved: somebody put objects or delete markers above what was archived (see the findings). The {records} in "
    "{streams} below them were checked for themselves. {beyond} Not proved: who did it, or that these "
    "are all there were."
)

_KEYED_SENTENCES: Final = {
    Severity.NOTE: (
        "Proved: {records} in {streams} are unchanged, in order and complete. {beyond} "
        "Not proved: that no whole stream is gone that nothing else here, no anchor and no pin names."
    ),
    Severity.INCOMPLETE: (
        "Proved: nothing contradicts; {records} in {streams} are unchanged and in order. {beyond} "
        "Not proved: that they are all there were (see the findings)."
    ),
}
"""What is said instead where every stream is keyed, signed or more."""
