"""Limiter and cache on a cluster: each key in a slot of its own, words that reach all nodes."""

from __future__ import annotations

import asyncio

from aioresp.cluster import Cluster
from aioresp.recipes import Cache, Limiter
from aioresp.testing import ClusterServers


async def test_a_limiter(r: Cluster[str], fresh: ClusterServers) -> None:
    limiter = Limiter(r, 3, 60)
    for key in range(20):
        hits = await asyncio.gather(*(limiter.hit(f"{key}") for _ in range(5)))
        assert sum(map(bool, hits)) == 3
    await limiter.reset("1")
    assert (await limiter.peek("1")).remaining == 3


async def test_a_cache(r: Cluster[str], fresh: ClusterServers) -> None:
    calls = 0

    async def load() -> int:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.1)
        return calls

    async with Cluster(fresh.url) as r2:
        caches = [Cache(client, lease=1) for client in (r, r2)]
        for key in range(6):
            calls = 0
            values = await asyncio.gather(*(cache.get(f"{key}", load) for cache in caches * 10))
            assert values == [1] * 20
            await caches[0].delete(f"{key}")
            assert await caches[1].get(f"{key}", load) == 2
