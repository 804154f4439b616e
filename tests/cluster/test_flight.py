"""First flight of a pipeline: callers that go, and parts that are late, leave all connections in step (C9)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from aioresp import CommandTimeout
from aioresp.cluster import Cluster
from aioresp.testing import ClusterNode, ClusterServers

KEYS = [f"key:{number}" for number in range(30)]


@asynccontextmanager
async def one_late(cluster: ClusterServers, r: Cluster[str]) -> AsyncIterator[ClusterNode]:
    """Let one node keep its replies to itself in the block."""
    await r.mset_nonatomic({key: key for key in KEYS})
    node = cluster.primary_of(KEYS[0])
    node.pause()  # for less than the cluster's timeout
    try:
        yield node
    finally:
        node.resume()


async def in_step(r: Cluster[str]) -> bool:
    """Return whether each reply comes to its caller."""
    return await r.mget(KEYS) == KEYS == list(await asyncio.gather(*map(r.get, KEYS)))


async def test_a_cancelled_pipeline_leaves_connections_in_step(fresh: ClusterServers, r: Cluster[str]) -> None:
    async with one_late(fresh, r):
        made = r.stats().made
        p = r.pipeline()
        for key in KEYS:
            p.get(key)
        running = asyncio.ensure_future(p.execute())
        await asyncio.sleep(0.05)
        assert not running.done()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert await in_step(r)
    assert r.stats().made == made


async def test_a_late_node_fails_its_own_commands_alone(fresh: ClusterServers, r: Cluster[str]) -> None:
    async with one_late(fresh, r) as node:
        p = r.with_options(timeout=0.1, retry=None).pipeline()
        handles = {key: p.incr(f"{{{key}}}count") for key in KEYS}
        await p.execute(raise_on_error=False)
        late = {key for key in KEYS if fresh.keyslot(key) in slots_of(r, node)}
        assert 0 < len(late) < len(KEYS)
        for key, handle in handles.items():
            if key in late:
                with pytest.raises(CommandTimeout):
                    await handle
            else:
                assert await handle == 1
    assert await in_step(r)


def slots_of(r: Cluster[str], node: ClusterNode) -> set[int]:
    """Return the slots of a node by the client's topology."""
    shard = next(shard for shard in r.topology().shards if shard.primary.port == node.port)
    return {slot for first, last in shard.slots for slot in range(first, last + 1)}
