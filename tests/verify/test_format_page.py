"""docs/format.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from otel_audit.record import AUDIT_MEMBERS, MAX_LINE, MEMBERS
from otel_audit.verify import Severity
from otel_audit.verify.findings import CHAIN_CODES
from tests.vectors.make import HERE

PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")


def test_the_page_lists_every_code_with_its_verdict_and_meaning() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (\w+) \| (.*) \|$", PAGE, re.MULTILINE)
    names = {severity: "note" if severity is Severity.NOTE else severity.name.lower() for severity in Severity}
    assert rows == [(name, names[code.severity], code.meaning) for name, code in CHAIN_CODES.items()]


def test_the_page_names_every_member_and_the_longest_line() -> None:
    assert [name for name in (*MEMBERS, *AUDIT_MEMBERS) if f"`{name}`" not in PAGE] == []
    assert f"{MAX_LINE:,}".replace(",", " ") in PAGE


def test_the_example_is_the_first_line_of_a_vector() -> None:
    line = next(iter(sorted((HERE / "intact-one-stream").iterdir()))).read_text().partition("\n")[0]
    assert f"```json\n{line}\n```" in PAGE
