"""Who is acting: the actor, tenant, request and so on that every record in a scope carries.

The context variable holds a *mutable* scope, installed by whoever starts the unit of work (a middleware, a worker)
and filled in by whoever learns more later (a login in a thread pool, an async dependency): both see one object,
where a plain context variable would lose what was set further in.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from .canonical import Alteration
from .fields import normalize

__all__ = [
    "Scope",
    "SelfMade",
    "active_trace",
    "attach",
    "bind",
    "carrier",
    "current",
    "deliver_for",
    "refuse_self_made",
    "set_fields",
]


class SelfMade(Exception):
    """What is logged comes out of the delivery of the trail that it would become a record of.

    It is caught where the logging call came in.
    """


class _Delivery(NamedTuple):
    """Whose records this context delivers, and who is told of what is logged meanwhile."""

    door: object
    left_out: Callable[[], None]


class Scope:
    """What is known about the unit of work at hand: members of `audit`, and other fields for `data`."""

    __slots__ = ("audit", "data", "delivery", "notes")

    def __init__(self, outer: Scope | None = None) -> None:
        self.audit: dict[str, Any] = dict(outer.audit) if outer else {}
        self.data: dict[str, Any] = dict(outer.data) if outer else {}
        self.notes: list[Alteration] = list(outer.notes) if outer else []
        self.delivery: _Delivery | None = outer.delivery if outer else None

    def update(self, fields: Mapping[Any, Any], *, schema: bool = True) -> None:
        """Add or replace fields; without `schema`, all are for `data`.

        The dictionaries are replaced, so that a record being built sees one state.
        """
        notes: list[Alteration] = []
        audit, data = normalize(fields, notes) if schema else ({}, dict(fields))
        self.audit = {**self.audit, **audit}
        if data:
            self.data = {**self.data, **data}
        if notes:
            self.notes = [*self.notes, *notes][-8:]


_scope: ContextVar[Scope | None] = ContextVar("otel_audit_scope", default=None)

current = _scope.get
"""Return the scope of this context, or None."""


@contextmanager
def bind(**fields: Any) -> Iterator[Scope]:
    """Open a scope: every record inside carries these fields, in `async` code and copied contexts too.

    Fields are those of `record` (actor, tenant, session, request, source ...); others go to each record's `data`.
    A scope inside another starts from what the outer one knows.
    """
    scope = Scope(_scope.get())
    scope.update(fields)
    token = _scope.set(scope)
    try:
        yield scope
    finally:
        _scope.reset(token)


def set_fields(**fields: Any) -> None:
    """Add to the current scope, or start one for the rest of this context (task, thread) if there is none."""
    scope = _scope.get()
    if scope is None:
        scope = Scope()
        _scope.set(scope)
    scope.update(fields)


def carrier() -> dict[str, Any]:
    """Return what the current scope knows, as plain data to send along with a job or message."""
    scope = _scope.get()
    return {} if scope is None else {"audit": dict(scope.audit), "data": dict(scope.data)}


@contextmanager
def attach(carried: Mapping[str, Any]) -> Iterator[Scope]:
    """Open a scope with what `carrier` returned elsewhere. It starts empty: nothing of the outer scope leaks in."""
    scope, outer = Scope(), _scope.get()
    scope.delivery = outer.delivery if outer else None
    for name in ("audit", "data"):  # what comes with a message is anybody's word: it goes through the schema again
        if isinstance(fields := carried.get(name), Mapping):
            scope.update(fields, schema=name == "audit")
    token = _scope.set(scope)
    try:
        yield scope
    finally:
        _scope.reset(token)


def deliver_for(door: object, left_out: Callable[[], None]) -> None:
    """Have what is logged in this context (a shipper's thread) from now on not become records of this door.

    A sink that logs would otherwise feed itself: each batch makes a record, which makes a batch. `left_out` is called
    for each logging call that is left out. Calls elsewhere pay nothing for it: each looks for a scope in any case, and
    without one none looks further.
    """
    scope = Scope(_scope.get())
    scope.delivery = _Delivery(door, left_out)
    _scope.set(scope)


def refuse_self_made(door: object) -> None:
    """Refuse a logging call that comes out of the delivery of this door's own records.

    Raises:
        SelfMade: it does; it is counted, and no record is to be made of it.
    """
    scope = _scope.get()
    if scope is not None and scope.delivery is not None and scope.delivery.door is door:
        scope.delivery.left_out()
        raise SelfMade


def active_trace() -> dict[str, Any] | None:
    """Return the ids of the active OpenTelemetry span, if the application uses the OpenTelemetry API."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    span = trace.get_current_span().get_span_context()
    if not span.is_valid:
        return None
    return {
        "span_id": f"{span.span_id:016x}",
        "trace_flags": int(span.trace_flags),
        "trace_id": f"{span.trace_id:032x}",
    }
