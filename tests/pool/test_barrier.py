"""Barrier before a pool: writes wait, reads go on, and everybody goes on where the pool is by then."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aioresp import Client, ClientClosed, ConnectionLost, PoolTimeout
from aioresp.pool.barrier import Barrier
from aioresp.testing import Server
from tests.rest import at_rest


@pytest.fixture
async def barrier(r: Client[str]) -> Barrier:
    await r.ping()
    made = Barrier(asyncio.get_running_loop(), "a test holds writes")
    r.node.pools.here().put_behind(made)
    return made


async def paths(r: Client[str], key: str) -> list[asyncio.Task[Any]]:
    """Return calls that write, one for each way of a command."""

    async def pipeline() -> None:
        async with r.pipeline() as p:
            p.get(key)
            p.incr(key)

    async def transaction() -> None:
        async with r.pipeline(transaction=True) as p:
            p.incr(key)

    calls = (r.incr(key), pipeline(), transaction(), r.eval("return redis.call('incr', KEYS[1])", 1, key))
    tasks = [asyncio.ensure_future(call) for call in (*calls, r.blpop((f"{key}list",), 5))]
    await asyncio.sleep(0.05)
    return tasks


async def test_writes_wait_on_every_path_and_reads_go_on(r: Client[str], barrier: Barrier, prefix: str) -> None:
    tasks = await paths(r, prefix)
    assert not any(task.done() for task in tasks)
    assert len(barrier) == 5
    assert await r.get(prefix) is None
    async with r.pipeline() as p:
        value = p.get(prefix)
    assert await value is None
    r.node.pools.here().put_behind(None)
    barrier.open()
    await r.rpush(f"{prefix}list", "x")
    await asyncio.gather(*tasks)
    assert await r.get(prefix) == "4"
    assert r.node.pools.here().current.capacity > 0, "the fast path is open again"
    await at_rest(r)


async def test_those_in_line_before_the_barrier_come_behind_it(server: Server, prefix: str) -> None:
    """Of those, writes wait, and reads go on; a pop that waits for a connection of its own waits, too."""
    async with Client(server.url, limit=1, concurrency=1) as r, Client(server.url) as other:
        await r.ping()
        pops = [asyncio.ensure_future(r.blpop((f"{prefix}list",), 10)) for _ in range(2)]
        await asyncio.sleep(0.05)
        await r.ping()  # by the connection beside that of the first pop
        slow = asyncio.ensure_future(r.eval("for i = 1, 3000000 do end return 1", 0))
        await asyncio.sleep(0)
        writes = [asyncio.ensure_future(r.incr(prefix)) for _ in range(3)]
        reads = [asyncio.ensure_future(r.get(prefix)) for _ in range(3)]
        await asyncio.sleep(0)
        barrier = Barrier(asyncio.get_running_loop(), "a test holds writes")
        pool = r.node.pools.here()
        pool.put_behind(barrier, ConnectionLost("a test holds writes", "not sent"))
        assert await asyncio.gather(*reads) == [None] * 3
        await slow
        await other.rpush(f"{prefix}list", "first", "second")
        await asyncio.wait(pops, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(0.05)
        assert sum(pop.done() for pop in pops) == 1, "the other pop had no connection yet"
        assert not any(write.done() for write in writes)
        pool.put_behind(None)
        barrier.open()
        assert sorted(await asyncio.gather(*writes)) == [1, 2, 3]
        assert set(await asyncio.gather(*pops)) == {(f"{prefix}list", "first"), (f"{prefix}list", "second")}


async def test_a_large_batch_stops_in_the_middle(r: Client[str], other: Client[str], prefix: str) -> None:
    count = 60_000
    p = r.pipeline()
    for _ in range(count):
        p.incr(prefix)
    task = asyncio.ensure_future(p.execute())
    async with asyncio.timeout(20):
        while not int(await other.get(prefix) or 0):
            await asyncio.sleep(0)
    barrier = Barrier(asyncio.get_running_loop(), "a test holds writes")
    pool = r.node.pools.here()
    pool.put_behind(barrier)
    seen = -1
    async with asyncio.timeout(20):
        while seen != (seen := int(await other.get(prefix) or 0)):
            await asyncio.sleep(0.2)
    assert 0 < seen < count
    assert not task.done()
    pool.put_behind(None)
    barrier.open()
    assert len(await task) == count
    assert await other.get(prefix) == str(count)


async def test_a_lease_waits_too(r: Client[str], prefix: str) -> None:
    async with r.connection() as c:
        barrier = Barrier(asyncio.get_running_loop(), "a test holds writes")
        pool = r.node.pools.here()
        pool.put_behind(barrier)
        write = asyncio.ensure_future(c.incr(prefix))
        await asyncio.sleep(0.02)
        assert await c.get(prefix) is None
        assert not write.done()
        pool.put_behind(None)
        barrier.open()
        assert await write == 1


async def test_those_who_waited_go_on_in_another_pool_and_leases_do_not(r: Client[str], prefix: str) -> None:
    async with r.connection() as c:
        barrier = Barrier(asyncio.get_running_loop(), "a test holds writes")
        old = r.node.pools.here()
        old.put_behind(barrier)
        leased = asyncio.ensure_future(c.incr(prefix))
        tasks = await paths(r, prefix)
        r.node.retire(ConnectionError("it has moved"))
        barrier.open()
        await r.rpush(f"{prefix}list", "x")
        await asyncio.gather(*tasks)
        assert r.node.pools.here() is not old
        with pytest.raises(ConnectionLost, match="lease another") as caught:
            await leased
        assert caught.value.outcome == "not sent"
    assert await r.get(prefix) == "4"


async def test_the_deadline_holds_and_nothing_is_left(r: Client[str], barrier: Barrier, prefix: str) -> None:
    view = r.with_options(timeout=0.05)
    with pytest.raises(PoolTimeout, match="a test holds writes"):
        await view.incr(prefix)
    with pytest.raises(PoolTimeout, match="a test holds writes"):
        async with view.pipeline() as p:
            p.incr(prefix)
    assert len(barrier) == 0
    task = asyncio.ensure_future(r.incr(prefix))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert len(barrier) == 0
    r.node.pools.here().put_behind(None)
    barrier.open()
    assert await r.get(prefix) is None


async def test_a_barrier_that_fails_turns_all_away(r: Client[str], barrier: Barrier, prefix: str) -> None:
    tasks = await paths(r, prefix)
    barrier.fail(ClientClosed("the client was closed"))
    await asyncio.wait(tasks)
    assert all(isinstance(task.exception(), ClientClosed) for task in tasks)
