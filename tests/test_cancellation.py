"""Every operation is cancelled wherever it waits: afterwards the pool is at rest and nobody is off by one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

import aioresp
from aioresp import Client, Pipeline
from aioresp.testing import Proxy, Server
from tests.rest import at_rest, in_step, tasks_besides

Operation = Callable[[Client[str], str], Awaitable[object]]


async def get(r: Client[str], prefix: str) -> object:
    return await r.get(f"{prefix}k")


async def large_set(r: Client[str], prefix: str) -> object:
    return await r.set(f"{prefix}large", "x" * 3_000_000, ex=60)


async def pop(r: Client[str], prefix: str) -> object:
    return await r.blpop(f"{prefix}q", 0)


async def lease(r: Client[str], prefix: str) -> object:
    async with r.connection() as c:
        await c.ping()
        await c.select(1)
        return await c.ping()


async def pop_on_a_lease(r: Client[str], prefix: str) -> object:
    async with r.connection() as c:
        await c.select(1)
        return await c.bzpopmin(f"{prefix}z", 0)


async def close(r: Client[str], prefix: str) -> object:
    await r.ping()
    await r.aclose()
    async with r:
        return await r.ping()


async def pipeline(r: Client[str], prefix: str) -> object:
    p = r.pipeline()
    for n in range(300):
        p.echo(f"{n}")
    assert await p.execute() == [f"{n}" for n in range(300)]
    async with r.pipeline() as p:
        last = p.echo("last")
    return await last


async def transaction(r: Client[str], prefix: str) -> object:
    async with r.pipeline(transaction=True) as p:
        p.incr(f"{prefix}a")
        p.set(f"{prefix}large", "x" * 300_000, ex=60)
        p.incr(f"{prefix}b")
    return await r.get(f"{prefix}a")


async def watching(r: Client[str], prefix: str) -> object:
    async with r.pipeline(transaction=True) as p:
        await p.watch(f"{prefix}a")
        number = int(await p.get(f"{prefix}a") or 0)
        p.multi()
        p.set(f"{prefix}a", number + 1)
        p.set(f"{prefix}b", number + 1)
        await p.execute()
        return await p.watch(f"{prefix}a")


async def large_transaction(r: Client[str], prefix: str) -> object:
    p = r.pipeline(transaction=True)
    p.incr(f"{prefix}a")
    for _ in range(40):
        p.set(f"{prefix}large", "x" * 30_000, ex=60)
    p.incr(f"{prefix}b")
    return (await p.execute())[0]


async def transaction_again(r: Client[str], prefix: str) -> object:
    async def attempt(p: Pipeline[str]) -> None:
        number = int(await p.get(f"{prefix}a") or 0)
        if number == 0:
            await r.mset({f"{prefix}a": 1, f"{prefix}b": 1})  # so that it is tried again
        p.multi()
        p.mset({f"{prefix}a": number + 1, f"{prefix}b": number + 1})

    return await r.transaction(attempt, f"{prefix}a")


async def script(r: Client[str], prefix: str) -> object:
    # One that the server does not know yet.
    add = r.register_script(f"return redis.call('INCR', KEYS[1]) -- {prefix} {os.urandom(4).hex()}")
    async with r.pipeline() as p:
        first = add([f"{prefix}n"], client=p)
    return await first, await add([f"{prefix}n"])


async def iterator(r: Client[str], prefix: str) -> object:
    await r.hset(f"{prefix}h", mapping={str(n): n for n in range(600)})
    return [field async for field, _ in r.hscan_iter(f"{prefix}h", count=50)]


async def stream_reader(r: Client[str], prefix: str) -> object:
    await r.xadd(f"{prefix}s", {"n": 1})
    async with r.stream_reader(f"{prefix}s", last_id="0") as s:
        async for _ in s:
            pass
    raise AssertionError("it has no end")


async def group_reader(r: Client[str], prefix: str) -> object:
    await r.xadd(f"{prefix}s", {"n": 1})
    async with r.group_reader("group", "me", f"{prefix}s", count=1) as g:
        async for _ in g:
            pass
    raise AssertionError("it has no end")


async def subscription(r: Client[str], prefix: str) -> object:
    async with r.subscribe(f"{prefix}a", f"{prefix}b") as s:
        await s.psubscribe(f"{prefix}*")
        await r.publish(f"{prefix}a", "1")
        return await s.get(), await s.get(), await s.get(timeout=0.01)


async def keyspace(r: Client[str], prefix: str) -> object:
    await r.config_set("notify-keyspace-events", "KA")
    async with r.keyspace_events(f"{prefix}n*") as events:
        await r.incr(f"{prefix}n")
        return await events.get()


async def monitor(r: Client[str], prefix: str) -> object:
    async with r.monitor() as m:
        await r.get(f"{prefix}k")
        return await m.get()


TURNS = 14

OPERATIONS: list[Operation] = [
    *(get, large_set, pop, lease, pop_on_a_lease, close),
    *(pipeline, transaction, watching, large_transaction, transaction_again),
    *(script, iterator),
    *(stream_reader, group_reader),
    *(subscription, keyspace, monitor),
]


def in_turns(first: int) -> list[Any]:
    """Return each operation warm and cold, on one kind of pool in turns; on the other kind in a long run.

    `make test` has one of the two, in turns as well, and with another `first` the other one: two files share them.
    """
    found = []
    for number, operation in enumerate(OPERATIONS):
        for warm in (True, False):
            for concurrency in (1, 1000):
                marks = [pytest.mark.ci] * ((number // 2 + warm + first) % 2)
                if (number + warm + (concurrency == 1)) % 2 == 0:
                    marks = [pytest.mark.soak]
                name = f"{operation.__name__}-{'warm' if warm else 'cold'}-{concurrency}"
                found.append(pytest.param(operation, warm, concurrency, id=name, marks=marks))
    return found


@pytest.mark.parametrize(("operation", "warm", "concurrency"), in_turns(0))
@pytest.mark.usefixtures("no_debug")
async def test_cancelled_after_any_number_of_turns(
    server: Server, prefix: str, operation: Operation, warm: bool, concurrency: int
) -> None:
    """Cold, the turns go through connecting and the handshake; warm, through sending and receiving."""
    before = tasks_besides()
    async with Proxy(server.host, server.port) as proxy:
        proxy.delay = 0.002
        finished = 0
        for turns in range(TURNS):
            async with Client(proxy.url, limit=3, concurrency=concurrency, timeout=5) as r:
                if warm:
                    await r.ping()
                task = asyncio.ensure_future(operation(r, prefix))
                for _ in range(turns // 2):
                    await asyncio.sleep(0)
                if turns % 2:
                    await asyncio.sleep(turns / 1500)
                task.cancel()
                try:
                    await task
                    finished += 1
                except asyncio.CancelledError:
                    pass
                await at_rest(r)
                async with r:  # it may have been cancelled while it was closed
                    await in_step(r)
                    await at_rest(r)
                    assert r.stats().open <= 4  # one of them for subscriptions
                    assert not r.node.hubs.here()._topics, "a subscription that was left is not forgotten"
                    a, b = await r.mget(f"{prefix}a", f"{prefix}b")
                    assert a == b, "half a transaction"
        assert finished < TURNS, "it was never cancelled in time"
    assert tasks_besides() <= before


async def test_a_command_cancelled_before_it_is_sent_costs_nothing(server: Server, prefix: str) -> None:
    async with Client(server.url, concurrency=1, limit=1) as r:
        await r.ping()
        tasks = [asyncio.create_task(r.incr(f"{prefix}n")) for _ in range(10)]
        await asyncio.sleep(0)  # one is under way, nine wait for the connection
        for task in tasks[1:]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert await r.getdel(f"{prefix}n") == "1"
        assert r.stats().made == 1


async def test_a_cancelled_command_keeps_its_connection(server: Server) -> None:
    async with Client(server.url) as r:
        await r.ping()
        for _ in range(100):
            task = asyncio.create_task(r.ping())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await in_step(r)
        assert r.stats().made == 1


async def test_cancellation_is_never_turned_into_something_else(server: Server, prefix: str) -> None:
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url, timeout=5) as r:
        await r.ping()
        proxy.stall()
        async with asyncio.timeout(1):
            with anyio.move_on_after(0.05) as scope:
                await r.get(f"{prefix}k")
            assert scope.cancelled_caught
            with pytest.raises(TimeoutError) as caught:
                async with asyncio.timeout(0.05):
                    await r.get(f"{prefix}k")
            assert not isinstance(caught.value, aioresp.RedisError)
        proxy.resume()
        await in_step(r)


async def test_a_reply_and_a_cancellation_in_the_same_turn(server: Server) -> None:
    """The reply is there, the task has not woken yet, and is cancelled: the reply is dropped, nothing else is."""
    async with Client(server.url) as r:
        await r.ping()
        pool = r.node.pools.here()
        connection = pool.current
        crossed = 0
        for _ in range(50):
            task = asyncio.create_task(r.echo("mine"))
            await asyncio.sleep(0)
            while connection.in_flight:
                await asyncio.sleep(0)
            task.cancel()
            try:
                assert await task == "mine"
            except asyncio.CancelledError:
                crossed += 1
        assert crossed
        await in_step(r)
        assert r.stats().made == 1


@pytest.mark.parametrize("error", ["ResponseError", "DecodeError"])
async def test_an_error_reply_and_a_cancellation_in_the_same_turn(
    server: Server, prefix: str, error: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody is left to fetch the error: no "exception was never retrieved" in the log."""
    async with Client(server.url) as r:
        await r.set(f"{prefix}k", b"\xff")
        connection = r.node.pools.here().current
        for _ in range(20):
            task = asyncio.create_task(
                r.get(f"{prefix}k") if error == "DecodeError" else r.call("LPUSH", f"{prefix}k", 1)
            )
            await asyncio.sleep(0)
            while connection.in_flight:
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                assert type(task.exception()).__name__ in ("DecodeError", "WrongTypeError")
        await r.delete(f"{prefix}k")
    assert "never retrieved" not in caplog.text
