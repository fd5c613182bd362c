"""The command as a whole: what `--help` lists, what docs/cli.md says of it, both ways to start it."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from otel_audit import __version__
from otel_audit.cli.__main__ import COMMANDS, main

ROOT = Path(__file__).parents[2]
SCRIPT = Path(sys.executable).with_name("otel-audit")
WAYS = [[sys.executable, "-m", "otel_audit"], [str(SCRIPT)]]


def helps() -> dict[str, str]:
    return {name: importlib.import_module(f"otel_audit.cli.{module}").HELP for name, module in COMMANDS.items()}


@pytest.mark.parametrize("way", WAYS, ids=["module", "script"])
def test_help_lists_every_command_in_order_with_what_it_does(way: list[str]) -> None:
    if way[0] == str(SCRIPT) and not SCRIPT.exists():
        pytest.skip("the package is not installed")
    ran = subprocess.run([*way, "--help"], capture_output=True, text=True, check=True, env={"COLUMNS": "300"})
    listed = re.findall(r"^ {4}([a-z-]+) +(\S.*)$", ran.stdout, re.MULTILINE)
    assert listed == [*helps().items()]


@pytest.mark.parametrize("way", WAYS, ids=["module", "script"])
def test_version_is_the_distributions(way: list[str]) -> None:
    if way[0] == str(SCRIPT) and not SCRIPT.exists():
        pytest.skip("the package is not installed")
    ran = subprocess.run([*way, "--version"], capture_output=True, text=True, check=True)
    assert ran.stdout == f"otel-audit {__version__}\n"


def test_the_documentation_lists_every_command_in_order_with_what_it_does() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    table = page.partition("<!-- commands:")[2].partition("<!-- end of commands -->")[0]
    rows = re.findall(r"^\| `([a-z-]+)` \| (.+) \| (.+) \|$", table, re.MULTILINE)
    assert [(name, what) for name, what, _ in rows] == [*helps().items()]
    assert all(codes for _, _, codes in rows)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_of_its_own(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert f"otel-audit {name}" in capsys.readouterr().out


def test_no_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "otel-audit --help" in capsys.readouterr().err
