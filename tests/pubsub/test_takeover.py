"""The first subscription takes over an idle connection of the pool."""

from __future__ import annotations

import asyncio
import gc
import time
import warnings
from typing import Any, Literal

import pytest

import aioresp
from aioresp import Client, Message
from aioresp.events import ConnectionEnded, ConnectionMade, Event
from aioresp.testing import Proxy, Server
from aioresp.wire.deadlines import WAKE
from tests.pubsub.listening import subscribers, until
from tests.rest import at_rest, in_step, nothing_left


async def test_an_idle_connection_is_taken_over(
    server: Server, other: Client[str], resp: Literal[2, 3], prefix: str
) -> None:
    async with Client(server.url, protocol=resp, limit=1, db=3, client_name="listener") as r:
        mine = await r.client_id()
        async with r.subscribe(prefix) as s:
            (info,) = [info for info in await other.client_list(_type="pubsub") if info.name == "listener"]
            assert (info.id, info.db) == (mine, 3)
            assert info.resp in (resp, None)  # Redis 6.2 does not tell
            assert (r.stats().open, r.stats().made) == (1, 1)
            assert r.node.pools.here().stats().open == 0
            await r.publish(prefix, "x")  # over another one
            assert await s.get(5) == Message(prefix, "x")
            async with r.connection() as c:  # the limit counts as before
                assert await c.client_id() != mine
                await r.ping()
            async with r.psubscribe(f"*{prefix[-10:]}") as p:  # the second one takes nothing
                await r.publish(prefix, "y")
                assert await p.get(5) == Message(prefix, "y", f"*{prefix[-10:]}")
            assert r.stats().made == 3
        await at_rest(r)
        await in_step(r)


async def test_a_busy_connection_is_left_alone(server: Server, proxy: Proxy, prefix: str) -> None:
    async with Client(proxy.url) as r:
        await r.ping()
        proxy.stall("down")
        waiting = asyncio.ensure_future(r.ping())
        await asyncio.sleep(0)
        s = r.subscribe(prefix)
        entering = asyncio.ensure_future(s.__aenter__())
        await asyncio.sleep(0.05)
        assert r.node.pools.here().stats().open == 1
        proxy.resume()
        await entering
        assert await waiting
        assert r.stats().made == 2
        await s.__aexit__(None, None, None)


async def test_a_connection_that_somebody_waits_for_is_left_alone(server: Server, prefix: str) -> None:
    async with Client(server.url, limit=1) as r:
        async with r.connection() as c:
            popping = asyncio.ensure_future(r.blpop(f"{prefix}q", 5))
            await asyncio.sleep(0)
            async with r.subscribe(prefix):
                assert r.stats().made >= 2
            await c.rpush(f"{prefix}q", "x")
        assert await popping == (f"{prefix}q", "x")


async def test_many_first_subscriptions(server: Server, other: Client[str], resp: Literal[2, 3], prefix: str) -> None:
    async with Client(server.url, protocol=resp) as r:
        await r.ping()
        opened = [r.subscribe(f"{prefix}{n % 10}") for n in range(100)]
        began = time.monotonic()
        await asyncio.gather(*(s.__aenter__() for s in opened))
        assert r.stats().open == 1
        assert r.stats().made == 1 or time.monotonic() - began > WAKE  # a busy server may take so long
        for n in range(10):
            assert await other.publish(f"{prefix}{n}", str(n)) == 1
        assert [await s.get(5) for s in opened] == [Message(f"{prefix}{n % 10}", str(n % 10)) for n in range(100)]
        assert all(s.gaps == () for s in opened)
        for s in opened:
            await s.__aexit__(None, None, None)


@pytest.mark.parametrize("turns", range(8))
async def test_cancelled_on_the_way(server: Server, resp: Literal[2, 3], prefix: str, turns: int) -> None:
    async with nothing_left(), Client(server.url, protocol=resp) as r:
        await in_step(r)
        entering = asyncio.ensure_future(r.subscribe(prefix).__aenter__())
        for _ in range(turns):
            await asyncio.sleep(0)
        entering.cancel()
        try:
            await (await entering).__aexit__(None, None, None)
        except asyncio.CancelledError:
            pass
        await in_step(r)
        async with r.subscribe(prefix) as s:
            await subscribers(r, prefix, 1)
            await r.publish(prefix, "x")
            assert await s.get(5) == Message(prefix, "x")
            assert s.gaps == ()
        assert r.stats().made <= 2


@pytest.mark.parametrize("retry", [aioresp.Retry(), None], ids=["retry", "never"])
@pytest.mark.parametrize("fault", ["cut", "reset", "half open", "stalled"])
async def test_it_was_dead(
    server: Server, proxy: Proxy, resp: Literal[2, 3], prefix: str, fault: str, retry: aioresp.Retry | None
) -> None:
    """Whether that can be known or not: the subscription gets another connection, as if there had been none."""
    heard: list[Event] = []
    async with Client(proxy.url, protocol=resp, retry=retry, events=heard.append) as r:
        await r.ping()
        if fault == "half open":
            proxy.half_open()
            proxy.accept()
        elif fault == "stalled":  # it dies at the take-over
            proxy.cut_after(0, "up")
        else:
            proxy.cut(rst=fault == "reset")
        async with asyncio.timeout(8):
            async with r.subscribe(prefix) as s:
                await r.publish(prefix, "x")
                assert await s.get(5) == Message(prefix, "x")
                assert s.gaps == ()
    assert len([event for event in heard if isinstance(event, ConnectionMade)]) <= 3
    assert [event for event in heard if isinstance(event, ConnectionEnded)]


async def test_a_loop_that_stands_still_is_no_dead_connection(server: Server, prefix: str) -> None:
    async with Client(server.url) as r:
        await r.ping()
        async with asyncio.TaskGroup() as group:
            s = r.subscribe(prefix)
            group.create_task(s.__aenter__())
            await asyncio.sleep(0)
            await asyncio.sleep(0)  # what it sends is written
            time.sleep(1.5)
        assert r.stats().made == 1
        await asyncio.sleep(1.2)
        assert (r.stats().open, s.gaps) == (1, ())
        await s.__aexit__(None, None, None)


async def test_figures_count_it_once(server: Server, proxy: Proxy, prefix: str) -> None:
    async with Client(proxy.url) as r:
        for _ in range(10):
            await r.ping()
        before = r.stats()
        async with r.subscribe(prefix):
            during = r.stats()
            assert (during.open, during.made) == (before.open, before.made)
            assert during.commands == before.commands  # subscriptions count theirs in bytes alone
            assert during.bytes_sent > before.bytes_sent
            proxy.refuse()
            proxy.cut()
            await until(lambda: r.stats().open == 0)
            after = r.stats()
            assert (after.commands, after.bytes_sent) == (during.commands, during.bytes_sent)
            assert after.made == 1


async def test_a_pool_that_was_left_gives_nothing_away(r: Client[str], prefix: str) -> None:
    await r.ping()
    r.node.retire(ConnectionError("it has moved"))
    async with r.subscribe(prefix):
        assert r.stats().made == 2


async def test_a_client_that_is_dropped_still_warns(server: Server, prefix: str) -> None:
    """What takes over refers to the pools, and must not keep them."""
    r: Any = Client(server.url)
    await r.ping()
    async with r.subscribe(prefix):
        await r.ping()
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        del r
        gc.collect()
    assert any("unclosed client" in str(warning.message) for warning in found)
    await asyncio.sleep(0.05)
