"""An anchor that is down, slow or refusing: the caller never waits, what failed comes again, and records say so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

import otel_audit
from otel_audit.anchors.directory import DirectoryAnchor
from otel_audit.integrity.publishing import AnchorError, AnchorRefused, Receipt, SignedHead
from tests.anchors.shop import Shop, eventually


class Scripted(DirectoryAnchor):
    """An anchor that does what the test says."""

    do: Callable[[SignedHead], Receipt | None]
    got: ClassVar[list[int]]

    def publish(self, head: SignedHead) -> Receipt | None:  # type: ignore[override]
        receipt = type(self).do(head)
        self.got.append(head.checkpoint.size)
        return receipt


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> type[Scripted]:
    class Anchor(Scripted):
        do = staticmethod(lambda head: None)
        got: ClassVar[list[int]] = []

    monkeypatch.setattr("otel_audit.anchors.directory.DirectoryAnchor", Anchor)
    return Anchor


def raising(error: Exception) -> Callable[[SignedHead], None]:
    def do(head: SignedHead) -> None:
        raise error

    return do


URL = {"url": "directory:///x", "every": "0s"}


@pytest.mark.parametrize(
    ("error", "cause", "said"),
    [
        (AnchorError("no answer"), "anchor failing", "no answer"),
        (AnchorRefused("not you"), "anchor refuses", "not you"),
        (OSError("secret"), "anchor failing", "OSError"),
    ],
)
def test_what_fails_is_recorded_and_comes_again(
    shop: Shop, scripted: type[Scripted], error: Exception, cause: str, said: str
) -> None:
    scripted.do = raising(error)
    with shop.open(URL, checkpoint_interval=0.05):
        otel_audit.record("invoice.delete")
        assert eventually(shop.troubles)
        assert shop.troubles() == [("degraded", {"anchor": "directory", "cause": cause, "error": said})]
        scripted.do = staticmethod(lambda head: None)
        assert eventually(lambda: len(shop.troubles()) == 2)
    assert shop.troubles()[1] == ("recovered", {"anchor": "directory", "cause": cause, "error": said})
    assert scripted.got[-1] == len(shop.lines())


@pytest.mark.parametrize("how", ["down", "slow", "refusing"])
def test_the_caller_sees_nothing_of_it(shop: Shop, scripted: type[Scripted], how: str) -> None:
    released = threading.Event()
    scripted.do = {
        "down": raising(AnchorError("down")),
        "slow": lambda head: released.wait(30) and None,
        "refusing": raising(AnchorRefused("no")),
    }[how]
    with shop.open(URL, patience=0.1, checkpoint_interval=0.01) as trail:
        slowest = 0.0
        for _ in range(300):
            began = time.perf_counter()
            otel_audit.record("invoice.delete")
            slowest = max(slowest, time.perf_counter() - began)
        began = time.monotonic()
        trail.flush()
        assert time.monotonic() - began < 5
        released.set()
    assert slowest < 0.5
    assert len([line for line in shop.lines() if line["event_name"] == "invoice.delete"]) == 300


def test_closing_gives_up_on_a_slow_anchor_in_time(shop: Shop, scripted: type[Scripted]) -> None:
    released = threading.Event()
    scripted.do = lambda head: released.wait(30) and None
    began = time.monotonic()
    with shop.open(URL, patience=0.3):
        otel_audit.record("invoice.delete")
    assert time.monotonic() - began < 5
    released.set()


def test_receipts_are_recorded_and_kept_beside_the_checkpoint(shop: Shop, scripted: type[Scripted]) -> None:
    scripted.do = lambda head: Receipt({"place": 7}, {"proof": b"bytes"})
    stream = shop.record(URL)
    (anchoring,) = shop.anchorings()
    assert anchoring["place"] == 7
    assert anchoring["anchor"] == "directory"
    assert anchoring["size"] == scripted.got[0]
    assert (shop.checkpoints / f"{stream}.directory.proof").read_bytes() == b"bytes"


def test_anchors_that_give_no_receipt_are_recorded_once_a_minute(shop: Shop, scripted: type[Scripted]) -> None:
    with shop.open(URL) as trail:
        for number in range(1, 6):
            otel_audit.record("invoice.delete")
            trail.flush()
            assert eventually(lambda number=number: len(scripted.got) >= number)
    assert len(shop.anchorings()) == 1


def test_a_stream_in_which_nothing_happens_stays_as_it_is(shop: Shop, scripted: type[Scripted]) -> None:
    """The record of an anchoring is not news that would have to be anchored again, and so on for ever."""
    scripted.do = lambda head: Receipt({"place": 7})
    with shop.open(URL, checkpoint_interval=0.02):
        otel_audit.record("invoice.delete")
        assert eventually(shop.anchorings)
        count = len(shop.lines())
        time.sleep(0.5)
        assert len(shop.lines()) == count


def test_a_witness_and_a_time_stamp_are_due_at_the_same_checkpoints(shop: Shop, scripted: type[Scripted]) -> None:
    """Anchors of one pace get the same ones, or a quorum would never be met."""
    seen: dict[str, list[int]] = {"one": [], "two": []}

    def publish(self: DirectoryAnchor, head: SignedHead) -> None:
        seen[self.name].append(head.checkpoint.size)

    scripted.publish = publish  # type: ignore[method-assign]
    urls: list[Any] = [{"url": "directory:///x", "every": "200ms", "name": name} for name in seen]
    with shop.open(*urls, checkpoint_interval=0.01):
        for _ in range(200):
            otel_audit.record("invoice.delete")
            time.sleep(0.003)
    assert len(seen["one"]) > 2
    assert seen["one"] == seen["two"]
