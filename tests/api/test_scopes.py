"""bind, set, carrier, attach: who acts, in threads, tasks and web applications.

The table of where an actor may be set, and where it must be seen: with a plain context variable most of it fails.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from otel_audit import audit
from otel_audit.trail import AuditTrail
from tests.writer.trails import codes, named, records, verified

fastapi = pytest.importorskip("fastapi")
testclient = pytest.importorskip("starlette.testclient")
base = pytest.importorskip("starlette.middleware.base")


class PureMiddleware:
    """Opens the scope of a request, and records when it is over, as a middleware of the pure ASGI kind does."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        with audit.bind(request={"path": scope["path"]}):
            await self.app(scope, receive, send)
            audit.record("seen.by.pure")


async def base_middleware(request: Any, call_next: Callable[[Any], Awaitable[Any]]) -> Any:
    response = await call_next(request)
    audit.record("seen.by.base")
    return response


def login() -> None:
    audit.set(actor="alice", tenant="acme")


async def login_async() -> None:
    login()


def make_app(with_base: bool) -> Any:
    app = fastapi.FastAPI()

    @app.get("/async-endpoint")
    async def async_endpoint() -> str:
        login()
        audit.record("seen.by.endpoint")
        return "ok"

    @app.get("/sync-endpoint")
    def sync_endpoint() -> str:
        login()
        audit.record("seen.by.endpoint")
        return "ok"

    @app.get("/sync-depends", dependencies=[fastapi.Depends(login)])
    def sync_depends() -> str:
        audit.record("seen.by.endpoint")
        return "ok"

    @app.get("/async-depends", dependencies=[fastapi.Depends(login_async)])
    async def async_depends() -> str:
        audit.record("seen.by.endpoint")
        return "ok"

    @app.get("/sync-depends-async-endpoint", dependencies=[fastapi.Depends(login)])
    async def sync_depends_async_endpoint() -> str:
        audit.record("seen.by.endpoint")
        return "ok"

    if with_base:
        app.add_middleware(base.BaseHTTPMiddleware, dispatch=base_middleware)
    app.add_middleware(PureMiddleware)
    return app


PLACES = ["async-endpoint", "sync-endpoint", "sync-depends", "async-depends", "sync-depends-async-endpoint"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("with_base", [False, True])
def test_an_actor_set_anywhere_in_a_request_is_seen_everywhere(
    journal: Path, trail: AuditTrail, place: str, with_base: bool
) -> None:
    with testclient.TestClient(make_app(with_base)) as client:
        assert client.get(f"/{place}").status_code == 200
    audit.record("seen.outside")
    *seen, outside = [record for record in records(journal) if record["event_name"].startswith("seen.")]
    assert len(seen) == (3 if with_base else 2)
    for record in seen:
        assert record["audit"]["actor"] == {"id": "alice", "type": "user"}, record["event_name"]
        assert (record["audit"]["tenant"], record["audit"]["request"]) == ("acme", {"path": f"/{place}"})
    assert outside["audit"]["actor"]["id"] == "anonymous"
    trail.close()
    assert verified(journal).exit_code == 0


def test_requests_at_the_same_time_do_not_see_each_other(journal: Path) -> None:
    app = fastapi.FastAPI()

    @app.get("/{name}")
    def endpoint(name: str) -> str:
        audit.set(actor=name)
        audit.record("seen", name=name)
        return name

    app.add_middleware(PureMiddleware)
    with testclient.TestClient(app) as client, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: client.get(f"/user{n}"), range(40)))
    seen = named(journal, "seen")
    assert len(seen) == 40
    assert all(record["audit"]["actor"]["id"] == record["data"]["name"] for record in seen)


def test_a_scope_ends_with_its_block(journal: Path) -> None:
    with audit.bind(actor="alice", batch=1):
        with audit.bind(tenant="acme"):
            audit.set(session="s")
            audit.record("inner")
        audit.record("outer")
    audit.record("outside")
    inner, outer, outside = records(journal)[-3:]
    assert {"actor", "tenant", "session"} <= inner["audit"].keys()
    assert outer["audit"].keys().isdisjoint({"tenant", "session"})
    assert outer["audit"]["actor"]["id"] == "alice"
    assert (inner["data"], outer["data"], "data" in outside) == ({"batch": 1}, {"batch": 1}, False)
    assert outside["audit"]["actor"]["id"] == "anonymous"


def test_a_scope_reaches_into_tasks_and_copied_contexts(journal: Path) -> None:
    async def work() -> None:
        audit.set(tenant="acme")
        audit.record("task")
        await asyncio.to_thread(audit.record, "thread")

    async def main() -> None:
        with audit.bind(actor="alice"):
            await asyncio.gather(work())
            audit.record("after")

    asyncio.run(main())
    for record in records(journal)[-3:]:
        assert (record["audit"]["actor"]["id"], record["audit"]["tenant"]) == ("alice", "acme")


def test_set_outside_a_scope_stays_in_its_task(journal: Path) -> None:
    async def work(name: str) -> None:
        audit.set(actor=name)
        await asyncio.sleep(0.01)
        audit.record("task", name=name)

    async def main() -> None:
        await asyncio.gather(*(work(f"user{n}") for n in range(5)))
        audit.record("outside")

    asyncio.run(main())
    tasks = named(journal, "task")
    assert all(record["audit"]["actor"]["id"] == record["data"]["name"] for record in tasks)
    assert named(journal, "outside")[0]["audit"]["actor"]["id"] == "anonymous"


def test_a_job_carries_what_was_known_when_it_was_sent(journal: Path) -> None:
    with audit.bind(actor={"id": "alice", "type": "service"}, tenant="acme", batch=7):
        carried = audit.carrier()
        audit.set(actor="mallory")

    def job() -> None:
        with audit.bind(actor="worker", session="w"), audit.attach(carried):
            audit.record("job")

    with ThreadPoolExecutor(1) as pool:
        pool.submit(job).result()
    record = named(journal, "job")[0]
    assert record["audit"]["actor"] == {"id": "alice", "type": "service"}
    assert record["audit"]["tenant"] == "acme"
    assert "session" not in record["audit"]
    assert record["data"] == {"batch": 7}
    assert audit.carrier() == {}


@pytest.mark.parametrize(
    "carried",
    [
        {},
        {"audit": None, "data": None},
        {"audit": [], "data": "x"},
        {"audit": {"evil": 1, "altered": ["x"], "outcome": "nonsense", "actor": 5, "event_name": "audit.stream.close"}},
        {"audit": {"actor": {"id": None, "type": "root"}, "decision": 7}, "data": {"hash": "0"}},
    ],
)
def test_what_comes_with_a_message_cannot_make_a_record_invalid(
    journal: Path, trail: AuditTrail, carried: dict[str, Any]
) -> None:
    with audit.attach(carried):
        audit.record("job")
    trail.close()
    report = verified(journal)
    assert (report.exit_code, codes(report)) == (0, set())


def test_a_record_being_built_sees_one_state(journal: Path) -> None:
    """While one thread sets, another records: never a mixture of two settings."""

    def change(scope: Any) -> None:
        for n in range(500):
            scope.update({"actor": f"user{n}", "session": f"user{n}"})

    with audit.bind(actor="user0", session="user0") as scope, ThreadPoolExecutor(2) as pool:
        changing = pool.submit(change, scope)
        while not changing.done():
            audit.record("seen")
    for record in named(journal, "seen"):
        assert record["audit"]["actor"]["id"] == record["audit"]["session"]


def test_a_scope_is_of_one_context(journal: Path) -> None:
    with audit.bind(actor="alice"):
        contextvars.Context().run(audit.record, "elsewhere")
    assert named(journal, "elsewhere")[0]["audit"]["actor"]["id"] == "anonymous"
