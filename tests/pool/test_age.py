"""Connections that are old take no new work, drain, and are replaced when one is needed."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from aioresp import Client
from aioresp.testing import Proxy, Server
from tests.rest import at_rest, in_step


def _timers(r: Client[Any]) -> dict[Any, asyncio.TimerHandle]:
    timers: dict[Any, asyncio.TimerHandle] = r.node.pools.here()._leaving._timers
    return timers


async def test_it_is_off_by_default(server: Server) -> None:
    async with Client(server.url) as r:
        await r.ping()
        assert not _timers(r)


async def test_ages_differ_by_a_tenth(server: Server) -> None:
    if not isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop):
        pytest.skip("uvloop's timers do not all tell their time")
    now = asyncio.get_running_loop().time()
    async with Client(server.url, max_age=timedelta(seconds=1000), concurrency=1, limit=50) as r:
        await asyncio.gather(*(r.ping() for _ in range(500)))
        ages = [timer.when() - now for timer in _timers(r).values()]
        assert len(ages) == r.stats().open > 20
        assert 900 <= min(ages) < 980
        assert 1020 < max(ages) <= 1130
        leaving = r.node.pools.here()._leaving
    assert not leaving._timers


async def test_an_idle_one_is_closed_and_replaced_at_the_next_command(server: Server, resp: Any) -> None:
    async with Client(server.url, protocol=resp, max_age=0.05) as r:
        await r.ping()
        while r.stats().open:
            await asyncio.sleep(0.01)
        assert r.stats().made == 1
        await r.ping()
        assert r.stats().made == 2
        assert len(_timers(r)) == r.stats().open


async def test_callers_notice_nothing(server: Server, prefix: str) -> None:
    """Under load, with each connection replaced again and again."""
    for options in ({}, {"limit": 1}, {"concurrency": 1, "limit": 5}, {"limit": 2}):
        kind: Any = options
        async with Client(server.url, max_age=0.05, retry=None, **kind) as r:
            async with asyncio.timeout(60):
                count = 0

                async def work(r: Client[str] = r) -> None:
                    nonlocal count
                    while r.stats().made < 6:
                        await r.incr(f"{prefix}n")
                        async with r.pipeline(transaction=True) as p:
                            p.incr(f"{prefix}n")
                        count += 2
                        async with r.connection() as c:
                            await c.ping()
                            await c.select(0)

                await asyncio.gather(*(work() for _ in range(10)))
            await at_rest(r)
            assert int(await r.get(f"{prefix}n") or 0) == count
            await r.delete(f"{prefix}n")
            await in_step(r)


async def test_a_slow_reply_arrives_and_holds_nobody_up(server: Server, prefix: str) -> None:
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url, max_age=0.2, limit=1) as r:
        await r.ping()
        proxy.stall("down")
        slow = asyncio.create_task(r.echo("slow"))
        while not r.node.pools.here()._leaving.draining:
            await asyncio.sleep(0.01)
        other = asyncio.create_task(r.echo("other"))
        while r.stats().open < 2 and not other.done() and proxy.connections < 2:
            await asyncio.sleep(0.01)
        assert not slow.done()
        proxy.resume("down")
        assert [await slow, await other] == ["slow", "other"]
        while r.stats().open > 1:
            await asyncio.sleep(0.01)


async def test_a_lease_is_kept(server: Server, prefix: str) -> None:
    async with Client(server.url, max_age=0.1) as r:
        async with r.connection() as c:
            number = await c.client_id()
            while not r.node.pools.here()._leaving.lent:
                await asyncio.sleep(0.01)
            assert await c.client_id() == number
            await c.select(1)
        async with r.connection() as c:
            assert await c.client_id() != number
        popping = asyncio.create_task(r.blpop(f"{prefix}jobs", 10))
        while r.stats().leased < 1:
            await asyncio.sleep(0.01)
        while not r.node.pools.here()._leaving.lent:
            await asyncio.sleep(0.01)
        await r.rpush(f"{prefix}jobs", "x")
        assert await popping == (f"{prefix}jobs", "x")
        await at_rest(r)
        while r.node.pools.here()._leaving.lent:  # it is closed, and ends in a later turn of the loop
            await asyncio.sleep(0.01)


async def test_subscriptions_are_left_alone(server: Server) -> None:
    async with Client(server.url, max_age=0.05) as r, r.subscribe("news", gaps=True) as s:
        made = r.node.hubs.here()._made
        await asyncio.sleep(0.3)
        await r.publish("news", "x")
        assert (await anext(s)).data == "x"  # type: ignore[union-attr]
        assert r.node.hubs.here()._made == made == 1
