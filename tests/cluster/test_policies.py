"""Policies of commands without keys: those of the servers' own tips, and the rest with a reason (C14)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from aioresp import ResponseError
from aioresp.cluster import Cluster
from aioresp.cluster.policies import Reach, policy_of
from aioresp.cluster.split import SPLIT
from aioresp.testing import ClusterServers

#: Reach and joining by the tips about requests and replies.
TIPS: dict[tuple[str, str], tuple[Reach, str]] = {
    ("all_nodes", "all_succeeded"): (Reach.NODES, "_first"),
    ("all_nodes", "agg_sum"): (Reach.NODES, "_sum"),
    ("all_nodes", ""): (Reach.NODES, "_joined"),
    ("all_shards", "all_succeeded"): (Reach.SHARDS, "_first"),
    ("all_shards", "one_succeeded"): (Reach.SOME, "_first"),
    ("all_shards", "agg_sum"): (Reach.SHARDS, "_sum"),
    ("all_shards", "agg_logical_and"): (Reach.SHARDS, "_all_have"),
    ("all_shards", ""): (Reach.SHARDS, "_joined"),
}

#: What is decided where the tips leave it to the client, or differ from one server to another.
DECIDED: dict[str, tuple[Reach, str]] = {
    # The reply tells of one node, and two of them cannot be one.
    **dict.fromkeys(("INFO", "MEMORY STATS", "MEMORY DOCTOR", "MEMORY MALLOC-STATS"), (Reach.ANY, "")),
    **dict.fromkeys(("LATENCY DOCTOR", "LATENCY GRAPH", "LATENCY HISTOGRAM"), (Reach.ANY, "")),
    **dict.fromkeys(("LATENCY LATEST", "LATENCY HISTORY"), (Reach.NODES, "_joined")),
    "LATENCY RESET": (Reach.NODES, "_sum"),  # Redis 7.0 calls its number a success
    "FUNCTION STATS": (Reach.SHARDS, "_running"),
    "RANDOMKEY": (Reach.FIRST, ""),
    "SCAN": (Reach.NONE, ""),
    "CLUSTERSCAN": (Reach.ANY, ""),  # by the tag in its cursor
    **dict.fromkeys(("WAIT", "WAITAOF"), (Reach.ANY, "")),  # refused but on a lease
}


def told(entries: list[Any]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield the commands without keys, with their tips about requests and replies."""
    for entry in entries:
        tips = dict(tip.split(":", 1) for tip in entry[7] if ":" in tip)
        if not entry[8]:
            name = entry[0].upper().replace("|", " ")
            yield name, (tips.get("request_policy", ""), tips.get("response_policy", ""))
        yield from told(entry[9])


async def test_policies_are_those_of_the_servers_own_tips(cluster: ClusterServers) -> None:
    if cluster.nodes[0].version < (7,):
        pytest.skip("there are tips since 7.0")
    entries: Any = cluster.nodes[0].call("COMMAND")
    wrong = {}
    for name, tips in told(entries):
        policy = policy_of(name.split())
        found = policy.reach, getattr(policy.join, "__name__", "")
        expected = DECIDED.get(name) or TIPS.get(tips)
        if expected is not None or tips[0]:
            wrong.update({} if found == expected else {name: (tips, found)})
    assert wrong == {}
    several = {entry[0].upper() for entry in entries if "request_policy:multi_shard" in entry[7]}
    assert several - {"MSET", "MSETNX", "MSETEX"} == SPLIT


async def test_what_each_node_knows_of_itself_becomes_one_reply(fresh: ClusterServers, r: Cluster[str]) -> None:
    await r.set("{slot}a", "1")
    slot = r.keyslot("{slot}a")
    assert await r.cluster_countkeysinslot(slot) == 1
    assert await r.cluster_getkeysinslot(slot, 10) == ["{slot}a"]
    assert await r.latency_latest() == []
    assert await r.slowlog_len() >= 0
    assert (await r.info("cluster")).integer("cluster_enabled") == 1
    subscriptions = [r.subscribe(f"news:{number}") for number in range(3)]
    for each in subscriptions:
        await each.__aenter__()
    other = Cluster(fresh.url)
    async with other, other.subscribe("news:0"), other.psubscribe("n*"):
        assert sorted(await r.pubsub_channels()) == ["news:0", "news:1", "news:2"]
        assert await r.pubsub_numsub("news:0", "news:1", "none") == {"news:0": 2, "news:1": 1, "none": 0}
        assert await r.pubsub_numpat() == 1
        if fresh.nodes[0].version >= (7,):
            async with r.ssubscribe("a", "b"):
                assert sorted(await r.pubsub_shardchannels()) == ["a", "b"]
                assert await r.pubsub_shardnumsub("a", "c") == {"a": 1, "c": 0}
            stats = await r.function_stats()
            assert stats.running_script is None
    for each in subscriptions:
        await each.__aexit__(None, None, None)


async def test_functions_are_killed_wherever_they_run(fresh: ClusterServers, r: Cluster[str]) -> None:
    if fresh.nodes[0].version < (7,):
        pytest.skip("functions are there since 7.0")
    code = "#!lua name=l\nredis.register_function('spin', function(keys) while true do end end)"
    await r.function_load(code)
    fresh.call_all("CONFIG", "SET", "busy-reply-threshold", "50")
    try:
        async with Cluster(fresh.url, timeout=20) as other:  # on connections of its own
            for key in ("a", "b", "c"):
                spinning = asyncio.create_task(other.fcall("spin", 1, key))
                async with asyncio.timeout(15):
                    while (await r.function_stats()).running_script is None:
                        await asyncio.sleep(0.02)
                    assert await r.function_kill()
                with pytest.raises(ResponseError, match="killed"):
                    await spinning
        with pytest.raises(ResponseError, match="NOTBUSY"):
            await r.script_kill()
    finally:
        fresh.call_all("CONFIG", "SET", "busy-reply-threshold", "5000")
        await r.function_flush()
