"""Where in a record a rule applies: dotted paths, in the words in which a caller gives the values.

`actor.id` is `audit.actor.id`, `message` is the message, any other name is a member of `data`. `*` stands for any
characters of one name, `**` for any number of levels. Names are compared as `plain_name` returns them; a name that
holds dots is as good as its parts; items of an array are reached with a step for the index or without one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

from otel_audit.record import AUDIT_MEMBERS, MEMBERS

from .names import glob, plain_name

__all__ = ["ANYTHING", "FIXED", "SHAPED", "Steps", "follow", "is_dull", "parse_path", "step_fits"]

Steps = tuple[str, ...]
"""A path in its parts, or what is left of it further down."""

ANYTHING: Final = "**"

FIXED: Final = frozenset({"/audit/action", "/audit/actor/type", "/audit/altered", "/audit/decision", "/audit/outcome"})
"""Places whose values the format prescribes: no rule changes them."""

SHAPED: Final = frozenset({"/audit", "/data", "/audit/actor", "/audit/source", "/audit/target", "/audit/targets"})
"""Places where the format wants an object or array: rules change its members instead."""

_AS_IS: Final = frozenset(MEMBERS) - {"audit", "data", "message"}


def parse_path(text: str) -> Steps:
    """Read a path.

    Raises:
        ValueError: it is no path, or names what stands in every record as it is. The message continues "holds ".
    """
    steps = tuple(text.strip().split("."))
    if not all(steps) or any(ANYTHING in step and step != ANYTHING for step in steps):
        raise ValueError(
            f"{text!r}, which is no path; write names with dots between them, such as customer.iban or actor.id"
        )
    first = steps[0]
    if first in _AS_IS or (first == "message" and len(steps) > 1):
        raise ValueError(f"{text!r}, which cannot be changed in a record; a member of data by that name is data.{text}")
    if first in AUDIT_MEMBERS:
        steps = ("audit", *steps)
    elif first not in {"audit", "data", "message", ANYTHING}:
        steps = ("data", *steps)
    if "/" + "/".join(steps) in FIXED:
        raise ValueError(f"{text!r}, which cannot be changed in a record: the format prescribes its values")
    return steps


def follow(steps: Steps, name: str) -> Iterator[Steps]:
    """Yield what is left of a path below a member of this name: nothing left means that it leads to this member."""
    yield from _step(steps, name)
    if "." in name:
        head, _, tail = name.partition(".")
        for rest in _step(steps, head):
            yield from follow(rest, tail) if rest else [rest]


def _step(steps: Steps, name: str) -> Iterator[Steps]:
    if steps[0] == ANYTHING:
        yield steps
        yield from _step(steps[1:], name) if len(steps) > 1 else [()]
    elif step_fits(steps[0], name):
        yield steps[1:]


@lru_cache(4096)
def step_fits(step: str, name: str) -> bool:
    """Tell whether a part of a path fits a member's name."""
    if "*" not in step:
        return step == name or plain_name(step) == plain_name(name)
    return re.fullmatch(glob(step), plain_name(name)) is not None


def is_dull(paths: Iterable[Steps], name: str) -> bool:
    """Tell whether no path can lead to or through a member of this name because of the last name in the path."""
    names = [name, *name.split(".")] if "." in name else [name]
    return not any(step_fits(_telling(steps), each) for steps in paths for each in names)


def _telling(steps: Steps) -> str:
    """Return the part of a path that the name of a member has to fit before the rest is worth a look."""
    names = [step for step in steps[1:] if step.strip("*") and not step.isdecimal()]  # an index is no member's name
    return names[-1] if names else "*"
