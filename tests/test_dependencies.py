"""What must be installed for aioresp: exactly what its modules import, and each extra for what needs it."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "aioresp"

#: Parts of the package that need an extra, or pytest, which whoever uses them has.
PARTS = {
    "cli": "cli",
    "otel.py": "otel",
    "recipes": "recipes",
    "redis": "redis",
    "testing": None,
    "testing/fixtures.py": None,
}


def project() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        table: dict[str, Any] = tomllib.load(file)["project"]
    return table


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\s\[<>=;~!]", each)[0].replace("-", "_") for each in requirements}


def imported(source: str) -> set[str]:
    """Return the packages outside the standard library that a module imports."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
            found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"aioresp"}


@cache
def of_the_core() -> frozenset[str]:
    modules = [path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in PARTS]
    assert len(modules) > 50
    return frozenset().union(*(imported(path.read_text(encoding="utf-8")) for path in modules))


@pytest.mark.quick
def test_what_is_declared_is_what_the_core_imports() -> None:
    assert of_the_core() == names(project()["dependencies"])


def test_extras_hold_what_their_parts_import() -> None:
    extras = project()["optional-dependencies"]
    for part, extra in PARTS.items():
        if extra is None:
            continue
        path = PACKAGE / part
        sources = [path] if path.suffix else list(path.rglob("*.py"))
        wanted = set().union(*(imported(source.read_text(encoding="utf-8")) for source in sources)) - of_the_core()
        held = {name.replace("opentelemetry_api", "opentelemetry") for name in names(extras[extra])}
        assert wanted <= held | names(extras["uvloop"]), part


def test_imports_are_found_wherever_they_stand() -> None:
    source = (
        "import json, anyio.abc\nfrom . import x\ndef f():\n    from trio.lowlevel import y\n    import aioresp.pool"
    )
    assert imported(source) == {"anyio", "trio"}
