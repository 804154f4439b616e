"""Readers of streams of several slots: one blocking read for each slot, over moves and failovers."""

from __future__ import annotations

import asyncio

from aioresp.cluster import Cluster
from aioresp.testing import ClusterNode, ClusterServers

NAMES = ("stream:1", "stream:2", "stream:3", "{moves}s")


def other_than(cluster: ClusterServers, place: str) -> ClusterNode:
    return next(node for node in cluster.primaries() if node is not cluster.primary_of(place))


async def test_entries_of_all_slots_come(fresh: ClusterServers, r: Cluster[str]) -> None:
    for name in NAMES:
        await r.xadd(name, {"n": name})
    found = await r.xread(dict.fromkeys(NAMES, "0"))
    assert {name: entries[0].fields for name, entries in found.items()} == {name: {"n": name} for name in NAMES}
    assert await r.xread(dict.fromkeys(NAMES, "$"), block=10) == {}
    reading = asyncio.create_task(r.xread(dict.fromkeys(NAMES, "$"), block=5000))
    await asyncio.sleep(0.2)
    await r.xadd(NAMES[1], {"n": "new"})
    assert list(await reading) == [NAMES[1]]


async def test_a_reader_misses_nothing_while_a_slot_moves(fresh: ClusterServers, r: Cluster[str]) -> None:
    home = fresh.primary_of("{moves}s")
    anchor = next(name for name in map(str, range(1000)) if fresh.primary_of(name) is home)
    got: dict[str, list[str]] = {name: [] for name in NAMES}
    try:
        async with r.stream_reader(*NAMES, last_id="0", block=500) as reader:

            async def write() -> None:
                for number in range(60):
                    for name in NAMES:
                        await r.xadd(name, {"n": str(number)})
                    if number == 20:
                        await asyncio.to_thread(fresh.migrate, "{moves}s", other_than(fresh, "{moves}s"))
                    if number == 40:
                        await asyncio.to_thread(fresh.failover, NAMES[0])

            writing = asyncio.create_task(write())
            async for entry in reader:
                got[entry.stream].append(entry.fields["n"])
                if all(len(each) == 60 for each in got.values()):
                    break
            await writing
    finally:
        await asyncio.to_thread(fresh.wait_until_ok)
        if fresh.primary_of("{moves}s") is not fresh.primary_of(anchor):
            fresh.migrate("{moves}s", fresh.primary_of(anchor))
    assert got == {name: [str(number) for number in range(60)] for name in NAMES}


async def test_a_group_reads_streams_of_several_slots(fresh: ClusterServers, r: Cluster[str]) -> None:
    got: list[tuple[str, str]] = []
    async with r.group_reader("group", "me", *NAMES, block=1000) as reader:

        async def write() -> None:
            for number in range(30):
                for name in NAMES:
                    await r.xadd(name, {"n": str(number)})

        writing = asyncio.create_task(write())
        async for entry in reader:
            got.append((entry.stream, entry.fields["n"]))
            if len(got) == 30 * len(NAMES):
                break
        await writing
    assert sorted(got) == sorted((name, str(number)) for name in NAMES for number in range(30))
