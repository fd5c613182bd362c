"""One run: find the sources, read each, join the streams, check what they say of each other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

from .findings import Finding, Findings
from .joining import Stream, join
from .links import Links
from .lookup import Lookup
from .reading import Reading, read_source
from .report import Report, StreamSummary
from .sources import Missing, Source, find_sources
from .span import Rules

__all__ = ["Progress", "verify"]

Progress = Callable[[int], None]
"""Called now and then with the bytes read so far."""


def verify(
    sources: Sequence[str | os.PathLike[str]],
    *,
    strict: bool = False,
    unordered: bool = False,
    parsed_copy: bool = False,
    mixed: bool = False,
    max_silence: float | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
) -> Report:
    """Check the streams in files, directories, glob patterns or standard input (`-`).

    Args:
        sources: what to check. Together they are taken for the whole: a stream that another one names and that is
            missing from a journal directory is a finding.
        strict: everything that is not a pass is a failure: incomplete, unverifiable and empty become exit code 1.
        unordered: the lines come from an export: their order means nothing, and identical copies are no fault.
        parsed_copy: lines may have been parsed and written again; canonical bytes are derived anew.
        mixed: other lines may stand between records, as in an application's standard output.
        max_silence: seconds that may pass between two records of a stream.
        jobs: processes to read sources with.
        progress: told how many bytes were read.

    Nothing that a source holds makes this raise: it becomes a finding.
    """
    rules = Rules(parsed_copy=parsed_copy, mixed=mixed, max_silence=max_silence)
    findings = Findings()
    found: list[Source] = []
    for source in find_sources(sources):
        if isinstance(source, Missing):
            findings.add(Finding("MISSING_PATH", source.path, detail=_what_is_missing(source.path)))
        else:
            found.append(source)
    readings = list(_read_all(found, rules, jobs, progress))
    for reading in readings:
        findings.extend(reading.findings)
    streams = _check_together(readings, rules, findings)
    records = sum(reading.records for reading in readings)
    _note_emptiness(readings, records, findings)
    return Report(
        sources=len(readings),
        bytes=sum(reading.bytes for reading in readings),
        lines=sum(reading.lines for reading in readings),
        records=records,
        streams=[_summarize(stream) for stream in streams.values()],
        findings=findings,
        strict=strict,
    )


def _read_all(
    sources: Sequence[Source], rules: Rules, jobs: int, progress: Progress | None
) -> Iterator[Reading]:
    done = 0
    for source in sources:
        before = done
        reading = read_source(
            source, rules, progress and (lambda count, before=before: progress(before + count))
        )
        done += reading.bytes
        yield reading


def _check_together(readings: Sequence[Reading], rules: Rules, findings: Findings) -> dict[str, Stream]:
    lookup = Lookup()
    spans = [span for reading in readings for span in reading.spans]
    streams = join(spans, rules, findings, lookup)
    lookup.run()
    links = Links(streams, readings, findings, lookup)
    links.check()
    lookup.run()
    return streams


def _note_emptiness(readings: Sequence[Reading], records: int, findings: Findings) -> None:
    if readings and not records and not any(reading.torn for reading in readings):
        findings.add(Finding("EMPTY", readings[0].source.path))
        return
    for reading in readings:
        if reading.bytes == 0 and not findings_of(reading):
            findings.add(Finding("EMPTY_SEGMENT", reading.source.path, stream=reading.source.stream))


def findings_of(reading: Reading) -> bool:
    """Tell whether reading it gave findings."""
    return bool(reading.findings.listed)


def _what_is_missing(path: str) -> str:
    return "no *.jsonl file under it" if os.path.isdir(path) else "no such file"


def _summarize(stream: Stream) -> StreamSummary:
    first, last = stream.first, stream.last
    return StreamSummary(
        stream=stream.id,
        first_seq=stream.first_seq,
        last_seq=last.seq,
        records=stream.records,
        first_time=first.first.time if first.first is not None else "",
        last_time=last.last_time,
        closed=stream.closed_at is not None,
        last_hash=last.hash,
    )
