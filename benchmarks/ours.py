"""otel-audit as it is used here: the only file that knows its interface."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import otel_audit
import otel_audit.verify
from benchmarks.anchoring import run_anchor
from benchmarks.cases import Case, Far, Log, Way
from benchmarks.events import Event
from benchmarks.peers.standard import attach, open_file
from otel_audit.durability import Durability
from otel_audit.integrity import CHECKPOINTS, keys
from otel_audit.integrity.checkpoint import Checkpoint, origin_of
from otel_audit.integrity.findings import Tier
from otel_audit.integrity.mackey import provision_mac_key
from otel_audit.integrity.merkle import root_hash
from otel_audit.integrity.note import parse_note
from otel_audit.integrity.policy import Policy
from otel_audit.integrity.proof import TlogProof, make_proof
from otel_audit.integrity.signatures import CosignatureSigner, Ed25519Signer, sign_note

__all__ = [
    "ANCHORED",
    "CASES",
    "FORMATTER",
    "HANDLER",
    "INTEGRITY_CASES",
    "OTLP",
    "RECORD",
    "SAYING",
    "SHORT_LINE",
    "SIGNED",
    "TLS",
    "WAYS",
    "Cosigner",
    "Proof",
    "open_beside",
    "open_short",
    "verify",
    "verify_signed",
]

NAME = "benchmarks.example/audit"
HANDLER = "**AuditHandler, {}**"
SIGNED = HANDLER.format("process, signed")
ANCHORED = {
    kind: HANDLER.format(f"process, signed, {what} each second")
    for kind, what in {
        "directory": "a directory",
        "tsa": "a time stamp",
        "witness": "a witness",
    }.items()
}
"""Kind of anchor -> case."""
RECORD = "**otel_audit.record, process**"
SAYING = "**otel_audit.record, saying who and what**"
TLS = "**AuditHandler, JSON lines over TLS**"
OTLP = "**AuditHandler, OTLP/HTTP**"
FORMATTER = "**FileHandler + AuditFormatter**"

SHORT_LINE = 437
"""Bytes of the line that a short event becomes, roughly."""


def _open_handler(durability: Durability, directory: Path, **settings: Any) -> Log:
    trail = otel_audit.configure(journal=directory, sinks=[], durability=durability, **settings)
    return attach(otel_audit.AuditHandler())._replace(flush=trail.flush, close=trail.close)


def _open_signed(directory: Path, **settings: Any) -> Log:
    trail = otel_audit.configure(journal=directory, sinks=[], signing_key_file=_make_key(directory), **settings)
    return attach(otel_audit.AuditHandler())._replace(flush=trail.flush, close=trail.close)


def _open_anchored(kind: str, directory: Path) -> Log:
    stack, far = ExitStack(), directory.with_suffix(f".{kind}")
    with stack:
        if kind == "directory":
            far.mkdir()
            url = f"directory://{far}?name=far"
        else:
            url = f"{stack.enter_context(run_anchor(kind, far))}&allow=loopback&name=far"
        log = _open_signed(directory, anchors=[f"{url}&every=0s"])
        kept = far if kind == "directory" else directory / CHECKPOINTS
        running = stack.pop_all()

    def close() -> None:
        with running:
            log.close()
        if not any(".far." in path.name or kept == far for path in kept.iterdir()):
            raise RuntimeError(f"the {kind} has no checkpoint")

    return log._replace(close=close)


def _open_marked(directory: Path) -> Log:
    key = directory.with_suffix(".mac")
    provision_mac_key(key, directory.with_suffix(".copy"))
    trail = otel_audit.configure(journal=directory, sinks=[], mac_key_file=key)
    return attach(otel_audit.AuditHandler())._replace(flush=trail.flush, close=trail.close)


def _make_key(directory: Path) -> Path:
    """Return the key file beside a directory, and have the policy that trusts it beside that."""
    key = directory.with_suffix(".pem")
    if not key.exists():
        vkey = keys.generate(key, NAME)
        directory.with_suffix(".policy").write_text(f"log {vkey}\nquorum none\n#! anchored always\n")
    return key


def _open_record(directory: Path) -> Log:
    trail = otel_audit.configure(journal=directory, sinks=[], durability="process")
    return Log(lambda event: otel_audit.record("document.read", data=event), trail.flush, trail.close)


def _open_saying(directory: Path) -> Log:
    trail = otel_audit.configure(journal=directory, sinks=[], durability="process")

    def write(event: Event) -> None:
        otel_audit.record(
            "document.read",
            actor=event["user"],
            target=event["resource"],
            outcome=event["outcome"],
            data=event,
        )

    return Log(write, trail.flush, trail.close)


def open_short(journal: Path, durability: Durability = "process", *, signed: bool = False) -> Log:
    """Open a journal for short events: an actor, a target, an outcome and nothing else; or a signed, anchored one."""
    settings: dict[str, Any] = {}
    if signed:
        anchor = journal.with_suffix(".anchor")
        anchor.mkdir(exist_ok=True)
        settings = {"signing_key_file": _make_key(journal), "anchors": [f"directory://{anchor}"]}
    trail = otel_audit.configure(journal=journal, sinks=[], durability=durability, **settings)

    def write(event: Event) -> None:
        otel_audit.record(event["action"], actor=event["user"], target=event["resource"], outcome=event["outcome"])

    return Log(write, trail.flush, trail.close)


def verify(journal: Path, jobs: int) -> int:
    """Verify a journal and return how many records it holds.

    Raises:
        RuntimeError: it is not intact, and its figures would be worth nothing.
    """
    return _records_of(otel_audit.verify.verify([journal], jobs=jobs), Tier.CHAINED)


def verify_signed(journal: Path) -> int:
    """Verify a signed and anchored journal against its policy and its anchor; return how many records it holds.

    Raises:
        RuntimeError: it is not intact, or less than anchored.
    """
    policy = Policy.load(journal.with_suffix(".policy"))
    report = otel_audit.verify.verify([journal], policy=policy, anchors=[journal.with_suffix(".anchor")])
    return _records_of(report, Tier.ANCHORED)


def _records_of(report: otel_audit.verify.Report, tier: Tier) -> int:
    if report.exit_code != 0 or report.tier < tier:
        raise RuntimeError(f"{report.tier.name}: {report.sentence}")
    return report.records


class Proof(NamedTuple):
    """One record's proof, as the file that an auditor gets, and what he checks it with."""

    encoded: str
    leaf: bytes
    policy: Policy

    @classmethod
    def make(cls, leaves: bytes, index: int) -> Proof:
        """Prove one of these (packed) leaves, under a checkpoint that a witness has seen."""
        signer, witness = (
            kind.from_private(name, Ed25519PrivateKey.generate())
            for kind, name in ((Ed25519Signer, NAME), (CosignatureSigner, "witness.example/w1"))
        )
        head = Checkpoint(origin_of(NAME, "0" * 32), len(leaves) // 32, root_hash(leaves))
        note = sign_note(head.encode(), [signer, witness], time=1_700_000_000).encode()
        policy = Policy.parse(f"log {signer.vkey}\nwitness w {witness.vkey}\nquorum w\n".encode())
        return cls(make_proof(leaves, index, note).encode(), leaves[32 * index : 32 * index + 32], policy)

    def check(self) -> None:
        """Read the proof and check it."""
        TlogProof.parse(self.encoded).verify(self.leaf, self.policy, now=1_700_000_001)


class Cosigner:
    """A witness that believes everything (c2sp.org/tlog-witness)."""

    def __init__(self) -> None:
        self._signer = CosignatureSigner.from_private("witness.example/w1", Ed25519PrivateKey.generate())
        self.vkey = self._signer.vkey

    def answer(self, request: bytes) -> bytes:
        """Return the cosignature of the checkpoint behind the proof's lines."""
        note = parse_note(request.decode().partition("\n\n")[2])
        signature = self._signer.sign(note.text, time=int(time.time()))
        return f"{note.signed_also_by([signature]).encode().splitlines()[-1]}\n".encode()


def _open_way(url: str, directory: Path, far: Far) -> Log:
    sink = url.format(port=far.port, authority=far.authority)
    trail = otel_audit.configure(journal=directory / "journal", sinks=[sink])
    return attach(otel_audit.AuditHandler())._replace(flush=trail.flush, close=trail.close)


def open_beside(port: int, directory: Path) -> Log:
    """Open a journal with a sink at this port of the loopback interface, in the clear."""
    url = f"logstash+tcp://127.0.0.1:{port}?allow=loopback"
    trail = otel_audit.configure(journal=directory / "journal", sinks=[url])
    return attach(otel_audit.AuditHandler())._replace(flush=trail.flush, close=trail.close)


WAYS = (
    Way(TLS, "tls", partial(_open_way, "logstash+tls://localhost:{port}?allow=loopback&ca_file={authority}")),
    Way(OTLP, "http", partial(_open_way, "otlp+http://127.0.0.1:{port}")),
)

CASES = (
    Case(HANDLER.format("relaxed"), partial(_open_handler, "relaxed")),
    Case(HANDLER.format("process"), partial(_open_handler, "process")),
    Case(HANDLER.format("relaxed, text not searched"), partial(_open_handler, "relaxed", redact_text=False)),
    Case(HANDLER.format("process, text not searched"), partial(_open_handler, "process", redact_text=False)),
    Case(SIGNED, _open_signed),
    Case(HANDLER.format("always"), partial(_open_handler, "always"), events=2_000),
    Case(RECORD, _open_record),
    Case(SAYING, _open_saying),
    Case(FORMATTER, partial(open_file, otel_audit.AuditFormatter)),
)

INTEGRITY_CASES = (
    Case(HANDLER.format("process"), partial(_open_handler, "process")),
    Case(SIGNED, _open_signed),
    *(Case(name, partial(_open_anchored, kind)) for kind, name in ANCHORED.items()),
    Case(HANDLER.format("process, evolving MAC"), _open_marked),
    Case(HANDLER.format("process, each record signed"), partial(_open_signed, record_signatures=True)),
)
