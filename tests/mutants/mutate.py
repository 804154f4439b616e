"""Mutations of Python source: comparisons, conditions, numbers and statements, one at a time.

Owns what is changed and what is left alone. Never writes a file.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final, NamedTuple


class Mutant(NamedTuple):
    """One change of a module."""

    kind: str
    line: int
    source: str
    """The whole module with the change."""


_OTHER: Final[dict[type[ast.cmpop], tuple[str, str]]] = {
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}


class Module:
    """The source of a module, and where its nodes stand."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.tree = ast.parse(source)
        self._plain = ast.dump(self.tree)
        functions = [node for node in ast.walk(self.tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
        self._steps = {id(node) for function in functions for node in ast.walk(function)}
        self._lines = source.splitlines(keepends=True)
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))

    def mutants(self) -> list[Mutant]:
        """Return all of its mutants that are another program."""
        left_alone = set(map(id, _of_no_effect(self.tree)))
        found: list[Mutant] = []
        for node in ast.walk(self.tree):
            if id(node) in left_alone:
                continue
            for kind, start, end, text in self._changes(node):
                source = self.source[:start] + text + self.source[end:]
                try:
                    is_same = ast.dump(ast.parse(source)) == self._plain
                except SyntaxError:
                    continue
                if not is_same:
                    found.append(Mutant(kind, self.source.count("\n", 0, start) + 1, source))
        return found

    def _changes(self, node: ast.AST) -> Iterator[tuple[str, int, int, str]]:
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            yield from self._other("comparison", node.left, node.comparators[0], *_OTHER[type(node.ops[0])])
        elif isinstance(node, ast.BoolOp):
            words = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
            yield from self._other("condition", node.values[0], node.values[1], *words)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
            signs = ("+", "-") if isinstance(node.op, ast.Add) else ("-", "+")
            yield from self._other("arithmetic", node.left, node.right, *signs)
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
            yield "constant", *self._place(node), str(not node.value)
        elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
            yield "number", *self._place(node), repr(node.value + 1)
        elif isinstance(node, ast.Set) and all(isinstance(each, (ast.Tuple, ast.Attribute)) for each in node.elts):
            yield from self._left_out([self._place(each) for each in node.elts])
        elif isinstance(node, ast.Dict) and all(isinstance(key, ast.Tuple) for key in node.keys if key is not None):
            pairs = [(key, value) for key, value in zip(node.keys, node.values, strict=True) if key is not None]
            yield from self._left_out([(self._place(key)[0], self._place(value)[1]) for key, value in pairs])
        elif isinstance(node, (ast.If, ast.While, ast.IfExp)):
            start, end = self._place(node.test)
            yield "negation", start, end, f"(not ({self.source[start:end]}))"
        elif isinstance(node, (ast.Expr, ast.Assign, ast.AugAssign)) and id(node) in self._steps:
            yield "deletion", *self._place(node), "pass"

    def _left_out(self, places: list[tuple[int, int]]) -> Iterator[tuple[str, int, int, str]]:
        """Put another transition of a table in the place of each, which leaves that one out."""
        if len(places) > 1:
            for place, (start, end) in zip(places, places[1:] + places[:1], strict=True):
                yield "transition", *place, self.source[start:end]

    def _other(
        self, kind: str, left: ast.expr, right: ast.expr, old: str, new: str
    ) -> Iterator[tuple[str, int, int, str]]:
        start, end = self._place(left)[1], self._place(right)[0]
        between = self.source[start:end]
        if old in between:
            yield kind, start, end, between.replace(old, new, 1)

    def _place(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._offset(node.lineno, node.col_offset), self._offset(node.end_lineno, node.end_col_offset)

    def _offset(self, line: int, column: int) -> int:
        return self._starts[line - 1] + len(self._lines[line - 1].encode()[:column].decode())


def _of_no_effect(tree: ast.Module) -> Iterator[ast.AST]:
    """Find what tests need not notice: types, docstrings, logging, assertions, and how objects show themselves."""
    for node in ast.walk(tree):
        for name in ("annotation", "returns"):
            if isinstance(inner := getattr(node, name, None), ast.AST):
                yield from ast.walk(inner)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield from ast.walk(node)
        elif isinstance(node, ast.JoinedStr):
            yield from (inner for inner in ast.walk(node) if inner is not node)
        elif (isinstance(node, ast.Expr) and ast.unparse(node).startswith("logger.")) or (
            isinstance(node, ast.Assert)
            or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
            or (isinstance(node, ast.FunctionDef) and node.name == "__repr__")
        ):
            yield from ast.walk(node)
