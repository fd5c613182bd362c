"""A signed journal with its anchor, policy and pins, as the real writer leaves it, and what an attacker does to it."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import otel_audit
from otel_audit.canonical import canonicalize
from otel_audit.cli.__main__ import main
from otel_audit.integrity import keys
from otel_audit.integrity.checkpoint import Checkpoint, origin_of
from otel_audit.integrity.merkle import root_hash
from otel_audit.integrity.note import parse_note
from otel_audit.integrity.opening import open_signer
from otel_audit.integrity.signatures import Signer, sign_note
from otel_audit.sealing import Chain

__all__ = ["NAME", "Log", "Site", "build"]

NAME = "shop.example/audit"
CHECKPOINT = "audit.checkpoint"


def build(directory: Path, *, streams: int = 3, records: int = 300, flush_each: int = 100) -> Site:
    """Record with the real thing; then pin what it wrote."""
    site = Site(directory)
    site.anchor.mkdir(parents=True)
    keys.generate(site.key, NAME)
    site.write_policy()
    for _ in range(streams):
        site.record(records, flush_each=flush_each)
    assert site.verify("--trust-first-use")[0] == 0
    return site


class Site:
    """Where everything lies."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.journal = directory / "journal"
        self.checkpoints = self.journal / "checkpoints"
        self.anchor = directory / "anchor"
        self.key = directory / "key.pem"
        self.policy = directory / "trust.policy"
        self.pins = directory / "pins.json"

    def copy(self, directory: Path) -> Site:
        shutil.copytree(self.directory, directory)
        return Site(directory)

    def write_policy(self, lines: str = "", *, key: str | None = None, quorum: str = "none") -> None:
        vkey = key or Path(f"{self.key}.vkey").read_text().strip()
        self.policy.write_text(f"log {vkey}\n{lines}quorum {quorum}\n#! anchored always\n")

    def record(self, count: int, *, flush_each: int = 100, close: bool = True) -> None:
        """Let a process write a stream."""
        settings: dict[str, Any] = {"signing_key_file": self.key, "anchors": [f"directory://{self.anchor}"]}
        trail = otel_audit.configure(journal=self.journal, sinks=[], heartbeat=0, checkpoint_interval=3600, **settings)
        for number in range(count):
            otel_audit.record("invoice.delete", actor="alice", target=f"invoice/{number}", amount=12.5)
            if flush_each and (number + 1) % flush_each == 0:
                trail.flush()
        if close:
            trail.close()

    def signer(self) -> Signer:
        return open_signer(self.key)

    @property
    def logs(self) -> list[Log]:
        """The streams, in the order in which they were written."""
        return [Log(self, path) for path in sorted(self.journal.glob("*.jsonl"))]

    def forget_outside(self) -> None:
        """Without anchors and pins: what an auditor has who was given the journal and the policy only."""
        shutil.rmtree(self.anchor)
        self.anchor.mkdir()
        self.pins.unlink(missing_ok=True)

    def verify(self, *arguments: str, policy: bool = True) -> tuple[int, set[str]]:
        """Return the exit code and the codes of what was found. Pins and anchors count as far as they are there."""
        given = ["--policy", str(self.policy)] if policy else []
        if any(self.anchor.iterdir()):
            given += ["--anchor", str(self.anchor)]
        if self.pins.exists() or "--trust-first-use" in arguments:
            given += ["--pin", str(self.pins)]
        report = self.directory / "report.json"
        exit_code = main_to(report, ["verify", "--json", "--jobs", "1", str(self.journal), *given, *arguments])
        text = report.read_text()
        return exit_code, set(json.loads(text)["finding_counts"]) if text else set()


def main_to(path: Path, arguments: list[str]) -> int:
    """Run the command with its output in a file."""
    from contextlib import redirect_stderr, redirect_stdout

    with path.open("w") as out, (path.with_suffix(".err")).open("w") as err, redirect_stdout(out), redirect_stderr(err):
        return main(arguments)


class Log:
    """One stream's file, as lines and as records; what is changed is sealed anew, as anybody can."""

    def __init__(self, site: Site, path: Path) -> None:
        self.site = site
        self.path = path
        self.stream = path.name[:32]
        self.origin = origin_of(NAME, self.stream)
        self.state = site.checkpoints / f"{self.stream}.checkpoint"
        self.anchored = site.anchor / f"{self.stream}.checkpoint"

    @property
    def lines(self) -> list[bytes]:
        return self.path.read_bytes().splitlines(keepends=True)

    @lines.setter
    def lines(self, lines: Iterable[bytes]) -> None:
        self.path.write_bytes(b"".join(lines))

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]

    def seal_anew(self, records: Iterable[dict[str, Any]]) -> None:
        """Write records as a chain that fits together."""
        self.lines = self.sealed(records)

    def sealed(self, records: Iterable[dict[str, Any]], *, behind: dict[str, Any] | None = None) -> list[bytes]:
        """The lines of records that fit together, as the stream's first ones or in the place of another record."""
        chain = Chain(self.stream) if behind is None else Chain(self.stream, behind["seq"] - 1, behind["prev_hash"])
        return [chain.seal(canonicalize(_head(record, chain.seq + 1))[:-1]) for record in records]

    def sign_anew(self, records: Iterable[dict[str, Any]], signer: Signer | None = None) -> None:
        """Write records as a chain, every checkpoint signed again, and the state file: what the key's thief does."""
        chain, leaves = Chain(self.stream), bytearray()
        lines = []
        for record in records:
            head = _head(record, chain.seq + 1)
            if head["event_name"] == CHECKPOINT:
                head["data"] = {"note": self.note(bytes(leaves), signer)}
            lines.append(chain.seal(canonicalize(head)[:-1]))
            leaves += bytes.fromhex(chain.last_hash or "")
        self.lines = lines
        self.state.write_text(self.note(bytes(leaves), signer))

    def note(self, leaves: bytes, signer: Signer | None = None, **changed: Any) -> str:
        head = {"origin": self.origin, "size": len(leaves) // 32, "root": root_hash(leaves), **changed}
        return sign_note(Checkpoint(**head).encode(), [signer or self.site.signer()], time=1_700_000_000).encode()

    def leaves(self, size: int | None = None) -> bytes:
        return b"".join(bytes.fromhex(record["hash"]) for record in self.records[:size])

    def notes(self) -> list[str]:
        """The checkpoints in the stream, in order."""
        return [record["data"]["note"] for record in self.records if record["event_name"] == CHECKPOINT]

    def roll_back_to(self, index: int) -> int:
        """Put an older checkpoint where the newest is kept; return how many records it covers."""
        note = self.notes()[index]
        for path in (self.state, self.anchored):
            if path.exists():
                path.write_text(note)
        return Checkpoint.parse(parse_note(note).text).size

    def change_note(self, change: Callable[[str], str], path: Path | None = None) -> None:
        """Change the text of the checkpoint that is kept beside the log (or at a path)."""
        path = path or self.state
        path.write_bytes(change(path.read_text()).encode())


def _head(record: dict[str, Any], seq: int) -> dict[str, Any]:
    head = {name: value for name, value in record.items() if name not in {"hash", "prev_hash", "seq", "stream"}}
    if head["event_name"] == "audit.stream.close":
        head["data"] = {**head["data"], "records": seq}
    return head


def forged_signature(note: str) -> str:
    """Another key's signature under the name and the key id of the real one."""
    text, blank, line = note.rpartition("\n\n")
    dash, name, encoded = line.rstrip("\n").split(" ")
    raw = base64.b64decode(encoded)
    return f"{text}{blank}{dash} {name} {base64.b64encode(raw[:4] + bytes(len(raw) - 4)).decode()}\n"
