"""Nodes and seeds from which no answer comes: they cost little, and the others nothing (C5, C6)."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from aioresp import ConnectError
from aioresp.cluster import Cluster
from aioresp.cluster.discovery import PATIENCE
from aioresp.errors import CommandTimeout
from aioresp.testing import ClusterServers
from tests.holes import black_hole

HOST, HOLE = "127.0.0.1", "127.0.0.2"


@pytest.fixture
def holes() -> Iterator[list[str]]:
    """Addresses that answer nothing."""
    with ExitStack() as stack:
        yield [f"{HOLE}:{black_hole(stack, HOLE)}" for _ in range(4)]


def in_order(monkeypatch: pytest.MonkeyPatch, key: Callable[[object], object] = lambda each: 0) -> None:
    """Let nothing be shuffled, but sorted by a key."""
    monkeypatch.setattr(random, "shuffle", lambda items: items.sort(key=key))


async def test_seeds_that_answer_nothing_are_not_waited_for(
    fresh: ClusterServers, holes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_order(monkeypatch)
    seeds = ",".join([*holes, f"{HOST}:{fresh.nodes[0].port}"])
    begin = time.monotonic()
    async with Cluster(f"redis+cluster://{fresh.nodes[0].credentials}{seeds}") as r:
        assert await r.set("a", "1")
        assert time.monotonic() - begin < PATIENCE


async def test_seeds_that_all_answer_nothing_are_told(holes: list[str]) -> None:
    url = f"redis+cluster://{','.join(holes)}"
    async with Cluster(url, timeout=0.5) as r:
        with pytest.raises(CommandTimeout, match=re.escape(f"no node of {url} has told the topology in time")):
            await r.get("a")
    async with Cluster(url, timeout=10, connect_timeout=0.2, retry=None) as r:
        with pytest.raises(ConnectError, match="no answer to TCP") as caught:
            await r.get("a")
        assert all(hole in str(caught.value) for hole in holes)


async def test_a_node_out_of_reach_costs_the_callers_of_others_nothing(fresh: ClusterServers, holes: list[str]) -> None:
    lost = fresh.primary_of("{lost}").port
    well = [key for n in range(40) if fresh.primary_of(key := f"key:{n}").port != lost]
    place = HOLE, int(holes[0].rpartition(":")[2])
    async with Cluster(
        fresh.url, timeout=2.0, address_map=lambda address: place if address[1] == lost else address
    ) as r:
        stuck = [asyncio.create_task(r.get("{lost}")) for _ in range(20)]
        count = 0
        while not any(task.done() for task in stuck):
            await asyncio.gather(*map(r.get, well))
            count += 1
        assert count > 20, "the others wait for the node"
        for error in await asyncio.gather(*stuck, return_exceptions=True):
            assert isinstance(error, ConnectError)
        with pytest.raises(ConnectError, match=r"no answer to TCP|it waits for an answer to TCP"):
            await r.mget("{lost}", *well)
        async with r.subscribe(well[0]) as s:
            await r.publish(well[0], "x")
            assert (await anext(s)).data == "x"


async def test_a_subscription_tries_another_node_beside_one_that_is_frozen(
    fresh: ClusterServers, r: Cluster[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.gather(*(r.get(f"key:{n}") for n in range(40)))
    frozen = fresh.primaries()[0]
    frozen.pause()
    try:
        in_order(monkeypatch, lambda address: isinstance(address, tuple) and address[1] != frozen.port)
        begin = time.monotonic()
        async with r.subscribe("news"):
            assert time.monotonic() - begin < 2.0
    finally:
        frozen.resume()
    await asyncio.to_thread(fresh.wait_until_ok)
