"""The few names with which an application says what it does.

audit.record("invoice.delete", target="invoice/7", outcome="success")
with audit.action("invoice.delete", target="invoice/7"): ...
@audit.audited("invoice.delete", target="invoice/{invoice_id}")
with audit.bind(actor="alice", tenant="acme"): ...
"""

from __future__ import annotations

import contextlib
import functools
import re
import string
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from .canonical import text_of
from .config import current_trail
from .context import attach, bind, carrier
from .context import set_fields as set  # noqa: A004 - audit.set(actor=...) is the name that users type
from .durability import Receipt
from .fields import as_members
from .redaction import Redactor

if TYPE_CHECKING:
    from inspect import Signature

__all__ = ["Action", "action", "attach", "audited", "bind", "carrier", "record", "set"]

P = ParamSpec("P")
R = TypeVar("R")


def record(
    event_name: str,
    /,
    *,
    action: str | None = None,
    actor: str | Mapping[str, Any] | None = None,
    target: str | Mapping[str, Any] | None = None,
    targets: Sequence[str | Mapping[str, Any]] | None = None,
    outcome: str | None = None,
    reason: str | None = None,
    changes: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    nanoseconds: int | None = None,
    **fields: Any,
) -> Receipt:
    """Record an audit event; return its place in the trail once its durability level is reached.

    Args:
        event_name: what happened: dotted, low-cardinality, without the outcome (`invoice.delete`).
        action: upper-case verb; the last word of the event name if None.
        actor: who, as an id or a mapping (`id`, `type`, `name`, `roles`); else the bound one, else `anonymous`.
        target: on what, as `type/id` or a mapping (`id`, `type`, `name`); `targets` for several.
        outcome: `success`, `failure`, `unknown`; `denied` stands for a failure with `decision: denied`.
        reason: why, in words or a ticket number.
        changes: `{field: {"old": ..., "new": ...}}`.
        data: everything else, under the record's `data`.
        nanoseconds: when it happened, Unix time in ns; now if None.
        fields: other members of the schema (`tenant`, `session`, `request`, `source`, `category`, `decision`,
            `data_subject`, `phase`, `version`); names that it does not know go to `data`.

    Raises:
        RecordLost: it could not be kept, and the failure policy says to raise.
        DeliveryTimeout: under `durability="ack"`, a required sink did not confirm it in time.
    """
    if action is not None:
        fields["action"] = action
    if actor is not None:
        fields["actor"] = actor
    if target is not None:
        fields["target"] = target
    if targets is not None:
        fields["targets"] = targets
    if outcome is not None:
        fields["outcome"] = outcome
    if reason is not None:
        fields["reason"] = reason
    if changes is not None:
        fields["changes"] = changes
    return current_trail().record(event_name, fields, data, nanoseconds)


class Action:
    """One thing being done, recorded when it is over: with its outcome, or with what went wrong.

    Made by `action`; used with `with` or `async with`. A `PermissionError` (or another of `deny_on`) is a denial;
    any other exception a failure; cancellation and interpreter exit leave the outcome unknown.
    """

    def __init__(
        self,
        event_name: str,
        fields: dict[str, Any],
        *,
        deny_on: tuple[type[BaseException], ...],
        two_phase: bool,
    ) -> None:
        self.event_name = event_name
        self.receipt: Receipt | None = None
        self._fields = fields
        self._deny_on = deny_on
        self._two_phase = two_phase
        self._started = 0

    def set(self, **fields: Any) -> None:
        """Add to what will be recorded; `data` is merged."""
        data = fields.pop("data", None)
        self._fields.update(fields)
        if data is not None:
            self._fields["data"] = {**as_members(self._fields.get("data")), **as_members(data)}

    def change(self, field: str, *, old: Any = None, new: Any = None) -> None:
        """Note one field's value before and after."""
        changes = {**(self._fields.get("changes") or {}), field: {"old": old, "new": new}}
        self._fields["changes"] = changes

    def deny(self, reason: str) -> None:
        """Say that it was not allowed: outcome `failure`, decision `denied`."""
        self.set(outcome="failure", decision="denied", reason=reason)

    def fail(self, reason: str) -> None:
        """Say that it did not work out, although nothing was raised."""
        self.set(outcome="failure", reason=reason)

    def __enter__(self) -> Action:
        self._started = time.time_ns()
        if self._two_phase:
            self._record({**self._fields, "phase": "attempt", "outcome": "unknown"})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        fields = dict(self._fields)
        if error is None:
            fields.setdefault("outcome", "success")
        else:
            _describe(error, fields, self._deny_on)
        if self._two_phase:
            fields["phase"] = "result"
        fields["data"] = {
            **as_members(fields.get("data")),
            "duration_ms": (time.time_ns() - self._started) // 1_000_000,
        }
        self._record(fields)

    async def __aenter__(self) -> Action:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def _record(self, fields: dict[str, Any]) -> None:
        self.receipt = record(self.event_name, **fields)


def _describe(error: BaseException, fields: dict[str, Any], deny_on: tuple[type[BaseException], ...]) -> None:
    if isinstance(error, deny_on):
        fields["outcome"], fields["decision"] = "failure", "denied"
    elif not isinstance(error, Exception):  # cancelled, interrupted, or leaving
        fields["outcome"] = "unknown"
    else:
        fields["outcome"] = "failure"
    fields["data"] = {
        **as_members(fields.get("data")),
        "error": {"type": type(error).__qualname__, "message": text_of(error)},
    }


def action(
    event_name: str,
    /,
    *,
    two_phase: bool = False,
    deny_on: tuple[type[BaseException], ...] = (PermissionError,),
    **fields: Any,
) -> Action:
    """Record what happens in a `with` or `async with` block, with the outcome that its end shows.

    Args:
        event_name: what happens.
        two_phase: also record the attempt, before the block runs; if that cannot be kept and the policy is
            `raise`, the block does not run.
        deny_on: exceptions that mean "not allowed" rather than "failed".
        fields: as for `record`.
    """
    return Action(event_name, fields, deny_on=deny_on, two_phase=two_phase)


def audited(
    event_name: str | None = None,
    /,
    *,
    target: str | None = None,
    capture: Sequence[str] = (),
    two_phase: bool = False,
    deny_on: tuple[type[BaseException], ...] = (PermissionError,),
    **fields: Any,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function so that each call is recorded as an action: of a coroutine or generator, its whole run.

    Args:
        event_name: what happens; module and name of the function if None.
        target: a template over the call's arguments: `invoice/{invoice_id}`, `order/{order.id}`.
        capture: names of arguments whose values go to `data`.
        two_phase, deny_on, fields: as for `action`.

    Raises:
        TypeError: at decoration, if `target` or `capture` names an argument that the function does not have, or
            `target` one whose name says that it holds a secret.
    """

    import inspect  # costs as much as the rest of this module, and only decorators need it

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        name = event_name or f"{function.__module__}.{function.__qualname__}".replace("<locals>.", "")
        signature = inspect.signature(function)
        _check_names(function, signature, target, capture)

        def started(args: Any, kwargs: Any) -> Action:
            said = dict(fields)
            if target is not None or capture:
                arguments = _arguments(signature, args, kwargs)
                if target is not None:
                    said["target"] = _fill(target, arguments)
                if capture:
                    captured = {each: arguments.get(each) for each in capture}
                    said["data"] = {**as_members(said.get("data")), **captured}
            return Action(name, said, deny_on=deny_on, two_phase=two_phase)

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def audited_coroutine(*args: P.args, **kwargs: P.kwargs) -> Any:
                async with started(args, kwargs):
                    return await function(*args, **kwargs)

            return cast("Callable[P, R]", audited_coroutine)

        if inspect.isasyncgenfunction(function):

            @functools.wraps(function)
            async def audited_stream(*args: P.args, **kwargs: P.kwargs) -> Any:
                async with started(args, kwargs), contextlib.aclosing(function(*args, **kwargs)) as items:
                    async for item in items:
                        yield item

            return cast("Callable[P, R]", audited_stream)

        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def audited_generator(*args: P.args, **kwargs: P.kwargs) -> Any:
                with started(args, kwargs):
                    return (yield from function(*args, **kwargs))

            return cast("Callable[P, R]", audited_generator)

        @functools.wraps(function)
        def audited_call(*args: P.args, **kwargs: P.kwargs) -> R:
            with started(args, kwargs):
                return function(*args, **kwargs)

        return audited_call

    return decorate


def _check_names(
    function: Callable[..., Any], signature: Signature, target: str | None, capture: Sequence[str]
) -> None:
    shown = [field for _, field, _, _ in string.Formatter().parse(target or "") if field is not None]
    for field in shown:
        for name in re.split(r"[.\[\]]+", field):
            if Redactor().is_secret(name):
                raise TypeError(f"@audited: the target of {function.__qualname__}() would show {name!r}; leave it out")
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values()):
        return
    for name in [*capture, *(field.partition(".")[0].partition("[")[0] for field in shown)]:
        if name not in signature.parameters:
            raise TypeError(f"@audited: {function.__qualname__}() has no argument {name!r}")


def _arguments(signature: Signature, args: Any, kwargs: Any) -> dict[str, Any]:
    try:
        bound = signature.bind_partial(*args, **kwargs)
    except TypeError:
        return {}  # the call itself will raise the same, and that is what gets recorded
    bound.apply_defaults()
    arguments = dict(bound.arguments)
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            arguments.update(arguments.pop(name, {}))
    return arguments


def _fill(template: str, arguments: dict[str, Any]) -> str:
    try:
        return template.format_map(arguments)
    except Exception as error:  # noqa: BLE001 - an argument's __format__ or attribute may raise anything
        return f"{template} ({type(error).__name__})"
