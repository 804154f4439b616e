"""Reads from replicas of a cluster: which commands go there, and what happens when they cannot serve (R1 to R5)."""

from __future__ import annotations

import asyncio

import pytest

from aioresp.cluster import Cluster
from aioresp.reading import ReadFrom
from aioresp.testing import ClusterServers

NAMES = [f"read:{number}" for number in range(60)]


async def in_step(cluster: ClusterServers, r: Cluster[str]) -> None:
    """Set the keys, and wait until the replicas have them."""
    async with r.pipeline() as p:
        for name in NAMES:
            p.set(name, name)
    for node in await r.primaries():
        async with node.connection() as c:
            await c.wait(1, 1000)
    await asyncio.to_thread(cluster.wait_until_ok)


def gets(cluster: ClusterServers, replicas: bool) -> int:
    nodes = cluster.replicas() if replicas else cluster.primaries()
    return sum(node.commandstats().get("get", 0) for node in nodes)


async def test_reads_go_to_replicas_and_writes_do_not(fresh: ClusterServers) -> None:
    async with Cluster(fresh.url + "/0?read_from=replica") as r:
        await in_step(fresh, r)
        assert await asyncio.gather(*map(r.get, NAMES)) == NAMES
        assert (gets(fresh, replicas=True), gets(fresh, replicas=False)) == (60, 0)
        assert await r.mget(NAMES) == NAMES
        assert sum(node.commandstats().get("mget", 0) for node in fresh.primaries()) == 0
        assert fresh.errorstats().get("MOVED", 0) == 0
        view = r.with_options(read_from="primary")
        assert await view.get(NAMES[0]) == NAMES[0]
        assert gets(fresh, replicas=False) == 1
        async with r.pipeline(transaction=True) as p:
            value = p.get(NAMES[1])
        assert await value == NAMES[1]
        assert gets(fresh, replicas=False) == 2


async def test_a_view_reads_from_replicas(fresh: ClusterServers, r: Cluster[str]) -> None:
    await in_step(fresh, r)
    view = r.with_options(read_from="replica")
    assert await asyncio.gather(*map(view.get, NAMES)) == NAMES
    assert (gets(fresh, replicas=True), gets(fresh, replicas=False)) == (60, 0)


async def test_a_lease_on_a_replica_reads_again_after_a_reset(fresh: ClusterServers, r: Cluster[str]) -> None:
    await in_step(fresh, r)
    for replica in await r.replicas():
        async with replica.connection() as c:
            await c.call("READWRITE")
    for name in NAMES:
        home = fresh.replicas_of(name)[0].port
        (replica,) = [each for each in await r.replicas() if each.node.settings.endpoint.port == home]
        assert await replica.get(name) == name


@pytest.mark.parametrize("read_from", ["replica", "prefer_replica", "nearest"])
async def test_a_dead_replica_costs_no_error(fresh: ClusterServers, read_from: ReadFrom) -> None:
    async with Cluster(fresh.url, read_from=read_from) as r:
        await in_step(fresh, r)
        victim = fresh.replicas()[0]
        await asyncio.to_thread(victim.kill)
        try:
            assert await asyncio.gather(*map(r.get, NAMES)) == NAMES
        finally:
            await asyncio.to_thread(victim.start)
            await asyncio.to_thread(fresh.wait_until_ok)


async def test_reads_outlive_a_failover(fresh: ClusterServers) -> None:
    async with Cluster(fresh.url, read_from="replica") as r:
        await in_step(fresh, r)
        errors: list[Exception] = []
        going = True

        async def read(name: str) -> None:
            while going:
                try:
                    assert await r.get(name) == name
                except Exception as error:
                    errors.append(error)
                await asyncio.sleep(0.01)

        tasks = [asyncio.create_task(read(name)) for name in NAMES[:20]]
        await asyncio.sleep(0.2)
        await asyncio.to_thread(fresh.failover, NAMES[0])
        await asyncio.to_thread(fresh.wait_until_ok)
        await asyncio.sleep(0.3)
        going = False
        await asyncio.gather(*tasks)
        assert errors == []
