"""What is published of the findings: docs/verify-codes.md.

`python -m otel_audit.verify.published` writes the page anew; a test says when that is due.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from .findings import CODES, PRECEDENCE, Code, Severity
from .subjects import SUBJECTS, Subject

__all__ = ["PAGE", "document_codes"]

PAGE: Final = Path(__file__).parents[2] / "docs" / "verify-codes.md"

_HEAD: Final = """\
# What `otel-audit verify` finds

<!-- written by `python -m otel_audit.verify.published` -->

Each finding has a code that never changes its meaning. `verify`, `verify --json`, the HTML report and this page use
the same words. Look a code up here: what it means, what exit code it leads to, what to do next.

| verdict | exit code | in one sentence |
|---|---|---|
| intact | 0 | Nothing contradicts, and nothing is known to be missing. |
| tampered | 1 | What is here is not what was written. |
| unreadable | 2 | Something could not be read, so that nothing is said of the whole. |
| incomplete | 3 | Nothing contradicts, but something that belongs here is not here. |
| unverifiable | 4 | It cannot be judged with what was given. |
| empty | 5 | Nothing is there where something should be. |

When several apply, the gravest decides: 1, then 2, 4, 5, 3. A *note* changes no exit code. With `--strict`, the exit
codes 3, 4 and 5 become 1. *Tampered* does not say who or why: a disk fault or a careless script leaves the same marks.
Keep the files as they are before anything else, and compare them with a copy held elsewhere.

How far a check without any finding reaches depends on what is signed and anchored: [threat-model.md](threat-model.md).

"""


def document_codes() -> str:
    """Return docs/verify-codes.md."""
    parts = [_HEAD]
    parts += [f"- [{subject.name.capitalize()}](#{subject.name.lower()}): {subject.value}\n" for subject in Subject]
    for subject in Subject:
        parts.append(f"\n## {subject.name.capitalize()}\n\n{subject.value}\n")
        parts += [_section(name, code) for name, code in _codes_of(subject)]
    return "".join(parts)


def _codes_of(subject: Subject) -> Iterable[tuple[str, Code]]:
    own = [(name, code) for name, code in CODES.items() if SUBJECTS[name] is subject]
    return sorted(own, key=lambda pair: PRECEDENCE.index(pair[1].severity))


def _section(name: str, code: Code) -> str:
    verdict = "note" if code.severity is Severity.NOTE else code.severity.name.lower()
    effect = "changes no exit code" if code.severity is Severity.NOTE else f"exit code {int(code.severity)}"
    return f"\n### {name}\n\n*{verdict}, {effect}.* {code.meaning}\n\n**Next:** {code.next_step}\n"


if __name__ == "__main__":
    PAGE.write_text(document_codes(), encoding="utf-8")
