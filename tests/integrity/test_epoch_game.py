"""A game of attacker and challenger (after Dörre and Ottenhues, eprint 2023/867, who broke journald's sealing so).

The challenger logs through some epochs. In epoch t the attacker breaks in: he gets every file, and the signer as it
stands then. He writes whatever log he likes. He wins if the verifier, asked about that stream in epoch t or later,
calls it sound although a record that was sealed in an epoch before t is not in it as it was.
"""

from __future__ import annotations

import os
import random
from typing import Any

import pytest

from otel_audit.integrity.epochs import EpochSigner, Schedule, certify
from otel_audit.integrity.findings import Severity
from otel_audit.integrity.policy import Policy

START = 1_800_000_000
LENGTH = 60
COUNT = 6
KEY, PUBLICS = certify("shop.example/audit", Schedule(START, LENGTH, COUNT), bytes(range(32)))
POLICY = Policy.parse(f"log {KEY.vkey}\nquorum none\n#! clock-skew 1s\n".encode())
GAMES = int(os.environ.get("OTEL_AUDIT_GAMES", "10000"))


def signer() -> EpochSigner:
    return EpochSigner(KEY, PUBLICS, 0, bytearray(range(32)))


class Challenger:
    """Logs honestly up to the break-in."""

    def __init__(self, make_stream: Any, luck: random.Random) -> None:
        self.signer = signer()
        birth = luck.randrange(0, COUNT - 1)
        self.broken_in = luck.randrange(birth, COUNT)
        self.log = make_stream(at=LENGTH * birth + 1)
        self.events: list[tuple[str, Any, float, bool]] = []
        self.sealed = 0
        self.closed = False
        for epoch in range(birth, self.broken_in + 1):
            self.signer.advance(epoch)
            self._live_through(epoch, luck)
            if self.closed or epoch == self.broken_in:
                break
            self.log.checkpoint(self.signer, at=LENGTH * (epoch + 1) - 1, final=True)
            self.sealed = len(self.log.hashes) - 1
        self.signer.advance(self.broken_in)
        self.notes = []
        if self.closed:
            self.notes = [self.final]

    def _live_through(self, epoch: int, luck: random.Random) -> None:
        for _ in range(luck.choice((0, 0, 1, 3))):
            at = LENGTH * epoch + luck.randrange(2, LENGTH - 2)
            self.log.log(luck.randrange(1, 3), at=at)
            if luck.random() < 0.4:
                self.log.checkpoint(self.signer, at=at)
        if luck.random() < 0.1:
            self.log.close(at=LENGTH * (epoch + 1) - 2)
            self.final = self.log.note(self.signer, at=LENGTH * (epoch + 1) - 1, final=True)
            self.sealed = len(self.log.hashes) if epoch < self.broken_in else self.sealed
            self.closed = True


class Attacker:
    """Takes one of the strategies that broke others, or any mixture of small steps."""

    def __init__(self, challenger: Challenger, luck: random.Random) -> None:
        self.luck = luck
        self.log = challenger.log
        self.signer = challenger.signer
        self.notes = challenger.notes
        self.harvest = [
            record["data"]["note"] for record in self.log.records if record["event_name"] == "audit.checkpoint"
        ]

    def attack(self) -> tuple[Any, list[str]]:
        strategy = self.luck.choice((self._cut, self._rewrite, self._reseal, self._drop_seals, self._mix))
        forged = strategy()
        if self.luck.random() < 0.5:
            self._go_on(forged)
        notes = self.luck.choice(([], self.notes, self.notes + self.harvest, self.harvest[-1:]))
        if self.luck.random() < 0.4:
            notes = [*notes, forged.note(self.signer, at=self._now(), final=self.luck.random() < 0.7)]
        return forged, notes

    def _now(self) -> float:
        return LENGTH * self.signer.epoch + self.luck.randrange(LENGTH)

    def _cut(self) -> Any:
        return self.log.copy(self.luck.randrange(1, len(self.log.hashes) + 1))

    def _rewrite(self) -> Any:
        """Change one record, seal everything behind it anew, leave the old seals where they were."""
        place = self.luck.randrange(1, len(self.log.hashes) + 1)
        forged = self.log.copy(place)
        for record in self.log.records[place:]:
            forged.write(self._renamed(record), record.get("data"), at=self._time_of(record))
        return forged

    def _reseal(self) -> Any:
        """Change records and seal them all with the key at hand (CVE-2023-31439)."""
        place = self.luck.randrange(1, len(self.log.hashes) + 1)
        forged = self.log.copy(place)
        for record in self.log.records[place:]:
            if record["event_name"] == "audit.checkpoint":
                forged.checkpoint(self.signer, at=self._now(), final=self.luck.random() < 0.5)
            else:
                forged.write(self._renamed(record), at=self.luck.choice((self._time_of(record), self._now())))
        return forged

    def _drop_seals(self) -> Any:
        """Leave out records and seals, idle epochs' above all (CVE-2023-31438)."""
        forged = self.log.copy(1)
        for record in self.log.records[1:]:
            if self.luck.random() < 0.7:
                forged.write(record["event_name"], record.get("data"), at=self._time_of(record))
        return forged

    def _mix(self) -> Any:
        forged = self.log.copy(self.luck.randrange(1, len(self.log.hashes) + 1))
        for _ in range(self.luck.randrange(1, 12)):
            step = self.luck.randrange(6)
            if step == 0:
                forged.log(1, at=self._now())
            elif step == 1:
                forged.checkpoint(self.signer, at=self._now(), final=self.luck.random() < 0.5)
            elif step == 2 and self.harvest:
                forged.write("audit.checkpoint", {"note": self.luck.choice(self.harvest)}, at=self._now())
            elif step == 3:
                # The number of an older epoch over a key of this one.
                present = self.signer.epoch
                self.signer.epoch = self.luck.randrange(present + 1)
                forged.checkpoint(self.signer, at=self._now(), final=True)
                self.signer.epoch = present
                self.signer._path = None
            elif step == 4 and self.signer.epoch < COUNT - 1 and self.luck.random() < 0.3:
                self.signer.advance(self.signer.epoch + 1)
            else:
                record = self.luck.choice(self.log.records)
                forged.write(record["event_name"], record.get("data"), at=self._time_of(record))
        if self.luck.random() < 0.3:
            forged.close(at=self._now())
        return forged

    def _go_on(self, forged: Any) -> None:
        """Seal from here on as an honest writer would."""
        forged.log(self.luck.randrange(3), at=self._now())
        forged.checkpoint(self.signer, at=self._now(), final=self.luck.random() < 0.5)

    def _renamed(self, record: dict[str, Any]) -> str:
        name: str = record["event_name"]
        return name if name.startswith("audit.") or self.luck.random() < 0.5 else "invoice.keep"

    @staticmethod
    def _time_of(record: dict[str, Any]) -> float:
        minutes, seconds = record["@timestamp"][14:16], record["@timestamp"][17:19]
        return (int(minutes) * 60 + int(seconds) - START % 3600) % 3600


def play(make_stream: Any, number: int) -> tuple[bool, bool]:
    """Return whether the attacker changed what was sealed before the break-in, and whether he got away with it."""
    luck = random.Random(number)
    challenger = Challenger(make_stream, luck)
    before = challenger.log.hashes[: challenger.sealed]
    asked_at = LENGTH * (challenger.broken_in + luck.choice((0, 0, 1, 2))) + 30
    forged, notes = Attacker(challenger, luck).attack()
    changed = forged.hashes[: challenger.sealed] != before
    verdict = forged.check(POLICY, at=asked_at, checkpoints=notes, batch=50)
    grave = {Severity.TAMPERED, Severity.UNVERIFIABLE, Severity.INCOMPLETE}
    return changed, changed and not any(each.severity in grave for each in verdict.findings)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_attacker_rewrites_what_was_sealed_before_he_broke_in(make_stream: Any) -> None:
    results = [play(make_stream, number) for number in range(GAMES)]
    assert not [number for number, (_, won) in enumerate(results) if won]
    assert sum(changed for changed, _ in results) > GAMES / 4, "the attackers must be trying"


def test_an_honest_log_passes_the_same_verifier(make_stream: Any) -> None:
    passed = 0
    for number in range(300):
        luck = random.Random(number)
        challenger = Challenger(make_stream, luck)
        verdict = challenger.log.check(
            POLICY, at=LENGTH * challenger.broken_in + 59, checkpoints=challenger.notes, batch=50
        )
        assert {each.code for each in verdict.findings} <= {"UNSIGNED_TAIL", "NOT_SIGNED"}, number
        passed += not verdict.findings
    assert passed > 10


def test_a_verifier_without_the_missing_seal_rule_loses(make_stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The game can be won: what makes it lost for the attacker is the rules, not the referee."""
    from otel_audit.integrity.seals import SealSeries

    monkeypatch.setattr(SealSeries, "add", lambda self, seal, size: [])
    monkeypatch.setattr(SealSeries, "finish", lambda self, now, ended: [])
    assert any(play(make_stream, number)[1] for number in range(2000))
