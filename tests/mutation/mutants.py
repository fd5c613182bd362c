"""Small wrong changes to a module's source, one at a time."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import NamedTuple

__all__ = ["Mutant", "mutants_of"]


Edit = Callable[[ast.AST], ast.AST]


class Mutant(NamedTuple):
    """A module with one change. `number` is its place among the module's mutants, the same in every run."""

    path: str
    number: int
    line: int
    change: str
    place: int
    edit: Edit

    def tree(self) -> ast.Module:
        """Return the changed module."""
        with open(self.path, encoding="utf-8") as file:
            mutated = ast.parse(file.read(), self.path)
        _Replace(self.place, self.edit).visit(mutated)
        return ast.fix_missing_locations(mutated)


_COMPARED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
_COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}


def mutants_of(path: str, source: str) -> Iterator[Mutant]:
    """Yield every mutant of a module, in the order of its source."""
    tree = ast.parse(source, path)
    for number, (place, line, change, edit) in enumerate(_sites(tree)):
        yield Mutant(path, number, line, change, place, edit)


def _sites(tree: ast.Module) -> Iterator[tuple[int, int, str, Edit]]:
    for place, node in enumerate(_walk(tree)):
        for change, edit in _edits(node):
            yield place, getattr(node, "lineno", 0), change, edit


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what may be changed: no annotation, no docstring, nothing that only a person or a type checker reads."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "decorator_list"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_for_readers(child):
                yield from _walk(child)


def _is_for_readers(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    if isinstance(node, ast.FunctionDef) and node.name == "__repr__":
        return True
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return True
    return isinstance(node, (ast.Import, ast.ImportFrom, ast.JoinedStr))


def _edits(node: ast.AST) -> Iterator[tuple[str, Edit]]:
    match node:
        case ast.Compare():
            for place, operator in enumerate(node.ops):
                for other in _COMPARED[type(operator)]:
                    yield f"{type(operator).__name__} -> {other.__name__}", _with_operator(place, other)
        case ast.BoolOp():
            swapped = ast.Or if isinstance(node.op, ast.And) else ast.And
            yield f"{type(node.op).__name__} -> {swapped.__name__}", _with(op=swapped())
        case ast.UnaryOp(op=ast.Not()):
            yield "not x -> x", lambda each: each.operand  # type: ignore[attr-defined]
        case ast.BinOp() | ast.AugAssign() if type(node.op) in _COMPUTED and not _is_text(node):
            computed = _COMPUTED[type(node.op)]
            yield f"{type(node.op).__name__} -> {computed.__name__}", _with(op=computed())
        case ast.Constant(value=bool()):
            yield f"{node.value} -> {not node.value}", _with(value=not node.value)
        case ast.Constant(value=int()):
            yield f"{node.value} -> {node.value + 1}", _with(value=node.value + 1)
        case ast.If() | ast.IfExp() | ast.While() if isinstance(node.test, (ast.Name, ast.Attribute, ast.Call)):
            yield "if x -> if not x", lambda each: _negated(each)
        case ast.Expr(value=ast.Call()):
            yield "call -> nothing", lambda _: ast.Pass()
        case ast.Raise():
            yield "raise -> nothing", lambda _: ast.Pass()
        case ast.Continue():
            yield "continue -> break", lambda _: ast.Break()
        case ast.Break():
            yield "break -> continue", lambda _: ast.Continue()


def _is_text(node: ast.BinOp | ast.AugAssign) -> bool:
    parts = (node.left, node.right) if isinstance(node, ast.BinOp) else (node.value,)
    return any(isinstance(each, ast.JoinedStr) or isinstance(getattr(each, "value", None), str) for each in parts)


def _with(**fields: object) -> Edit:
    def edit(node: ast.AST) -> ast.AST:
        for name, value in fields.items():
            setattr(node, name, value)
        return node

    return edit


def _with_operator(place: int, operator: type[ast.cmpop]) -> Edit:
    def edit(node: ast.AST) -> ast.AST:
        node.ops[place] = operator()  # type: ignore[attr-defined]
        return node

    return edit


def _negated(node: ast.AST) -> ast.AST:
    node.test = ast.UnaryOp(ast.Not(), node.test)  # type: ignore[attr-defined]
    return node


class _Replace(ast.NodeTransformer):
    """Makes one edit, at the place that `_walk` counts to."""

    def __init__(self, place: int, edit: Edit) -> None:
        self._place = place
        self._edit = edit
        self._target: ast.AST | None = None

    def visit(self, node: ast.AST) -> ast.AST:
        if self._target is None:
            self._target = next(each for number, each in enumerate(_walk(node)) if number == self._place)
        return self._edit(node) if node is self._target else self.generic_visit(node)
