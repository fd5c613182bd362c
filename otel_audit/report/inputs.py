"""What was checked and against what, with digests, and the command that checks it again."""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

from otel_audit.verify.report import Report

from .escaping import as_text
from .facts import number

if TYPE_CHECKING:
    from otel_audit.integrity.policy import Policy

__all__ = ["Given", "draw_command", "draw_inputs"]


@dataclasses.dataclass(frozen=True)
class Given:
    """What the verifier was given beside the sources; the page repeats it for whoever checks again."""

    policy: Policy | None = None
    checkpoints: Sequence[str | os.PathLike[str]] = ()
    anchors: Sequence[str | os.PathLike[str]] = ()
    parsed_copy: bool = False
    mixed: bool = False
    beside: Sequence[tuple[str, str | os.PathLike[str]]] = ()
    """What else the inputs were held against: what it is (`policy`, `pins`), and the file or directory."""
    command: Sequence[str] = ()
    """The command that makes the same check."""


def draw_inputs(report: Report, given: Given) -> str:
    """Return the tables of all that went into the check, as HTML."""
    return _inputs(report) + _beside(given)


def _inputs(report: Report) -> str:
    rows = "".join(
        f"<tr><td><code>{as_text(each.path)}</code></td><td>{number(each.bytes)}</td><td>{number(each.lines)}</td>"
        f"<td><code>{each.sha256 or 'not taken: it could not be read to its end'}</code></td></tr>"
        for each in report.inputs
    )
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Inputs"><table class="manifest"><thead><tr>'
        '<th scope="col">File</th><th scope="col">Bytes of lines</th><th scope="col">Lines</th>'
        f'<th scope="col">SHA-256 of the file as it was read</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _beside(given: Given) -> str:
    if not given.beside:
        return "<p>They were held against nothing else: no policy, no anchor and no pin was given.</p>"
    rows = "".join(
        f"<tr><td>{as_text(kind)}</td><td><code>{as_text(os.fspath(path))}</code></td><td>{_digest_of(path)}</td></tr>"
        for kind, path in given.beside
    )
    return (
        "<h3>What they were held against</h3>"
        '<div class="scroll" tabindex="0" role="region" aria-label="Held against"><table class="manifest"><thead><tr>'
        '<th scope="col">Kind</th><th scope="col">File</th><th scope="col">SHA-256</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _digest_of(path: str | os.PathLike[str]) -> str:
    try:
        if os.path.isdir(path):
            count = len(os.listdir(path))
            return f"a directory of {number(count)} file{'s' * (count != 1)}"
        with open(path, "rb") as file:
            return f"<code>{sha256(file.read()).hexdigest()}</code>"
    except OSError as error:
        return as_text(error.strerror)


def draw_command(given: Given) -> str:
    """Return the command that makes the same check, as HTML."""
    return f"<pre><code>{as_text(shlex.join(given.command))}</code></pre>" if given.command else ""
