"""Iteration over all keys: each that is there all the time is found, also while slots move (C14)."""

from __future__ import annotations

import asyncio

from aioresp.cluster import Cluster
from aioresp.testing import ClusterNode, ClusterServers

NAMES = [f"{{{number % 200}}}:{number}" for number in range(10_000)]


def other_than(cluster: ClusterServers, place: str) -> ClusterNode:
    return next(node for node in cluster.primaries() if node is not cluster.primary_of(place))


async def fill(r: Cluster[str]) -> None:
    async with r.pipeline() as p:
        for name in NAMES:
            p.set(name, "1")


async def test_all_keys_are_found_once_at_rest(fresh: ClusterServers, r: Cluster[str], no_debug: None) -> None:
    await fill(r)
    found = [key async for key in r.scan_iter(count=1000)]
    assert sorted(found) == sorted(NAMES)
    assert [key async for key in r.scan_iter("*:17")] == ["{17}:17"]
    assert [key async for key in r.with_options(decode_responses=False).scan_iter("*:17")] == [b"{17}:17"]


async def test_no_key_is_missed_while_slots_move(fresh: ClusterServers, r: Cluster[str], no_debug: None) -> None:
    await fill(r)
    tags = [f"{{{number}}}" for number in range(0, 200, 20)]
    homes = {tag: fresh.primary_of(tag) for tag in tags}

    async def move() -> None:
        for tag in tags:
            await asyncio.to_thread(fresh.migrate, tag, other_than(fresh, tag))

    movement = asyncio.create_task(move())
    try:
        while not movement.done():
            found = set()
            async for key in r.scan_iter(count=50):
                found.add(key)
            assert found == set(NAMES)
        await movement
    finally:
        await movement
        for tag, home in homes.items():
            fresh.migrate(tag, home)


async def test_no_key_is_missed_while_slots_go_and_come_back(
    fresh: ClusterServers, r: Cluster[str], no_debug: None
) -> None:
    await fill(r)
    home, there = fresh.primary_of("{7}"), other_than(fresh, "{7}")
    tags = [f"{{{number}}}" for number in range(200) if fresh.primary_of(f"{{{number}}}") is home][:3]

    async def move() -> None:
        for _ in range(2):
            for tag in tags:
                await asyncio.to_thread(fresh.migrate, tag, there)
                await asyncio.to_thread(fresh.migrate, tag, home)

    movement = asyncio.create_task(move())
    try:
        while not movement.done():
            found = {key async for key in r.scan_iter(count=20)}
            assert found == set(NAMES)
    finally:
        await movement


async def test_keys_on_their_way_are_found(fresh: ClusterServers, r: Cluster[str], no_debug: None) -> None:
    await fill(r)
    home = fresh.primary_of("{5}")
    migration = fresh.begin_migration("{5}", other_than(fresh, "{5}"))
    migration.move(10)
    try:
        found = {key async for key in r.scan_iter(count=1000)}
        assert found == set(NAMES)
    finally:
        migration.end()
        fresh.migrate("{5}", home)


async def test_a_failover_in_the_middle_hides_no_key(fresh: ClusterServers, r: Cluster[str], no_debug: None) -> None:
    await fill(r)
    found = set()
    scan = r.scan_iter(count=20)
    for _ in range(100):
        found.add(await anext(scan))
    await asyncio.to_thread(fresh.failover, next(iter(found)))
    await asyncio.to_thread(fresh.wait_until_ok)
    async for key in scan:
        found.add(key)
    assert found == set(NAMES)
