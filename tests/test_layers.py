"""The shape of the house, read off its source: imports point one way, and each module keeps to what it owns."""

from __future__ import annotations

import ast
import gc
import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Final, TypeAlias

import pytest

import aioresp

ROOT: Final = Path(aioresp.__file__).parent

#: From the bottom to the top. A module imports from layers below its own, and within its own what makes no circle.
LAYERS: Final[tuple[tuple[str, ...], ...]] = (
    (
        "aioresp.version",
        "aioresp.arguments",
        "aioresp.record",
        "aioresp.timers",
        "aioresp.misuse",
        "aioresp.typed",
        "aioresp.facts",
        "aioresp.facts.catalogue",
        "aioresp.errors",
        "aioresp.hints",
        "aioresp.elsewhere",
        "aioresp.advice",
    ),
    ("aioresp.command", "aioresp.facts.*"),
    (
        "aioresp.middleware",
        "aioresp.trail",
        "aioresp.events",
        "aioresp.retry",
        "aioresp.reading",
        "aioresp.addresses",
        "aioresp.replies",
        "aioresp.replies.*",
    ),
    ("aioresp.wire", "aioresp.wire.*", "aioresp.pool", "aioresp.pool.*"),
    ("aioresp.options", "aioresp.url", "aioresp.observer"),
    ("aioresp.commands", "aioresp.commands.*"),
    (
        "aioresp.contexts",
        "aioresp.contexts.*",
        "aioresp.pubsub",
        "aioresp.pubsub.*",
        "aioresp.streams",
        "aioresp.streams.*",
    ),
    ("aioresp.node",),
    ("aioresp.replicated", "aioresp.replicated.*"),
    ("aioresp.sentinel.*",),
    ("aioresp.client",),
    ("aioresp.sentinel",),
    ("aioresp.cluster", "aioresp.cluster.*"),
    ("aioresp",),
    ("aioresp.recipes", "aioresp.recipes.*"),
    ("aioresp.redis", "aioresp.redis.*"),
    ("aioresp.otel", "aioresp.testing", "aioresp.testing.*", "aioresp.cli", "aioresp.cli.*"),
    ("aioresp.__main__",),
)

#: Edges that the layers would allow, or that lead out of the package: (who, what, why not).
NEVER: Final[tuple[tuple[str, str, str], ...]] = (
    *(
        (f"aioresp.{module}", f"{what}*", "errors, commands and replies are plain facts")
        for module in ("errors", "arguments", "facts*", "command", "replies", "replies.*")
        for what in ("asyncio", "hiredis", "socket", "ssl", "threading")
    ),
    *(
        ("aioresp.pool*", f"aioresp.{module}", "a pool is generic: it knows what can be lent, not what it is")
        for module in ("wire*", "command*", "facts*", "replies*", "options")
    ),
    ("aioresp.wire*", "aioresp.commands*", "the wire never knows what a command means"),
    ("aioresp.wire*", "aioresp.facts*", "the wire never knows what a command means"),
    ("aioresp.wire*", "aioresp.pool*", "a connection never knows pools"),
    ("aioresp.wire.connection", "aioresp.command*", "a connection never knows commands"),
    ("aioresp.wire.listener", "aioresp.command*", "a listener never knows what it hears"),
    ("aioresp.testing*", "aioresp.recipes*", "the testing kit is for users who have no recipes installed"),
    *(
        (f"aioresp.wire.{module}", what, "the protocol does no I/O")
        for module in ("elements", "parser", "packing")
        for what in ("asyncio*", "socket", "aioresp.command*")
    ),
    ("aioresp.wire.endpoint", "asyncio*", "an endpoint never connects"),
    ("aioresp.options", "asyncio*", "options never connect"),
    ("aioresp.url", "asyncio*", "options never connect"),
    *(
        (f"aioresp.commands{part}", f"aioresp.{module}", "a command never asks who executes it")
        for part in ("", ".*")
        for module in ("pool*", "wire*", "options", "contexts*")
    ),
    ("aioresp.commands*", "asyncio*", "a command never awaits"),
    ("aioresp.[!r]*", "aioresp.redis*", "what lies beneath redis-py is nobody's need who does without it"),
    ("aioresp.testing*", "aioresp.cli*", "the testing kit is for users who have no command line installed"),
)

#: Only these import what is heavy or foreign: (what, who, ...).
ONLY: Final[tuple[tuple[str, *tuple[str, ...]], ...]] = (
    ("hiredis", "aioresp.wire.pa*"),
    ("anyio", "aioresp.testing*", "aioresp.recipes*", "aioresp.cli.*"),
    ("redis", "aioresp.redis*", "aioresp.cli*"),
    ("msgspec", "aioresp.recipes*"),
    ("cronsim", "aioresp.recipes*"),
    ("pytest", "aioresp.testing.fixtures"),
    ("typer", "aioresp.cli*"),
    ("rich", "aioresp.cli*"),
    ("matplotlib", "aioresp.cli.plot", "aioresp.cli.*.plot"),
    ("textual", "aioresp.cli.monitor.screens*"),
)

#: Imports inside functions, each with its reason; there are no others.
LAZY: Final[dict[tuple[str, str], str]] = {
    ("aioresp.url", "urllib.parse"): "slow to import, and a client may do without a URL",
    ("aioresp.hints", "difflib"): "needed for a mistake only",
    ("aioresp.recipes", "aioresp.advice"): "needed for a mistake only",
    ("aioresp", "aioresp.advice"): "needed for a mistake only",
    ("aioresp.options", "aioresp.advice"): "needed for a mistake only",
    ("aioresp.recipes", "module"): "each recipe has modules of its own",
    ("aioresp", "module"): "what stands under `if TYPE_CHECKING` there is for few programs",
    ("aioresp.replies", "self._name"): "few programs send the commands whose replies have modules of their own",
    ("aioresp.pubsub.methods", "aioresp.pubsub.raw"): "few programs have one",
    ("aioresp.cluster.client", "aioresp.contexts.raw"): "few programs send raw batches",
    ("aioresp.client", "aioresp.contexts.raw"): "few programs send raw batches",
    ("aioresp.contexts.lease", "aioresp.contexts.raw"): "few programs send raw batches",
    ("aioresp.wire.handshake", "aioresp.wire.renewal"): "few programs have a credential provider",
    ("aioresp.wire.handshake", "aioresp.wire.diagnosis"): "needed for a failure only",
    ("aioresp.wire.connection", "aioresp.wire.inquiry"): "few connections fall silent",
    ("aioresp.wire.transports", "aioresp.wire.outflow"): "many programs write nothing large",
    ("aioresp.client", "aioresp.replies.shapes"): "needed for a failure only",
    ("aioresp.replies", "aioresp.replies.shapes"): "needed for a failure only",
    ("aioresp.wire.salvage", "aioresp.wire.refused"): "needed for replies that hiredis refuses only",
    ("aioresp.node", "aioresp.contexts.suspicion"): "needed after an error only",
    ("aioresp.node", "aioresp.contexts.borrowed"): "many programs need no connection of their own",
    ("aioresp.node", "aioresp.contexts.lease"): "many programs need no connection of their own",
    ("aioresp.node", "aioresp.contexts.routes"): "many programs have no pipelines",
    ("aioresp.client", "aioresp.middleware"): "many programs have no middleware",
    ("aioresp.client", "aioresp.contexts.pipeline"): "many programs have no pipelines",
    ("aioresp.contexts.scripts", "aioresp.contexts.pipeline"): "many programs have no pipelines",
    ("aioresp.client", "aioresp.contexts.optimistic"): "many programs have no transactions",
    ("aioresp.otel", "aioresp.cluster.seeds"): "most programs have no cluster",
    ("aioresp.client", "aioresp.replicated.node"): "many programs have one server",
    ("aioresp.client", "aioresp.reading"): "many programs read from no replica",
    ("aioresp.options", "aioresp.reading"): "many programs read from no replica",
    ("aioresp.client", "aioresp.replicated.seeds"): "many programs have one server",
    ("aioresp.client", "aioresp.sentinel.source"): "many programs have one server",
    ("aioresp.replicated.node", "aioresp.replicated.route"): "many programs have no pipelines",
    ("aioresp.node", "aioresp.observer"): "many programs have no `events` hook",
    ("aioresp.client", "aioresp.streams.reader"): "many programs read no streams",
    ("aioresp.streams.methods", "aioresp.streams.reader"): "many programs read no streams",
    ("aioresp.streams.methods", "aioresp.streams.group"): "many programs read no streams",
    ("aioresp.node", "aioresp.pubsub.hub"): "many programs subscribe to nothing",
    ("aioresp.pubsub.methods", "aioresp.pubsub.subscription"): "many programs subscribe to nothing",
    ("aioresp.pubsub.methods", "aioresp.pubsub.keyspace"): "many programs subscribe to nothing",
    ("aioresp.pubsub.methods", "aioresp.pubsub.monitor"): "few programs look on",
    ("aioresp.contexts.lease", "aioresp.pubsub.pushes"): "few programs listen",
    ("aioresp.cluster.fleet", "aioresp.cluster.hubs"): "many programs subscribe to nothing",
    ("aioresp.contexts.scripts", "hashlib"): "slow to import, and many programs have no scripts",
    ("aioresp.testing.fixtures", "aioresp"): "the plugin is loaded by every run of pytest, wanted or not",
    ("aioresp.testing.fixtures", "aioresp.testing"): "the plugin is loaded by every run of pytest, wanted or not",
    ("aioresp.cli", "aioresp.cli.app"): "without the extra, this module must be importable to say what is missing",
    ("aioresp.cli.monitor.command", "aioresp.cli.monitor.run"): "the other commands read no figures",
    ("aioresp.cli.monitor.run", "_SCREENS"): "Textual takes a second to import, and --once needs none",
    ("aioresp.cli.bench.command", "aioresp.cli.bench.work"): "the other commands, and --help, need none of it",
    ("aioresp.cli.bench.loops", "uvloop"): "it need not be installed",
    ("aioresp.cli.worker.load", "path"): "the command line names it",
    ("aioresp.cli", "aioresp.cli.faults"): "as aioresp.cli.app",
    ("aioresp.cli", "package"): "as aioresp.cli.app",
    ("aioresp.cli.worker.command", "aioresp.cli.worker.work"): "the other commands need no recipes",
    ("aioresp.cli.serve.command", "aioresp.cli.serve.show"): "the other commands start fast",
    ("aioresp.cli.demo.command", "aioresp.cli.demo.show"): "the other commands start fast",
    ("aioresp.cli.demo.command", "aioresp.cli.failover.show"): "the other commands start fast",
    (
        "aioresp.cli.failover.show",
        "aioresp.cli.failover.plot",
    ): "matplotlib is slow to import, and needed for --plot only",
    ("aioresp.cli.demo.peer", "redis.asyncio"): "the demo does without it, where it is not installed",
    ("aioresp.cli.demo.show", "aioresp.cli.demo.plot"): "matplotlib is slow to import, and needed for --plot only",
}

#: Modules that type checkers alone know, written by a generator.
STUBS: Final = frozenset({"aioresp.contexts.queued"})

LINES: Final = 600

#: Words with which no module opens: a noun of the field tells more.
QUESTIONS: Final = frozenset({"Who", "What", "When", "Where", "How"})

#: What one class may hold, inherited from none: more is two classes.
ATTRIBUTES: Final = 25
BOOLS: Final = 4


@dataclass(frozen=True)
class Module:
    """One module of the package."""

    name: str
    source: str
    is_package: bool = False

    @property
    def tree(self) -> ast.Module:
        return _parse(self.source)


@cache
def _parse(source: str) -> ast.Module:
    return ast.parse(source)


@pytest.fixture(scope="module", autouse=True)
def _trees() -> Iterator[None]:
    """Let the garbage collector leave the trees alone, which are half a million objects, and let go of them."""
    gc.disable()
    yield
    _parse.cache_clear()
    gc.enable()


@dataclass(frozen=True)
class Edge:
    """One import. `what` is the module imported, or the module that a name was imported from."""

    who: str
    what: str
    line: int
    inside: str | None
    """The function that it is in, if it is in one."""

    def __str__(self) -> str:
        return f"{self.who}, line {self.line}, imports {self.what}"


Modules: TypeAlias = dict[str, Module]


def read(root: Path = ROOT) -> Modules:
    """Return the modules of the package by name."""
    found: Modules = {}
    for path in sorted(root.rglob("*.py")):
        parts = [root.name, *path.relative_to(root).with_suffix("").parts]
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        found[name] = Module(name, path.read_text(encoding="utf-8"), is_package)
    return found


def edges(modules: Modules) -> list[Edge]:
    """Return every import of every module, those of functions and of `if TYPE_CHECKING` too."""
    names = frozenset(modules)
    return list(dict.fromkeys(edge for module in modules.values() for edge in _edges(module, names)))


@cache
def _edges(module: Module, modules: frozenset[str]) -> tuple[Edge, ...]:
    return tuple(_edges_of(module, module.tree, modules, None))


def _edges_of(module: Module, node: ast.AST, modules: frozenset[str], inside: str | None) -> Iterator[Edge]:
    for child in ast.iter_child_nodes(node):
        for what in _imported(module, child, modules):
            yield Edge(module.name, what, child.lineno, inside)  # type: ignore[attr-defined]  # a statement has a line
        function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        yield from _edges_of(module, child, modules, getattr(child, "name", "lambda") if function else inside)


def _imported(module: Module, node: ast.AST, modules: frozenset[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        origin = node.module or ""
        if node.level:
            parents = module.name.split(".")[: None if module.is_package else -1]
            parents = parents[: len(parents) - node.level + 1]
            origin = ".".join([*parents, *([origin] if origin else [])])
        for alias in node.names:
            submodule = f"{origin}.{alias.name}"
            yield submodule if submodule in modules else origin
    elif (
        isinstance(node, ast.Call)
        and getattr(node.func, "attr", getattr(node.func, "id", "")) in ("import_module", "__import__")
        and node.args
    ):
        name = node.args[0]
        yield name.value if isinstance(name, ast.Constant) and isinstance(name.value, str) else ast.unparse(name)


def layer(name: str) -> int | None:
    """Return the number of the layer, 0 at the bottom."""
    return next(
        (number for number, names in enumerate(LAYERS) if any(fnmatchcase(name, pattern) for pattern in names)), None
    )


# --- The checks: each returns what is wrong, in words -----------------------------------------------------------------


def upward(modules: Modules) -> list[str]:
    wrong = [f"{name} has no place in LAYERS" for name in modules if layer(name) is None]
    for edge in edges(modules):
        who, what = layer(edge.who), layer(edge.what)
        if edge.what in STUBS:
            continue
        if edge.what.partition(".")[0] == "aioresp" and edge.what not in modules:
            wrong.append(f"{edge}, which is no module")
        elif who is not None and what is not None and what > who:
            wrong.append(f"{edge}, which lies {what - who} layers above it")
    return wrong


def circles(modules: Modules) -> list[str]:
    graph: dict[str, set[str]] = {name: set() for name in modules}
    for edge in edges(modules):
        if edge.what in modules:
            graph[edge.who].add(edge.what)
    done: set[str] = set()
    wrong: list[str] = []

    def walk(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            wrong.append(" -> ".join([*path[path.index(name) :], name]))
        elif name not in done:
            for following in sorted(graph[name]):
                walk(following, (*path, name))
            done.add(name)

    for name in graph:
        walk(name, ())
    return wrong


def forbidden(modules: Modules) -> list[str]:
    wrong = []
    for edge in edges(modules):
        for who, what, why in NEVER:
            if fnmatchcase(edge.who, who) and fnmatchcase(edge.what, what):
                wrong.append(f"{edge}: {why}")
        for what, *allowed in ONLY:
            if edge.what.partition(".")[0] == what and not any(fnmatchcase(edge.who, who) for who in allowed):
                wrong.append(f"{edge}: only {', '.join(allowed)} may")
    return wrong


def lazy(modules: Modules) -> list[str]:
    inside = [edge for edge in edges(modules) if edge.inside is not None]
    wrong = [f"{edge} inside {edge.inside}()" for edge in inside if (edge.who, edge.what) not in LAZY]
    used = {(edge.who, edge.what) for edge in inside}
    return wrong + [f"LAZY lists {who} -> {what}, which is not there" for who, what in LAZY if (who, what) not in used]


def awaiting(modules: Modules) -> list[str]:
    kinds = (ast.Await, ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Yield, ast.YieldFrom)
    return [
        f"{module.name}, line {node.lineno}: {type(node).__name__}"
        for module in modules.values()
        if module.name.startswith("aioresp.commands")
        for node in ast.walk(module.tree)
        if isinstance(node, kinds)
    ]


def untidy(modules: Modules) -> list[str]:
    wrong = []
    for module in modules.values():
        if not ast.get_docstring(module.tree):
            wrong.append(f"{module.name} opens without a docstring")
        if (lines := module.source.count("\n")) > LINES:
            wrong.append(f"{module.name} has {lines} lines, more than {LINES}")
        if (ast.get_docstring(module.tree) or "").split(" ")[0] in QUESTIONS:
            wrong.append(f"{module.name} opens with a question word, not with a noun")
        if module.name.rpartition(".")[2] in ("utils", "util", "helpers", "misc", "common"):
            wrong.append(f"{module.name} is named after nothing")
    return wrong


def attributes(node: ast.ClassDef) -> dict[str, bool]:
    """Return the attributes that a class gives its instances, and whether each is a bool that changes."""
    found: dict[str, bool] = {}
    for child in ast.walk(node):
        targets = child.targets if isinstance(child, ast.Assign) else [getattr(child, "target", None)]
        value = getattr(child, "value", None)
        for target in [each for one in targets for each in (one.elts if isinstance(one, ast.Tuple) else [one])]:
            if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
                is_bool = isinstance(value, ast.Constant) and isinstance(value.value, bool)
                if isinstance(child, ast.AnnAssign):
                    is_bool |= isinstance(child.annotation, ast.Name) and child.annotation.id == "bool"
                found[target.attr] = found.get(target.attr, False) or is_bool
    return found


def crowded(modules: Modules) -> list[str]:
    """Find classes with too much state: a reader keeps no more in mind."""
    wrong = []
    for module in modules.values():
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.ClassDef):
                continue
            found = attributes(node)
            if len(found) > ATTRIBUTES:
                wrong.append(f"{module.name}.{node.name} has {len(found)} attributes, more than {ATTRIBUTES}")
            if (bools := sum(found.values())) > BOOLS:
                wrong.append(f"{module.name}.{node.name} has {bools} bools, more than {BOOLS}: name its states")
    return wrong


Check: TypeAlias = Callable[[Modules], list[str]]

CHECKS: Final[tuple[Check, ...]] = (upward, circles, forbidden, lazy, awaiting, untidy, crowded)


def test_the_house() -> None:
    modules = read()  # once for all checks: to parse it takes half a second
    assert {check.__name__: check(modules) for check in CHECKS} == {check.__name__: [] for check in CHECKS}


# --- What a module says it offers -------------------------------------------------------------------------------------


def offered(module: Module) -> list[str] | None:
    """Return what `__all__` lists, None if there is none."""
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return list(ast.literal_eval(node.value))
    return None


# Found by their text: to parse all modules takes each process that collects half a second.
@pytest.mark.parametrize("name", [name for name, module in read().items() if "\n__all__" in module.source])
def test_all_is_true(name: str) -> None:
    names = offered(read()[name])
    assert names is not None
    module = importlib.import_module(name)
    assert sorted(set(names)) == sorted(names), f"{name}: __all__ lists a name twice"
    missing = [offer for offer in names if not hasattr(module, offer)]
    assert missing == [], f"{name}: __all__ lists what is not there"
    private = [offer for offer in names if offer.startswith("_") and offer != "__version__"]
    assert private == [], f"{name}: __all__ lists what is private"


def test_the_package_offers_all_that_it_imports() -> None:
    module = read()["aioresp"]
    (later,) = [node for node in module.tree.body if isinstance(node, ast.If)]  # under `if TYPE_CHECKING`
    imported = {
        alias.asname or alias.name: node.module
        for node in [*module.tree.body, *later.body]
        if isinstance(node, ast.ImportFrom) and node.module not in ("__future__", "typing")
        for alias in node.names
    }
    names = offered(module)
    assert names is not None
    assert sorted(imported) == sorted(names)
    assert names == sorted(names), "__all__ is in the order of the alphabet"
    for name in names:
        offer = getattr(aioresp, name)
        where = importlib.import_module(imported[name] or "")
        assert offer is getattr(where, "VERSION" if name == "__version__" else name)
    with pytest.raises(AttributeError, match="module 'aioresp' has no attribute 'nonsense'"):
        _ = aioresp.nonsense  # type: ignore[attr-defined]
    others = [
        ast.unparse(node)
        for node in module.tree.body
        if not isinstance(node, ast.ImportFrom)
        and node is not later
        and not (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]
    assert others == [], "the package's own module holds the public names and nothing else"


# --- What importing costs ---------------------------------------------------------------------------------------------


@pytest.mark.quick
@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("aioresp", ["anyio", "typer", "rich", "matplotlib", "pytest", "uvloop", "aioresp.testing", "aioresp.cli"]),
        ("aioresp", ["aioresp.streams.reader", "aioresp.streams.group", "aioresp.contexts.optimistic"]),
        ("aioresp", ["aioresp.wire.renewal", "aioresp.observer", "aioresp.events"]),
        ("aioresp", ["aioresp.replies.acl", "aioresp.replies.cluster", "aioresp.replies.server"]),
        ("aioresp.testing", ["typer", "rich", "matplotlib", "pytest", "uvloop", "aioresp.cli"]),
        ("aioresp.testing.fixtures", ["anyio", "typer", "rich", "matplotlib", "uvloop", "aioresp.cli"]),
        ("aioresp.cli", ["anyio", "typer", "rich", "matplotlib", "pytest", "uvloop"]),
    ],
)
def test_importing_brings_only_what_is_needed(module: str, absent: list[str]) -> None:
    code = f"import sys, {module}; print(*(name for name in {absent!r} if name in sys.modules))"
    # -S and -I are not used: the package may be found by way of PYTHONPATH or of a .pth file.
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        cwd=ROOT.parent,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == []


# --- The checks themselves --------------------------------------------------------------------------------------------


def house(**sources: str) -> Modules:
    """Return modules of the package with these sources; `a__b` is `aioresp.a.b`."""
    names = {f"aioresp.{name.replace('__', '.')}": source for name, source in sources.items()}
    return {name: Module(name, f'"""Doc."""\n{source}\n') for name, source in names.items()}


@pytest.mark.parametrize(
    ("check", "modules", "message"),
    [
        (
            upward,
            house(errors="import aioresp.pool.pool", pool__pool=""),
            "aioresp.errors, line 2, imports aioresp.pool.pool",
        ),
        (
            upward,
            house(errors="from aioresp.pool.pool import Pool", pool__pool=""),
            "imports aioresp.pool.pool, which lies 3 layers",
        ),
        (upward, house(errors="from aioresp import pool", pool=""), "imports aioresp.pool, which lies 3 layers"),
        (upward, house(errors="from . import pool", pool=""), "imports aioresp.pool, which lies 3 layers"),
        (upward, house(pool="from .client import Client", client=""), "imports aioresp.client, which lies 7 layers"),
        (upward, house(commands__a="from ..client import Client", client=""), "imports aioresp.client"),
        (upward, house(pool="if TYPE_CHECKING:\n    import aioresp.client", client=""), "line 3, imports"),
        (upward, house(pool="def f():\n    import aioresp.client", client=""), "line 3, imports"),
        (upward, house(pool="import aioresp.pond"), "aioresp.pond, which is no module"),
        (upward, house(pond=""), "aioresp.pond has no place in LAYERS"),
        (
            circles,
            house(command="import aioresp.replies", replies="from aioresp.command import Key"),
            "aioresp.command -> aioresp.replies -> aioresp.command",
        ),
        (circles, house(loops="from . import loops"), "aioresp.loops -> aioresp.loops"),
        (forbidden, house(command="import asyncio"), "aioresp.command, line 2, imports asyncio: errors, commands"),
        (forbidden, house(replies="from asyncio.events import x"), "imports asyncio.events"),
        (forbidden, house(client="import hiredis"), "imports hiredis: only aioresp.wire.pa* may"),
        (
            forbidden,
            house(pool__pool="from aioresp.wire.connection import Connection", wire__connection=""),
            "a pool is generic",
        ),
        (forbidden, house(pool="from aioresp.command import Key", command=""), "a pool is generic"),
        (
            forbidden,
            house(commands__keys="from aioresp.pool.pool import Pool", pool__pool=""),
            "never asks who executes it",
        ),
        (forbidden, house(testing__a="import aioresp.cli.app", cli__app=""), "no command line installed"),
        (forbidden, house(client="import anyio"), "imports anyio: only aioresp.testing"),
        (lazy, house(client="def f():\n    import json"), "line 3, imports json inside f()"),
        (lazy, house(client="class A:\n    async def f(self):\n        import json"), "imports json inside f()"),
        (lazy, house(client="def f():\n    importlib.import_module('json')"), "imports json inside f()"),
        (lazy, house(client="f = lambda: __import__('json')"), "imports json inside lambda()"),
        (lazy, house(client=""), "LAZY lists aioresp.testing.fixtures -> aioresp, which is not there"),
        (awaiting, house(commands__keys="async def f(): pass"), "aioresp.commands.keys, line 2: AsyncFunctionDef"),
        (awaiting, house(commands__keys="async def f(): await g()"), "Await"),
        (untidy, {"aioresp.a": Module("aioresp.a", "import json\n")}, "aioresp.a opens without a docstring"),
        (untidy, house(a="\n" * 600), "aioresp.a has 602 lines"),
        (untidy, {"aioresp.a": Module("aioresp.a", '"""What it is."""')}, "aioresp.a opens with a question word"),
        (
            crowded,
            house(a="class A:\n def f(self):\n" + "".join(f"  self.a{n}: int = 0\n" for n in range(26))),
            "aioresp.a.A has 26 attributes",
        ),
        (
            crowded,
            house(
                a="class A:\n def f(self):\n  self.a = self.b = True\n  self.c, self.d = 1, 2\n  self.e: bool = f()\n"
                "  self.g = False\n def h(self): self.i = True\n"
            ),
            "aioresp.a.A has 5 bools",
        ),
        (untidy, house(utils=""), "aioresp.utils is named after nothing"),
    ],
)
def test_the_checks_find_what_they_are_for(check: Check, modules: Modules, message: str) -> None:
    found = check(modules)
    assert any(message in line for line in found), found


def test_the_checks_find_nothing_in_a_tidy_house() -> None:
    tidy = house(errors="", command="from aioresp.errors import A", pool="import asyncio\nimport aioresp.errors")
    assert [check(tidy) for check in CHECKS if check is not lazy] == [[]] * (len(CHECKS) - 1)
