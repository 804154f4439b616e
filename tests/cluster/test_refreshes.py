"""Refreshes of a topology: which nodes are asked, and how long a slow one is waited for (C8, C17)."""

from __future__ import annotations

import asyncio
import time

import pytest

from aioresp.cluster import Cluster, discovery
from aioresp.testing import ClusterServers


async def test_news_is_taken_without_a_wait_for_a_node_that_is_frozen(
    fresh: ClusterServers, r: Cluster[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await r.mset_nonatomic({f"key:{number}": "1" for number in range(50)})
    nodes = r.fleet.nodes
    known = r.topology()
    frozen, *others = fresh.primaries()
    candidates = [(node.host, node.port) for node in known.primaries]
    candidates.sort(key=lambda address: address[1] == frozen.port)
    monkeypatch.setattr(discovery, "FOLLOWING", 1.0)
    frozen.pause()  # for less than the cluster's timeout
    try:
        begin = time.monotonic()
        nodes.topology = known.replace(epoch=known.epoch - 1)
        view = await discovery.discover(nodes, candidates)
        at_once = time.monotonic() - begin
        assert view.epoch == known.epoch
    finally:
        nodes.topology = known
        frozen.resume()
    assert at_once < 1.0


async def test_a_failed_node_is_not_asked_while_two_others_are_fit(fresh: ClusterServers, r: Cluster[str]) -> None:
    await asyncio.gather(*(r.set(f"key:{number}", "1") for number in range(50)))
    router = r.fleet.pools.here()
    known = r.topology()
    assert router.candidates(3)[1] == 3
    failed, *fit = known.shards
    dead = failed.replace(primary=failed.primary.replace(healthy=False))
    router._topology = known.replace(shards=(dead, *fit))
    addresses, several = router.candidates(3)
    assert several == 2
    assert set(addresses[:2]) == {shard.primary.address for shard in fit}
    assert router.candidates(1)[1] == 1
