"""Blocking pops in a transaction whose caller goes: they are not put back, and `on_lost` is told what they took."""

from __future__ import annotations

import asyncio
import gc
import time
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

import aioresp
from aioresp import Client, Lost
from aioresp.testing import Proxy, Server
from tests.contexts.blocking import cancel, errors
from tests.pubsub.listening import until
from tests.rest import at_rest, in_step, tasks_besides

__all__ = ["errors"]  # fixtures

Route = Callable[[Client[str], str], Any]


def queue(p: Any, key: str) -> None:
    p.set(f"{key}:before", 1)
    p.blpop(f"{key}:list", 1)
    p.bzpopmin(f"{key}:set", 1)
    p.brpop(f"{key}:nothing", 1)


async def shared(r: Client[str], key: str) -> object:
    async with r.pipeline(transaction=True) as p:
        queue(p, key)
        return await p.execute()


async def leased(r: Client[str], key: str) -> object:
    async with r.connection() as c, c.pipeline(transaction=True) as p:
        queue(p, key)
        return await p.execute()


async def watching(r: Client[str], key: str) -> object:
    async with r.pipeline(transaction=True) as p:
        await p.watch(f"{key}:watched")
        p.multi()
        queue(p, key)
        return await p.execute()


async def large(r: Client[str], key: str) -> object:
    async with r.pipeline(transaction=True) as p:
        queue(p, key)
        for _ in range(10_000):
            p.get(f"{key}:before")
        return await p.execute()


ROUTES: dict[str, Route] = {route.__name__: route for route in (shared, leased, watching, large)}


@asynccontextmanager
async def world(
    server: Server, key: str, **options: Any
) -> AsyncIterator[tuple[Client[str], Client[str], Proxy, list[Lost]]]:
    """A list and a sorted set with two elements each, and a client behind a proxy."""
    losses: list[Lost] = []
    async with (
        Proxy(server.host, server.port) as proxy,
        Client(server.url) as direct,
        Client(proxy.url, on_lost=losses.append, **options) as r,
    ):
        async with r.connection() as c:
            await asyncio.gather(r.ping(), c.ping())  # so that two connections are open
        await direct.rpush(f"{key}:list", "a", "b")
        await direct.zadd(f"{key}:set", {"m": 0.1, "n": 2})
        before = tasks_besides()
        yield r, direct, proxy, losses
        proxy.heal()
        await at_rest(r)
        await in_step(r)
        assert tasks_besides() <= before


def known(losses: list[Lost]) -> list[Any]:
    return [(lost.command[0], lost.elements, lost.scores, lost.outcome) for lost in losses]


UNKNOWN = [(name, (), (), "unknown") for name in ("BLPOP", "BZPOPMIN", "BRPOP")]


async def ran(direct: Client[str], key: str) -> None:
    async with asyncio.timeout(10):
        while not await direct.exists(f"{key}:before"):
            await asyncio.sleep(0.002)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("protocol", [2, 3])
async def test_a_cancelled_caller_whose_reply_arrives(
    server: Server, prefix: str, route: str, protocol: int, errors: Callable[[], list[str]]
) -> None:
    async with world(server, prefix, protocol=protocol, timeout=20) as (r, direct, proxy, losses):
        proxy.delay = 0.1
        task = asyncio.create_task(ROUTES[route](r, prefix))
        await ran(direct, prefix)
        await cancel(task)
        async with asyncio.timeout(10):
            while not losses:
                await asyncio.sleep(0.01)
        assert known(losses) == [("BLPOP", (b"a",), (), "lost"), ("BZPOPMIN", (b"m",), (0.1,), "lost")]
        assert losses[0].key == f"{prefix}:list".encode()
        assert "not put back" in str(losses[0].error)
        assert await direct.lrange(f"{prefix}:list", 0, -1) == ["b"]
        assert [line.split(":")[-2].strip() for line in errors()] == ["1", "1"]


@pytest.mark.parametrize("route", ROUTES)
async def test_a_cancelled_caller_whose_connection_dies(server: Server, prefix: str, route: str) -> None:
    async with world(server, prefix, timeout=20) as (r, direct, proxy, losses):
        proxy.delay = 0.1
        task = asyncio.create_task(ROUTES[route](r, prefix))
        await ran(direct, prefix)
        await cancel(task)
        assert losses == []
        proxy.cut()
        await until(lambda: bool(losses))  # the client is at rest some turns of the loop before
        await at_rest(r)
        async with asyncio.timeout(10):
            while len(losses) < len(UNKNOWN):
                await asyncio.sleep(0.01)
        assert known(losses) == UNKNOWN
        assert isinstance(losses[0].error, aioresp.ConnectionLost)


@pytest.mark.parametrize("route", ["shared", "leased", "large"])
async def test_a_reply_that_is_late(server: Server, prefix: str, route: str) -> None:
    async with world(server, prefix, timeout=1) as (r, _, proxy, losses):
        proxy.stall("down")
        with pytest.raises(aioresp.CommandTimeout):
            await ROUTES[route](r, prefix)
        assert known(losses) == UNKNOWN


@pytest.mark.parametrize("route", ROUTES)
async def test_a_caller_who_gets_the_values_is_told_nothing(server: Server, prefix: str, route: str) -> None:
    async with world(server, prefix, timeout=20) as (r, _, _, losses):
        values = await ROUTES[route](r, prefix)
        assert values[1:4] == [(f"{prefix}:list", "a"), (f"{prefix}:set", "m", 0.1), None]
        assert losses == []


async def test_a_transaction_that_was_not_done_took_nothing(server: Server, prefix: str) -> None:
    async with world(server, prefix, timeout=20) as (r, direct, proxy, losses):
        proxy.delay = 0.05

        async def refused() -> None:
            async with r.pipeline(transaction=True) as p:
                queue(p, prefix)
                p.call("NO-SUCH-COMMAND")

        task = asyncio.create_task(refused())
        await asyncio.sleep(0.08)
        await cancel(task)
        await at_rest(r)
        assert losses == []
        assert await direct.llen(f"{prefix}:list") == 2


async def test_a_pop_that_the_server_refused_took_nothing(server: Server, prefix: str) -> None:
    async with world(server, prefix, timeout=20) as (r, direct, proxy, losses):
        await direct.delete(f"{prefix}:list", f"{prefix}:set")
        await direct.set(f"{prefix}:list", "text")
        proxy.delay = 0.05
        task = asyncio.create_task(ROUTES["shared"](r, prefix))
        await ran(direct, prefix)
        await cancel(task)
        await at_rest(r)
        assert losses == []


async def test_a_cancellation_in_the_turn_of_the_reply(server: Server, prefix: str) -> None:
    """Either the caller has the values or the hook has the elements, wherever the cancellation comes."""
    async with world(server, prefix, timeout=20) as (r, direct, _, losses):
        outcomes = set()
        for turns in range(40):
            losses.clear()
            await direct.delete(f"{prefix}:before", f"{prefix}:list")
            await direct.rpush(f"{prefix}:list", "a")
            task = asyncio.create_task(ROUTES["shared"](r, prefix))
            await asyncio.sleep(0)
            async with asyncio.timeout(5):
                while r.stats().in_flight == 0 and not task.done():
                    await asyncio.sleep(0)
                while r.stats().in_flight:
                    await asyncio.sleep(0)
            for _ in range(turns // 5):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            await asyncio.sleep(0.01)
            outcomes.add(task.cancelled())
            assert bool(losses) is task.cancelled()
        assert outcomes == {True, False}


def test_a_loop_that_ends(server: Server, prefix: str) -> None:
    losses: list[Lost] = []

    async def work() -> None:
        proxy = await Proxy(server.host, server.port).__aenter__()
        r = Client(proxy.url, on_lost=losses.append, timeout=20)
        await r.ping()
        proxy.stall("down")
        task = asyncio.create_task(ROUTES["shared"](r, prefix))
        await asyncio.sleep(0.1)
        clients.append(r)
        tasks.append(task)
        proxies.append(proxy)

    clients: list[Any] = []
    tasks: list[Any] = []
    proxies: list[Any] = []

    async def all_of_it() -> None:
        await work()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:  # as asyncio.run() does
            task.cancel()
        await asyncio.wait(tasks)
        await clients[0].aclose()
        await proxies[0].__aexit__(None, None, None)

    asyncio.run(all_of_it())
    gc.collect()
    assert known(losses) == UNKNOWN


@pytest.mark.turns(2)
@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("way", ["closed", "client closed elsewhere"])
def test_a_loop_that_is_closed_at_any_turn(server: Server, prefix: str, way: str, kept: bool) -> None:
    """Each element is in its list, with the caller, or reported."""
    key = f"{prefix}:list"
    reported = 0

    async def rest() -> list[str]:
        async with Client(server.url) as direct:
            found = await direct.lrange(key, 0, -1)
            await direct.delete(key)
            await direct.rpush(key, "a")
            return found

    asyncio.run(rest())
    for turns in range(8):
        losses: list[Lost] = []
        loop = asyncio.new_event_loop()
        r = Client(server.url, on_lost=losses.append)
        loop.run_until_complete(r.ping())
        popped: list[object] = []

        async def pop(r: Client[str], popped: list[object]) -> None:
            async with r.pipeline(transaction=True) as p:
                element = p.blpop(key, 1)
            popped.append(await element)

        def take_turns(loop: asyncio.AbstractEventLoop, turns: int) -> None:
            for _ in range(turns):
                loop.call_soon(loop.stop)
                loop.run_forever()
                time.sleep(0.002)

        tasks = [loop.create_task(pop(r, popped))]
        take_turns(loop, turns)
        if way != "closed":
            asyncio.run(r.aclose())
            take_turns(loop, 8)
            assert tasks[0].done()
            tasks[0].exception()
            loop.run_until_complete(loop.shutdown_asyncgens())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # asyncio's own: nobody let the connections be closed
            loop.close()
            if not kept:
                tasks.clear()
                gc.collect()
            asyncio.run(r.aclose())
            left = asyncio.run(rest())
            assert len(left) + len(popped) + len(losses) == 1, (turns, left, popped, losses)
            reported += len(losses)
            tasks.clear()
            del loop, r
            gc.collect()
    assert reported
