"""A process that records and signs, with anchors, and an auditor who checks what it left."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import otel_audit
from otel_audit.cli.__main__ import main
from otel_audit.integrity import keys
from otel_audit.integrity.opening import open_signer
from otel_audit.integrity.signatures import Signer
from otel_audit.trail import AuditTrail
from tests.integrity.site import Log

__all__ = ["NAME", "Shop", "eventually"]

NAME = "shop.example/audit"


def eventually(condition: Callable[[], Any], timeout: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


class Shop:
    """Where everything lies."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.journal = directory / "journal"
        self.checkpoints = self.journal / "checkpoints"
        self.key = directory / "key.pem"
        self.policy = directory / "trust.policy"
        keys.generate(self.key, NAME)
        self.vkey = Path(f"{self.key}.vkey").read_text().strip()
        self.write_policy()

    def write_policy(self, lines: str = "", *, quorum: str = "none", demands: str = "") -> None:
        self.policy.write_text(f"log {self.vkey}\n{lines}quorum {quorum}\n{demands}")

    @contextmanager
    def open(self, *anchors: str | dict[str, Any], patience: float = 10.0, **settings: Any) -> Iterator[AuditTrail]:
        """Record, until the block ends; the last checkpoint then has so many seconds to arrive."""
        given: dict[str, Any] = {"sinks": [], "heartbeat": 0, "checkpoint_interval": 3600, **settings}
        trail = otel_audit.configure(journal=self.journal, signing_key_file=self.key, anchors=list(anchors), **given)
        try:
            yield trail
        finally:
            trail.close(patience)

    def record(self, *anchors: str | dict[str, Any], count: int = 10, **settings: Any) -> str:
        """Let a process write a stream, and have it anchored once while it runs; return the stream's id."""
        with self.open(*anchors, **settings) as trail:
            for number in range(count):
                otel_audit.record("invoice.delete", actor="alice", target=f"invoice/{number}")
            trail.flush()
            assert eventually(lambda: len(self.anchorings()) >= len(anchors)), self.lines()[-1]
            return trail.stream.id

    @property
    def anchor(self) -> Path:
        """Where `tests.integrity.site.Log` looks for a directory anchor; there is none."""
        return self.directory / "no-anchor"

    def signer(self) -> Signer:
        """The log's own signer, as its thief has it."""
        return open_signer(self.key)

    def rewrite(self) -> None:
        """Change a record, seal all anew and sign all anew: what whoever has the key can do to the whole log."""
        log = Log(self, self.file)  # type: ignore[arg-type]
        records = [record for record in log.records if record["event_name"] != "audit.anchor"]
        records[1]["audit"]["actor"]["id"] = "mallory"
        log.sign_anew(records)

    @property
    def file(self) -> Path:
        (path,) = self.journal.glob("*.jsonl")
        return path

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file.read_text().splitlines()]

    def anchorings(self) -> list[dict[str, Any]]:
        """What the `audit.anchor` records say."""
        return [line["data"] for line in self.lines() if line["event_name"] == "audit.anchor"]

    def troubles(self) -> list[tuple[str, dict[str, Any]]]:
        """What the records say of the pipeline."""
        names = {"audit.pipeline.degraded", "audit.pipeline.recovered"}
        return [(line["event_name"][15:], line["data"]) for line in self.lines() if line["event_name"] in names]

    def cut(self, count: int) -> None:
        """Take the stream's last records away."""
        lines = self.file.read_bytes().splitlines(keepends=True)
        self.file.write_bytes(b"".join(lines[:-count]))

    def forget_beside(self, *names: str) -> None:
        """Remove what is kept beside the log, as who has the log may."""
        for path in self.checkpoints.iterdir():
            if not names or path.name.partition(".")[2] in names:
                path.unlink()

    def verify(self, *arguments: str | Path, policy: bool = True) -> Outcome:
        given: Sequence[str | Path] = ["--policy", self.policy] if policy else []
        report = self.directory / "report.json"
        words = ["verify", "--json", "--jobs", "1", str(self.journal), *map(str, given), *map(str, arguments)]
        code = _run(report, words)
        return Outcome(code, json.loads(report.read_text()))


class Outcome:
    """What the verifier says."""

    def __init__(self, code: int, report: dict[str, Any]) -> None:
        self.code = code
        self.report = report
        self.found = set(report["finding_counts"])
        self.stream = report["streams"][0] if report["streams"] else {}
        self.tier = report["tier"]
        self.sentence = report["sentence"]


def _run(path: Path, arguments: list[str]) -> int:
    from contextlib import redirect_stderr, redirect_stdout

    with path.open("w") as out, path.with_suffix(".err").open("w") as err, redirect_stdout(out), redirect_stderr(err):
        return main(arguments)
