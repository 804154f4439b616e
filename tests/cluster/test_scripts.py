"""Scripts in a cluster: each node has its own, and many calls may find at once that one lacks it."""

from __future__ import annotations

import asyncio

from aioresp.cluster import Cluster
from aioresp.testing import ClusterNode, ClusterServers

ADD = "return redis.call('INCRBY', KEYS[1], ARGV[1])"


async def test_calls_that_find_a_script_missing_at_once_all_run(fresh: ClusterServers, r: Cluster[str]) -> None:
    """The first loads it, and it is there when the others ask: that does not mean that theirs have run."""
    names = [f"script:{number}" for number in range(9)]

    async def add(number: int) -> None:
        for _ in range(number % 7):  # so that one asks while another loads
            await asyncio.sleep(0)
        await r.register_script(ADD)([names[number % len(names)]], [1])

    for _ in range(20):
        await r.script_flush()
        await asyncio.gather(*map(add, range(90)))
    assert await r.mget(names) == ["200"] * len(names)


async def test_the_whole_script_goes_to_each_node_once(fresh: ClusterServers, r: Cluster[str]) -> None:
    await r.script_flush()
    fresh.reset_stats()
    names = [f"script:{number}" for number in range(30)]
    add = r.register_script(ADD)
    await asyncio.gather(*(add([name], [1]) for name in names))
    await asyncio.gather(*(add([name], [1]) for name in names))
    for name in names:
        await add([name], [1])
    assert fresh.errorstats().get("NOSCRIPT", 0) == 0
    assert fresh.commandstats()["evalsha"] >= len(names)
    home = fresh.primary_of(names[0])
    target = next(node for node in fresh.primaries() if node is not home)
    try:
        await asyncio.to_thread(fresh.migrate, names[0], target)
        await asyncio.to_thread(_forget, target)
        assert await add([names[0]], [1]) == 4, "the other node does not have it"
    finally:
        await asyncio.to_thread(fresh.migrate, names[0], home)


async def test_a_script_that_a_new_primary_lacks_is_sent_there(fresh: ClusterServers, r: Cluster[str]) -> None:
    """A redirect has told of the new one, and the topology has not: the former one, which is asked, has the script."""
    name = "script:0"
    add = r.register_script(ADD)
    for _ in range(2):  # by the second call, the client knows that the nodes have it
        await asyncio.gather(*(add([f"script:{number}"], [1]) for number in range(30)))
    router = r.fleet.pools.here()
    router.refresh = lambda *_: None  # type: ignore[method-assign]  # it comes later
    try:
        await asyncio.to_thread(fresh.failover, name)
        await asyncio.to_thread(_forget, fresh.primary_of(name))
        assert await add([name], [1]) == 3
    finally:
        del router.refresh
    await asyncio.to_thread(fresh.wait_until_ok)


def _forget(node: ClusterNode) -> None:
    node.call("SCRIPT", "FLUSH")
