"""`async with client` in several tasks, threads and loops: the last block closes, `aclose()` closes at once."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

import aioresp
from aioresp import Client
from aioresp.testing import Server


def _is_closed(r: Client[Any]) -> bool:
    return r.node.pools.closed


async def test_the_first_task_to_leave_does_not_close_it_for_the_other(server: Server) -> None:
    r = Client(server.url)
    left, entered = asyncio.Event(), asyncio.Event()

    async def short() -> None:
        async with r:
            await r.ping()
            await entered.wait()
        left.set()

    async def long() -> int:
        async with r, r.subscribe("news"):
            entered.set()
            await left.wait()
            await r.ping()
            return r.stats().made

    _, made = await asyncio.gather(short(), long())
    assert made == 2  # the same connections
    assert _is_closed(r)
    assert r.stats().open == 0
    with pytest.raises(aioresp.ClientClosed):
        await r.ping()


async def test_blocks_in_one_task_are_counted(server: Server) -> None:
    r = Client(server.url)
    async with r:
        for _ in range(3):
            async with r as same:
                assert same is r
                await r.ping()
        assert await r.ping()
    assert _is_closed(r)


async def test_a_view_is_the_same_client(server: Server) -> None:
    async with Client(server.url) as r:
        async with r.with_options(timeout=1) as view:
            await view.ping()
        other: Client[str] = Client.over(r.node)
        async with other:
            await other.ping()
        assert await r.ping()
        assert r.stats().made == 1
    assert _is_closed(r)


@pytest.mark.parametrize("error", [ValueError("x"), asyncio.CancelledError()], ids=repr)
async def test_a_block_that_fails_is_left(server: Server, error: BaseException) -> None:
    r = Client(server.url)
    async with r:
        with pytest.raises(type(error)):
            async with r:
                raise error
        assert await r.ping()
    with pytest.raises(type(error)):
        async with r:
            raise error
    assert _is_closed(r)
    async with r:
        await r.ping()
    assert _is_closed(r)


async def test_aclose_closes_at_once_and_entering_reopens(server: Server) -> None:
    r = Client(server.url)
    async with r:
        await r.ping()
        await r.aclose()
        with pytest.raises(aioresp.ClientClosed):
            await r.ping()
        async with r:
            assert await r.ping()
        assert await r.ping()  # the outer block goes on
        await r.aclose()
    assert _is_closed(r)
    async with r:
        assert await r.ping()
    assert _is_closed(r)


async def test_it_is_entered_while_the_last_block_ends(server: Server) -> None:
    r = Client(server.url)

    async def use() -> None:
        async with r:
            assert await r.ping()

    for _ in range(30):
        await asyncio.gather(*(use() for _ in range(5)))
        first, second = asyncio.create_task(use()), asyncio.create_task(use())
        await first
        third = asyncio.create_task(use())
        await asyncio.gather(second, third)
    assert _is_closed(r)
    assert r.stats().open == 0


async def test_aclose_of_a_subclass_is_called_by_the_last_block(server: Server) -> None:
    class Mine(Client[str]):
        closed = 0

        async def aclose(self) -> None:
            self.closed += 1
            await super().aclose()

    r: Any = Mine(server.url)
    async with r:
        async with r:
            await r.ping()
        assert r.closed == 0
    assert r.closed == 1
    assert _is_closed(r)


def _threads(*bodies: Callable[[], None]) -> None:
    errors: list[BaseException] = []

    def guarded(body: Callable[[], None]) -> None:
        try:
            body()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not errors


def test_loops_in_threads(server: Server) -> None:
    """The last block in a loop closes the connections of that loop, the last one of all the client."""
    r = Client(server.url)
    left, entered = threading.Event(), threading.Event()

    async def short() -> None:
        async with r:
            await r.ping()
            await asyncio.to_thread(entered.wait, 20)
        assert asyncio.get_running_loop() not in r.node.pools.pools
        left.set()

    async def long() -> None:
        async with r:
            await r.ping()
            entered.set()
            await asyncio.to_thread(left.wait, 20)
            assert await r.ping()
            assert r.stats().made == 2

    _threads(lambda: asyncio.run(short()), lambda: asyncio.run(long()))
    assert _is_closed(r)
    assert r.stats().open == 0


def test_many_threads_come_and_go(server: Server) -> None:
    r = Client(server.url)

    async def use() -> None:
        for _ in range(20):
            async with r:
                assert await r.ping()

    _threads(*(lambda: asyncio.run(use()) for _ in range(6)))
    assert _is_closed(r)
    assert r.stats().open == 0


def test_a_block_whose_loop_is_gone_does_not_count(server: Server) -> None:
    r = Client(server.url)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(r.__aenter__())
    loop.run_until_complete(r.ping())
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()

    async def use() -> None:
        async with r:
            await r.ping()

    asyncio.run(use())
    assert _is_closed(r)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_counts_its_own(server: Server) -> None:
    r = Client(server.url)
    loop = asyncio.new_event_loop()

    async def use() -> None:
        async with r:
            await r.ping()

    loop.run_until_complete(r.__aenter__())
    child = os.fork()
    if child == 0:
        code = 1
        try:
            asyncio.run(use())
            code = 0 if _is_closed(r) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    loop.run_until_complete(r.ping())
    loop.run_until_complete(r.__aexit__(None, None, None))
    loop.close()
    assert _is_closed(r)
