"""How the suite runs: coroutines on pytest-asyncio, a loop for each test, its debug mode on, warnings as errors."""

from __future__ import annotations

import asyncio
import asyncio.constants
import asyncio.format_helpers
import gc
import os
import re
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from functools import wraps
from importlib import import_module
from inspect import iscoroutinefunction
from pathlib import Path
from types import FrameType, FunctionType
from typing import Any, Literal, cast

import pytest

from aioresp import Client
from aioresp.testing import Proxy, Server
from aioresp.testing import server as start_server
from tests.servers.chosen import demand

# A shell ignores Ctrl-C for what it runs in the background. Programs that tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# One of them imports trio, 0.4 s of each process.
os.environ.setdefault("HYPOTHESIS_NO_PLUGINS", "1")

#: "asyncio" (with its debug mode) or "uvloop"; `make test` runs the suite with the first and a part with the second.
LOOP = os.environ.get("AIORESP_TEST_LOOP", "asyncio")


#: The files that take longest, for what they do or what they wait for. They come first, so that others fill the time
#: beside them, and no process is left alone with one at the end.
LONGEST = (
    "test_analytics_losses.py",
    *("test_docs.py", "test_loops.py", "test_fixtures.py", "test_cluster_servers.py", "test_silent.py"),
    *("test_cache.py", "test_command.py", "test_faults.py", "test_blocking_putback.py", "test_cluster_chaos.py"),
    *("test_chaos.py", "test_stood_still.py", "test_runner.py", "test_hostile.py", "test_queue_laws.py"),
    *("test_lock_laws.py", "test_servers.py", "test_lock.py", "test_bench.py", "test_worker.py", "test_serve.py"),
    *("test_secrets.py", "test_gaps.py", "test_slow_upload.py", "test_events.py", "test_failover.py"),
    *("test_cached_db.py", "test_sentinel_servers.py", "test_forks.py", "test_limiter.py", "test_client.py"),
    *("test_queue_hostile.py", "test_analytics.py", "test_judge.py", "test_tasks.py", "test_scopes.py"),
    *("test_cancellation.py", "test_parser.py", "test_shapes.py", "test_storm.py", "test_nothing_lost.py"),
    *("test_layers.py", "test_typing.py", "test_transaction_pops.py", "test_blocking_losses.py"),
)

#: Frames that asyncio's debug mode notes of where each future, task and callback was made.
FRAMES = 5


def pytest_configure(config: pytest.Config) -> None:
    demand()
    note_few_frames()
    if LOOP == "uvloop":
        config.option.asyncio_debug = False  # pyproject.toml turns it on


def note_few_frames() -> None:
    """Spare the debug mode the frames of pytest, and the look at the source file of each frame that it notes.

    There are sixty frames below each test, and a future, a task and a callback notes all: a third of the suite's
    processor time. To note five the usual way takes three quarters of what the event loop does in its debug mode. All
    that the mode checks, it checks as before.
    """
    asyncio.constants.__dict__["DEBUG_STACK_DEPTH"] = FRAMES
    # What futures written in C call is this function, which they found when asyncio was imported.
    used = cast(FunctionType, traceback.extract_stack)
    used.__code__, used.__defaults__ = frames_above.__code__, (None, FRAMES)
    asyncio.format_helpers.__dict__["extract_stack"] = used


def frames_above(f: FrameType | None = None, limit: int | None = FRAMES) -> list[tuple[str, int, str, None]]:
    """Return what `traceback.extract_stack` does, as the tuples that `traceback.format_list` takes as well."""
    frame: FrameType | None = sys._getframe(1) if f is None else f
    noted: list[tuple[str, int, str, None]] = []
    while frame is not None and len(noted) != limit:
        code = frame.f_code
        noted.append((code.co_filename, frame.f_lineno, code.co_name, None))
        frame = frame.f_back
    noted.reverse()
    return noted


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Name the one kind of loop that all coroutines run in, those of fixtures as well."""
    if LOOP == "uvloop":
        import uvloop  # noqa: PLC0415 (no run on asyncio needs it)

        return {LOOP: uvloop.new_event_loop}
    return {LOOP: asyncio.new_event_loop}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave alone files without a quick test where only quick tests are asked for: nine in ten.

    On uvloop those too whose tests run in no loop, or in programs with loops of their own.
    """
    if collection_path.suffix != ".py" or not re.fullmatch("quick( and .*)?", config.option.markexpr):
        return None
    text = collection_path.read_text(encoding="utf-8")
    return "mark.quick" not in text or (LOOP == "uvloop" and not re.search("async def test|LOOP", text)) or None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    take_turns(items)
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.name, len(ranks)))
    items.sort(key=lambda item: not item.nodeid.startswith(tuple(SHARING)))


def take_turns(items: list[pytest.Item]) -> None:
    """Leave to the long run all but one case in n of a test with the mark `turns(n)`.

    The values of its parameters take turns: the parameter with the most has each of them in a case of `make test`.
    """
    tests: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("turns") is not None:
            tests.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for cases in tests.values():
        marker = cases[0].get_closest_marker("turns")
        assert marker is not None
        values = [cast(Any, case).callspec._idlist for case in cases]
        numbers, weight = [0] * len(cases), 1
        for column in sorted(zip(*values, strict=True), key=lambda column: len(set(column))):
            known = {value: number for number, value in enumerate(dict.fromkeys(column))}
            numbers = [number + weight * known[value] for number, value in zip(numbers, column, strict=True)]
            weight = weight * len(known) if weight * len(known) < marker.args[0] else 1
        for case, number in zip(cases, numbers, strict=True):
            if number % marker.args[0]:
                case.add_marker(pytest.mark.ci)


#: Folders whose tests share one cluster or one set of servers, with the first letters of their files that divide them.
#: Each part goes to one process. Otherwise nearly all processes would form a cluster, and again for each file.
SHARING: dict[str, tuple[str, ...]] = {
    "tests/cluster/": ("test_f", "test_r", "test_t"),
    "tests/sentinel/": (),
    "tests/replicated/": (),
}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    if config.getoption("dist") != "loadfile":
        return None
    scheduler = import_module("xdist.scheduler").LoadFileScheduling(config, log)
    split = scheduler._split_scope

    def part_of(nodeid: str) -> str:
        file: str = split(nodeid)
        for folder, starts in SHARING.items():
            if file.startswith(folder):
                return f"{folder}{sum(file.removeprefix(folder) >= start for start in starts)}"
        return file

    scheduler._split_scope = part_of
    return cast(object, scheduler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector from what is collected: nothing of it goes, and it looks at all again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """Keep the garbage collector from the tests themselves: thousands of objects that stay to the end.

    Each `gc.collect()` looked at all of them, for a third of a second; so would one here.
    """
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Fail a coroutine that hangs, where it hangs, before pytest-timeout does.

    That one raises in the middle of the event loop, which leaves the test behind as it is, and all that comes after it
    in the same loop, its fixtures' ends above all, waits for it for ever.
    """
    # Here, and not in pytest_pyfunc_call, where pytest-asyncio has put a plain function in the coroutine's place.
    if not isinstance(item, pytest.Function) or not iscoroutinefunction(item.obj):
        return
    test = item.obj
    marker = item.get_closest_marker("timeout")
    seconds = float(marker.args[0] if marker is not None and marker.args else item.config.getini("timeout") or 0)

    @wraps(test)
    async def limited(**arguments: Any) -> None:
        async with asyncio.timeout(max(seconds / 2, seconds - 12) if seconds else None):
            await test(**arguments)

    item.obj = limited


@pytest.fixture
async def no_debug() -> AsyncIterator[None]:
    """Turn asyncio's debug mode off: it makes many thousand calls many times slower."""
    loop = asyncio.get_running_loop()
    debug = loop.get_debug()
    loop.set_debug(False)
    yield
    loop.set_debug(debug)


@pytest.fixture(scope="module")
def frozen() -> Iterator[None]:
    """Keep the garbage collector from all that is there before a module that asks it to collect again and again.

    And from what is there behind it: what it tries may have thawed all of it, the tests themselves as well.
    """
    gc.freeze()
    yield
    gc.freeze()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One server for the whole run; keys carry a prefix of their test's own."""
    with start_server() as running:
        yield running


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """A prefix for keys that no other test uses."""
    return f"{request.node.nodeid.rpartition('::')[2]}:{os.urandom(4).hex()}:"


@pytest.fixture(params=[3, 2], ids=["resp3", "resp2"])
def protocol(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(params=[3, 2], ids=["resp3", "resp2"])
def resp(request: pytest.FixtureRequest) -> Literal[2, 3]:
    return cast(Literal[2, 3], request.param)


@pytest.fixture
async def r(server: Server, resp: Literal[2, 3]) -> AsyncIterator[Client[str]]:
    async with Client(server.url, protocol=resp) as client:
        yield client


@pytest.fixture
async def other(server: Server) -> AsyncIterator[Client[str]]:
    async with Client(server.url) as client:
        yield client


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[Proxy]:
    async with Proxy(server.host, server.port) as running:
        yield running
