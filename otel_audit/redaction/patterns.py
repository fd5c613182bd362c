"""Regular expressions of the user's own, applied to every string: which are refused, and what they mask."""

from __future__ import annotations

import re
import time
from typing import Any, Final

from .names import MASK

try:  # the parser's module got another name in Python 3.11
    from re import _constants, _parser  # type: ignore[attr-defined]
except ImportError:
    import sre_constants as _constants
    import sre_parse as _parser

__all__ = ["compile_pattern", "mask_matches"]

_TRIED: Final = (*range(12, 28), 48, 64, 96, 128, 192, 256, 384, 512, 1024)
_TOO_SLOW: Final = 0.02
_GROUP: Final = "secret"
_REPEATS: Final = frozenset({_constants.MAX_REPEAT, _constants.MIN_REPEAT})


def compile_pattern(text: str) -> re.Pattern[str]:
    """Compile one of the user's patterns.

    Raises:
        ValueError: it is no regular expression, fits the empty string, or takes time out of all proportion to the
            text (`(a+)+`): it runs in every logging call.
    """
    try:
        pattern = re.compile(text)
        parsed = _parser.parse(text)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    if pattern.search("") is not None:
        raise ValueError("fits the empty string, and would mask between all characters; say what must be there")
    if _repeats_repeats(parsed) or _explodes(pattern, parsed):
        raise ValueError(
            "can take endless time on a text that almost fits: it repeats what is itself repeated; write it without"
        )
    return pattern


def mask_matches(pattern: re.Pattern[str], text: str) -> str:
    """Mask what fits, or only its group `secret` if it has one."""
    if _GROUP not in pattern.groupindex:
        return pattern.sub(MASK, text)
    return pattern.sub(_mask_group, text)


def _mask_group(found: re.Match[str]) -> str:
    begin, end = found.span(_GROUP)
    if begin < 0:
        return found[0]
    offset = found.start()
    return f"{found[0][: begin - offset]}{MASK}{found[0][end - offset :]}"


def _repeats_repeats(parsed: Any, inside: bool = False) -> bool:
    """Tell whether an unbounded repetition stands inside another one."""
    for operation, argument in parsed:
        if operation in _REPEATS:
            _, most, body = argument
            unbounded = most is _constants.MAXREPEAT or most > 64
            if (unbounded and inside) or _repeats_repeats(body, inside or unbounded):
                return True
        elif any(_repeats_repeats(each, inside) for each in _bodies(operation, argument)):
            return True
    return False


def _bodies(operation: Any, argument: Any) -> list[Any]:
    if operation is _constants.SUBPATTERN:
        return [argument[-1]]
    if operation is _constants.BRANCH:
        return list(argument[1])
    if operation in {_constants.ASSERT, _constants.ASSERT_NOT}:
        return [argument[1]]
    if operation is _constants.GROUPREF_EXISTS:
        return [each for each in argument[1:] if each is not None]
    return []  # atomic groups and possessive repetitions give nothing back: they cannot explode


def _explodes(pattern: re.Pattern[str], parsed: Any) -> bool:
    """Tell whether time grows out of all proportion, tried with texts of the pattern's own characters."""
    for sample in _samples(parsed):
        for length in _TRIED:  # a little longer each, so that the first that is slow is not yet endless
            began = time.thread_time()
            pattern.search((sample * length)[:length] + "\0")
            if time.thread_time() - began > _TOO_SLOW:
                return True
    return False


def _samples(parsed: Any) -> list[str]:
    literals = sorted({chr(code) for code in _literals(parsed)})[:16]
    return ["a", "1", *literals, "".join(literals)] if literals else ["a", "1"]


def _literals(parsed: Any) -> list[int]:
    found: list[int] = []
    for operation, argument in parsed:
        if operation is _constants.LITERAL:
            found.append(argument)
        elif operation in _REPEATS:
            found += _literals(argument[2])
        else:
            for body in _bodies(operation, argument):
                found += _literals(body)
    return found
