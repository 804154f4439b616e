"""The queue on a cluster: all its keys are in one slot, its words reach workers and waiters at whichever node."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest

from aioresp import Cluster
from aioresp.recipes import JobCancelled, running
from aioresp.testing import ClusterServers
from tests.recipes.queue_kit import SOON, Lab
from tests.recipes.queue_laws import fresh


@pytest.mark.parametrize("protocol", [2, 3])
async def test_jobs_on_a_cluster(cluster: ClusterServers, protocol: Literal[2, 3]) -> None:
    async with Cluster(cluster.url, protocol=protocol) as redis:
        lab = Lab(redis, fresh(), lease=60)
        async with lab.working():
            jobs = [await lab.quick.enqueue(n) for n in range(20)]
            late = await lab.quick.options(delay=0.05, unique="u", priority=1).enqueue(20)
            held = await lab.hold.enqueue(1)
            assert [await job.result(SOON) for job in [*jobs, late]] == list(range(21))
            waiting = asyncio.create_task(held.result(SOON))
            await lab.until("began 1")
            assert await held.cancel()
            with pytest.raises(JobCancelled):
                await waiting
            await lab.at_rest()
        assert lab.ran == dict.fromkeys(range(21), 1)


async def test_a_worker_survives_a_failover_of_its_node(cluster: ClusterServers) -> None:
    async with Cluster(cluster.url) as redis:
        lab = Lab(redis, fresh(), lease=15)
        async with lab.working():
            assert await (await lab.quick.enqueue(0)).result(SOON) == 0
            await asyncio.to_thread(cluster.failover, f"{{{lab.name}}}")
            assert await (await lab.quick.enqueue(1)).result(SOON) == 1
            late = await lab.quick.options(delay=0.2).enqueue(2)
            assert await late.result(SOON) == 2
        assert lab.ran == dict.fromkeys(range(3), 1)


async def test_ticks_and_drain_on_a_cluster(cluster: ClusterServers) -> None:
    async with Cluster(cluster.url) as redis:
        lab = Lab(redis, fresh(), lease=15)
        ran: list[str] = []

        @lab.queue.cron("* * * * * *")
        async def tidy() -> None:
            ran.append(running().id)

        async with lab.working(), asyncio.timeout(SOON):
            while len(ran) < 2:
                await asyncio.sleep(0.02)
        first, second = (int(id.rpartition(":")[2]) for id in ran[:2])
        assert second - first == 1000
        await lab.quick.options(delay=3600).enqueue(1)
        assert await lab.queue.drain(delayed=True) == 1
