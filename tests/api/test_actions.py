"""record, action, audited: what is said, and with which outcome."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_audit import audit, config
from otel_audit.errors import RecordLost
from otel_audit.trail import AuditTrail
from tests.writer.trails import codes, named, open_trail, records, verified


def last(journal: Path) -> dict[str, Any]:
    return records(journal)[-1]


def test_a_receipt_names_the_line(journal: Path) -> None:
    receipt = audit.record("invoice.delete", actor="alice", target="invoice/7", outcome="success")
    record = last(journal)
    assert (receipt.stream, receipt.seq, receipt.hash) == (record["stream"], record["seq"], record["hash"])


@pytest.mark.parametrize("durability", ["process", "relaxed", "always"])
def test_a_receipt_is_given_at_every_durability(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: Any
) -> None:
    with open_trail(tmp_path / durability, durability=durability, sync=5) as trail:
        monkeypatch.setattr(config, "_trail", trail)
        receipt = audit.record("a.b")
        written = last(tmp_path / durability)
        assert (receipt.seq, receipt.hash) == (2, written["hash"])
        store = trail.stream.store
        assert (store.durable == store.written) == (durability == "always")


def test_every_field_of_the_schema(journal: Path) -> None:
    given = {
        "actor": {"id": "alice", "type": "service", "name": "A"},
        "targets": ["invoice/7", {"id": "8", "type": "invoice"}, 9],
        "outcome": "failure",
        "decision": "denied",
        "reason": "ticket 5",
        "changes": {"total": {"old": 1, "new": 2}},
        "tenant": "acme",
        "session": "s1",
        "request": {"id": "r1", "method": "GET"},
        "source": {"address": "192.0.2.1", "user_agent": "x"},
        "category": "billing",
        "data_subject": "carol",
        "phase": "attempt",
        "version": "3",
        "action": "remove",
    }
    audit.record("invoice.delete", data={"n": 1}, other=2, **given)  # type: ignore[arg-type]
    record = last(journal)
    assert record["audit"] == {
        **given,
        "action": "REMOVE",
        "targets": [{"id": "7", "type": "invoice"}, {"id": "8", "type": "invoice"}, {"id": "9"}],
    }
    assert record["data"] == {"n": 1, "other": 2}


def test_a_secret_among_the_changes_is_masked_and_said_so(journal: Path) -> None:
    audit.record("user.update", changes={"password": {"old": "hunter2", "new": "hunter3"}}, data={"api_key": "k"})
    record = last(journal)
    assert "hunter" not in str(record)
    assert {note["path"] for note in record["audit"]["altered"]} == {"/audit/changes/password", "/data/api_key"}


@pytest.mark.parametrize("data", ["text", 7, [1, 2], object(), 0, ""])
def test_data_that_is_no_mapping_is_kept_all_the_same(journal: Path, data: Any) -> None:
    audit.record("a.b", data=data)
    with audit.action("a.c", data=data):
        pass
    assert all("data" in record["data"] for record in records(journal)[-2:])


def test_a_time_of_ones_own(journal: Path) -> None:
    audit.record("a.b", nanoseconds=1_700_000_000_000_000_001)
    assert last(journal)["@timestamp"] == "2023-11-14T22:13:20.000000001Z"


class Refused(Exception):
    """Denied, in this application's words."""


@pytest.mark.parametrize(
    ("error", "outcome", "decision"),
    [
        (None, "success", None),
        (ValueError("x"), "failure", None),
        (PermissionError("x"), "failure", "denied"),
        (Refused("x"), "failure", "denied"),
        (asyncio.CancelledError(), "unknown", None),
        (KeyboardInterrupt(), "unknown", None),
        (SystemExit(1), "unknown", None),
        (GeneratorExit(), "unknown", None),
    ],
)
@pytest.mark.parametrize("way", ["with", "async with", "function", "coroutine", "generator", "async generator"])
def test_the_outcome_is_what_the_end_shows(
    journal: Path, error: BaseException | None, outcome: str, decision: str | None, way: str
) -> None:
    options: dict[str, Any] = {"deny_on": (PermissionError, Refused), "target": "invoice/7"}

    def work() -> None:
        if error is not None:
            raise error

    async def asynchronous() -> None:
        async with audit.action("invoice.delete", **options):
            work()

    async def coroutine() -> None:
        work()

    def generator() -> Iterator[int]:
        yield 1
        work()

    async def stream() -> AsyncIterator[int]:
        yield 1
        work()

    def run(awaitable: Any) -> None:
        """Drive it by hand: an event loop has its own ways with SystemExit and Ctrl-C."""
        with contextlib.suppress(StopIteration):
            awaitable.send(None)

    async def drain(items: Any) -> None:
        async for _ in items:
            pass

    audited = audit.audited("invoice.delete", **options)
    with contextlib.suppress(type(error) if error else ValueError):
        if way == "with":
            with audit.action("invoice.delete", **options):
                work()
        elif way == "async with":
            run(asynchronous())
        elif way == "function":
            audited(work)()
        elif way == "coroutine":
            run(audited(coroutine)())
        elif way == "generator":
            assert list(audited(generator)()) == [1]
        else:
            run(drain(audited(stream)()))
    (record,) = named(journal, "invoice.delete")
    assert (record["audit"]["outcome"], record["audit"].get("decision")) == (outcome, decision)
    assert record["audit"]["target"] == {"id": "7", "type": "invoice"}
    assert record["data"]["duration_ms"] >= 0
    if error is not None:
        assert record["data"]["error"]["type"] == type(error).__qualname__


def test_a_cancelled_task_is_unknown(journal: Path) -> None:
    async def work() -> None:
        async with audit.action("a.b"):
            await asyncio.sleep(60)

    async def main() -> None:
        task = asyncio.create_task(work())
        await asyncio.sleep(0.01)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert named(journal, "a.b")[0]["audit"]["outcome"] == "unknown"


def test_the_error_of_the_application_is_the_one_that_is_raised(journal: Path) -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise TypeError("no text")

    with pytest.raises(Unprintable), audit.action("a.b"):
        raise Unprintable
    assert named(journal, "a.b")[0]["data"]["error"]["message"] == "<unprintable Unprintable>"


def test_what_is_learnt_on_the_way_is_recorded(journal: Path) -> None:
    with audit.action("a.b", data={"n": 1}) as action:
        action.set(actor="alice", data={"m": 2})
        action.change("total", old=1, new=2)
        action.change("paid", new=True)
    record = last(journal)
    assert record["audit"]["actor"]["id"] == "alice"
    assert record["audit"]["changes"] == {"total": {"old": 1, "new": 2}, "paid": {"old": None, "new": True}}
    assert {"n": 1, "m": 2}.items() <= record["data"].items()
    assert action.receipt is not None
    assert action.receipt.hash == record["hash"]


@pytest.mark.parametrize(("word", "decision"), [("deny", "denied"), ("fail", None)])
def test_a_failure_without_an_exception_can_be_said(journal: Path, word: str, decision: str | None) -> None:
    with audit.action("a.b") as action:
        getattr(action, word)("too late")
    record = last(journal)["audit"]
    assert (record["outcome"], record["reason"], record.get("decision")) == ("failure", "too late", decision)


def test_two_phases_record_the_attempt_first(journal: Path) -> None:
    with audit.action("a.b", two_phase=True):
        audit.record("a.inside")
    attempt, inside, result = records(journal)[-3:]
    assert (attempt["audit"]["phase"], attempt["audit"]["outcome"]) == ("attempt", "unknown")
    assert inside["event_name"] == "a.inside"
    assert (result["audit"]["phase"], result["audit"]["outcome"]) == ("result", "success")


def test_what_cannot_be_recorded_beforehand_is_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    with open_trail(tmp_path, on_failure="raise", quota=10) as trail:
        monkeypatch.setattr(config, "_trail", trail)
        with pytest.raises(RecordLost), audit.action("a.b", two_phase=True):
            done.append(1)
        monkeypatch.undo()
    assert not done


class Order:
    def __init__(self, number: int) -> None:
        self.id = number


def test_a_target_is_filled_from_the_arguments(journal: Path) -> None:
    @audit.audited("order.pay", target="order/{order.id}", capture=["amount", "note"], tenant="acme")
    def pay(order: Order, *, amount: int = 5, note: str = "none") -> int:
        return order.id + amount

    assert pay(Order(7), amount=2) == 9
    record = last(journal)
    assert record["audit"]["target"] == {"id": "7", "type": "order"}
    assert record["audit"]["tenant"] == "acme"
    assert record["data"] == {"amount": 2, "note": "none", "duration_ms": record["data"]["duration_ms"]}


def test_an_argument_that_a_template_cannot_read_loses_no_record(journal: Path) -> None:
    @audit.audited("order.pay", target="order/{order.id}")
    def pay(order: object) -> None: ...

    pay(5)
    assert last(journal)["audit"]["target"] == {"id": "{order.id} (AttributeError)", "type": "order"}


def test_a_call_with_wrong_arguments_is_recorded_as_the_failure_that_it_is(journal: Path) -> None:
    @audit.audited("order.pay", target="order/{order}")
    def pay(order: int) -> None: ...

    with pytest.raises(TypeError):
        pay()  # type: ignore[call-arg]
    assert last(journal)["audit"]["outcome"] == "failure"


@pytest.mark.parametrize("wrong", [{"target": "order/{ordr}"}, {"capture": ["amuont"]}])
def test_a_name_that_is_no_argument_is_refused_when_decorating(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="has no argument"):

        @audit.audited("order.pay", **wrong)
        def pay(order: int, amount: int) -> None: ...


def test_the_name_of_a_function_is_an_event_name(journal: Path) -> None:
    class Cart:
        @audit.audited()
        def empty(self) -> str:
            """Empty it."""
            return "done"

        @classmethod
        @audit.audited()
        def make(cls) -> None: ...

    assert (Cart().empty(), Cart.empty.__doc__) == ("done", "Empty it.")
    Cart.make()
    assert [record["event_name"].split(".")[-2:] for record in records(journal)[-2:]] == [
        ["Cart", "empty"],
        ["Cart", "make"],
    ]


def test_a_generator_is_recorded_when_it_is_over_not_when_it_is_made(journal: Path) -> None:
    @audit.audited("rows.export")
    def rows() -> Iterator[int]:
        sent = yield 1
        assert sent == "again"
        return 3

    made = rows()
    assert not journal.exists()
    assert next(made) == 1  # type: ignore[call-overload]
    assert named(journal, "rows.export") == [] if journal.exists() else True
    with pytest.raises(StopIteration) as ended:
        made.send("again")  # type: ignore[attr-defined]
    assert ended.value.value == 3
    assert named(journal, "rows.export")[0]["audit"]["outcome"] == "success"


def test_all_of_it_verifies(journal: Path, trail: AuditTrail) -> None:
    for outcome in ("success", "denied", True, False, "nonsense", None):
        audit.record("a.b", outcome=outcome)  # type: ignore[arg-type]
    trail.close()
    report = verified(journal)
    assert (report.exit_code, codes(report)) == (0, set())
    outcomes = [record["audit"]["outcome"] for record in named(journal, "a.b")]
    assert outcomes == ["success", "failure", "success", "failure", "unknown", "unknown"]
