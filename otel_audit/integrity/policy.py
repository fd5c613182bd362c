"""The trust policy: which keys, witnesses and anchors must be there. The policy decides, never the log.

A policy file is a C2SP tlog-policy (c2sp.org/tlog-policy): lines `log`, `witness`, `group` and one `quorum`.
What that format has no word for stands in lines that other readers take for comments:

    #! signed since 2026-11-01T00:00:00Z        from then on every stream must be signed (also: `signed
    always`)
    #! anchored since 2026-11-01T00:00:00Z      ... and its checkpoints found outside the log's reach
    #! max-age 2h                               the newest trusted checkpoint of a running stream (s, m, h, d)
    #! clock-skew 30s                           how far clocks may disagree (default 1m)
    #! revoker <vkey>                           whose revocation statements count
    #! tsa <file, or base64 of a certificate>   a root of time-stamping authorities (RFC 3161) that count; may be
                                                repeated; a file's place is relative to the policy's
    #! signed-by each-type                      a checkpoint counts only if a key of each type above signed it

A `log` line alone already demands signatures: `signed always` holds unless a `signed since` line says from
when. Anything that is not understood is an error with its line number: a misspelt demand must not be a
missing one.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Final, NoReturn

from cryptography.x509 import Certificate

from otel_audit.errors import ConfigurationError
from otel_audit.integrity.checkpoint import speaks_for
from otel_audit.integrity.epochs import EpochKey
from otel_audit.integrity.note import NoteError, VerifierKey, split_vkey
from otel_audit.integrity.signatures import CosignatureKey, Ed25519Key, MLDSA44Key
from otel_audit.integrity.stamps import read_roots

__all__ = ["Group", "Policy", "PolicyError", "Witness", "read_vkey"]

MAX_POLICY: Final = 4_194_304
_ALWAYS: Final = float("-inf")
_FORBIDDEN: Final = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_NUMBER: Final = re.compile("[1-9][0-9]{0,5}")
_DURATION: Final = re.compile("([1-9][0-9]{0,8})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DIRECTIVE: Final = "#!"
_MARK: Final = re.compile(r"#\S |##? ?[^\w#]? ?")
"""What a demand may begin with by mistake; a heading, `###`, is none."""


class PolicyError(ConfigurationError):
    """A policy file is wrong. The message names the file and the line."""


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness: its name within the policy, its key, and where it answers, if the policy says."""

    name: str
    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """A group: at least `threshold` of its members must have witnessed."""

    name: str
    threshold: int
    members: tuple[str, ...]


def read_vkey(vkey: str) -> VerifierKey:
    """Return the key that a vkey line spells.

    Raises:
        NoteError: it is not one, or is of an unknown type.
    """
    name, material = split_vkey(vkey)
    kinds: dict[int, Callable[[str, bytes], VerifierKey]] = {
        kind.type_byte: kind for kind in (Ed25519Key, CosignatureKey, MLDSA44Key, EpochKey)
    }
    kind = kinds.get(material[0])
    if kind is None:
        raise NoteError("vkey", f"the key of {name!r} is of the unknown type 0x{material[0]:02x}")
    return kind(name, material[1:])


@dataclass(slots=True)
class Policy:
    """Who is trusted for what, and what must be there."""

    logs: list[VerifierKey] = field(default_factory=list)
    urls: dict[str, str] = field(default_factory=dict)
    """URL of a log, by its vkey."""
    witnesses: dict[str, Witness] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    quorum: str = "none"
    revokers: list[VerifierKey] = field(default_factory=list)
    tsa_roots: list[Certificate] = field(default_factory=list)
    """Roots of the time-stamping authorities that count."""
    signed_since: float = _ALWAYS
    """POSIX seconds from which on signatures are demanded, if there is a log key at all."""
    anchored_since: float | None = None
    max_age: float | None = None
    clock_skew: float = 60.0
    each_type: bool = False
    """Whether a checkpoint counts only if keys of all the types among `logs` signed it."""

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Policy:
        """Read a policy file.

        Raises:
            PolicyError: a line of it is wrong.
            OSError: it cannot be read.
        """
        with open(path, "rb") as file:
            return cls.parse(file.read(MAX_POLICY + 1), source=os.fspath(path))

    @classmethod
    def parse(cls, raw: bytes, *, source: str = "policy") -> Policy:
        """Read a policy. `source` names it in messages.

        Raises:
            PolicyError: a line of it is wrong.
        """
        if len(raw) > MAX_POLICY:
            raise PolicyError(f"{source}: larger than {MAX_POLICY} bytes")
        return _Reader(source).read(raw)

    def log_keys(self, origin: str) -> list[VerifierKey]:
        """Return the keys that may sign checkpoints of this origin."""
        return [key for key in self.logs if speaks_for(key.name, origin)]

    def witness_keys(self) -> list[VerifierKey]:
        """Return all witnesses' keys."""
        return [witness.key for witness in self.witnesses.values()]

    def quorum_met(self, cosigners: Iterable[VerifierKey]) -> bool:
        """Tell whether these witnesses' valid cosignatures are enough."""
        if self.quorum == "none":
            return True
        signed = {(key.name, key.key_id) for key in cosigners}
        met = {name for name, each in self.witnesses.items() if (each.key.name, each.key.key_id) in signed}
        for group in self.groups.values():  # in the order of the file: members come before their groups
            if sum(member in met for member in group.members) >= group.threshold:
                met.add(group.name)
        return self.quorum in met

    def demands_signature(self, time: float) -> bool:
        """Tell whether records of this time (POSIX seconds) must be covered by a signature."""
        return bool(self.logs) and time >= self.signed_since

    def demands_anchor(self, time: float) -> bool:
        """Tell whether records of this time must be covered by an anchored checkpoint."""
        return self.anchored_since is not None and time >= self.anchored_since


def _is_vkey(word: str) -> bool:
    try:
        split_vkey(word)
    except NoteError:
        return False
    return True


class _Reader:
    """One pass over a policy's lines."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._line = 0
        self._policy = Policy()
        self._quorum_seen = False
        self._members: set[str] = set()
        self._said: set[str] = set()

    def read(self, raw: bytes) -> Policy:
        # Octets above 0x7f are opaque in this format; surrogateescape keeps each one as it is.
        for self._line, line in enumerate(raw.split(b"\n"), 1):
            if _FORBIDDEN.search(line):
                self._fail("a control character (a carriage return?)")
            items = [each for each in re.split("[ \t]+", line.decode("utf-8", "surrogateescape")) if each]
            if not items:
                continue
            if items[0].startswith(_DIRECTIVE):
                self._directive([each for each in (items[0][len(_DIRECTIVE) :], *items[1:]) if each])
            elif items[0].startswith("#"):
                self._comment(items)
            else:
                self._statement(items)
        if raw and not raw.endswith(b"\n"):
            self._fail("the last line does not end in a newline: is the file whole?")
        if not self._quorum_seen:
            self._fail("no quorum line; write `quorum none` where no witness is asked for")
        if "signed" in self._said and not self._policy.logs:
            self._fail("signatures are demanded, and no `log` line says whose count")
        return self._policy

    def _fail(self, message: str) -> NoReturn:
        raise PolicyError(f"{self._source}, line {self._line}: {message}")

    def _comment(self, items: list[str]) -> None:
        """Pass over a comment, unless it is a demand whose mark was lost."""
        words = _MARK.sub("", " ".join(items), count=1).split() or [""]
        word, rest = words[0].rstrip(":").lower(), words[1:]
        if (
            (word in {"signed", "anchored"} and rest[:1] in (["always"], ["since"]))
            or (word in {"max-age", "clock-skew", "revoker", "tsa"} and len(rest) == 1)
            or [word, *rest] == ["signed-by", "each-type"]
        ):
            self._fail(f"a comment that reads like the demand {word!r}: begin it with `#!`, or put it in other words")

    def _statement(self, items: list[str]) -> None:
        word, *rest = items
        reader = {
            "log": self._log,
            "witness": self._witness,
            "group": self._group,
            "quorum": self._quorum,
        }.get(word)
        if reader is None:
            hint = f"; this is a verifier key: write `log {word}`" if _is_vkey(word) else ""
            self._fail(f"unknown word {word!r}; log, witness, group and quorum are known{hint}")
        reader(rest)

    def _log(self, items: list[str]) -> None:
        if len(items) not in {1, 2}:
            self._fail("log takes a verifier key and at most a URL")
        key = self._key(items[0], self._policy.logs)
        if isinstance(key, CosignatureKey):
            self._fail("this is a witness's key (type 0x04); a log signs with another type")
        self._policy.logs.append(key)
        if len(items) == 2:
            self._policy.urls[key.vkey] = items[1]

    def _witness(self, items: list[str]) -> None:
        if len(items) not in {2, 3}:
            self._fail("witness takes a name, a verifier key and at most a URL")
        name = self._new_name(items[0])
        key = self._key(items[1], self._policy.witness_keys())
        if not isinstance(key, (CosignatureKey, MLDSA44Key)):
            self._fail("a witness signs cosignatures: type 0x04 or 0x06")
        self._policy.witnesses[name] = Witness(name, key, items[2] if len(items) == 3 else None)

    def _group(self, items: list[str]) -> None:
        if len(items) < 3:
            self._fail("group takes a name, a threshold (all, any or a number) and members")
        name, threshold, *members = items
        self._new_name(name)
        for member in members:
            if member == "none" or not self._is_defined(member):
                self._fail(f"{member!r} is not defined above this line")
            if member in self._members:
                self._fail(f"{member!r} is a member already; each name may be one once")
            self._members.add(member)
        needed = {"all": len(members), "any": 1}.get(threshold)
        if needed is None:
            if not _NUMBER.fullmatch(threshold) or int(threshold) > len(members):
                self._fail(f"the threshold is all, any, or a number from 1 to {len(members)}, not {threshold!r}")
            needed = int(threshold)
        self._policy.groups[name] = Group(name, needed, tuple(members))

    def _quorum(self, items: list[str]) -> None:
        if len(items) != 1:
            self._fail("quorum takes one name")
        if self._quorum_seen:
            self._fail("a second quorum line")
        if items[0] != "none" and not self._is_defined(items[0]):
            self._fail(f"{items[0]!r} is not defined above this line")
        self._quorum_seen = True
        self._policy.quorum = items[0]

    def _directive(self, items: list[str]) -> None:
        policy = self._policy
        word, *rest = items or [""]
        if word in self._said and word not in {"revoker", "tsa"}:
            self._fail(f"{word!r} stands here twice")
        self._said.add(word)
        if word == "signed":
            policy.signed_since = self._since(word, rest)
        elif word == "anchored":
            policy.anchored_since = self._since(word, rest)
        elif word == "max-age":
            policy.max_age = self._duration(word, rest)
        elif word == "clock-skew":
            policy.clock_skew = self._duration(word, rest)
        elif word == "signed-by" and rest == ["each-type"]:
            policy.each_type = True
        elif word == "revoker" and len(rest) == 1:
            policy.revokers.append(self._key(rest[0], policy.revokers))
        elif word == "tsa" and len(rest) == 1:
            policy.tsa_roots.extend(self._roots(rest[0]))
        else:
            self._fail(
                f"unknown demand {word!r}; signed, anchored, max-age, clock-skew, revoker, tsa and "
                "`signed-by each-type` are known (a plain comment begins with `#` alone)"
            )

    def _since(self, word: str, items: list[str]) -> float:
        if items == ["always"]:
            return _ALWAYS
        if len(items) == 2 and items[0] == "since":
            try:
                moment = datetime.strptime(items[1], "%Y-%m-%dT%H:%M:%SZ")  # noqa: DTZ007 - UTC by its Z
            except ValueError:
                self._fail(f"not a time of the form 2026-11-01T00:00:00Z: {items[1]!r}")
            return moment.replace(tzinfo=timezone.utc).timestamp()
        return self._fail(f"write `{word} always` or `{word} since 2026-11-01T00:00:00Z`")

    def _duration(self, word: str, items: list[str]) -> float:
        found = _DURATION.fullmatch(items[0]) if len(items) == 1 else None
        if found is None:
            self._fail(f"{word} takes a number and a unit: 90s, 5m, 2h or 1d")
        return int(found[1]) * _SECONDS[found[2]]

    def _roots(self, text: str) -> list[Certificate]:
        try:
            return read_roots(base64.b64decode(text, validate=True), self._source)
        except (binascii.Error, ValueError):
            pass  # then it names a file
        path = os.path.join(os.path.dirname(self._source), text)
        try:
            with open(path, "rb") as file:
                return read_roots(file.read(MAX_POLICY), path)
        except (OSError, ConfigurationError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise PolicyError(f"{self._source}, line {self._line}: tsa {text[:200]}: {why}") from error

    def _key(self, vkey: str, others: Collection[VerifierKey]) -> VerifierKey:
        try:
            key = read_vkey(vkey)
        except (NoteError, ConfigurationError) as error:
            raise PolicyError(f"{self._source}, line {self._line}: {error}") from error
        if any(key.public == other.public for other in others):
            self._fail(f"the key of {key.name!r} stands here twice")
        return key

    def _new_name(self, name: str) -> str:
        if name == "none" or self._is_defined(name):
            self._fail(f"the name {name!r} is taken")
        return name

    def _is_defined(self, name: str) -> bool:
        return name in self._policy.witnesses or name in self._policy.groups
