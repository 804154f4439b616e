"""The stub of what pipelines return: it has each command method, with a handle in place of a coroutine."""

from __future__ import annotations

import ast

import pytest

from aioresp.contexts.pipeline import Pipeline
from tests import handles

pytestmark = pytest.mark.quick


def test_the_stub_is_up_to_date() -> None:
    """If it is not: `python -m tests.handles`."""
    written = ast.parse(handles.STUB.read_text(encoding="utf-8"))
    fresh = ast.parse(handles.generate())
    assert [ast.unparse(node) for node in methods(written)] == [ast.unparse(node) for node in methods(fresh)]


def methods(stub: ast.Module) -> list[ast.stmt]:
    (found,) = [node for node in stub.body if isinstance(node, ast.ClassDef)]
    return found.body


def test_it_declares_what_a_pipeline_inherits() -> None:
    declared = {node.name for node in methods(ast.parse(handles.generate())) if isinstance(node, ast.FunctionDef)}
    # A name of another client that aioresp lacks stands in `dir`, but has no value: it only gives advice.
    inherited = {name for name in dir(Pipeline) if not name.startswith("_") and hasattr(Pipeline, name)}
    own = {"call", "execute", "has_used", "multi", "prepare", "queueing", "unwatch", "use", "watch"}
    assert declared == inherited - own
