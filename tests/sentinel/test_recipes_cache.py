"""Limiter and cache over a failover: calls are answered by the new primary."""

from __future__ import annotations

import asyncio

from aioresp import Client
from aioresp.recipes import Cache, Limiter
from aioresp.testing import SentinelServers


async def test_over_a_failover(r: Client[str], servers: SentinelServers) -> None:
    limiter, cache = Limiter(r, 1000, 60), Cache(r, lease=1, on_error="raise")
    go = asyncio.Event()

    async def load() -> int:
        await go.wait()
        return 1

    assert await limiter.hit("k")
    waiting = [asyncio.create_task(cache.get("k", load)) for _ in range(5)]
    hits = 0

    async def hit() -> None:
        nonlocal hits
        while not go.is_set():
            hits += bool(await limiter.hit("k"))
            await asyncio.sleep(0.01)

    hitting = asyncio.create_task(hit())
    await asyncio.to_thread(servers.failover)
    go.set()
    await hitting
    assert await asyncio.gather(*waiting) == [1] * 5
    assert await cache.get("k", load) == 1
    assert hits > 3
    assert 0 < (await limiter.hit("k")).remaining < 1000
