"""`otel-audit verify`: what is there, is it what was written, what is missing."""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Final

from otel_audit.cli.output import Style, escape, is_terminal, paint, say

if TYPE_CHECKING:
    from otel_audit.integrity.mackey import MacKey
    from otel_audit.integrity.pins import Pins
    from otel_audit.integrity.policy import Policy
    from otel_audit.otel.signed import TrustedKeys
    from otel_audit.verify import Finding, Report

__all__ = ["HELP", "add_arguments", "add_checking_arguments", "check", "read_policy", "run"]

HELP = "Check audit streams: nothing changed, nothing missing, nothing added."

_EPILOG: Final = """exit codes:
  0 intact   1 tampered   2 usage, or unreadable   3 incomplete   4 unverifiable   5 nothing there
If several apply: 1, then 2, 4, 5, 3."""
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_MOST_STREAMS_SHOWN: Final = 20
_MOST_OBJECTS_SHOWN: Final = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `verify` takes."""
    add_checking_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print a machine-readable report (otel-audit.verify/1)")


def add_checking_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `check` goes by."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SRC",
        help="files, directories, glob patterns, - for stdin, or the s3:// URL of a sink",
    )
    parser.add_argument(
        "--strict", action="store_true", help="turn incomplete, unverifiable and empty into exit code 1"
    )
    parser.add_argument("--quiet", "-q", action="store_true", help="print nothing; the exit code says it")
    parser.add_argument("--unordered", action="store_true", help="lines of an export: any order, copies are no fault")
    parser.add_argument("--from-parsed", action="store_true", help="lines may have been parsed and written again")
    parser.add_argument("--mixed", action="store_true", help="skip lines that are no audit records")
    parser.add_argument(
        "--max-silence",
        type=_duration,
        metavar="TIME",
        help="longest time without a record: 90, 90s, 10m, 2h, 1d",
    )
    proof = parser.add_argument_group("beyond the chain", "What these name must come from elsewhere than the log.")
    proof.add_argument("--policy", metavar="FILE", help="who is trusted, and what must be there (C2SP tlog-policy)")
    proof.add_argument("--pin", metavar="FILE", help="what was seen before; kept up to date when nothing contradicts")
    proof.add_argument("--trust-first-use", action="store_true", help="pin logs that were never seen before")
    proof.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        metavar="PATH",
        help="file or directory of signed checkpoints, or the s3:// URL of an anchor; may be repeated",
    )
    proof.add_argument(
        "--anchor",
        action="append",
        default=[],
        metavar="PATH",
        help="the same, from outside the log's reach; may be repeated",
    )
    proof.add_argument(
        "--tsa-ca",
        action="append",
        default=[],
        metavar="FILE",
        help="root certificate of a time-stamping authority (RFC 3161) that is trusted; may be repeated",
    )
    proof.add_argument(
        "--revocation", action="append", default=[], metavar="FILE", help="a key revocation; may be repeated"
    )
    proof.add_argument(
        "--record-signatures",
        action="store_true",
        help="check each record's own signature too; they must be there then",
    )
    proof.add_argument(
        "--mac-key", metavar="FILE", help="verification key of the evolving MAC; every stream must be marked then"
    )
    proof.add_argument(
        "--max-age",
        type=_duration,
        metavar="TIME",
        help="how old the newest trusted checkpoint of an open stream may be; counts before the policy's",
    )
    otlp = parser.add_argument_group("signatures on OTLP records", "As the Collector's signing processor makes them.")
    otlp.add_argument(
        "--otel-certificate",
        action="append",
        default=[],
        metavar="FILE",
        help="who may have signed, in PEM form; may be repeated",
    )
    otlp.add_argument("--otel-secret-file", metavar="FILE", help="the secret of HMAC signatures, in base64")
    parser.add_argument("--jobs", "-j", type=_jobs, default=os.cpu_count() or 1, help="processes (default: one a core)")


def run(args: argparse.Namespace) -> int:
    """Check, print, and return the verdict's exit code."""
    began = time.monotonic()
    report = check(args)
    if args.json:
        say(json.dumps(report.as_json(), indent=2))
    elif not args.quiet:
        _print(report, time.monotonic() - began)
    return report.exit_code


def check(args: argparse.Namespace, *, digests: bool = False) -> Report:
    """Check as the arguments ask, and keep the pins.

    Raises:
        ConfigurationError: the arguments contradict each other, or what they name is not what it should be.
    """
    from otel_audit.verify import Severity, verify

    policy, pins = read_policy(args), _read_pins(args)
    gc.disable()  # nothing here makes cycles; looking for them would take a fifth of the time
    progress = _ProgressLine(shown=is_terminal(sys.stderr) and not args.quiet)
    report = verify(
        args.sources,
        strict=args.strict,
        unordered=args.unordered,
        parsed_copy=args.from_parsed,
        mixed=args.mixed,
        max_silence=args.max_silence,
        policy=policy,
        pins=pins,
        checkpoints=args.checkpoint,
        anchors=args.anchor,
        revocations=args.revocation,
        mac_key=_read_mac_key(args),
        record_signatures=args.record_signatures,
        otel_keys=_read_otel_keys(args),
        digests=digests,
        jobs=args.jobs,
        progress=progress.advance,
    )
    progress.end()
    if pins is not None and report.findings.verdict() not in {Severity.TAMPERED, Severity.UNREADABLE}:
        _save(pins, args.pin)
    return report


def read_policy(args: argparse.Namespace) -> Policy | None:
    """Return the policy that the arguments name.

    Raises:
        ConfigurationError: it is none, or `--max-age` is given without one.
    """
    from otel_audit.errors import ConfigurationError

    if args.policy is None:
        if args.record_signatures:
            raise ConfigurationError("--record-signatures are some key's: give a --policy that says whose count")
        if args.max_age is not None:
            raise ConfigurationError("--max-age is about trusted checkpoints: give a --policy that says whose they are")
        if args.tsa_ca:
            raise ConfigurationError("--tsa-ca is about trusted checkpoints: give a --policy that says whose they are")
        return None
    from otel_audit.integrity.policy import Policy
    from otel_audit.integrity.stamps import read_roots

    policy = Policy.load(args.policy)
    if args.max_age is not None:
        policy.max_age = args.max_age
    for path in args.tsa_ca:
        with open(path, "rb") as file:
            policy.tsa_roots.extend(read_roots(file.read(), path))
    return policy


def _read_pins(args: argparse.Namespace) -> Pins | None:
    from otel_audit.errors import ConfigurationError

    if args.pin is None:
        if args.trust_first_use:
            raise ConfigurationError("--trust-first-use is about pins: say with --pin where they are kept")
        return None
    from otel_audit.integrity.pins import Pins

    return Pins(args.pin, trust_first_use=args.trust_first_use)


def _save(pins: Pins, path: str) -> None:
    try:
        pins.save()
    except OSError as error:  # it names a temporary file beside this one
        raise OSError(error.errno, f"the pins cannot be kept: {error.strerror}", path) from error


def _read_mac_key(args: argparse.Namespace) -> MacKey | None:
    if args.mac_key is None:
        return None
    from otel_audit.integrity.mackey import load_mac_key

    return load_mac_key(args.mac_key)


def _read_otel_keys(args: argparse.Namespace) -> TrustedKeys | None:
    if not args.otel_certificate and args.otel_secret_file is None:
        return None
    from otel_audit.otel.signed import TrustedKeys

    return TrustedKeys.load(args.otel_certificate, args.otel_secret_file)


def _print(report: Report, seconds: float) -> None:
    from otel_audit.verify.report import counted

    explained: set[str] = set()
    for found in report.findings.listed:
        _print_finding(found, explain=found.code not in explained)
        explained.add(found.code)
    if report.findings.unlisted:
        more = ", ".join(f"{count} {code}" for code, count in sorted(report.findings.unlisted.items()))
        say(f"and, not listed: {more}")
    if explained:
        say("each code is explained in docs/verify-codes.md")
    if len(report.streams) <= _MOST_STREAMS_SHOWN:
        for stream in report.streams:
            end = "closed" if stream.closed else "open"
            say(
                f"stream {stream.stream}: records {stream.first_seq} to {stream.last_seq}, "
                f"{stream.first_time[:19]}Z to {stream.last_time[:19]}Z, {end}, {stream.tier}"
            )
            if (stream.signed or stream.keyed) and stream.proved != report.tier.sentence:
                say(f"    {stream.proved}")
    _print_objects(report)
    rate = report.records / seconds if seconds else 0.0
    say(
        f"checked: {counted(report.records, 'record')}, {counted(len(report.streams), 'stream')}, "
        f"{counted(report.sources, 'source')}, {counted(report.bytes, 'byte')} in {seconds:.2f} s, {rate:.0f} records/s"
    )
    if own := sum(stream.record_signatures for stream in report.streams):
        say(f"records' own signatures: {own} checked and good")
    if report.otel_signatures:
        say(f"signatures on OTLP records: {report.otel_signatures} checked and good")
    verdict = report.verdict.name if report.verdict else "INTACT"
    say(f"{paint(verdict, _style(report.exit_code))}: {escape(report.sentence)}")


def _print_objects(report: Report) -> None:
    from otel_audit.verify.report import counted

    for each in report.objects[:_MOST_OBJECTS_SHOWN]:
        version = f" version {each['version']}" if each["version"] else ""
        lock = f"{each['lock']} until {each['retain_until']}" if each["lock"] else "no lock known"
        say(escape(f"read {each['object']}{version}, {counted(each['bytes'], 'byte')}, {lock}"))
    if (more := len(report.objects) - _MOST_OBJECTS_SHOWN) > 0:
        say(f"read {counted(more, 'object')} more (--json lists them)")


def _print_finding(found: Finding, *, explain: bool) -> None:
    from otel_audit.verify import CODES

    where = found.file
    if found.line is not None:
        where += f":{found.line}"
    elif found.offset is not None:
        where += f" at byte {found.offset}"
    about = ""
    if found.stream is not None:
        about = f"stream {found.stream}" if found.seq is None else f"record {found.stream}-{found.seq}"
        if found.count > 1 and found.seq is not None:
            about += f" to {found.seq + found.count - 1}"
    label = paint(found.code, _style(int(found.severity)))
    say(" ".join(filter(None, (f"{escape(where)}:" if where else "", label, about))))
    for name, value in (("expected", found.expected), ("actual", found.actual), ("detail", found.detail)):
        if value:
            say(f"    {name}: {escape(value)}")
    if explain:
        code = CODES[found.code]
        say(f"    {code.meaning}")
        say(f"    Next: {code.next_step}")


def _style(severity: int) -> Style:
    styles: dict[int, Style] = {0: "good", 1: "bad", 2: "bad"}
    return styles.get(severity, "doubtful")


class _ProgressLine:
    """One line on standard error that says how far the check is; nothing if nobody is looking."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._began = self._said = time.monotonic()
        self._bytes = 0

    def advance(self, count: int) -> None:
        """Count more bytes; say so now and then."""
        self._bytes += count
        now = time.monotonic()
        if self._shown and now - self._said > 0.2:
            self._said = now
            megabytes = self._bytes / 1e6
            sys.stderr.write(f"\r\x1b[Kchecked {megabytes:.0f} MB, {megabytes / (now - self._began):.0f} MB/s")
            sys.stderr.flush()

    def end(self) -> None:
        """Take the line away."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _duration(text: str) -> float:
    number, unit = (text[:-1], _UNITS[text[-1]]) if text and text[-1] in _UNITS else (text, 1)
    try:
        seconds = float(number) * unit
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; write 90, 90s, 10m, 2h or 1d")
    return seconds


def _jobs(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes")
    return int(text)
