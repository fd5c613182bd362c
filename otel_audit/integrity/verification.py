"""Checking one stream against signed checkpoints, anchors, pins and the trust policy.

The caller checks the lines and the chain, and feeds this the records' hashes in order; the Merkle frontier is
folded in batches, at the sizes that somebody has signed, so that it costs half a microsecond a record.

    integrity = StreamIntegrity(stream, policy=policy, pins=pins, checkpoints=notes)
    integrity.extend(hashes, until=timestamp_of_the_last)        a batch of records, in order
    integrity.control(record)                                    each record whose event_name begins with
    "audit."
    verdict = integrity.finish()

Whatever a stream holds, `control` raises nothing and memory stays bounded: garbage becomes findings.
"""

from __future__ import annotations

import base64
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Final, NamedTuple

from otel_audit.integrity.checkpoint import WINDOW, Checkpoint, birth_of, stream_of
from otel_audit.integrity.epochs import EpochKey
from otel_audit.integrity.findings import Finding, Severity, Tier
from otel_audit.integrity.growing import GrowingTree
from otel_audit.integrity.heads import TrustedHead, is_revoked, trust
from otel_audit.integrity.merkle import HASH_SIZE, Frontier
from otel_audit.integrity.note import NoteError, VerifierKey, decode_base64, parse_note, short_vkey
from otel_audit.integrity.pins import Pins
from otel_audit.integrity.policy import Policy
from otel_audit.integrity.seals import SealSeries
from otel_audit.integrity.stamps import Stamp, StampError, check_reply
from otel_audit.integrity.statements import Revocation, Rotation
from otel_audit.integrity.verdict import Verdict
from otel_audit.record import Control

__all__ = ["StreamIntegrity"]

_MAX_FINDINGS: Final = 10_000
_CODES: Final = {
    "note-unsigned": "CHECKPOINT_UNSIGNED",
    "note-bad-signature": "BAD_SIGNATURE",
    "note-no-known-signature": "UNKNOWN_SIGNER",
    "note-type-missing": "SIGNATURE_MISSING",
    "note-future": "TIME_IN_FUTURE",
    "checkpoint-extension": "CHECKPOINT_EXTENSION",
}
_STAMP_CODES: Final = {
    "stamp-other-data": "STAMP_OTHER_DATA",
    "stamp-usage": "STAMP_USAGE",
    "stamp-expired": "STAMP_EXPIRED",
    "stamp-untrusted": "STAMP_UNTRUSTED",
    "stamp-invalid": "STAMP_INVALID",
    "stamp-unchecked": "STAMP_UNSUPPORTED",
}
_MOST_AUTHORITIES: Final = 64


class _Stop(NamedTuple):
    """A size at which a root is due: a signed head, or (`head` is None) a bare root: a pin, an anchor."""

    size: int
    epoch: int
    final: bool
    checkpoint: Checkpoint
    head: TrustedHead | None
    source: str
    """`stream`, `file`, `anchor` or `pin`."""
    seq: int | None
    stamp: Stamp | None = None
    """A trusted time stamp over the note."""


class StreamIntegrity:
    """Everything that is checked about one stream beyond its chain. Feed it in order; it is not
    thread-safe.
    """

    def __init__(
        self,
        stream: str,
        *,
        policy: Policy | None = None,
        pins: Pins | None = None,
        checkpoints: Iterable[str | bytes] = (),
        anchors: Iterable[str | bytes] = (),
        replies: Mapping[bytes, bytes] | None = None,
        revocations: Sequence[Revocation] = (),
        now: float | None = None,
        pruned: Frontier | None = None,
    ) -> None:
        """`checkpoints` are signed notes kept beside the log, `anchors` such notes from outside the log's
        reach; notes of other streams among them are passed over. `replies` are time-stamp replies (RFC 3161) by the
        notes that they stamp. `now` is the verifier's time in POSIX
        seconds. `pruned` is the tree over records that retention removed; it need not be trusted, because only the
        right one leads to the roots that were signed behind it.
        """
        self.stream = stream
        self._policy = policy
        self._pins = pins
        self._revocations = revocations
        self._now = time.time() if now is None else now
        self._origin = stream
        self._findings: list[Finding] = []
        self._tree = GrowingTree(pruned)
        self._start = self._tree.size
        self._until: float | None = None
        self._closed: int | None = None
        self._last_inband = 0
        self._signers: set[str] = set()
        self._rotations: list[Rotation] = []
        self._heard = False
        self._signed = self._anchored = self._witnessed = 0
        self._head_time: float | None = None
        self._mismatched: list[_Stop] = []
        self._matched: deque[tuple[int, bytes]] = deque(maxlen=256)
        self._cosigned: dict[tuple[int, bytes], list[VerifierKey]] = {}
        self._replies = replies or {}
        self._stamped: tuple[int, Stamp] | None = None
        self._stamps: dict[str, tuple[int, Stamp]] = {}
        self._unchecked = 0
        self._seals: SealSeries | None = None
        self.wants_times = policy is not None and any(isinstance(key, EpochKey) for key in policy.logs)
        """Whether `extend` has a use for every record's time."""
        self._stops = sorted(self._known_stops(checkpoints, anchors), key=lambda stop: stop[:3], reverse=True)

    def extend(self, hashes: Sequence[str], *, until: str | None = None, times: Sequence[str] = ()) -> None:
        """Take the hashes (64 hex digits each) of the next records.

        `until` is the last one's `@timestamp`; `times` are all of them, needed only where `wants_times`.

        Raises:
            ValueError: a hash is not 64 hex digits.
        """
        packed = bytes.fromhex("".join(hashes))
        if len(packed) != HASH_SIZE * len(hashes):
            raise ValueError("a record hash is 64 hex digits")
        self.extend_packed(packed, until=until, times=times)

    def extend_packed(self, packed: bytes, *, until: str | None = None, times: Sequence[str] = ()) -> None:
        """Take the hashes of the next records as 32 bytes each; otherwise like `extend`."""
        self._tree.extend(packed, times if self.wants_times else ())
        if until is not None:
            self._until = posix_time(until)
        if self._tree.size - self._tree.folded > 2 * WINDOW:
            self._check_stops((self._tree.size - WINDOW, -1, False))
            self._tree.fold(self._tree.size - WINDOW)

    def control(self, record: Mapping[str, Any]) -> None:
        """Take a control record: one whose `event_name` begins with `audit.`. Others are passed over.

        Call it after `extend` was given the records before it, and before more than `WINDOW` behind it.
        """
        name, seq, data = record.get("event_name"), record.get("seq"), record.get("data")
        if type(seq) is not int:
            return
        if name == Control.STREAM_CLOSE:
            self._closed = seq
        elif name == Control.CHECKPOINT:
            self._take_checkpoint(data, seq)
        elif name == Control.ANCHOR:
            self._take_anchor(data, seq)
        elif name == Control.KEY_ROTATE:
            self._take_rotation(data, seq)

    @property
    def closed_at(self) -> int | None:
        """Number of the closing record, once it was taken."""
        return self._closed

    def sum_up(self) -> int:
        """Return how many records, from the first on, a trusted signature covers. To be called behind the last one."""
        self._check_stops((self._tree.size, 2**62, True))
        self._tree.fold(self._tree.size)
        return self._signed

    def finish(self, *, chained: bool = True, keyed: int = 0) -> Verdict:
        """Return the verdict. `chained`: the chain of hashes held; `keyed`: so many records have good marks."""
        self.sum_up()
        for stop in self._stops:
            self._report_truncated(stop)
        for stop in self._mismatched:
            self._report_mismatch(stop)
        ended = self._closed is not None and self._signed >= self._closed
        if self._seals is not None:
            self._findings.extend(self._seals.finish(self._now - self._skew, ended=ended))
        self._check_policy(ended=ended)
        self._check_pins()
        if self._unchecked:
            self._find("STAMP_UNCHECKED", f"{self._unchecked} time stamps", None)
        return Verdict(
            self._findings,
            self._tier(chained=chained, keyed=bool(keyed)),
            self._origin,
            self._tree.size,
            self._tree.root(),
            self._signed,
            self._anchored,
            self._witnessed,
            self._stamped,
            keyed,
        )

    # What is known before the first record.

    def _known_stops(self, checkpoints: Iterable[str | bytes], anchors: Iterable[str | bytes]) -> Iterable[_Stop]:
        for source, notes in (("file", checkpoints), ("anchor", anchors)):
            for raw in notes:
                stop = self._read_checkpoint(raw, source, None)
                if stop is not None and (reply := self._replies.get(raw if isinstance(raw, bytes) else raw.encode())):
                    stop = stop._replace(stamp=self._read_stamp(raw, reply, None))
                if stop is not None:
                    yield stop
        for origin in self._pins or ():
            pin = self._pins.get(origin) if self._pins is not None else None
            if pin is not None and self.stream in {origin, stream_of(origin)}:
                yield _Stop(pin.size, -1, False, Checkpoint(origin, pin.size, pin.root), None, "pin", None)

    # Records.

    def _take_checkpoint(self, data: Any, seq: int) -> None:
        note = data.get("note") if isinstance(data, dict) else None
        if not isinstance(note, str):
            self._find("CHECKPOINT_MALFORMED", "an audit.checkpoint record without a note", seq)
            return
        stop = self._read_earlier(note, seq)
        if stop is None:
            return
        if stop.size < self._last_inband:
            self._find("CHECKPOINT_ORDER", "sizes go down", seq, f"{self._last_inband} or more", str(stop.size))
            return
        self._last_inband = stop.size
        if stop.head is not None:
            self._follow_keys(stop.head, seq)
        self._check_stops(stop[:3])
        self._check(stop)

    def _take_anchor(self, data: Any, seq: int) -> None:
        """Take what an anchor gave in return, if it is anything that can be checked: cosignatures, a time stamp."""
        if not isinstance(data, dict) or not isinstance(note := data.get("note"), str):
            return
        stop = self._read_earlier(note, seq)
        if stop is None:
            return
        if isinstance(stamped := data.get("stamp"), str):
            try:
                reply = decode_base64(stamped)
            except NoteError as error:
                self._find("STAMP_MALFORMED", str(error), seq)
            else:
                stop = stop._replace(stamp=self._read_stamp(note, reply, seq))
        self._check_stops(stop[:3])
        self._check(stop)

    def _read_earlier(self, note: str, seq: int) -> _Stop | None:
        """Read a checkpoint that stands in the stream: it covers nothing but records before itself."""
        stop = self._read_checkpoint(note, "stream", seq)
        if stop is not None and stop.size >= seq:
            self._find("CHECKPOINT_SIZE", f"covers {stop.size} records", seq, f"at most {seq - 1}", str(stop.size))
            return None
        return stop

    def _read_stamp(self, note: str | bytes, reply: bytes, seq: int | None) -> Stamp | None:
        if self._policy is None or not self._policy.tsa_roots:
            self._unchecked += 1
            return None
        data = note.encode() if isinstance(note, str) else note
        try:
            stamp = check_reply(reply, data, self._policy.tsa_roots)
        except StampError as error:
            self._find(_STAMP_CODES.get(error.code, "STAMP_MALFORMED"), str(error), seq)
            return None
        if stamp.time.timestamp() > self._now + self._skew:
            self._find("TIME_IN_FUTURE", f"a time stamp of {stamp.time:%Y-%m-%dT%H:%M:%SZ}", seq)
            return None
        return stamp

    def _take_rotation(self, data: Any, seq: int) -> None:
        statement = data.get("statement") if isinstance(data, dict) else None
        if self._policy is None:
            return
        try:
            if not isinstance(statement, str):
                raise NoteError("statement", "the record holds no statement")
            rotation = Rotation.open(statement, self._policy.logs)
        except NoteError as error:
            self._find("ROTATION_INVALID", str(error), seq)
            return
        if stream_of(rotation.origin) != self.stream or len(self._rotations) >= 1000:
            self._find("ROTATION_INVALID", "of another stream, or one of too many", seq)
        elif self._signers and rotation.old not in self._signers:
            self._find("ROTATION_INVALID", "by a key that does not sign this stream", seq)
        else:
            self._rotations.append(rotation)

    def _read_checkpoint(self, raw: str | bytes, source: str, seq: int | None) -> _Stop | None:
        try:
            checkpoint = Checkpoint.parse(parse_note(raw).text)
        except NoteError as error:
            self._find(_CODES.get(error.code, "CHECKPOINT_MALFORMED"), str(error), seq)
            return None
        if stream_of(checkpoint.origin) != self.stream:
            if source == "stream":
                self._find("FOREIGN_CHECKPOINT", f"its origin is {checkpoint.origin[:200]!r}", seq)
            return None
        self._heard = True
        head = None
        if self._policy is not None:
            try:
                head = trust(raw, self._policy, now=self._now)
            except NoteError as error:
                self._find(_CODES.get(error.code, "CHECKPOINT_MALFORMED"), str(error), seq)
                return None
            if is_revoked(head, self._policy, self._revocations):
                self._find("KEY_REVOKED", f"a checkpoint over {checkpoint.size} records", seq)
                return None
        if head is not None or self._origin == self.stream:
            self._origin = checkpoint.origin
        seal = None if head is None else head.seal
        epoch, final = (-1, False) if seal is None else (seal.epoch, seal.final)
        return _Stop(checkpoint.size, epoch, final, checkpoint, head, source, seq)

    def _follow_keys(self, head: TrustedHead, seq: int) -> None:
        signers = {each.key.vkey for each in head.signers}
        if self._signers and not signers & self._signers:
            allowed = {
                each.new for each in self._rotations if each.old in self._signers and head.checkpoint.size >= each.size
            }
            if not signers & allowed:
                names = ", ".join(sorted(map(short_vkey, signers)))
                self._find("KEY_CHANGED", f"now signed by {names}", seq)
        self._signers = signers

    # Roots.

    def _check_stops(self, place: tuple[int, int, bool]) -> None:
        """Check the heads from outside the stream that are due up to this place."""
        while self._stops and self._stops[-1][:3] <= place and self._stops[-1].size <= self._tree.size:
            self._check(self._stops.pop())

    def _check(self, stop: _Stop) -> None:
        known = stop.size, stop.checkpoint.root
        if stop.size < self._start:
            if stop.source in {"pin", "anchor"}:
                detail = f"{stop.size} records were known ({stop.source}), the first {self._start} were removed"
                self._find("PRUNED_BEYOND", detail, self._start + 1)
            return
        if stop.size < self._tree.folded and known not in self._matched:
            detail = f"covers {stop.size} records, {self._tree.size} were read before it"
            self._find("CHECKPOINT_LATE", detail, stop.seq)
            return
        self._tree.fold(stop.size)
        if known not in self._matched and self._tree.root() != stop.checkpoint.root:
            if len(self._mismatched) < _MAX_FINDINGS:
                self._mismatched.append(stop)
            return
        self._matched.append(known)
        if stop.source in {"pin", "anchor"}:
            self._anchored = max(self._anchored, stop.size)
        head = stop.head
        if head is None:
            return
        self._signed = max(self._signed, stop.size)
        self._count_witnesses(head)
        if stop.stamp is not None:
            self._count_stamp(stop.stamp, stop)
        stated = head.time if head.time is not None else self._until
        if stated is not None:
            self._head_time = max(self._head_time or stated, stated)
        self._check_seal(head, stop)

    def _count_witnesses(self, head: TrustedHead) -> None:
        """Add cosignatures to those that other copies of the same checkpoint carry."""
        policy = self._policy
        if policy is None or policy.quorum == "none" or not head.witnesses:
            return
        known = head.checkpoint.size, head.checkpoint.root
        keys = self._cosigned.setdefault(known, [])
        keys.extend(key for key in head.witnesses if key not in keys)
        if policy.quorum_met(keys):
            self._witnessed = max(self._witnessed, head.checkpoint.size)
        if len(self._cosigned) > 256:
            del self._cosigned[next(iter(self._cosigned))]

    def _count_stamp(self, stamp: Stamp, stop: _Stop) -> None:
        size, last = self._stamps.get(stamp.signer, (stop.size, stamp))
        backwards = last.time - stamp.time if stop.size >= size else stamp.time - last.time
        if backwards.total_seconds() > self._skew:
            one, other = sorted([(stop.size, stamp.time), (size, last.time)])
            self._find("STAMP_ORDER", f"{one[0]} records at {one[1]:%FT%TZ}, {other[0]} at {other[1]:%FT%TZ}", stop.seq)
            return
        if stop.size >= size and (stamp.signer in self._stamps or len(self._stamps) < _MOST_AUTHORITIES):
            self._stamps[stamp.signer] = stop.size, stamp
        self._anchored = max(self._anchored, stop.size)
        if self._stamped is None or self._stamped[0] < stop.size:
            self._stamped = stop.size, stamp

    def _check_seal(self, head: TrustedHead, stop: _Stop) -> None:
        seal = head.seal
        if seal is None or not isinstance(seal.key, EpochKey):
            return
        if self._seals is None:
            self._seals = SealSeries(seal.key.schedule, birth_of(self.stream))
        for each in self._seals.add(seal, stop.size):
            self._append(each)
        span = self._tree.take_span()
        if span is not None:
            begin = seal.key.schedule.begin(seal.epoch) - self._skew
            end = seal.key.schedule.end(seal.epoch) + self._skew
            earliest, latest = span
            if not (begin <= (posix_time(earliest) or begin) and (posix_time(latest) or end) <= end):
                detail = f"sealed in epoch {seal.epoch}, they state times from {earliest} to {latest}"
                self._find("EPOCH_TIME", detail, stop.size)

    # The end.

    def _report_truncated(self, stop: _Stop) -> None:
        code = "PIN_TRUNCATED" if stop.source == "pin" else "SIGNED_TRUNCATED"
        detail = f"{stop.size} records were known ({stop.source}), {self._tree.size} are here"
        self._find(code, detail, self._tree.size, str(stop.size), str(self._tree.size))

    def _report_mismatch(self, stop: _Stop) -> None:
        root = base64.b64encode(stop.checkpoint.root).decode()
        detail = f"the first {stop.size} records have another root than the {stop.source} says"
        code = "CHECKPOINT_ROOT"
        if stop.source == "pin":
            code = "PIN_MISMATCH"
        elif stop.head is not None and self._signed >= stop.size:
            # A trusted key also signed a head that these records do have: two versions, both signed.
            code = "EQUIVOCATION"
        self._find(code, detail, stop.size if stop.seq is None else stop.seq, expected=root)

    def _check_policy(self, *, ended: bool) -> None:
        policy = self._policy
        if policy is None:
            if self._heard:
                self._find("NO_POLICY", "signatures were not checked", None)
            return
        last = self._now if self._until is None else self._until
        if self._tree.size and policy.demands_signature(last):
            if not self._signed:
                self._find("NOT_SIGNED", f"none of {self._tree.size} records is covered by a trusted signature", None)
            elif self._signed < self._tree.size:
                count = self._tree.size - self._signed
                self._find("UNSIGNED_TAIL", f"the last {count} of {self._tree.size} records", self._signed + 1)
        if policy.demands_anchor(last) and self._anchored < self._tree.size:
            which = f"the last {self._tree.size - self._anchored} of {self._tree.size} records"
            seq = self._anchored + 1 if self._anchored else None
            self._find("NOT_ANCHORED", f"no anchor or pin covers {which if self._anchored else 'any record'}", seq)
        if self._signed and policy.quorum != "none" and self._witnessed < self._signed:
            which = f"the last {self._signed - self._witnessed} of {self._signed} signed records"
            seq = self._witnessed + 1 if self._witnessed else None
            detail = f"over {which}" if self._witnessed else ""
            self._find(
                "QUORUM_MISSED", f"no checkpoint {detail} meets quorum {policy.quorum!r}".replace("  ", " "), seq
            )
        if policy.max_age is not None and self._signed and not ended:
            age = self._now - (self._head_time if self._head_time is not None else 0)
            if age > policy.max_age:
                self._find("STALE", f"the newest trusted checkpoint is {age:.0f} s old", self._signed)

    def _check_pins(self) -> None:
        if self._pins is None or self._pins.trust_first_use or not self._tree.size:
            return
        if self._pins.get(self._origin) is None and self._pins.get(self.stream) is None:
            self._find("NOT_PINNED", f"{self._origin} was never seen before", None)

    def _tier(self, *, chained: bool, keyed: bool) -> Tier:
        if not self._tree.size or not chained or any(each.severity == Severity.TAMPERED for each in self._findings):
            return Tier.PLAIN
        if self._witnessed:
            return Tier.WITNESSED
        if self._anchored and self._signed:
            return Tier.ANCHORED
        if self._signed:
            return Tier.SIGNED
        return Tier.KEYED if keyed else Tier.CHAINED

    @property
    def _skew(self) -> float:
        return Policy().clock_skew if self._policy is None else self._policy.clock_skew

    def _find(
        self, code: str, detail: str, seq: int | None, expected: str | None = None, actual: str | None = None
    ) -> None:
        self._append(Finding(code, detail, seq, expected, actual))

    def _append(self, finding: Finding) -> None:
        if len(self._findings) < _MAX_FINDINGS:
            self._findings.append(finding)


def posix_time(timestamp: str) -> float | None:
    """Return a record's `@timestamp` as POSIX seconds, or None where it is no time."""
    try:
        moment = datetime.strptime(timestamp[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
        return moment.timestamp() + float("0" + timestamp[19:-1])
    except (ValueError, TypeError):
        return None
