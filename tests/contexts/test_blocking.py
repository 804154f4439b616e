"""Blocking commands whose callers go: nothing is lost, and the connection goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Literal

import pytest

from aioresp import Client, CommandTimeout
from aioresp.contexts import blocking
from aioresp.testing import Proxy, Server
from tests.contexts.blocking import LISTS, OTHERS, POPS, Since, cancel, errors, is_blocked, is_gone, since
from tests.rest import at_rest, in_step, until

__all__ = ["errors", "since"]  # fixtures

#: Scores of which a careless way back would lose something.
SCORES = [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, float("inf"), float("-inf"), -0.0, 2**53 + 2.0, 1e22]


async def fill(direct: Client[Any], key: str, command: str) -> object:
    """Put elements there, and return how to find them unchanged."""
    if command in LISTS:
        await direct.rpush(key, b"\xff\x00", "a", "b", "b", "c")
    else:
        await direct.zadd(key, {f"m{n}": score for n, score in enumerate(SCORES)})
    return await found(direct, key, command)


async def found(direct: Client[Any], key: str, command: str) -> object:
    if command in LISTS:
        return await direct.lrange(key, 0, -1)
    return await direct.zrange(key, 0, -1, withscores=True)


# --- Nothing had been popped ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [*POPS, *OTHERS])
async def test_a_cancelled_wait_ends_on_the_server_and_keeps_its_connection(
    server: Server, prefix: str, since: Since, resp: Literal[2, 3], command: str, errors: Callable[[], list[str]]
) -> None:
    wait, version = (POPS | OTHERS)[command]
    since(*version)
    async with Client(server.url, protocol=resp) as r, Client(server.url) as direct:
        await direct.xgroup_create(f"{prefix}k:stream", "group", mkstream=True)
        await r.ping()
        for _ in range(3):
            task = asyncio.ensure_future(wait(r, f"{prefix}k"))
            await is_blocked(direct)
            await cancel(task)
            await at_rest(r)
            assert (await direct.info("clients"))["blocked_clients"] == 0
        await in_step(r)
        assert r.stats().made == r.stats().open <= 2
    assert errors() == []


async def test_the_caller_is_released_at_once(server: Server, prefix: str) -> None:
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url) as r:
        await r.ping()
        task = asyncio.create_task(r.blpop(f"{prefix}q"))
        await asyncio.sleep(0.05)
        proxy.delay = 0.5
        await cancel(task)
        assert r.stats().leased == 1  # had it waited for the pop's end, the connection would be back
        await at_rest(r)
        assert r.stats().open == r.stats().made


async def test_an_unblock_that_comes_before_the_pop_is_sent_again(server: Server, prefix: str) -> None:
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url) as r:
        async with r.connection() as c:
            await asyncio.gather(r.ping(), c.ping())  # so that two connections are open
        delays = [0.4]
        proxy.delay = lambda: delays.pop() if delays else 0.0
        task = asyncio.create_task(r.blpop(f"{prefix}q"))
        await until(lambda: not delays)  # the pop is on its way, and stays there for a while
        calls = (await r.info("commandstats")).get("cmdstat_client|unblock", {"calls": 0})["calls"]
        await cancel(task)
        await at_rest(r)
        stats = await r.info("commandstats")
        if "cmdstat_client|unblock" in stats:  # since 7.0
            assert stats["cmdstat_client|unblock"]["calls"] - calls >= 2
        assert r.stats().made == r.stats().open == 2


async def test_a_late_unblock_does_not_end_the_next_command(server: Server, prefix: str) -> None:
    """The connection is not given back while a CLIENT UNBLOCK for it is under way."""
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url, limit=2) as r, Client(server.url) as direct:
        async with r.connection() as c:
            await asyncio.gather(r.ping(), c.ping())
        task = asyncio.create_task(r.blpop(f"{prefix}q"))
        await is_blocked(direct)
        delays = [0.2]
        proxy.delay = lambda: delays.pop() if delays else 0.0
        await cancel(task)
        await until(lambda: not delays)  # this is how long the CLIENT UNBLOCK is on its way
        await direct.rpush(f"{prefix}q", "job")  # ends the pop at once
        async with asyncio.timeout(20):
            while await direct.lrange(f"{prefix}q", 0, -1) != ["job"]:  # and is put back
                await asyncio.sleep(0.005)
        waiting = asyncio.create_task(r.blpop(f"{prefix}other", 5))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await direct.rpush(f"{prefix}other", "mine")
        assert await waiting == (f"{prefix}other", "mine")
        assert r.stats().made == 2


# --- An element had been popped --------------------------------------------------------------------------------------


@pytest.mark.parametrize("decode", [True, False], ids=["str", "bytes"])
@pytest.mark.parametrize("command", POPS)
async def test_elements_are_put_back_where_they_were(
    server: Server, prefix: str, since: Since, resp: Literal[2, 3], decode: bool, command: str
) -> None:
    wait, version = POPS[command]
    since(*version)
    key = f"{prefix}k"
    async with Proxy(server.host, server.port) as proxy, Client(server.url, decode_responses=False) as direct:
        r: Client[Any] = (
            Client(proxy.url, protocol=resp) if decode else Client(proxy.url, protocol=resp, decode_responses=False)
        )
        async with r:
            await r.ping()
            before = await fill(direct, key, command)
            proxy.delay = 0.1
            task = asyncio.ensure_future(wait(r, key))
            async with asyncio.timeout(20):
                while await found(direct, key, command) == before:
                    await asyncio.sleep(0.002)
            await cancel(task)  # the reply is on its way
            proxy.delay = 0
            await at_rest(r)
            assert await found(direct, key, command) == before
            assert r.stats().made == r.stats().open


@pytest.mark.parametrize("command", POPS)
async def test_a_reply_and_a_cancellation_in_the_same_turn(
    server: Server, prefix: str, since: Since, command: str
) -> None:
    """Wherever between the reply and the task that it wakes the cancellation comes: no element is lost or doubled."""
    wait, version = POPS[command]
    since(*version)
    key = f"{prefix}k"
    raw: Client[Any] = Client(server.url, decode_responses=False)
    async with raw as r, Client(server.url, decode_responses=False) as direct:
        await r.ping()
        before = await fill(direct, key, command)
        outcomes = []
        for turns in range(12):
            task = asyncio.ensure_future(wait(r, key))
            await asyncio.sleep(0)
            async with asyncio.timeout(5):
                while not any(connection.in_flight for connection in r.node.pools.here()._leased):
                    await asyncio.sleep(0)
                while any(connection.in_flight for connection in r.node.pools.here()._leased):
                    await asyncio.sleep(0)
            for _ in range(turns // 4):
                await asyncio.sleep(0)
            task.cancel()
            outcomes.append((await asyncio.gather(task, return_exceptions=True))[0])
            await at_rest(r)
            if isinstance(outcomes[-1], asyncio.CancelledError):
                assert await found(direct, key, command) == before
            else:
                assert await found(direct, key, command) != before
                await direct.delete(key)
                await fill(direct, key, command)
        assert any(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
        assert any(isinstance(outcome, (tuple, list)) for outcome in outcomes)


async def test_a_score_that_was_set_meanwhile_stays(server: Server, prefix: str) -> None:
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url) as r, Client(server.url) as direct:
        await r.ping()
        await direct.zadd(f"{prefix}z", {"m": 1})
        proxy.delay = 0.1
        task = asyncio.create_task(r.bzpopmin(f"{prefix}z"))
        await asyncio.sleep(0.05)
        await cancel(task)
        await is_gone(direct, f"{prefix}z")
        await direct.zadd(f"{prefix}z", {"m": 5})
        await at_rest(r)
        assert await direct.zscore(f"{prefix}z", "m") == 5


async def test_moves_and_streams_need_no_putting_back(server: Server, prefix: str, since: Since) -> None:
    since(6, 2)
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url) as r, Client(server.url) as direct:
        await r.ping()
        await direct.xgroup_create(f"{prefix}s", "group", mkstream=True)
        await direct.xadd(f"{prefix}s", {"a": 1})
        await direct.rpush(f"{prefix}from", "job")
        proxy.delay = 0.05
        task: asyncio.Future[Any] = asyncio.ensure_future(r.blmove(f"{prefix}from", f"{prefix}to", 0))
        await is_gone(direct, f"{prefix}from")
        await cancel(task)
        task = asyncio.ensure_future(r.xreadgroup("group", "me", {f"{prefix}s": ">"}, block=0))
        async with asyncio.timeout(5):
            while not (await direct.xpending(f"{prefix}s", "group")).pending:
                await asyncio.sleep(0.002)
        await cancel(task)
        await at_rest(r)
        assert await direct.lrange(f"{prefix}to", 0, -1) == ["job"]
        assert (await direct.xpending(f"{prefix}s", "group")).pending == 1


# --- Deadlines --------------------------------------------------------------------------------------------------------


async def test_a_pop_that_is_later_than_the_server_said_is_put_back(
    server: Server, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocking, "GRACE", 0.1)
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url) as r:
        await r.ping()
        async with Client(server.url) as direct:
            task = asyncio.create_task(r.with_options(timeout=0.05).blpop(f"{prefix}q", 0.2))
            await is_blocked(direct)
            proxy.stall("down")
            await direct.rpush(f"{prefix}q", "job")
            started = time.monotonic()
            with pytest.raises(CommandTimeout, match=r"no reply in 0\.3 s \[BLPOP 'test_"):
                await task
            assert time.monotonic() - started < 10  # without a deadline of its own, never
            assert await direct.lrange(f"{prefix}q", 0, -1) == []
            proxy.resume()
            await at_rest(r)
            assert await direct.lrange(f"{prefix}q", 0, -1) == ["job"]


async def test_a_pop_without_an_end_is_not_cut_by_the_deadline_of_the_client(server: Server, prefix: str) -> None:
    async with Client(server.url, timeout=0.5) as r:
        task = asyncio.create_task(r.brpop(f"{prefix}q", 0))
        await asyncio.sleep(0.8)
        assert not task.done()
        await r.with_options(timeout=5).lpush(f"{prefix}q", "job")
        assert await task == (f"{prefix}q", "job")


async def test_a_big_reply_that_keeps_arriving_is_not_late(
    server: Server, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocking, "GRACE", 4.0)  # less than it takes in all, if the machine has time
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url) as r, Client(server.url) as direct:
        await r.ping()
        await direct.rpush(f"{prefix}q", "x" * 450_000)
        turns = iter(range(10**6))

        def piece() -> int:
            time.sleep(0.011)  # the proxy sends but one piece in a turn of the loop
            return next(turns) and 1000

        proxy.split = piece
        popped = await r.blpop(f"{prefix}q", 0.01)
        assert popped is not None
        assert len(popped[1]) == 450_000
