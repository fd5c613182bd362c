"""The checkpointer and the verifier together: what one signs, the other finds sound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_audit.integrity.checkpointer import Checkpointer
from otel_audit.integrity.epochs import EpochSigner, Schedule, certify
from otel_audit.integrity.findings import Tier
from otel_audit.integrity.pins import Pins
from otel_audit.integrity.signatures import Signer

START = 1_800_000_000
SCHEDULE = Schedule(START, 60, 200)
KEY, PUBLICS = certify("shop.example/audit", SCHEDULE, bytes(range(32)))


class Process:
    """A stream, its clock, and the checkpointer beside it."""

    def __init__(self, stream: Any, signers: list[Signer], state: Path | None = None) -> None:
        self.stream = stream
        self.now = 1.0
        self._handed = 0
        self.checkpointer = Checkpointer(
            signers,
            stream.origin,
            emit=self._emit,
            interval=3600,
            clock=lambda: START + self.now,
            state_file=state,
            report=pytest.fail,
        )
        self._hand_over()

    def _hand_over(self) -> None:
        while self._handed < len(self.stream.hashes):
            self._handed += 1
            self.checkpointer.observe(self._handed, self.stream.hashes[self._handed - 1])

    def _emit(self, note: str, size: int) -> bool:
        self.stream.write("audit.checkpoint", {"note": note}, at=self.now)
        self._hand_over()
        return True

    def log(self, count: int) -> None:
        self.stream.log(count, at=self.now)
        self._hand_over()

    def end(self) -> None:
        self.stream.close(at=self.now)
        self._hand_over()


def test_a_signed_stream_is_anchored_by_what_was_kept_of_it(
    make_stream: Any, make_policy: Any, signer: Signer, tmp_path: Path
) -> None:
    process = Process(make_stream(), [signer], tmp_path / "state")
    process.log(30)
    process.checkpointer.flush()
    process.log(5)
    process.checkpointer.close(ending=process.end)
    pins = Pins(trust_first_use=True)
    for expected in (Tier.SIGNED, Tier.ANCHORED):
        note = (tmp_path / "state").read_text()
        verdict = process.stream.check(make_policy(signer), checkpoints=[note], pins=pins)
        assert verdict.findings == []
        assert verdict.tier == expected
        verdict.advance(pins)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("log"), st.integers(0, 5)),
        st.tuples(st.just("wait"), st.integers(1, 400)),
        st.tuples(st.just("flush"), st.just(0)),
    ),
    max_size=15,
)


@settings(max_examples=80, deadline=None)
@given(steps=STEPS, closed=st.booleans())
def test_every_honest_history_of_a_sealed_stream_verifies(
    make_stream: Any, make_policy: Any, tmp_path_factory: pytest.TempPathFactory, steps: Any, closed: bool
) -> None:
    """Idle epochs, suspended processes, records on both sides of a border, with and without a clean end."""
    state = tmp_path_factory.mktemp("state") / "checkpoint"
    signer = EpochSigner(KEY, PUBLICS, 0, bytearray(range(32)))
    process = Process(make_stream(at=1), [signer], state)
    for step, amount in steps:
        if step == "log":
            process.log(amount)
        elif step == "wait":
            process.now += amount
        else:
            process.checkpointer.flush()
    if closed:
        process.checkpointer.close(ending=process.end)
    else:
        process.checkpointer.flush()
    verdict = process.stream.check(
        make_policy(KEY), at=process.now + (10_000 if closed else 1), checkpoints=[state.read_text()]
    )
    assert {each.code for each in verdict.findings} <= (set() if closed else {"UNSIGNED_TAIL"})
    process.checkpointer.close()
