"""One run: find the sources, read each, join the streams, check what they say of each other."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import repeat
from typing import TYPE_CHECKING, Final

from .evidence import Asked, Evidence, Proved
from .findings import Finding, Findings, Severity
from .joining import Stream, join
from .links import Links
from .lookup import Lookup
from .places import Elsewhere, Missing
from .reading import Reading, read_source
from .report import Input, Report, StreamSummary
from .sources import STDIN, Source, find_sources, find_unread
from .span import Rules
from .unordered import Index

if TYPE_CHECKING:
    from otel_audit.integrity.mackey import MacKey
    from otel_audit.integrity.pins import Pins
    from otel_audit.integrity.policy import Policy
    from otel_audit.otel.signed import TrustedKeys

    from .archive import StoredObject

__all__ = ["Progress", "verify"]

Progress = Callable[[int], None]
"""Called now and then with how many more bytes were read."""

_WORTH_A_PROCESS: Final = 16 * 1024 * 1024


def verify(
    sources: Sequence[str | os.PathLike[str]],
    *,
    strict: bool = False,
    unordered: bool = False,
    parsed_copy: bool = False,
    mixed: bool = False,
    max_silence: float | None = None,
    policy: Policy | None = None,
    pins: Pins | None = None,
    checkpoints: Sequence[str | os.PathLike[str]] = (),
    anchors: Sequence[str | os.PathLike[str]] = (),
    revocations: Sequence[str | os.PathLike[str]] = (),
    mac_key: MacKey | None = None,
    record_signatures: bool = False,
    otel_keys: TrustedKeys | None = None,
    digests: bool = False,
    jobs: int = 1,
    progress: Progress = lambda _: None,
) -> Report:
    """Check the streams in files, directories, glob patterns, standard input (`-`) or buckets.

    Args:
        sources: what to check; `s3://` URLs of sinks are read from their buckets. Together they are taken for the
            whole: a stream that another one names and that is missing from a journal directory is a finding.
        strict: everything that is not a pass is a failure: incomplete, unverifiable and empty become exit code 1.
        unordered: the lines come from an export: their order means nothing, and identical copies are no fault.
        parsed_copy: lines may have been parsed and written again; canonical bytes are derived anew.
        mixed: other lines may stand between records, as in an application's standard output.
        max_silence: seconds that may pass between two records of a stream.
        policy: who is trusted, and what must be there (`otel_audit.integrity.policy`); it must come from elsewhere than
            the log. Without one, checkpoints are held to the keys that the log itself names, and no stream counts as
            signed.
        pins: what was seen before (`otel_audit.integrity.pins`). They are moved; keeping them (`save`) is the caller's.
        checkpoints: files with signed checkpoints, or directories of `<stream>.checkpoint` files. Those in a journal's
            own directory `checkpoints` are found without being named.
        anchors: the same, from outside the log's reach; or `s3://` URLs of anchors.
        revocations: files with key revocations, which count by the policy's `revoker` lines.
        mac_key: verification key of evolving MACs (`otel_audit.integrity.mackey`); each stream must be marked then.
        record_signatures: check the signatures that records have of their own, too (`record_signatures` of the writer);
            that needs a policy, and each stream must have some.
        otel_keys: whose signatures on OTLP records count (`audit.integrity.*`; `otel_audit.otel.signed`). Without them
            signatures are not checked, and a note says so.
        digests: take each source's SHA-256 as well, for `Report.inputs`.
        jobs: processes to read sources with.
        progress: told how many bytes were read.

    Nothing that a source holds makes this raise: it becomes a finding.

    Raises:
        ConfigurationError: a file of `revocations` is none, or there is no policy to judge it by; an `s3://` URL cannot
            be used.
    """
    asked = Asked(policy, pins, checkpoints, anchors, revocations, mac_key, record_signatures)
    rules = Rules(
        parsed_copy,
        mixed,
        unordered,
        max_silence,
        asked.anything,
        asked.wants_times,
        digests,
        each_record=record_signatures,
    )
    findings = Findings()
    found: list[Source] = []
    for source in find_sources(sources):
        if isinstance(source, Missing):
            findings.add(Finding("MISSING_PATH", source.path, detail=source.detail or _what_is_missing(source.path)))
        else:
            found.append(source)
            if source.is_misnamed:
                findings.add(Finding("SEGMENT_NAME", source.path))
    for directory in find_unread(sources, found):
        findings.add(Finding("NOT_READ", directory))
    journals = {os.path.dirname(source.path) for source in found if source.stream is not None}
    evidence = Evidence(asked, journals, [os.fspath(path) for path in sources if os.path.isdir(path)], findings)
    readings: list[Reading] = []
    with closing(Index()) as index:
        for reading in _read_all(found, rules, jobs, progress, index, otel_keys=otel_keys):
            readings.append(reading)
            findings.extend(reading.findings)
            evidence.take(reading.spans)
        index.pieces.settle([reading.source for reading in readings], findings, parsed_copy=parsed_copy)
        links = _check_together(readings, index, rules, findings, evidence)
    streams = links.streams
    records = sum(stream.records for stream in streams.values())
    _note_emptiness(readings, records, findings)
    if otel_keys is not None:
        _miss_signatures(readings, findings)
    proved = evidence.finish(streams, links.cuts_of)
    stored = _judge_buckets(found, streams, evidence, findings)
    return Report(
        sources=len(readings),
        bytes=sum(reading.bytes for reading in readings),
        lines=sum(reading.lines for reading in readings),
        records=records,
        streams=[_summarize(stream, proved[stream.id]) for stream in streams.values()],
        findings=findings,
        otel_signatures=sum(reading.signatures for reading in readings),
        strict=strict,
        objects=[each.as_json() for each in stored],
        inputs=[Input(reading.source.path, reading.bytes, reading.lines, reading.sha256) for reading in readings],
    )


def _read_all(
    sources: Sequence[Source],
    rules: Rules,
    jobs: int,
    progress: Progress,
    index: Index,
    *,
    otel_keys: TrustedKeys | None,
) -> Iterator[Reading]:
    """Read the sources, in several processes if there is enough to do for them."""
    jobs = min(jobs, len(sources))
    alone = any(source.path == STDIN or isinstance(source.path, Elsewhere) for source in sources)
    if jobs < 2 or alone or sum(map(_size, sources)) < _WORTH_A_PROCESS:
        for source in sources:
            yield read_source(source, rules, progress, index, otel_keys)
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    # Spawned, not forked: a fork would copy the threads' locks of a program that calls this, and its audit trail.
    with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=gc.disable) as pool:
        for reading in pool.map(read_source, sources, repeat(rules)):
            progress(reading.bytes)
            if reading.needs_index:  # documents do: their signatures are checked here, where the keys are
                yield read_source(reading.source, rules, progress, index, otel_keys)
            else:
                yield reading


def _size(source: Source) -> int:
    try:
        return os.stat(source.path).st_size
    except OSError:
        return 0


def _check_together(
    readings: Sequence[Reading], index: Index, rules: Rules, findings: Findings, evidence: Evidence
) -> Links:
    lookup = Lookup()
    spans = [span for reading in readings for span in reading.spans]
    for span in index.spans(rules, findings):
        spans.append(span)
        evidence.take([span])
    torn = {reading.source.path for reading in readings if reading.torn is not None}
    streams = join(spans, rules, findings, lookup, torn)
    lookup.run()
    _set_aside(streams.values(), readings, findings)
    links = Links(streams, readings, findings, lookup)
    evidence.follow_pruned(streams.values(), links.cuts_of)
    links.leave_out_cuts(lambda cut: evidence.vouches_for(cut, streams[cut.by]))
    links.check()
    lookup.run()
    return links


def _judge_buckets(
    sources: Sequence[Source], streams: Mapping[str, Stream], evidence: Evidence, findings: Findings
) -> list[StoredObject]:
    """Report what buckets did not keep as they should, and return what was read from them."""
    elsewhere = [
        each for each in (*(source.path for source in sources), *evidence.kept_in) if isinstance(each, Elsewhere)
    ]
    if not elsewhere:
        return []
    from .archive import StoredObject
    from .keeping import judge

    stored = [each for each in elsewhere if isinstance(each, StoredObject)]
    claims = list(evidence.claims())
    promises = {stream.id: stream.first.archives for stream in streams.values()}
    anchors = {id(each.archive) for each in evidence.kept_in if isinstance(each, StoredObject)}
    for archive in dict.fromkeys(each.archive for each in stored):
        judge(archive, claims if id(archive) in anchors else (), promises, findings)
    return stored


def _set_aside(streams: Iterable[Stream], readings: Sequence[Reading], findings: Findings) -> None:
    """Withdraw what was found in streams of an unknown format, unless their records are sound in ours."""
    unknown = {stream.id for stream in streams if stream.unknown_format and stream.records == 1}
    files = {
        reading.source.path
        for reading in readings
        if reading.source.stream in unknown
        or (reading.spans and unknown.issuperset(span.stream for span in reading.spans))
    }
    if unknown:
        findings.discard(lambda found: found.file in files and found.code != "UNKNOWN_FORMAT")


def _note_emptiness(readings: Sequence[Reading], records: int, findings: Findings) -> None:
    nothing = bool(readings) and not records and findings.verdict() is Severity.NOTE
    for reading in readings:
        if reading.other_lines:
            findings.add(Finding("OTHER_LINES", reading.source.path, count=reading.other_lines))
        if not nothing and not reading.bytes and not reading.findings.listed:
            findings.add(Finding("EMPTY_SEGMENT", reading.source.path, stream=reading.source.stream))
    if nothing:
        findings.add(Finding("EMPTY", readings[0].source.path))


def _miss_signatures(readings: Sequence[Reading], findings: Findings) -> None:
    """Find lines that lie outside of OTLP records: whoever takes a signature away may take the record around it too."""
    for reading in readings:
        if (bare := reading.held - reading.signable) > 0:
            detail = "lines outside of OTLP records"
            findings.add(Finding("OTEL_SIGNATURE_MISSING", reading.source.path, detail=detail, count=bare))


def _what_is_missing(path: str) -> str:
    return "no *.jsonl or *.json file under it" if os.path.isdir(path) else "no such file"


def _summarize(stream: Stream, proved: Proved) -> StreamSummary:
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
        tier=proved.tier.name.lower(),
        proved=proved.sentence,
        signed=proved.signed,
        anchored=proved.anchored,
        witnessed=proved.witnessed,
        stamped=proved.stamped,
        stamped_at=proved.stamped_at,
        keyed=proved.keyed,
        record_signatures=proved.record_signatures,
    )
