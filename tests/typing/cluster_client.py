"""Types of the client of a cluster. Checked by mypy and pyright, never run."""

from __future__ import annotations

from typing import assert_type

from aioresp import Client
from aioresp.cluster import Cluster, ClusterNode, Shard, Topology


async def clients(url: str) -> None:
    r = Cluster(url, timeout=1.0, address_map=lambda address: ("localhost", address[1]))
    assert_type(r, Cluster[str])
    assert_type(Cluster(url, decode_responses=False), Cluster[bytes])
    assert_type(Cluster(host="a", port=7000), Cluster[str])
    assert_type(Cluster.from_url(url), Cluster[str])
    assert_type(Cluster.from_url(url, decode_responses=False, read_from="replica"), Cluster[bytes])
    Cluster(url, startup_nodes=[])  # type: ignore[call-overload]
    Cluster(url, address_map={})  # type: ignore[call-overload]
    async with r as entered:
        assert_type(entered, Cluster[str])


async def views(r: Cluster[str]) -> None:
    assert_type(r.with_options(timeout=1), Cluster[str])
    assert_type(r.with_options(decode_responses=False), Cluster[bytes])
    assert_type(r.with_options(read_from="replica").keyslot("k"), int)


async def methods(r: Cluster[str], raw: Cluster[bytes]) -> None:
    assert_type(await r.get("k"), str | None)
    assert_type(await raw.mget_nonatomic(["k"]), list[bytes | None])
    assert_type(await r.mset_nonatomic({"k": 1}), bool)
    assert_type(await r.primaries(), list[Client[str]])
    assert_type(await r.near("k"), Client[str])
    topology = r.topology()
    assert_type(topology, Topology)
    assert_type(topology.primaries, tuple[ClusterNode, ...])
    assert_type(topology.shard_of(7), Shard | None)
    assert_type(topology.primaries[0].address, tuple[str, int])
    assert_type(topology.primaries[0].hostname, str)
