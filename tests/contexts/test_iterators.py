"""Whole collections, page by page: nothing is missed, and a loop may be left at any time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aioresp import Client
from aioresp.testing import Proxy, Server
from tests.rest import at_rest, in_step

MANY = 1500


async def test_keys(server: Server, prefix: str) -> None:
    async with Client(server.url) as r:
        await r.mset({f"{prefix}{n}": n for n in range(MANY)})
        await r.rpush(f"{prefix}list", 1)
        found = [key async for key in r.scan_iter(f"{prefix}*", count=100)]
        assert set(found) == {f"{prefix}{n}" for n in range(MANY)} | {f"{prefix}list"}
        assert [key async for key in r.scan_iter(f"{prefix}*", _type="list")] == [f"{prefix}list"]
        assert [key async for key in r.scan_iter(f"{prefix}none")] == []
        view = r.with_options(decode_responses=False)
        assert all([type(key) is bytes async for key in view.scan_iter(f"{prefix}*")])


async def test_members_fields_and_scores(server: Server, prefix: str) -> None:
    names = {f"n{n}": float(n) for n in range(MANY)}
    async with Client(server.url) as r, r.connection() as c:
        await r.sadd(f"{prefix}s", *names)
        await r.hset(f"{prefix}h", mapping=names)
        await r.zadd(f"{prefix}z", names)
        user: Any
        for user in (r, c):
            assert {member async for member in user.sscan_iter(f"{prefix}s", count=50)} == set(names)
            assert {name: float(value) async for name, value in user.hscan_iter(f"{prefix}h", count=50)} == names
            assert {name: score async for name, score in user.zscan_iter(f"{prefix}z", count=50)} == names
            assert {member async for member in user.sscan_iter(f"{prefix}s", "n7")} == {"n7"}
        if server.flavour == "redis" and server.version >= (7, 4):
            assert {name async for name in r.hscan_iter(f"{prefix}h", no_values=True)} == set(names)
        if server.flavour == "valkey":
            assert {name async for name in r.zscan_iter(f"{prefix}z", no_scores=True)} == set(names)


async def test_a_loop_that_is_left_early_leaves_nothing(server: Server, prefix: str) -> None:
    async with Client(server.url) as r:
        await r.sadd(f"{prefix}s", *range(MANY))
        for _ in range(50):
            async for _member in r.sscan_iter(f"{prefix}s", count=10):
                break
            with pytest.raises(KeyError):
                async for _member in r.sscan_iter(f"{prefix}s", count=10):
                    raise KeyError
        await at_rest(r)
        await in_step(r)


async def test_cancelled_between_pages_it_goes_on(server: Server, prefix: str) -> None:
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url) as r:
        await r.sadd(f"{prefix}s", *range(MANY))
        members = r.sscan_iter(f"{prefix}s", count=100)
        found = {await anext(members)}
        proxy.delay = 0.05
        cancelled = 0
        while True:
            try:
                async with asyncio.timeout(0.02 if cancelled < 5 else 5):
                    found.add(await anext(members))
            except TimeoutError:
                cancelled += 1
            except StopAsyncIteration:
                break
        assert cancelled == 5
        assert found == {str(n) for n in range(MANY)}
