"""Documentation that is true: every Python snippet of README.md and docs/ and every example runs, and the tables agree.

Each runs in a process of its own, with warnings as errors and, unless it makes ten thousand tasks, asyncio's debug
mode, against a server of this module, which has no keys then. How a snippet comes to that server: in its text,
`redis://localhost`, with `:secret@` or without, is replaced by the server's address before it runs. An example finds it
in AIORESP_URL. Nothing ever uses port 6379.

A snippet that awaits outside of a function runs as in `python -m asyncio`, after `from aioresp import Client` and with
an open client of that server in `r`. One that defines tests is run by pytest, with aioresp's plugin. Where a line
prints and ends in a comment, the comment is what must have been printed.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import aioresp
from aioresp import errors
from aioresp.facts import catalogue
from aioresp.options import DEFAULTS, Options
from aioresp.retry import Retry
from aioresp.testing import Server
from aioresp.testing import server as start_server
from aioresp.wire.endpoint import Endpoint
from tests.snippets import ROOT, SNIPPETS, Snippet

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

#: Runs a program as the only one of its process. asyncio's remarks on slow callbacks are about this machine.
BOOT = """
import ast, asyncio, inspect, logging, sys
from aioresp import Client
logging.getLogger("asyncio").addFilter(lambda record: not record.getMessage().startswith("Executing"))
path, url = sys.argv[1:]
with open(path, encoding="utf-8") as file:
    code = compile(file.read(), path, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
names = {"__name__": "__main__", "__file__": path, "Client": Client}
async def as_typed():
    async with Client(url) as names["r"]:
        await eval(code, names)
asyncio.run(as_typed()) if code.co_flags & inspect.CO_COROUTINE else exec(code, names)
"""


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    with start_server() as running:
        yield running


def run(program: Path, server: Server, folder: Path) -> str:
    """Run a program and return what it printed; nothing may go to standard error."""
    server.flush()
    search = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    # The allocator that "-X dev" chooses is slow, and nothing here is written in C.
    environment = os.environ | {"PYTHONPATH": search, "AIORESP_URL": server.url, "PYTHONMALLOC": "pymalloc"}
    text = program.read_text(encoding="utf-8")
    words = [sys.executable, "-W", "error"]
    if "10_000" not in text:  # asyncio's debug mode makes as many tasks many times slower
        words += ["-X", "dev"]
    if re.search(r"^(async )?def test_", text, re.MULTILINE):
        # Plugins by name: whether an installed aioresp, if there is any, is this one is another question.
        environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        runner = "anyio.pytest_plugin" if "pytest.mark.anyio" in text else "pytest_asyncio.plugin"
        plugins = ["-p", "aioresp.testing.fixtures", "-p", runner, "-p", "no:cacheprovider"]
        if "pytest_asyncio" in runner:
            plugins += ["-o", "asyncio_default_fixture_loop_scope=function"]  # it warns where that is not set
        words += ["-m", "pytest", "-q", "--rootdir", str(folder), *plugins, str(program)]
    else:
        words += ["-c", BOOT, str(program), server.url]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stderr) == (0, ""), f"{done.stdout}\n{done.stderr}"
    return done.stdout


def promised(text: str) -> list[str]:
    """Return the comments behind calls of `print`, whether these fill a line or are the last of it."""
    return re.findall(r"^ *print\(.*\)  # (.*)$", text, re.MULTILINE)


def check_output(text: str, printed: str) -> None:
    lines = iter(printed.splitlines())
    for line in promised(text):
        assert line in lines, f"{line!r} was not printed, or not in this order:\n{printed}"


@pytest.mark.parametrize("snippet", SNIPPETS, ids=[f"{snippet.page}:{snippet.line}" for snippet in SNIPPETS])
def test_snippet(snippet: Snippet, own_server: Server, tmp_path: Path) -> None:
    text = re.sub(r"redis://(:secret@)?localhost\b(?!:)", own_server.url, snippet.text)
    program = tmp_path / "test_snippet.py"
    program.write_text("\n" * (snippet.line - 1) + text, encoding="utf-8")
    printed = run(program, own_server, tmp_path)
    check_output(text, printed.replace(f"redis://{own_server.host}:{own_server.port}", "redis://localhost:6379"))


@pytest.mark.quick
@pytest.mark.parametrize("example", EXAMPLES, ids=[example.stem for example in EXAMPLES])
def test_example(example: Path, own_server: Server, tmp_path: Path) -> None:
    text = example.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 50
    assert promised(text), "the example does not say what it prints"
    check_output(text, run(example, own_server, tmp_path))
    assert example.name in (ROOT / "examples" / "README.md").read_text(encoding="utf-8")


# --- Tables ----------------------------------------------------------------------------------------------------------


def rows(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the tables between a heading and the next one."""
    part = text.partition(f"\n{heading}\n")[2]
    assert part, f"there is no {heading!r}"
    part = re.split(r"^#", part, flags=re.MULTILINE)[0]
    lines = [line for line in part.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("page", ["README.md", "docs/client.md"])
def test_options(page: str) -> None:
    table = rows((ROOT / page).read_text(encoding="utf-8"), "## Options")
    endpoint = Endpoint()
    expected: dict[str, Any] = dict.fromkeys(Options.__annotations__)
    expected |= {name: getattr(endpoint, name) for name in expected if hasattr(endpoint, name)}
    expected |= {"ssl": False, "ssl_check_hostname": True, "decode_responses": True, **DEFAULTS}
    said = {row[0].strip("`"): row[1].strip("`") for row in table}
    assert said.pop("retry") == "Retry()"
    assert expected.pop("retry") == Retry()
    assert {name: ast.literal_eval(value) for name, value in said.items()} == expected


ERRORS = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.RedisError)
}


def test_errors() -> None:
    readme = rows((ROOT / "README.md").read_text(encoding="utf-8"), "## Errors")
    page = rows((ROOT / "docs/errors.md").read_text(encoding="utf-8"), "## Connections and time")
    for row in [*readme, *page]:
        name, bases = row[0].strip("`"), re.findall(r"\w+", row[1])
        assert {base.__name__ for base in getattr(aioresp, name).__mro__[1:]}.issuperset(bases), name
    described = set(re.findall(r"^\| `(\w+)`", (ROOT / "docs/errors.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert described >= set(ERRORS) - {"RedisError"}


def test_refused_commands() -> None:
    words = " ".join((ROOT / "docs/migrating.md").read_text(encoding="utf-8").split())
    part = words.partition("## Refused on a client")[2].partition(". ```")[0]
    documented = set(re.split(r", |: ", part.partition("of your own: ")[2]))
    assert documented == set(catalogue.REFUSED) - catalogue.FORBIDDEN


def test_every_file_has_a_line() -> None:
    """CONTRIBUTING.md names each module of the package, and none that is not there, in the order of their imports."""
    files = [row[0].strip("`") for row in rows((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), "## The files")]
    package = ROOT / "aioresp"
    assert sorted(files) == sorted(str(path.relative_to(package)) for path in package.rglob("*.py"))
    above: set[str] = set()
    for file in files:
        for module in imported(package / file) - {"aioresp"}:
            assert module in above, f"{file} imports {module}, which is not above it"
        above.add(f"aioresp.{file.removesuffix('.py').replace('/', '.')}".removesuffix(".__init__"))


def imported(path: Path) -> set[str]:
    """Return the modules of aioresp that a file imports from, submodules by their own name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "aioresp":
            for alias in node.names:
                inner = ROOT.joinpath(*node.module.split("."), alias.name)
                deeper = inner.is_dir() or inner.with_suffix(".py").is_file()
                found.add(f"{node.module}.{alias.name}" if deeper else node.module)
    return found


def test_quotations() -> None:
    """Code that CONTRIBUTING.md shows under a file's name stands in that file, word for word."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    quotations = re.findall(r"^`([\w/.]+)`.*:\n\n```python\n((?:.*\n)*?)```$", text, re.MULTILINE)
    assert len(quotations) >= 3
    for name, code in quotations:
        for part in code.split("\n...\n"):
            assert part.strip("\n") in (ROOT / name).read_text(encoding="utf-8"), name


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md"])
def test_links(page: str) -> None:
    """Those of docs/ are checked by `mkdocs build --strict`."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#\s]+)", text):
        assert "://" in link or (ROOT / page).parent.joinpath(link).exists(), link
