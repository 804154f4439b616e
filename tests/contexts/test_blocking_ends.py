"""Blocking commands when the client is closed or its loop ends: what they had popped is put back first."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import aioresp
from aioresp import Client, Lost
from aioresp.testing import Proxy, Server
from tests.contexts.blocking import cancel, errors, is_blocked, is_gone, is_written
from tests.rest import tasks_besides

__all__ = ["errors"]  # fixtures


# --- The end of the client and of the loop ---------------------------------------------------------------------------


async def test_closing_waits_until_elements_are_put_back(server: Server, prefix: str) -> None:
    before = tasks_besides()
    async with Proxy(server.host, server.port) as proxy, Client(server.url) as direct:
        async with Client(proxy.url) as r:
            await r.ping()
            await direct.rpush(f"{prefix}q", "1", "2")
            proxy.delay = 0.1
            task = asyncio.create_task(r.blpop(f"{prefix}q"))
            await asyncio.sleep(0.05)
            await cancel(task)
        assert await direct.lrange(f"{prefix}q", 0, -1) == ["1", "2"]
    assert tasks_besides() <= before


async def test_closing_ends_the_pops_under_way(server: Server, prefix: str) -> None:
    async with Proxy(server.host, server.port) as proxy, Client(server.url) as direct:
        async with Client(proxy.url) as r:
            await r.ping()
            await direct.rpush(f"{prefix}full", "job")
            waiting = asyncio.create_task(r.blpop(f"{prefix}empty"))
            await is_blocked(direct)
            proxy.delay = 0.05
            popping = asyncio.create_task(r.blpop(f"{prefix}full"))
            await is_gone(direct, f"{prefix}full")
        for task in (waiting, popping):
            with pytest.raises(aioresp.ClientClosed, match=r"the client was closed \[BLPOP"):
                await task
        assert (await direct.info("clients"))["blocked_clients"] == 0
        assert await direct.lrange(f"{prefix}full", 0, -1) == ["job"]


async def test_closing_does_not_wait_for_ever(server: Server, prefix: str, errors: Callable[[], list[str]]) -> None:
    losses: list[Lost] = []
    async with Proxy(server.host, server.port) as proxy:
        r = Client(proxy.url, on_lost=losses.append)
        await r.ping()
        task = asyncio.create_task(r.blpop(f"{prefix}q"))
        await is_written(r)
        proxy.stall()
        await cancel(task)
        started = time.monotonic()
        await r.aclose()
        assert time.monotonic() - started < 4
        assert [lost.elements for lost in losses] == [()]
        assert len(errors()) == 1


LEAVERS: dict[str, Callable[[Client[str], str], Awaitable[None]]] = {}


def leaver(function: Callable[[Client[str], str], Awaitable[None]]) -> Callable[[Client[str], str], Awaitable[None]]:
    LEAVERS[function.__name__] = function
    return function


@leaver
async def cancels_and_goes(r: Client[str], key: str) -> None:
    task = asyncio.create_task(r.blpop(key))
    await asyncio.sleep(0.05)
    task.cancel()


@leaver
async def goes(r: Client[str], key: str) -> None:
    asyncio.create_task(r.blpop(key))  # noqa: RUF006
    await asyncio.sleep(0.05)


@leaver
async def goes_while_it_is_settled(r: Client[str], key: str) -> None:
    task = asyncio.create_task(r.blpop(key))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.sleep(0.02)


@contextmanager
def slow_network(server: Server) -> Iterator[str]:
    """A proxy in a loop of its own, which goes on when the loops of the clients end."""
    loop = asyncio.new_event_loop()
    proxy = Proxy(server.host, server.port, delay=0.03)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(proxy.__aenter__(), loop).result(5)
        yield proxy.url
        asyncio.run_coroutine_threadsafe(proxy.__aexit__(None, None, None), loop).result(5)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


def command(server: Server, *words: str) -> Any:
    async def send() -> Any:
        async with Client(server.url) as r:
            return await r.call(*words)

    return asyncio.run(send())


@pytest.mark.parametrize("leave", LEAVERS)
def test_a_loop_that_ends_puts_back_first(
    server: Server, prefix: str, leave: str, errors: Callable[[], list[str]]
) -> None:
    """asyncio.run() cancels what is left, and then gives the client time to see to it, closed or not."""
    command(server, "RPUSH", f"{prefix}q", "1", "2")
    with slow_network(server) as url:
        r = Client(url)

        async def work() -> None:
            await r.ping()
            await LEAVERS[leave](r, f"{prefix}q")

        asyncio.run(work())
    assert command(server, "LRANGE", f"{prefix}q", "0", "-1") == ["1", "2"]
    assert errors() == []


CLOSED = """
import asyncio, sys
from aioresp import Client

async def work():
    await r.ping()
    task = asyncio.create_task(r.blpop("nothing"))
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.wait([task])

r = Client(sys.argv[1], on_lost=lambda lost: print(lost.command, lost.elements, lost.error))
loop = asyncio.new_event_loop()
loop.run_until_complete(work())
loop.close()
print("closed")
asyncio.run(r.aclose())
"""


def test_a_loop_that_is_closed_without_a_word_is_reported(server: Server) -> None:
    with slow_network(server) as url:
        done = subprocess.run(
            [sys.executable, "-c", CLOSED, url], capture_output=True, text=True, timeout=20, check=True
        )
    assert done.stdout.splitlines() == [
        "('BLPOP', 'nothing', 0) () the client was closed, or its event loop",
        "closed",
    ]
    assert "BLPOP 'nothing': an element may be lost: the client was closed, or its event loop" in done.stderr
