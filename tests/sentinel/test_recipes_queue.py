"""The queue behind Sentinel: a worker goes on after a failover, by itself."""

from __future__ import annotations

import asyncio

from aioresp import Client
from aioresp.testing import SentinelServers
from tests.recipes.queue_kit import SOON, Lab
from tests.recipes.queue_laws import fresh


async def test_a_worker_survives_a_failover(servers: SentinelServers) -> None:
    async with Client(servers.url) as redis:
        lab = Lab(redis, fresh(), lease=15)
        async with lab.working():
            assert await (await lab.quick.enqueue(0)).result(SOON) == 0
            await asyncio.to_thread(servers.failover)
            assert await (await lab.quick.enqueue(1)).result(2 * SOON) == 1
            late = await lab.quick.options(delay=0.2).enqueue(2)
            assert await late.result(SOON) == 2
        assert set(lab.ran) >= {1, 2}
