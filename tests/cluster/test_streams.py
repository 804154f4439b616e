"""Readers of streams of several slots: one blocking read for each slot, over moves and failovers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from aioresp.cluster import Cluster, streams
from aioresp.testing import ClusterNode, ClusterServers
from tests.rest import until

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


async def test_a_group_reads_streams_of_several_slots_over_moves_and_failovers(
    fresh: ClusterServers, r: Cluster[str]
) -> None:
    home = fresh.primary_of("{moves}s")
    anchor = next(name for name in map(str, range(1000)) if fresh.primary_of(name) is home)
    got: list[tuple[str, str]] = []
    try:
        async with r.group_reader("group", "me", *NAMES, block=500) as reader:

            async def write() -> None:
                for number in range(45):
                    async with r.pipeline() as p:
                        for name in NAMES:
                            p.xadd(name, {"n": str(number)})
                    await asyncio.sleep(0.002)
                    if number == 15:
                        await asyncio.to_thread(fresh.migrate, "{moves}s", other_than(fresh, "{moves}s"))
                    if number == 30:
                        await asyncio.to_thread(fresh.failover, NAMES[0])

            writing = asyncio.create_task(write())
            async for entry in reader:
                got.append((entry.stream, entry.fields["n"]))
                if len(got) == 45 * len(NAMES):
                    break
            await writing
        assert sorted(got) == sorted((name, str(number)) for name in NAMES for number in range(45))
        for name in NAMES:
            assert len(await r.xpending_range(name, "group", "-", "+", 10)) <= 1  # the last one was left by `break`
    finally:
        await asyncio.to_thread(fresh.wait_until_ok)
        if fresh.primary_of("{moves}s") is not fresh.primary_of(anchor):
            fresh.migrate("{moves}s", fresh.primary_of(anchor))


def blocked(servers: ClusterServers) -> int:
    return sum(int(node.info("clients")["blocked_clients"]) for node in servers.primaries())


async def test_one_blocking_read_for_each_slot_is_asked(fresh: ClusterServers, r: Cluster[str]) -> None:
    """The servers are not asked again and again, and what all of them have delivered by then is returned."""
    for name in NAMES:
        await r.xgroup_create(name, "group", mkstream=True)
    fresh.reset_stats()
    for command in ("xreadgroup", "xread"):
        read: Awaitable[dict[str, Any]] = (
            r.xreadgroup("group", "me", dict.fromkeys(NAMES, ">"), block=20_000)
            if command == "xreadgroup"
            else r.xread(dict.fromkeys(NAMES, "$"), block=20_000)
        )
        reading = asyncio.ensure_future(read)
        await until(lambda: blocked(fresh) == len(NAMES))
        await asyncio.sleep(1)
        assert blocked(fresh) == len(NAMES)
        before = asyncio.get_running_loop().time()
        await r.xadd(NAMES[1], {"n": "new"})
        assert list(await reading) == [NAMES[1]]
        assert asyncio.get_running_loop().time() - before < 4
        assert fresh.commandstats()[command] <= 2 * len(NAMES)  # the first ones do not block
        async with asyncio.timeout(5):  # the others are ended
            while sum(int(node.info("clients")["blocked_clients"]) for node in fresh.primaries()):
                await asyncio.sleep(0.02)


async def test_a_group_loses_nothing_that_several_servers_deliver_at_once(
    fresh: ClusterServers, r: Cluster[str]
) -> None:
    for name in NAMES:
        await r.xgroup_create(name, "group", mkstream=True)
    got: list[tuple[str, str]] = []
    sent = [(name, str(number)) for number in range(40) for name in NAMES]

    async def write() -> None:
        for number in range(40):
            await asyncio.sleep(0.005)
            async with r.pipeline() as p:
                for name in NAMES:
                    p.xadd(name, {"n": str(number)})

    writing = asyncio.create_task(write())
    while len(got) < len(sent):
        found = await r.xreadgroup("group", "me", dict.fromkeys(NAMES, ">"), count=1, block=5000, noack=True)
        assert found, f"{len(got)} of {len(sent)} came"
        got += [(name, (entry.fields or {})["n"]) for name, entries in found.items() for entry in entries]
    await writing
    assert sorted(got) == sorted(sent)
    for name in NAMES:
        assert [number for stream, number in got if stream == name] == [str(number) for number in range(40)]


async def test_reads_that_the_server_does_not_let_us_end_cost_time_and_no_entry(
    fresh: ClusterServers, r: Cluster[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "ROUND", 0.5)
    for name in NAMES:
        await r.xgroup_create(name, "group", mkstream=True)
    fresh.call_all("ACL", "SETUSER", "default", "-client|unblock" if fresh.nodes[0].version >= (7,) else "-client")
    try:
        reading = asyncio.ensure_future(r.xreadgroup("group", "me", dict.fromkeys(NAMES, ">"), block=20_000))
        await asyncio.sleep(0.2)
        await r.xadd(NAMES[1], {"n": "new"})
        assert list(await asyncio.wait_for(reading, 10)) == [NAMES[1]]
    finally:
        fresh.call_all("ACL", "SETUSER", "default", "+client")
