"""One-place mutants of a Python file: each is the source with one check changed or gone."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

_FLIPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE,
    ast.GtE: ast.Gt, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_REFUSING = ("check", "_check", "refuse", "_refuse", "verify", "_verify", "raise_if", "_raise_if")
"""What functions are called by that return nothing, or raise."""


@dataclass(frozen=True)
class Mutant:
    """One change; `place` survives edits elsewhere in the file: function, text and position."""

    file: str
    place: str
    kind: str
    line: int
    start: int
    end: int
    text: str

    @property
    def key(self) -> str:
        """Names the mutant in results and in the table of equal ones."""
        return f"{self.file} | {self.place} | {self.kind}"

    def of(self, source: bytes) -> bytes:
        """The source with the change."""
        return source[: self.start] + self.text.encode() + source[self.end :]


def mutants(file: str, source: bytes) -> list[Mutant]:
    """All mutants of the functions in a file, in their order."""
    starts = [0]
    for line in source.split(b"\n"):
        starts.append(starts[-1] + len(line) + 1)
    found, seen = [], Counter[str]()
    for function, node in _nodes(ast.parse(source), ""):
        for kind, changed, text in _changes(node):
            old = " ".join(ast.unparse(changed).split())[:90]
            seen[f"{function}{kind}{old}"] += 1
            place = f"{function} | {old} | {seen[f'{function}{kind}{old}']}"
            start = starts[changed.lineno - 1] + changed.col_offset
            end = starts[(changed.end_lineno or 0) - 1] + (changed.end_col_offset or 0)
            found.append(Mutant(file, place, kind, changed.lineno, start, end, text))
    return found


def _nodes(node: ast.AST, function: str) -> Iterator[tuple[str, ast.AST]]:
    """Every node within a function, with the function's name; assertions are left out."""
    if isinstance(node, ast.Assert):
        return
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        function = f"{function}.{node.name}".lstrip(".")
    elif function:
        yield function, node
    for child in ast.iter_child_nodes(node):
        yield from _nodes(child, function)


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.expr | ast.stmt, str]]:
    """The ways to change a node: their names, what is replaced, and the text in its place."""
    if isinstance(node, (ast.Raise, ast.Expr)) and _refuses(node):
        yield "refusal deleted", node, "pass"
    if isinstance(node, ast.BoolOp):
        other = deepcopy(node)
        other.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield "and for or", node, f"({ast.unparse(other)})"
    if isinstance(node, ast.Compare):
        other_compare = deepcopy(node)
        other_compare.ops[0] = _FLIPPED[type(node.ops[0])]()
        yield "comparison flipped", node, f"({ast.unparse(other_compare)})"
    # A comparison that is negated is one that is flipped.
    if isinstance(node, (ast.If, ast.IfExp, ast.While)) and not isinstance(node.test, ast.Compare):
        yield "condition negated", node.test, f"(not ({ast.unparse(node.test)}))"


def _refuses(node: ast.Raise | ast.Expr) -> bool:
    if isinstance(node, ast.Raise):
        return node.exc is not None
    if not isinstance(node.value, ast.Call):
        return False
    called = node.value.func
    name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
    return name.startswith(_REFUSING)
