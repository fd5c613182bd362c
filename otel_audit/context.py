"""Who is acting: the actor, tenant, request and so on that every record in a scope carries.

The context variable holds a *mutable* scope, installed by whoever starts the unit of work (a middleware, a worker)
and filled in by whoever learns more later (a login in a thread pool, an async dependency): both see one object,
where a plain context variable would lose what was set further in.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from .canonical import Alteration
from .fields import normalize

__all__ = ["Scope", "active_trace", "attach", "bind", "carrier", "current", "set_fields"]


class Scope:
    """What is known about the unit of work at hand: members of `audit`, and other fields for `data`."""

    __slots__ = ("audit", "data", "notes")

    def __init__(self, outer: Scope | None = None) -> None:
        self.audit: dict[str, Any] = dict(outer.audit) if outer else {}
        self.data: dict[str, Any] = dict(outer.data) if outer else {}
        self.notes: list[Alteration] = list(outer.notes) if outer else []

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
    scope = Scope()
    for name in ("audit", "data"):  # what comes with a message is anybody's word: it goes through the schema again
        if isinstance(fields := carried.get(name), Mapping):
            scope.update(fields, schema=name == "audit")
    token = _scope.set(scope)
    try:
        yield scope
    finally:
        _scope.reset(token)


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
