"""How the suite runs: every coroutine test on anyio's runner, asyncio's debug mode on, warnings are errors."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Iterator
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

import pytest

from aioresp.testing import Server
from aioresp.testing import server as start_server
from tests.servers.chosen import demand

#: "asyncio" (with its debug mode) or "uvloop"; `make test` runs the suite with the first and a part with the second.
LOOP = os.environ.get("AIORESP_TEST_LOOP", "asyncio")


#: The files that take longest. They come first, lest one process is left alone with them at the end.
LONGEST = (
    *("test_chaos.py", "test_docs.py", "test_cancellation.py", "test_secrets.py", "test_blocking_putback.py"),
    *("test_hostile.py", "test_storm.py", "test_shapes.py", "test_client.py", "test_retry.py"),
)


def pytest_configure() -> None:
    demand()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.name, len(ranks)))


def pytest_collection_finish() -> None:
    """Keep the garbage collector from the tests themselves: thousands of objects that stay to the end.

    Each `gc.collect()` looked at all of them, for a third of a second.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Fail a coroutine that hangs, where it hangs, before pytest-timeout does.

    That one raises in the middle of the event loop, which leaves the test behind as it is, and all that comes after it
    in the same loop, its fixtures' ends above all, waits for it for ever.
    """
    test = pyfuncitem.obj
    if not iscoroutinefunction(test):
        return
    marker = pyfuncitem.get_closest_marker("timeout")
    seconds = float(marker.args[0] if marker is not None and marker.args else pyfuncitem.config.getini("timeout") or 0)

    @wraps(test)
    async def limited(**arguments: Any) -> None:
        async with asyncio.timeout(seconds * 0.9 if seconds else None):
            await test(**arguments)

    pyfuncitem.obj = limited


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    if LOOP == "uvloop":
        return "asyncio", {"use_uvloop": True}
    return "asyncio", {"debug": True}


@pytest.fixture
async def no_debug(anyio_backend: object) -> AsyncIterator[None]:
    """Turn asyncio's debug mode off: it makes many thousand calls many times slower."""
    loop = asyncio.get_running_loop()
    debug = loop.get_debug()
    loop.set_debug(False)
    yield
    loop.set_debug(debug)


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
