"""Writes to the nodes of a cluster: those of many tasks wait for each other, and that of a lone task for nothing."""

from __future__ import annotations

import asyncio
import gc

from aioresp.cluster import Cluster
from aioresp.testing import ClusterServers
from aioresp.wire.cork import TURNS, Cork

TASKS = 50


async def work(r: Cluster[str], tasks: int, count: int) -> None:
    async def task(number: int) -> None:
        for step in range(count):
            await r.get(f"key:{number + step}")

    await asyncio.gather(*map(task, range(tasks)))


def sizes(r: Cluster[str]) -> list[int]:
    """Return the bytes sent on each connection to a primary."""
    pools = [node.pools.here() for node in r.fleet.nodes if node.pools.pools]
    return [connection.traffic.sent for pool in pools for connection in pool.resources]


def corks(r: Cluster[str]) -> set[Cork | None]:
    """Return the corks of all of the client's connections in the running loop."""
    pools = [node.pools.here() for node in r.fleet.nodes if node.pools.pools]
    return {connection._wire.cork for pool in pools for connection in pool.resources}


async def test_writes_of_many_tasks_wait_for_replies_and_go_together(fresh: ClusterServers, r: Cluster[str]) -> None:
    await work(r, TASKS, 5)
    (cork,) = corks(r)
    assert cork is not None
    sent: list[set[int]] = []
    calls = [asyncio.ensure_future(r.get(f"key:{number}")) for number in range(TASKS)]
    await asyncio.sleep(0)  # the first command of a connection that had a lone one before is written at once
    before = sizes(r)
    for turn in range(2 * TURNS):
        await asyncio.sleep(0)
        sent.append({place for place, (now, then) in enumerate(zip(sizes(r), before, strict=True)) if now > then})
        cork.heard += turn < 2  # as if replies of other calls arrived
    assert sent[:2] == [set()] * 2
    assert [len(places) for places in sent if places] == [3] * sum(map(bool, sent))
    heard = cork.heard
    assert await asyncio.gather(*calls) == [None] * TASKS
    assert cork.heard >= heard


async def test_a_cork_hears_of_each_read(fresh: ClusterServers, r: Cluster[str]) -> None:
    await work(r, 3, 3)
    (cork,) = corks(r)
    assert cork is not None
    before = cork.heard
    for number in range(5):
        await r.get(f"key:{number}")
    assert cork.heard == before + 5


async def test_the_command_of_a_lone_task_is_written_at_once(fresh: ClusterServers, r: Cluster[str]) -> None:
    for _ in range(3):
        await r.set("key", "value")
    before = r.stats().bytes_sent
    call = asyncio.ensure_future(r.get("key"))
    await asyncio.sleep(0)
    assert r.stats().bytes_sent > before
    assert await call == "value"


async def test_each_loop_has_a_cork_that_ends_with_its_connections(fresh: ClusterServers) -> None:
    found: list[object] = []

    def elsewhere(r: Cluster[str]) -> None:
        async def main() -> None:
            async with r:
                await work(r, 3, 3)
                found.append(*map(id, corks(r)))

        asyncio.run(main())

    async with Cluster(fresh.url) as r:
        await work(r, 3, 3)
        for _ in range(5):
            await asyncio.to_thread(elsewhere, r)
            assert not set(map(id, corks(r))) & set(found)
        gc.collect()
        assert len(r.fleet.nodes._corks) <= 2
