"""The mutants themselves: each changes one thing, and nothing that only readers see."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutation.mutants import mutants_of

SOURCE = '''
"""A docstring with 1 < 2."""
from __future__ import annotations

LIMIT: int = 5


def check(value: int = 3, *, loud: bool = True) -> int:
    """Return it, if 1 < 2."""
    if not value or value < LIMIT:
        raise ValueError(f"{value + 1} is small")
    for each in range(value):
        if each:
            continue
        print(each)
    return value + 2
'''


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "module.py"
    path.write_text(SOURCE)
    return path


def test_each_mutant_is_another_program(module: Path) -> None:
    original = ast.unparse(ast.parse(SOURCE))
    made = [ast.unparse(mutant.tree()) for mutant in mutants_of(str(module), SOURCE)]
    assert len(set(made)) == len(made) > 10
    assert original not in made


def test_they_are_the_same_in_every_run(module: Path) -> None:
    runs = [[each[:4] for each in mutants_of(str(module), SOURCE)] for _ in range(2)]
    assert runs[0] == runs[1]
    assert {change for _, _, _, change in runs[0]} == {
        "5 -> 6",
        "3 -> 4",
        "True -> False",
        "Or -> And",
        "not x -> x",
        "Lt -> LtE",
        "Lt -> GtE",
        "raise -> nothing",
        "if x -> if not x",
        "continue -> break",
        "call -> nothing",
        "Add -> Sub",
        "2 -> 3",
    }


def test_a_mutant_differs_in_one_line(module: Path) -> None:
    original = ast.unparse(ast.parse(SOURCE)).splitlines()
    for mutant in mutants_of(str(module), SOURCE):
        changed = ast.unparse(mutant.tree()).splitlines()
        assert sum(one != other for one, other in zip(original, changed, strict=True)) == 1
