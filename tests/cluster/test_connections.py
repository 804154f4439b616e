"""Connections: one for each node in use, whatever the number of tasks, and none to others (C16)."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from aioresp.cluster import Cluster
from aioresp.testing import ClusterServers

KEYS = [f"key:{number}" for number in range(500)]


def only(cluster: ClusterServers, port: int) -> str:
    """Return the URL of the cluster with one seed."""
    login = urlsplit(cluster.url).netloc.rpartition("@")[0]
    return f"redis+cluster://{login}@127.0.0.1:{port}"


async def test_500_tasks_share_one_connection_to_each_primary(fresh: ClusterServers) -> None:
    primaries = fresh.primaries()
    async with Cluster(only(fresh, primaries[0].port)) as r:
        for _ in range(3):
            await asyncio.gather(*(r.set(key, key) for key in KEYS))
        async with r.pipeline() as p:
            for key in KEYS:
                p.get(key)
        assert [node.connections_received() for node in primaries] == [1, 1, 1]
        assert [node.connections_received() for node in fresh.replicas()] == [0, 0, 0]
        assert [figures.made for figures in r.stats().nodes.values() if figures.made] == [1, 1, 1]


async def test_a_node_that_is_not_used_has_no_connection(fresh: ClusterServers) -> None:
    primary = fresh.primary_of("{one}")
    async with Cluster(only(fresh, primary.port)) as r:
        await asyncio.gather(*(r.set(f"{{one}}{number}", "1") for number in range(50)))
        used = {node: node.connections_received() for node in fresh.nodes}
        assert used.pop(primary) == 1
        assert set(used.values()) == {0}
