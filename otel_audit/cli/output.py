"""Writing to a terminal or a pipe: colour only where it is wanted, nothing from a log that acts on a terminal."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import Final, Literal, TextIO

from otel_audit.spelling import spell_out as escape

__all__ = ["Style", "complain", "escape", "is_terminal", "note", "paint", "say", "set_color", "warn"]

Style = Literal["good", "bad", "doubtful", "dim", "strong"]

_CODES: Final[dict[Style, str]] = {"good": "32", "bad": "1;31", "doubtful": "33", "dim": "2", "strong": "1"}

_choice = "auto"


def set_color(choice: str) -> None:
    """Follow `--color`: `always`, `never`, or `auto` (NO_COLOR, FORCE_COLOR, then whether stdout is a terminal)."""
    global _choice
    _choice = choice


def is_terminal(stream: TextIO | None = None) -> bool:
    """Tell whether somebody is looking."""
    stream = stream or sys.stdout
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def paint(text: str, style: Style, stream: TextIO | None = None) -> str:
    """Return the text in a style, if colour is wanted on this stream (stdout)."""
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if _wants_color(stream or sys.stdout) else text


def _wants_color(stream: TextIO) -> bool:
    if _choice != "auto":
        return _choice == "always"
    if os.environ.get("NO_COLOR"):  # https://no-color.org
        return False
    return bool(os.environ.get("FORCE_COLOR")) or is_terminal(stream)


def say(text: str = "") -> None:
    """Print one line; what the terminal's encoding does not have is spelled out.

    Raises:
        OSError: standard output is closed, or takes no more.
    """
    if sys.stdout is None:  # closed by whoever started this (`>&-`)
        raise OSError(errno.EBADF, "standard output is closed; use --quiet where only the exit code is wanted")
    _write(sys.stdout, text)


def complain(text: str) -> None:
    """Print one line about what went wrong on standard error, if that can be; the exit code says it anyway."""
    _mark("error:", "bad", text)


def warn(text: str) -> None:
    """Print one line about what may be wrong on standard error, if that can be."""
    _mark("warning:", "doubtful", text)


def note(text: str) -> None:
    """Print one line about what goes on on standard error, if that can be, and at once."""
    _mark("note:", "dim", text)
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()


def _mark(mark: str, style: Style, text: str) -> None:
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            _write(sys.stderr, f"{paint(mark, style, sys.stderr)} {escape(text)}")


def _write(stream: TextIO, text: str) -> None:
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
