"""Documentation that is true: every Python snippet of README.md and docs/ and every example runs, and the tables agree.

Each runs in a process of its own, with warnings as errors and, unless it makes ten thousand tasks, asyncio's debug
mode, against a server of this module, which has no keys then. How a snippet comes to that server: in its text,
`redis://localhost`, with `:secret@` or without, is replaced by the server's address before it runs. An example finds it
in AIORESP_URL. Nothing ever uses port 6379. Other addresses (see `Place`) stand for a cluster and for a Sentinel set,
which are formed when the first snippet needs them.

A snippet that awaits outside of a function runs as in `python -m asyncio`, after `from aioresp import Client` and with
an open client of that server in `r`; in docs/cluster.md it is a `Cluster`. One that defines tests is run by pytest,
with aioresp's plugin. Where a line prints and ends in a comment, the comment is what must have been printed.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

import pytest

import aioresp
from aioresp import errors
from aioresp.facts import catalogue
from aioresp.options import DEFAULTS, Options
from aioresp.retry import Retry
from aioresp.testing import ClusterServers, SentinelServers, Server
from aioresp.testing import server as start_server
from aioresp.wire.endpoint import Endpoint
from tests.forked import PYTEST, Runner
from tests.snippets import PAGES, ROOT, SNIPPETS, Snippet

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    with start_server(config={"appendonly": "yes"}) as running:  # without it, workers warn
        yield running


class Runners(NamedTuple):
    """Processes that fork: `plain` without Python's development mode, and those with it, by what is imported there."""

    dev: Runner
    recipes: Runner
    web: Runner
    plain: Runner
    tests: Runner


@pytest.fixture(scope="module")
def runners() -> Iterator[Runners]:
    # Before the forks: otherwise each program imports it for itself. What it does not need costs time at its end.
    ours = "import aioresp.cluster, aioresp.pubsub.hub, aioresp.pubsub.subscription, aioresp.recipes, aioresp.testing"
    recipes = f"{ours}; from aioresp.recipes import Cache, Limiter, Lock, Queue, Worker"
    with (
        Runner("-W", "error", "-X", "dev", first=ours) as dev,
        Runner("-W", "error", "-X", "dev", first=recipes) as with_recipes,
        Runner("-W", "error", "-X", "dev", first=f"{recipes}; import fastapi.testclient") as web,
        Runner("-W", "error") as plain,
        Runner(
            "-W", "error", "-X", "dev", first="import pytest, pytest_asyncio.plugin, aioresp.testing.fixtures"
        ) as tests,
    ):
        yield Runners(dev, with_recipes, web, plain, tests)


class Place(NamedTuple):
    """Servers of this module that some snippets and examples talk to."""

    url: str
    """URL of the client in `r`, and that an example gets."""
    names: dict[str, str]
    """Texts of a snippet, and those in their place. What is printed is translated back."""
    flush: Callable[[], None]

    def translated(self, text: str) -> str:
        """Return a snippet with the addresses of these servers."""
        for name, own in self.names.items():
            text = text.replace(name, own)
        return text

    def said(self, printed: str) -> str:
        """Return what was printed with the addresses that the snippet shows."""
        for name, own in self.names.items():
            printed = printed.replace(own, name)
        return printed


class Places:
    """Cluster and Sentinel set of this module, formed at their first use."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._made: dict[str, Place] = {}

    def find(self, page: str, text: str) -> list[Place]:
        """Return the servers that a page or a text needs, besides the one server of this module; they have no keys."""
        needed = [pattern for pattern in MAKERS if re.search(pattern, f"{page}\n{text}")]
        for pattern in needed:
            if pattern not in self._made:
                self._made[pattern] = MAKERS[pattern](self._stack)
            self._made[pattern].flush()
        return [self._made[pattern] for pattern in needed]


def cluster_place(stack: contextlib.ExitStack) -> Place:
    c = stack.enter_context(ClusterServers())
    url = c.url.partition(",")[0]  # one seed, as in the snippets
    return Place(url, {"redis+cluster://localhost:7000": url, "localhost:7000": url.rpartition("@")[2]}, c.flush)


def sentinel_place(stack: contextlib.ExitStack) -> Place:
    s = stack.enter_context(SentinelServers())
    sentinel, *_ = s.addresses
    login = f":{s.password}@"
    url = f"redis+sentinel://{login}{sentinel}/{s.name}?sentinel_password={s.sentinel_password}"
    servers = [f"127.0.0.1:{each.port}" for each in s.servers]
    names = {
        "redis+sentinel://localhost:26379/mymaster?": f"{url}&",
        "redis+sentinel://localhost:26379/mymaster": url,
        "redis://localhost:6379,localhost:6380": f"redis://{login}{','.join(servers)}",
        "localhost:26379": sentinel,
        '"of the sentinels"': repr(s.sentinel_password),
        '"of the servers"': repr(s.password),
    }
    return Place(url, names, s.flush)


#: Functions that make the servers, by the pages and the addresses that need them.
MAKERS: Final[dict[str, Callable[[contextlib.ExitStack], Place]]] = {
    r"\Adocs/cluster\.md\n|redis\+cluster://localhost:7000": cluster_place,
    r"\Adocs/sentinel\.md\n|localhost:26379|localhost:6380": sentinel_place,
}


@pytest.fixture(scope="module")
def places() -> Iterator[Places]:
    with contextlib.ExitStack() as stack:
        yield Places(stack)


def run(program: Path, server: Server, folder: Path, runners: Runners, *, url: str = "", flush: bool = True) -> str:
    """Run a program and return what it printed; nothing may go to standard error. Its URL is that of the server."""
    if flush:
        server.flush()
    url = url or server.url
    text = program.read_text(encoding="utf-8")
    if not re.search(r"^(async )?def test_", text, re.MULTILINE):
        # asyncio's debug mode makes thousands of tasks many times slower, and logs how slow redis-py's own are.
        many = re.search(r"10_000|range\(1000\)|import redis\.asyncio", text)
        runner = runners.plain if many else runners.web if "fastapi" in text else runners.dev
        if runner is runners.dev and "aioresp.recipes" in text:
            runner = runners.recipes
        status, output, errors = runner.run(program, url, folder, short=True)
    else:
        # Plugins by name: whether an installed aioresp, if there is any, is this one is another question.
        plugin = "anyio.pytest_plugin" if "pytest.mark.anyio" in text else "pytest_asyncio.plugin"
        plugins = ["-p", "aioresp.testing.fixtures", "-p", plugin, "-p", "no:cacheprovider"]
        if "pytest_asyncio" in plugin:
            plugins += ["-o", "asyncio_default_fixture_loop_scope=function"]  # it warns where that is not set
        main = folder / "run_pytest.py"
        main.write_text(PYTEST, encoding="utf-8")
        words = ["-q", "--rootdir", str(folder), *plugins, str(program)]
        status, output, errors = runners.tests.run(main, url, folder, *words, short=True)
    assert (status, errors) == (0, ""), f"{output}\n{errors}"
    return output


def promised(text: str) -> list[str]:
    """Return the comments behind calls of `print`, whether these fill a line or are the last of it."""
    return re.findall(r"^ *print\(.*\)  # (.*)$", text, re.MULTILINE)


def check_output(text: str, printed: str) -> None:
    lines = iter(printed.splitlines())
    for line in promised(text):
        assert line in lines, f"{line!r} was not printed, or not in this order:\n{printed}"


@pytest.mark.parametrize("snippet", SNIPPETS, ids=[f"{snippet.page}:{snippet.line}" for snippet in SNIPPETS])
def test_snippet(snippet: Snippet, own_server: Server, places: Places, runners: Runners, tmp_path: Path) -> None:
    others = places.find(snippet.page, snippet.text)
    text = snippet.text
    for place in others:
        text = place.translated(text)
    text = re.sub(r"redis://(:secret@)?localhost\b(?!:)", own_server.url, text)
    program = tmp_path / "test_snippet.py"
    program.write_text("\n" * (snippet.line - 1) + text, encoding="utf-8")
    url = others[0].url if others else own_server.url
    printed = run(program, own_server, tmp_path, runners, url=url)
    for place in others:
        printed = place.said(printed)
    check_output(
        snippet.text, printed.replace(f"redis://{own_server.host}:{own_server.port}", "redis://localhost:6379")
    )


def test_the_first_snippet_runs_twice(own_server: Server, runners: Runners, tmp_path: Path) -> None:
    """A reader runs README's first program on their own server, and then once more."""
    text = next(snippet.text for snippet in SNIPPETS if snippet.page == "README.md")
    program = tmp_path / "first.py"
    program.write_text(text.replace("redis://localhost", own_server.url), encoding="utf-8")
    first = run(program, own_server, tmp_path, runners)
    check_output(text, first)
    assert run(program, own_server, tmp_path, runners, flush=False) == first


def test_what_a_program_leaves_open_is_told(own_server: Server, runners: Runners, tmp_path: Path) -> None:
    program = tmp_path / "careless.py"
    program.write_text("import socket\nleft = socket.socket()\nprint('done')\n", encoding="utf-8")
    with pytest.raises(AssertionError, match=r"done(\n.*)+ResourceWarning: unclosed <socket"):
        run(program, own_server, tmp_path, runners)


@pytest.mark.quick
@pytest.mark.parametrize("example", EXAMPLES, ids=[example.stem for example in EXAMPLES])
def test_example(example: Path, own_server: Server, places: Places, runners: Runners, tmp_path: Path) -> None:
    text = example.read_text(encoding="utf-8")
    others = places.find("", text)
    assert len(text.splitlines()) < 50
    assert promised(text), "the example does not say what it prints"
    url = others[0].url if others else own_server.url
    check_output(text, run(example, own_server, tmp_path, runners, url=url))
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


def test_every_room_has_a_line() -> None:
    """CONTRIBUTING.md explains `ls aioresp`: each package and each module there, and none that is not."""
    table = rows((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), "## The house")
    named = [name for row in table for name in re.findall(r"`([\w./]+)`", row[0])]
    package = ROOT / "aioresp"
    modules = {path.name for path in package.glob("*.py")}
    rooms = {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    assert sorted(named) == sorted(modules | rooms)


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


# --- The reference ---------------------------------------------------------------------------------------------------


def hook_of_mkdocs(name: str) -> Any:
    """Return the module of a hook."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_reference_that_is_not_whole_fails() -> None:
    hook = hook_of_mkdocs("completeness")
    asked = hook.asked_for(ROOT / "docs" / "reference")
    assert {"aioresp.Subscription.get", "aioresp.pubsub.methods.Subscribing.monitor"} <= asked
    names = hook.public()
    shown = asked | {place for places in names.values() for place in places}
    assert hook.problems(shown, asked) == []
    for name in ("Client.monitor", "Client.subscribe", "Cluster.near", "Gap", "testing.Proxy"):
        assert hook.problems(shown - names[name], []) == [f"{name} is missing"]
    assert hook.problems(shown, {"aioresp.Lease.gone"}) == ["aioresp.Lease.gone was asked for and does not exist"]
    assert hook.problems(shown | {"aioresp.Lease.carry"}, asked) == ["aioresp.Lease.carry is internal"]


# --- Diagrams --------------------------------------------------------------------------------------------------------


def test_a_page_with_a_diagram_brings_its_own_mermaid() -> None:
    hook = hook_of_mkdocs("diagrams")
    page, config = SimpleNamespace(url="cluster/", file=SimpleNamespace(src_uri="cluster.md")), SimpleNamespace()
    config.docs_dir = ROOT / "docs"
    drawn = hook.on_page_content('<pre class="mermaid">', page=page, config=config)
    assert '<script src="../assets/mermaid.tiny.js"></script>' in drawn
    assert hook.on_page_content("<p>", page=page, config=config) == "<p>"
    config.docs_dir = ROOT
    with pytest.raises(RuntimeError, match=r"mermaid\.tiny\.js is missing"):
        hook.on_page_content('<pre class="mermaid">', page=page, config=config)


@pytest.mark.parametrize("element", ['<script src="https://a/b.js">', '<link rel="stylesheet" href="https://a/b.css">'])
def test_a_page_that_fetches_from_elsewhere_fails(element: str) -> None:
    hook = hook_of_mkdocs("diagrams")
    page = SimpleNamespace(file=SimpleNamespace(src_uri="cluster.md"))
    assert hook.on_post_page('<a href="https://a/">', page=page) == '<a href="https://a/">'
    with pytest.raises(RuntimeError, match=r"cluster\.md fetches from elsewhere"):
        hook.on_post_page(f"<head>{element}</head>", page=page)


def test_diagrams_have_no_semicolon() -> None:
    """Mermaid takes it for the end of a statement, and draws an error in place of the diagram."""
    drawn = [
        (page, text) for page in PAGES for text in re.findall(r"```mermaid\n(.*?)```", page.read_text(), re.DOTALL)
    ]
    assert len(drawn) > 5
    assert [(page.name, line) for page, text in drawn for line in text.splitlines() if ";" in line] == []
