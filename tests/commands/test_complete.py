"""Nothing is left out: each command has a method or a reason why not; each method and each of its options is in a
wire table; each method makes a round trip.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from aioresp.commands import Commands
from aioresp.commands.base import Executor
from tests.commands.left_out import LEFT_OUT, NOT_YET, WORDS_LEFT_OUT, WORDS_NOT_YET, by_rule, catalogue, name_of, word

HERE: Final = Path(__file__).parent
PACKAGE: Final = Path(inspect.getfile(Commands)).parent

#: Methods that no test calls on a real server, each with its reason. None so far: what concerns a whole server is
#: called on one of the test's own.
NO_ROUND_TRIP: Final[dict[str, str]] = {}

GROUPS: Final = sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem not in ("__init__", "base", "marks"))
METHODS: Final = sorted(name for name in dir(Commands) if not name.startswith("_") and not hasattr(Executor, name))


def group_methods(group: str) -> set[str]:
    """Return the public methods of the mixin in `aioresp.commands.<group>`."""
    module = importlib.import_module(f"aioresp.commands.{group}")
    (mixin,) = [kind for kind in Commands.__mro__ if kind.__module__ == module.__name__]
    return {name for name in vars(mixin) if not name.startswith("_")}


def tree(group: str) -> ast.Module:
    path = HERE / f"test_{group}.py"
    assert path.exists(), f"aioresp/commands/{group}.py has no {path.name}"
    return ast.parse(path.read_text())


def wire_calls(group: str) -> Iterator[tuple[str, ast.Call]]:
    """Find the method calls in the lambdas of the table WIRE."""
    for node in tree(group).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "WIRE":
            for line in ast.walk(node):
                if (
                    isinstance(line, ast.Lambda)
                    and isinstance(line.body, ast.Call)
                    and isinstance(line.body.func, ast.Attribute)
                ):
                    yield line.body.func.attr, line.body


def parameters_given(name: str, call: ast.Call) -> set[str]:
    """Return the parameters of `Commands.<name>` that `call` gives."""
    signature = inspect.signature(getattr(Commands, name))
    keywords: dict[str, Any] = {keyword.arg: keyword for keyword in call.keywords if keyword.arg is not None}
    return set(signature.bind(None, *call.args, **keywords).arguments) - {"self"}


def round_trips() -> set[str]:
    """Return the names of the methods that asynchronous tests call on a client, a lease or a view."""
    found: set[str] = set()
    for path in HERE.glob("test_*.py"):
        for test in ast.walk(ast.parse(path.read_text())):
            if isinstance(test, ast.AsyncFunctionDef) and test.name.startswith("test_"):
                found |= {
                    node.func.attr
                    for node in ast.walk(test)
                    if isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and isinstance(node.func.value, ast.Name)
                }
    return found


def test_there_is_something_to_check() -> None:
    assert len(METHODS) > 100
    assert {"strings", "keys", "lists"} <= set(GROUPS)
    assert set().union(*map(group_methods, GROUPS)) == set(METHODS)


@pytest.mark.parametrize("group", GROUPS)
def test_each_method_is_in_the_wire_table_of_its_group(group: str) -> None:
    assert {name for name, _ in wire_calls(group)} == group_methods(group)


@pytest.mark.parametrize("group", GROUPS)
def test_each_option_is_in_a_wire_table(group: str) -> None:
    given: dict[str, set[str]] = {}
    for name, call in wire_calls(group):
        given.setdefault(name, set()).update(parameters_given(name, call))
    missing = [
        f"{name}({parameter}=...)"
        for name in sorted(group_methods(group))
        for parameter in inspect.signature(getattr(Commands, name)).parameters
        if parameter != "self" and parameter not in given[name]
    ]
    assert missing == []


def test_each_method_makes_a_round_trip() -> None:
    assert sorted(set(METHODS) - round_trips() - NO_ROUND_TRIP.keys()) == []
    assert NO_ROUND_TRIP.keys() <= set(METHODS)


def test_each_method_says_what_it_does() -> None:
    silent = [name for name in METHODS if not (inspect.getdoc(getattr(Commands, name)) or "").strip()]
    assert silent == []


# --- The catalogue of commands ----------------------------------------------------------------------------------------


def commands_sent() -> dict[str, set[str]]:
    """Return the commands that stand in the wire tables, each with all words that are sent with it."""
    found: dict[str, set[str]] = {}
    for group in GROUPS:
        for _, arguments in importlib.import_module(f"tests.commands.test_{group}").WIRE:
            found.setdefault(name_of(arguments), set()).update(map(word, arguments))
    return found


def methods_and_commands() -> dict[str, set[str]]:
    """Return the names of the commands that each method sends in the wire tables."""
    sent: dict[str, set[str]] = {}
    for group in GROUPS:
        lines = importlib.import_module(f"tests.commands.test_{group}").WIRE
        for (method, _), (_, arguments) in zip(wire_calls(group), lines, strict=True):
            sent.setdefault(method, set()).add(name_of(arguments))
    return sent


def facts() -> Any:
    """Return the module that puts the facts of commands into the reference."""
    spec = importlib.util.spec_from_file_location("facts", HERE.parent.parent / "docs" / "facts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_command_has_a_method_or_a_reason() -> None:
    left = {name for name in catalogue().keys() - commands_sent().keys() - LEFT_OUT.keys() if not by_rule(name)}
    assert sorted(left - NOT_YET) == [], "no method sends these, and LEFT_OUT has no reason why"
    assert sorted(NOT_YET - left) == [], "these are there now: take them out of NOT_YET in left_out.py"


def test_what_is_left_out_is_left_out() -> None:
    assert LEFT_OUT.keys() & commands_sent().keys() == set()
    assert LEFT_OUT.keys() & NOT_YET == set()
    assert LEFT_OUT.keys() <= catalogue().keys()
    assert [name for name in LEFT_OUT if by_rule(name)] == []


def test_each_method_sends_a_command_that_exists() -> None:
    assert commands_sent().keys() - catalogue().keys() == set()


def test_each_word_of_an_option_is_sent() -> None:
    """Such a word is told in the catalogue under `tokens`. What cannot or need not be sent goes to WORDS_LEFT_OUT."""
    missing, needless = {}, {}
    for name, sent in commands_sent().items():
        left_out = WORDS_LEFT_OUT.get(name, {}).keys()
        words = {token.upper() for token in catalogue()[name].get("tokens", ())}
        missing[name] = sorted(words - sent - left_out)
        needless[name] = sorted(left_out - words)
    assert {name: words for name, words in missing.items() if words} == {
        name: sorted(words.split()) for name, words in WORDS_NOT_YET.items()
    }
    assert {name: words for name, words in needless.items() if words} == {}
    assert WORDS_LEFT_OUT.keys() <= missing.keys()


def test_each_docstring_says_since_when() -> None:
    """Of what came with Redis 6 or later, and with which Valkey if that is not its first version."""
    silent = {}
    for method, names in methods_and_commands().items():
        said = inspect.getdoc(getattr(Commands, method)) or ""
        for name in names:
            since = catalogue()[name]["since"]
            redis, valkey = since.get("redis", "0.0"), since.get("valkey", "7.2")
            wanted = [redis] if int(redis.partition(".")[0]) >= 6 else []
            wanted += [] if valkey == "7.2" else [f"Valkey {valkey}"]
            if missing := [version for version in wanted if version not in said]:
                silent[method] = missing
    assert silent == {}


def test_the_reference_tells_the_facts_of_the_right_command() -> None:
    command_of = facts().command_of
    wrong = {method: names for method, names in methods_and_commands().items() if command_of(method) not in names}
    assert wrong == {}, "the command of these methods has another name: OTHER_NAMES in docs/facts.py"


def test_the_facts_stand_under_the_heading() -> None:
    page = SimpleNamespace(file=SimpleNamespace(src_uri="reference/hashes.md"))
    heading = '<h2 id="aioresp.commands.hashes.HashCommands.{}" class="doc">\n<code></code></h2>'
    known, unknown = heading.format("hexpire"), heading.format("nonsense")
    line = "HEXPIRE. Since Redis 7.4 and Valkey 9.0. O(N) where N is the number of specified fields."
    html = facts().on_page_content(f"{known}<p>a</p>{unknown}<p>b</p>", page=page)
    assert html == f"{known}\n<p><em>{line}</em></p><p>a</p>{unknown}<p>b</p>"
    assert facts().in_words("XDELEX").startswith("XDELEX. Since Redis 8.2; not in Valkey. O(1)")
    assert facts().in_words("DELIFEQ") == "DELIFEQ. Since Valkey 9.0; not in Redis. O(1)."
    assert facts().in_words("GET") == "GET. Since Redis 1.0. O(1)."
    page.file.src_uri = "reference/strings.md"
    with pytest.raises(RuntimeError, match="do they look different now"):
        facts().on_page_content(known, page=page)
