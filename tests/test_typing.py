"""The types that users see: right where they are used rightly, and an error where they are not."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, get_overloads

import pytest

from aioresp.commands import Commands
from aioresp.commands.base import Executor
from tests.snippets import ROOT, SNIPPETS

#: mypy takes seconds here, and minutes on a machine that is busy with other work.
#: `make check` has mypy look at the right uses too.
pytestmark = [pytest.mark.ci, pytest.mark.timeout(660)]

CASES: Final = Path(__file__).parent / "typing"

METHODS: Final = sorted(name for name in dir(Commands) if not name.startswith("_") and not hasattr(Executor, name))

#: What a type checker must refuse: each line with a mark, and no other.
MISTAKES: Final = """\
import asyncio

from aioresp import Client, Lease, Pipeline
from aioresp.recipes import Job, Queue

client = Client()
other: Client[bytes] = Client()  # wrong
raw: Client[str] = Client(decode_responses=False)  # wrong
Client(limt=3)  # wrong
Client(limit="3")  # wrong
Client(port=None)  # wrong
Client(timeout="1")  # wrong
Client(protocol=4)  # wrong
Client("redis://localhost", "6379")  # wrong
Client.from_url()  # wrong
Client.from_url("redis://localhost", limt=3)  # wrong
view: Client[str] = client.with_options(decode_responses=False)  # wrong
client.with_options(limit=3)  # wrong
client.with_options(timeout="1")  # wrong


async def calls(r: Client[str], b: Client[bytes], lease: Lease[str]) -> None:
    await r.get(None)  # wrong
    await r.get(1)  # wrong
    await r.get(["k"])  # wrong
    await r.get("k", "l")  # wrong
    await r.gett("k")  # wrong
    await r.set("k", None)  # wrong
    await r.set("k", ["v"])  # wrong
    await r.set("k", {"f": "v"})  # wrong
    await r.set("k")  # wrong
    await r.set("k", "v", ex="10")  # wrong
    await r.set("k", "v", ex=1.5)  # wrong
    await r.set("k", "v", exx=10)  # wrong
    await r.set("k", "v", get="yes")  # wrong
    await r.delete(["a", "b"])  # wrong
    await r.mget("a", None)  # wrong
    await r.mget([1])  # wrong
    await r.mset([("a", 1)])  # wrong
    await r.mset({"a": None})  # wrong
    await r.mset({1: "a"})  # wrong
    await r.mset({"a": ["b"]})  # wrong
    await r.hset("h", "f", None, mapping={"g": [1]})  # wrong
    await r.hset("h", mapping={"f": None})  # wrong
    await r.lpush("l", ["a"])  # wrong
    await r.sadd("s", {"a"})  # wrong
    await r.blmove("a", "b", 1, "UP", "DOWN")  # wrong
    await r.linsert("l", "BESIDE", "p", "v")  # wrong
    await r.hrandfield("h", withvalues=True)  # wrong
    await r.blpop("l", timeout=None)  # wrong
    await r.zadd("z", {"a": None})  # wrong
    await r.zadd("z", [("a", 1)])  # wrong
    await r.zadd("z", {"a": 1}, True)  # wrong
    await r.zrange("z", "-", "+", bylex=True, withscores=True)  # wrong
    await r.zrandmember("z", withscores=True)  # wrong
    await r.zunion(["a"], "AVG")  # wrong
    await r.zrangebylex("z", 1, 2)  # wrong
    await r.bitop("NAND", "d", "a")  # wrong
    await r.bitfield("k", ("GET", "u8", 0, 1))  # wrong
    await r.bitfield("k", ("OVERFLOW", "STOP"))  # wrong
    await r.call()
    await r.call("GET", None)  # wrong
    await r.call("SET", "k", ["v"])  # wrong
    await lease.get(None)  # wrong


async def forgotten(r: Client[str], b: Client[bytes], lease: Lease[str], p: Pipeline[str]) -> None:
    r.set("k", "v")  # wrong
    r.set("k", "v", get=True)  # wrong
    b.lpush("l", 1)  # wrong
    r.call("PING")  # wrong
    r.with_options(timeout=1).delete("k")  # wrong
    lease.select(1)  # wrong
    r.register_script("return 1")()  # wrong
    r.register_script("return 1")(["k"], [1], r)  # wrong
    lease.register_function("f", "")(client=lease)  # wrong
    r.transaction(lambda p: p.get("k"))  # wrong
    p.execute()  # wrong
    p.set("k", "v")
    p.set("k", "v", get=True)
    p.zrange("z", 0, -1, withscores=True)
    p.call("PING")
    r.register_script("return 1")(client=p)
    r.register_script("return 1")(["k"], [1], p)
    r.register_function("f", "")(["k"], client=p)
    await r.transaction(lambda p: p.get("k"))
    p.get("k").upper()  # wrong


async def results(r: Client[str], b: Client[bytes]) -> None:
    number: int = await r.get("k")  # wrong
    text: str = await r.get("k")  # wrong
    words: str | None = await b.get("k")  # wrong
    flag: bool = await r.set("k", "v", get=True)  # wrong
    old: str | None = await r.set("k", "v")  # wrong
    one: str | None = await r.lpop("l", 2)  # wrong
    many: list[str] | None = await r.lpop("l")  # wrong
    members: list[str] = await r.smembers("s")  # wrong
    index: int | None = await r.lpos("l", "v", count=1)  # wrong
    score: float = await r.zscore("z", "a")  # wrong
    names: list[str] = await r.zrange("z", 0, -1, withscores=True)  # wrong
    added: int = await r.zadd("z", {"a": 1}, incr=True)  # wrong
    fields: dict[str, str] = await b.hgetall("h")  # wrong
    later: str = r.get("k")  # wrong
    task: asyncio.Task[int] = asyncio.create_task(r.get("k"))  # wrong
    first, second = await asyncio.gather(r.get("a"), r.incr("b"))
    first + 1  # wrong
    second + 1
    (await r.get("k")).upper()  # wrong
    r.get("k").upper()  # wrong
    for member in r.smembers("s"):  # wrong
        print(member)


queue = Queue(client, "q")


@queue.task(retries=1)
async def task_of(path: str, size: int = 1) -> int:
    return size


@queue.task  # wrong
def no_coroutine() -> int:
    return 1


@queue.task(retry=3)  # wrong
async def unknown_option() -> None: ...


async def jobs() -> None:
    await task_of.enqueue(5)  # wrong
    await task_of.enqueue()  # wrong
    await task_of.enqueue("a", siez=5)  # wrong
    await task_of.options(delay="5")  # wrong
    await task_of.options(on_duplicate="drop").enqueue("a")  # wrong
    await task_of.options(unique="a").enqueue(5)  # wrong
    job: Job[str] = await task_of.enqueue("a")  # wrong
    text: str = await (await task_of.enqueue("a")).result()  # wrong
    await queue.purge("running")  # wrong
    (await task_of.enqueue("a")).id = 5  # wrong
"""


#: What takes mypy longer to read, where it has no cache, than all else here: snippets with it have a test of their own.
ELSEWHERE: Final = re.compile(r"^ *(?:import|from) (?:anyio|fastapi|pytest)\b", re.MULTILINE)


def write_snippets(folder: Path, *, elsewhere: bool) -> int:
    """Write the snippets that import what is `ELSEWHERE`, or those that do not, and return their number."""
    chosen = [snippet for snippet in SNIPPETS if bool(ELSEWHERE.search(snippet.text)) == elsewhere]
    for snippet in chosen:
        name = re.sub(r"\W", "_", f"snippet_{snippet.page}_{snippet.line}")
        program = f"from aioresp import Client, Cluster\n{snippet.as_program}"
        (folder / f"{name}.py").write_text(program, encoding="utf-8")
    return len(chosen)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Run mypy once over the cases, the mistakes and most of what the documentation shows, and return what it says."""
    folder = tmp_path_factory.mktemp("typed")
    (folder / "mistakes.py").write_text(MISTAKES)
    assert write_snippets(folder, elsewhere=False) > 100
    return said_of("tests/typing", str(folder))


def said_of(*places: str) -> list[str]:
    """Return what mypy says of these files and folders."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--no-pretty", "--hide-error-context"),
            *(
                "--explicit-package-bases",
                "--follow-imports=silent",
                "--cache-dir",
                str(ROOT / ".mypy_cache" / "cases"),
            ),
            *places,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module", autouse=True)
def _needs_mypy() -> None:
    pytest.importorskip("mypy", reason="mypy is not installed")


def test_right_uses_have_the_right_types(report: list[str]) -> None:
    assert [line for line in report if "mistakes.py" not in line and "snippet_" not in line] == []


def test_snippets_have_the_types_they_show(report: list[str]) -> None:
    """What README.md and docs/ show is accepted as strictly as the package itself."""
    assert [line for line in report if "snippet_" in line] == []


def test_snippets_with_other_packages_have_the_types_they_show(tmp_path: Path) -> None:
    assert write_snippets(tmp_path, elsewhere=True) > 5
    assert said_of(str(tmp_path)) == []


@pytest.mark.parametrize("number", [n for n, line in enumerate(MISTAKES.splitlines(), 1) if line.endswith("# wrong")])
def test_a_mistake_is_an_error(report: list[str], number: int) -> None:
    found = [line for line in report if re.search(rf"mistakes\.py:{number}: error: ", line)]
    assert found, MISTAKES.splitlines()[number - 1].strip()


def test_nothing_else_is_an_error(report: list[str]) -> None:
    lines = MISTAKES.splitlines()
    found = {int(number) for number in re.findall(r"mistakes\.py:(\d+): error: ", "\n".join(report))}
    assert [lines[number - 1] for number in sorted(found) if not lines[number - 1].endswith("# wrong")] == []


def asserted(client: str) -> set[str]:
    """Return the methods whose result on the client of this name has its type asserted in tests/typing."""
    return {
        node.args[0].value.func.attr
        for path in CASES.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "assert_type"
        and isinstance(node.args[0], ast.Await)
        and isinstance(node.args[0].value, ast.Call)
        and isinstance(node.args[0].value.func, ast.Attribute)
        and isinstance(node.args[0].value.func.value, ast.Name)
        and node.args[0].value.func.value.id == client
    }


def depends_on_decoding(name: str) -> bool:
    method: Any = getattr(Commands, name)
    return any("AnyStr" in str(inspect.signature(form).return_annotation) for form in (method, *get_overloads(method)))


def test_the_type_of_each_method_is_asserted() -> None:
    assert sorted(set(METHODS) - asserted("r")) == []
    assert sorted({name for name in METHODS if depends_on_decoding(name)} - asserted("b")) == []


#: A script or a function returns whatever its author wrote.
ANYTHING: Final = {"eval", "eval_ro", "evalsha", "evalsha_ro", "fcall", "fcall_ro"}


def test_no_method_returns_just_anything() -> None:
    vague = []
    for name in METHODS:
        if name in ANYTHING:
            continue
        method: Any = getattr(Commands, name)
        forms = get_overloads(method) or [method]
        vague += [name for form in forms if str(inspect.signature(form).return_annotation) in ("Any", "Result[Any]")]
    assert vague == []
