"""Raw batches over a cluster: each command at the node of its key, the replies in order."""

from __future__ import annotations

from typing import Any

import pytest

import aioresp
from aioresp.cluster import Cluster
from aioresp.testing import ClusterServers


async def test_each_command_goes_to_its_node(r: Cluster[str], fresh: ClusterServers) -> None:
    keys = [f"k{n}" for n in range(40)]
    replies = await r.send_raw([("SET", key, key) for key in keys] + [("GET", key) for key in keys] + [("PING",)])
    assert replies == ["OK"] * 40 + keys + ["PONG"]
    assert {"MOVED", "ASK"}.isdisjoint(fresh.errorstats()), "no node was asked for a key of another"
    first, second = await r.send_raw([("LPUSH", "k0", 1), ("INCRBY", "{k0}n", 2)])
    assert isinstance(first, aioresp.ResponseError)
    assert second == 2
    assert await r.send_raw([]) == []


async def test_a_transaction_has_one_slot(r: Cluster[str], fresh: ClusterServers) -> None:
    for tag in "abc":
        batch = [("MULTI",), ("SET", f"{{{tag}}}x", 1), ("INCR", f"{{{tag}}}x"), ("EXEC",)]
        assert (await r.send_raw(batch))[-1] == ["OK", 2]
    with pytest.raises(aioresp.CrossSlotError):
        await r.send_raw([("MULTI",), ("SET", "a", 1), ("SET", "b", 1), ("EXEC",)])
    assert await r.exists("a", "b") == 0, "nothing was sent"


@pytest.mark.parametrize("command", [("MGET", "a", "b"), ("DBSIZE",), ("FLUSHALL",), ("SELECT", 0), ("BLPOP", "a", 0)])
async def test_what_concerns_several_nodes_is_refused(r: Cluster[str], fresh: ClusterServers, command: Any) -> None:
    with pytest.raises((aioresp.CommandRefused, aioresp.CrossSlotError)):
        await r.send_raw([("SET", "a", 1), command])
    assert await r.exists("a") == 0, "nothing was sent"


async def test_a_lease_of_a_key(r: Cluster[str], fresh: ClusterServers) -> None:
    async with r.connection("a") as c:
        assert await c.send_raw([("WATCH", "a"), ("GET", "a")]) == ["OK", None]
        assert (await c.send_raw([("MULTI",), ("SET", "a", 1), ("EXEC",)]))[-1] == ["OK"]
