"""Errors that nobody holds any more go at once, and do not wait for the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from aioresp import Client, ClientClosed, CommandRefused, Lease, RedisError, Retry
from aioresp.testing import Proxy, Server

pytestmark = pytest.mark.usefixtures("frozen")

Call = Callable[[Client[str], str], Awaitable[object]]


async def error_of(call: Awaitable[object]) -> weakref.ref[RedisError]:
    try:
        await call
    except RedisError as error:
        return weakref.ref(error)
    raise AssertionError("there was no error")


async def goes(call: Awaitable[object]) -> None:
    """Check that the error of `call` goes with its handler."""
    gc.collect()
    gc.disable()
    try:
        error = await error_of(call)
        for _ in range(5):
            await asyncio.sleep(0)
        assert error() is None, f"held by {[type(one) for one in gc.get_referrers(error())]}"
    finally:
        gc.enable()


async def queue(r: Client[str] | Lease[str], key: str, transaction: bool) -> None:
    async with r.pipeline(transaction=transaction) as p:
        p.lpush(key, "x")


async def queue_pop(r: Client[str], key: str) -> None:
    async with r.pipeline(transaction=True) as p:
        p.blpop(key)


async def on_a_lease(r: Client[str], call: Callable[[Lease[str]], Awaitable[object]]) -> None:
    async with r.connection() as c:
        await call(c)


async def fill(r: Client[str], key: str) -> None:
    p = r.pipeline()
    for _ in range(10_001):
        p.set(key, "x")
    await p.execute()


async def move_odd(r: Client[str], key: str) -> None:
    """Move an element that is not UTF-8. (What a pop takes is logged, and the test's log has the error.)"""
    await r.call("RPUSH", f"{key}:list", b"\xff")
    await r.execute(("BLMOVE", f"{key}:list", f"{key}:list", "LEFT", "LEFT", 0), int)


#: Calls that the server refuses, as their key has a string.
REFUSED: dict[str, Call] = {
    "plain": lambda r, k: r.lpush(k, "x"),
    "pop": lambda r, k: r.blpop(k, 1),
    "move": lambda r, k: r.brpoplpush(k, k, 1),
    "undecodable": lambda r, k: move_odd(r, k),
    "pipeline": lambda r, k: queue(r, k, False),
    "transaction": lambda r, k: queue(r, k, True),
    "transaction-pop": queue_pop,
    "lease": lambda r, k: on_a_lease(r, lambda c: c.lpush(k, "x")),
    "lease-pop": lambda r, k: on_a_lease(r, lambda c: c.blpop(k)),
    "lease-pipeline": lambda r, k: on_a_lease(r, lambda c: queue(c, k, False)),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=list(REFUSED))
async def test_errors_of_the_server(r: Client[str], prefix: str, call: Call) -> None:
    await r.set(prefix, "x")
    await goes(call(r, prefix))


#: Calls that do no good on a lost connection.
LOST: dict[str, Call] = {
    "plain": lambda r, k: r.incr(k),
    "pop": lambda r, k: r.blpop(k, 5),
    "pipeline": lambda r, k: queue(r, k, False),
    "large": fill,
}


@pytest.fixture
async def cramped(proxy: Proxy, server: Server) -> AsyncIterator[Client[str]]:
    """A client with one connection, which takes one command at a time."""
    one: dict[str, Any] = {"limit": 1, "concurrency": 1, "retry": Retry(2, base=0)}
    async with Client(server.url, host="127.0.0.1", port=proxy.port, **one) as r:
        await r.ping()
        yield r


@pytest.mark.parametrize("call", LOST.values(), ids=list(LOST))
async def test_lost_connections(cramped: Client[str], proxy: Proxy, prefix: str, call: Call) -> None:
    async def lose() -> None:
        proxy.stall("down")
        task = asyncio.ensure_future(call(cramped, prefix))
        try:
            await asyncio.wait([task], timeout=0.1)
            proxy.cut()
            proxy.resume()
            await task
        finally:
            del task  # it has the error

    await goes(lose())


async def test_waits_in_line(cramped: Client[str], proxy: Proxy, prefix: str) -> None:
    late = cramped.with_options(timeout=0.02)
    proxy.stall("down")
    first = asyncio.ensure_future(cramped.get(prefix))
    await asyncio.sleep(0)
    await goes(late.get(prefix))
    await goes(queue(late, prefix, False))
    proxy.resume()
    await first
    async with cramped.connection():
        await goes(on_a_lease(late, lambda c: c.ping()))


async def test_no_server(server: Server, prefix: str) -> None:
    closed = Client(server.url)
    await closed.aclose()
    away: Any = Client("redis://127.0.0.1:1", retry=Retry(2, base=0))
    for r in (closed, away):
        await goes(r.get(prefix))
        await goes(r.blpop(prefix))
        await goes(queue(r, prefix, False))
    await goes(closed.connection().__aenter__())


async def test_a_handle_keeps_its_error_without_the_frames(r: Client[str], prefix: str) -> None:
    """The handle's user has it as long as the handle, the other one goes."""
    await r.aclose()
    p = r.pipeline()
    handle = p.get(prefix)
    await goes(p.execute())
    with pytest.raises(ClientClosed):
        await handle


async def test_a_retired_pool(r: Client[str]) -> None:
    async with r.connection():
        pool = r.node.pools.here()
        pool.retire(ConnectionError("it has moved"))
        await goes(pool.lease("a test", None))


async def test_a_refused_command(r: Client[str]) -> None:
    assert issubclass(CommandRefused, RedisError)
    await goes(r.call("SELECT", 1))
