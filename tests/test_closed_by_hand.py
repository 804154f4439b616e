"""Coroutines that are closed, or thrown into, while they wait: nobody is kept in a line whose caller has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import aioresp
from aioresp import Client
from aioresp.testing import Server
from tests.contexts.blocking import is_blocked
from tests.rest import at_rest, in_step

pytestmark = pytest.mark.quick

End = Callable[[Coroutine[Any, Any, Any]], None]


def close(coroutine: Coroutine[Any, Any, Any]) -> None:
    coroutine.close()


def throw(coroutine: Coroutine[Any, Any, Any]) -> None:
    with pytest.raises(LookupError):
        coroutine.throw(LookupError())


@pytest.fixture(params=[close, throw])
def end(request: pytest.FixtureRequest) -> End:
    function: End = request.param
    return function


def begin(call: Any) -> Coroutine[Any, Any, Any]:
    """Take the first step of a call; it waits then."""
    coroutine: Coroutine[Any, Any, Any] = call
    coroutine.send(None)
    return coroutine


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_wait_for_a_lease_leaves_the_line(server: Server, end: End) -> None:
    async with Client(server.url, limit=2, timeout=5) as r:
        async with r.connection():
            waiting = begin(r.connection().__aenter__())
            assert r.stats().waiting == 1
            end(waiting)
            assert r.stats().waiting == 0
        await turns()
        assert r.stats().leased == 0
        async with r.connection() as other:
            assert await other.ping()


async def test_a_lease_that_has_just_come_goes_back(server: Server, end: End) -> None:
    async with Client(server.url, limit=2, timeout=5) as r:
        lease = r.connection()
        await lease.__aenter__()
        waiting = begin(r.connection().__aenter__())
        await lease.__aexit__(None, None, None)
        assert (r.stats().waiting, r.stats().leased) == (0, 1)  # handed over, but nobody has woken
        end(waiting)
        assert r.stats().leased == 0
        async with r.connection() as other:
            assert await other.ping()


async def test_a_blocking_pop_in_line(server: Server, prefix: str, end: End) -> None:
    async with Client(server.url, limit=2, timeout=5) as r:
        async with r.connection():
            end(begin(r.blpop(f"{prefix}q", 1)))
            assert r.stats().waiting == 0
        await r.rpush(f"{prefix}q", "job")
        assert await r.lrange(f"{prefix}q", 0, -1) == ["job"]
        await at_rest(r)


async def test_a_blocking_pop_that_waits_on_the_server(server: Server, prefix: str, end: End) -> None:
    async with Client(server.url) as r, Client(server.url) as direct:
        await r.ping()
        async with r.connection():
            pass  # so that one can be leased at once
        waiting = begin(r.blpop(f"{prefix}q", 0))
        await is_blocked(direct)
        end(waiting)
        await at_rest(r)
        assert await direct.rpush(f"{prefix}q", "job") == 1
        assert await direct.lrange(f"{prefix}q", 0, -1) == ["job"]


async def test_a_command_in_line_is_never_sent(server: Server, prefix: str, end: End) -> None:
    async with Client(server.url, limit=1, concurrency=1, timeout=5) as r:
        await r.ping()
        first = asyncio.create_task(r.echo("first"))
        await asyncio.sleep(0)
        end(begin(r.incr(f"{prefix}n")))
        assert r.stats().waiting == 0
        assert await first == "first"
        assert await r.get(f"{prefix}n") is None


async def test_a_pipeline_in_line_is_never_sent(server: Server, prefix: str, end: End) -> None:
    async with Client(server.url, limit=1, concurrency=1, timeout=5) as r:
        await r.ping()
        first = asyncio.create_task(r.echo("first"))
        await asyncio.sleep(0)
        async with r.pipeline(transaction=True) as p:
            p.incr(f"{prefix}n")
            end(begin(p.execute()))
        assert r.stats().waiting == 0
        assert await first == "first"
        assert await r.get(f"{prefix}n") is None


async def test_a_command_under_way_keeps_the_others_in_step(server: Server, end: End) -> None:
    async with Client(server.url) as r:
        await r.ping()
        for _ in range(3):
            calls = [begin(r.echo("nobody")) for _ in range(3)]
            asked = asyncio.create_task(r.echo("me"))
            for call in calls:
                end(call)
            assert await asked == "me"
        await in_step(r)
        await at_rest(r)


async def test_a_message_is_for_the_next_reader(server: Server, prefix: str, end: End) -> None:
    async with Client(server.url) as r, r.subscribe(f"{prefix}c") as s:
        first = begin(s.get(5))
        second = asyncio.create_task(anext(s))
        await asyncio.sleep(0)
        await r.publish(f"{prefix}c", "1")
        async with asyncio.timeout(5):
            while not s.waiting:
                await asyncio.sleep(0)
        end(first)  # it was woken, and has not taken it
        async with asyncio.timeout(5):
            assert getattr(await second, "data", None) == "1"


async def test_a_subscription_that_waits_for_its_confirmation(server: Server, prefix: str, end: End) -> None:
    async with Client(server.url) as r:
        subscription = r.subscribe(f"{prefix}c")
        waiting = begin(subscription.__aenter__())
        await asyncio.sleep(0.05)
        end(waiting)
        async with r.subscribe(f"{prefix}c") as s:
            await r.publish(f"{prefix}c", "1")
            assert getattr(await s.get(5), "data", None) == "1"
        async with asyncio.timeout(20):
            while await r.publish(f"{prefix}c", "2"):
                await asyncio.sleep(0.01)


async def test_closing_goes_on_by_itself(server: Server, prefix: str, end: End) -> None:
    async with Client(server.url) as direct:
        r = Client(server.url)
        task = asyncio.create_task(r.blpop(f"{prefix}q", 0))
        await is_blocked(direct)
        end(begin(r.aclose()))
        with pytest.raises(aioresp.ClientClosed):
            await task
        async with asyncio.timeout(5):
            while (await direct.info("clients"))["blocked_clients"]:
                await asyncio.sleep(0.01)
        await direct.rpush(f"{prefix}q", "job")
        assert await direct.lrange(f"{prefix}q", 0, -1) == ["job"]
        assert r.stats().open == 0
