"""Generator of the type stub that says what pipelines return: a handle, where a client returns a coroutine.

Type checkers report a coroutine that is not awaited, and must not report a queued command. Types cannot tell both of
one method, so aioresp/contexts/queued.pyi declares each method again. Run `python -m tests.handles` after a change of a
command's signature; tests/test_handles.py finds a stub that is out of date.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
STUB: Final = ROOT / "aioresp" / "contexts" / "queued.pyi"

HEAD: Final = '''"""The methods of a pipeline, as type checkers see them: each returns a handle.

Written by `python -m tests.handles` from aioresp/commands; not to be edited. There is no such module at run time.
"""

'''

#: Where the names come from that the stub needs itself.
OWN: Final = {"Commands": "aioresp.commands", "Handle": "aioresp.command"}


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Yield the modules of the command methods, with their names."""
    for path in sorted((ROOT / "aioresp" / "commands").glob("*.py")):
        if path.stem not in ("__init__", "base", "marks"):
            yield f"aioresp.commands.{path.stem}", ast.parse(path.read_text(encoding="utf-8"))


def queued(methods: list[ast.FunctionDef]) -> Iterator[ast.FunctionDef]:
    """Yield the declarations of the public methods of a class, without the bodies of overloaded ones."""
    overloaded = {method.name for method in methods if method.decorator_list}
    for method in methods:
        if method.name.startswith("_") or (method.name in overloaded and not method.decorator_list):
            continue
        returns = method.returns
        assert isinstance(returns, ast.Subscript), f"{method.name} returns no Result"
        assert isinstance(returns.value, ast.Name)
        assert returns.value.id == "Result"
        returns.value = ast.Name("Handle")
        method.args.defaults = [ast.Constant(...) for _ in method.args.defaults]
        method.args.kw_defaults = [default and ast.Constant(...) for default in method.args.kw_defaults]
        method.body = [ast.Expr(ast.Constant(...))]
        yield method


def sources(name: str, module: ast.Module) -> dict[str, str]:
    """Return the module of each name that a module imports or defines."""
    found = {}
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            found.update({alias.asname or alias.name: node.module for alias in node.names})
    for node in module.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found.update({target.id: name for target in targets if isinstance(target, ast.Name)})
        elif isinstance(node, ast.ClassDef):
            found[node.name] = name
    return found


def generate() -> str:
    """Return the stub, not formatted yet."""
    methods: list[ast.FunctionDef] = []
    declared: set[str] = set()  # some methods stand in two groups
    origins = {word: (module, word) for word, module in OWN.items()}
    for name, module in modules():
        found = [
            method
            for node in module.body
            if isinstance(node, ast.ClassDef) and any("Executor" in ast.unparse(base) for base in node.bases)
            for method in queued([item for item in node.body if isinstance(item, ast.FunctionDef)])
            if method.name not in declared
        ]
        declared.update(method.name for method in found)
        known = sources(name, module)
        for node in [node for each in found for node in ast.walk(each) if isinstance(node, ast.Name)]:
            if (origin := known.get(node.id)) is None:
                continue
            word, spelled = node.id, node.id
            if origins.get(word, (origin, word)) != (origin, word):  # two modules have a name of their own
                spelled = node.id = f"{name.rpartition('.')[2].title()}{word}"
            origins[spelled] = origin, word
        methods += found
    imports = [
        f"from {origin} import {word}{'' if spelled == word else f' as {spelled}'}\n"
        for spelled, (origin, word) in sorted(origins.items())
    ]
    body = "\n\n".join(ast.unparse(method) for method in methods).replace("\n", "\n    ")
    return f"{HEAD}{''.join(imports)}\n\nclass QueuedCommands(Commands[AnyStr]):\n    {body}\n"


def formatted(text: str) -> str:
    """Return the stub as the formatter wants it."""
    for step in (("check", "--select", "I", "--fix", "--quiet"), ("format", "--quiet")):
        command = (str(Path(sys.executable).with_name("ruff")), *step, "--stdin-filename", str(STUB), "-")
        text = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    return text


if __name__ == "__main__":
    STUB.write_text(formatted(generate()), encoding="utf-8")
