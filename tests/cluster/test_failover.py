"""Failovers: a dead node slows no other, its callers move on with their slots, and the newest view wins (C4 to C8)."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import closing

import pytest

from aioresp import CommandTimeout, ConnectionLost
from aioresp.cluster import Cluster
from aioresp.cluster.redirect import send_once
from aioresp.events import ConnectFailed, Event, Redirected, TopologyChanged
from aioresp.testing import ClusterServers
from aioresp.wire.packing import pack
from tests.rest import until

KEYS = [f"key:{number}" for number in range(200)]


class Load:
    """Tasks that set keys one after another, and the times at which they succeeded."""

    def __init__(self, r: Cluster[str], keys: Sequence[str], tasks: int) -> None:
        self.done: list[float] = []
        self.calls: list[tuple[float, float]] = []  # begin and end of each
        self.errors: list[Exception] = []
        self._r = r
        self._stop = False
        self._tasks = [asyncio.create_task(self._run(keys, number)) for number in range(tasks)]

    async def _run(self, keys: Sequence[str], number: int) -> None:
        while not self._stop:
            number += 1
            began = time.monotonic()
            try:
                await self._r.set(keys[number % len(keys)], "1")
            except Exception as error:
                self.errors.append(error)
            else:
                self.done.append(time.monotonic())
            self.calls.append((began, time.monotonic()))
            await asyncio.sleep(0.02)

    def rate(self, begin: float, end: float) -> float:
        """Return the successes a second between two moments."""
        return sum(begin <= moment < end for moment in self.done) / (end - begin)

    async def stop(self) -> None:
        self._stop = True
        await asyncio.gather(*self._tasks)


@pytest.mark.parametrize("how", ["kill", "pause"])
async def test_a_dead_primary_slows_no_other_shard_and_its_callers_move(
    fresh: ClusterServers, r: Cluster[str], no_debug: None, how: str
) -> None:
    await r.ping()
    victim = fresh.primary_of(KEYS[0])
    sick = [key for key in KEYS if fresh.primary_of(key) is victim]
    well, dead = Load(r, [key for key in KEYS if key not in sick], 20), Load(r, sick, 10)
    begin = time.monotonic()
    await asyncio.sleep(1.0)
    others = [node for node in fresh.primaries() if node is not victim]
    connections = [node.connections_received() for node in others]
    killed = time.monotonic()
    end: Callable[[], None] = getattr(victim, how)
    await asyncio.to_thread(end)
    with pytest.raises((CommandTimeout, ConnectionError)):
        await r.with_options(timeout=0.3).incr(sick[0])
    assert 0.3 <= time.monotonic() - killed < 3.0
    try:
        await asyncio.to_thread(fresh.wait_until_promoted, victim)
        promoted = time.monotonic()
        await asyncio.sleep(1.5)
        await asyncio.gather(well.stop(), dead.stop())
        assert well.errors == []
        assert well.rate(killed, promoted) > 0.5 * well.rate(begin, killed)
        # Those who waited for the dead node went on as soon as the new owner was known.
        longest = max(dead.calls, key=lambda call: call[1] - call[0])
        assert longest[0] + 0.3 < longest[1] < promoted + 1.0
        assert {type(error) for error in dead.errors} <= {ConnectionLost}
        assert {error.outcome for error in dead.errors if isinstance(error, ConnectionLost)} <= {"unknown"}
        assert [node.connections_received() for node in others] == connections
        epoch = r.topology().epoch
    finally:
        await asyncio.to_thread(victim.start if how == "kill" else victim.resume)
        await asyncio.to_thread(fresh.wait_until_ok)
    assert await r.set(sick[0], "2")
    assert r.topology().epoch >= epoch
    found = r.topology().shard_of(r.keyslot(sick[0]))
    assert found is not None
    assert found.primary.port != victim.port


async def test_calls_leave_a_frozen_node_though_a_pop_waits_there(fresh: ClusterServers, no_debug: None) -> None:
    """A pop may have to be put back, and has two seconds for it. No other call waits so long, or for its last bytes."""
    async with Cluster(fresh.url, timeout=60) as r:
        await r.set("{frozen}a", "0")
        pop = asyncio.create_task(r.blpop("{frozen}list", timeout=30))
        old = fresh.primary_of("{frozen}a")
        await until(lambda: int(old.info("clients")["blocked_clients"]) == 1)
        async with r.connection(key="{frozen}a") as lease:
            await lease.ping()
            await asyncio.to_thread(old.pause)
            try:
                large = asyncio.create_task(r.set("{frozen}large", "x" * 10_000_000))
                reads = [asyncio.create_task(r.get("{frozen}a")) for _ in range(3)]
                leased = asyncio.create_task(lease.get("{frozen}a"))
                new = await asyncio.to_thread(fresh.wait_until_promoted, old)
                r.fleet.pools.here().refresh()
                await until(lambda: new.port in {node.port for node in r.topology().primaries})
                begin = time.monotonic()
                found = await asyncio.gather(*reads, return_exceptions=True)
                ends = await asyncio.gather(large, leased, pop, return_exceptions=True)
                took = time.monotonic() - begin
            finally:
                await asyncio.to_thread(old.resume)
        assert found == ["0"] * 3
        assert [type(end) for end in ends] == [ConnectionLost] * 3
        assert took < 1.0  # two seconds and more otherwise
    await asyncio.to_thread(fresh.wait_until_ok)


async def test_a_primary_that_sleeps_loses_nothing_and_slows_no_other(
    fresh: ClusterServers, r: Cluster[str], no_debug: None
) -> None:
    """DEBUG SLEEP, for less than the cluster takes to replace it: its callers wait, and nothing runs twice."""
    await r.set("{sleep}n", "0")
    victim = fresh.primary_of("{sleep}n")
    well = next(key for key in KEYS if fresh.primary_of(key) is not victim)
    sleeping = asyncio.create_task(asyncio.to_thread(victim.call, "DEBUG", "SLEEP", "0.6"))
    await asyncio.sleep(0.05)
    calls = [asyncio.create_task(r.incr("{sleep}n")) for _ in range(30)]
    pops = [asyncio.create_task(r.blpop(["{sleep}q"], timeout=0.1)) for _ in range(3)]
    count = 0
    while not sleeping.done():
        await r.get(well)
        count += 1
    await sleeping
    assert count > 50, "callers of another node have waited, too"
    assert sorted(await asyncio.gather(*calls)) == list(range(1, 31))
    assert await asyncio.gather(*pops) == [None] * 3
    assert await r.get("{sleep}n") == "30"
    found = r.topology().shard_of(r.keyslot("{sleep}n"))
    assert found is not None
    assert found.primary.port == victim.port


async def test_an_old_primary_that_wakes_is_left_at_once(fresh: ClusterServers, no_debug: None) -> None:
    """A client that has slept through the failover still has a connection to it, and finds it willing."""
    heard: list[Event] = []
    async with Cluster(fresh.url, events=heard.append) as r:
        await r.set("{wake}a", "0")
        old = fresh.primary_of("{wake}a")
        await asyncio.to_thread(old.pause)
        try:
            new = await asyncio.to_thread(fresh.wait_until_promoted, old)
        finally:
            await asyncio.to_thread(old.resume)
        heard.clear()
        before = 0
        for number in range(1, 201):
            await r.incr("{wake}a")
            before = before or number * any(isinstance(each, (Redirected, TopologyChanged)) for each in heard)
        value = int(await r.get("{wake}a") or 0)
        # By its nature, only what the old one has acknowledged before it was told may be lost.
        assert 200 - before < value <= 200
        await until(lambda: r.fleet.nodes.at(("127.0.0.1", old.port)).stats().open == 0)
        found = r.topology().shard_of(r.keyslot("{wake}a"))
        assert found is not None
        assert found.primary.port == new.port
    await asyncio.to_thread(fresh.wait_until_ok)


async def test_a_planned_failover_loses_nothing(fresh: ClusterServers, r: Cluster[str], no_debug: None) -> None:
    load = Load(r, KEYS, 20)
    counts = [0] * 5
    counting = True

    async def count(number: int) -> None:
        while counting:
            await r.incr(f"{{plan}}{number}")
            counts[number] += 1

    tasks = [asyncio.create_task(count(number)) for number in range(5)]
    for _ in range(2):
        await asyncio.sleep(0.3)
        await asyncio.to_thread(fresh.failover, "{plan}")
        await asyncio.to_thread(fresh.wait_until_ok)
    counting = False
    await load.stop()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert load.errors == []
    assert results == [None] * 5
    assert [int(value or 0) for value in await r.mget(*(f"{{plan}}{n}" for n in range(5)))] == counts


async def test_callers_of_a_dead_node_try_to_connect_a_few_times(no_debug: None) -> None:
    failed: list[Event] = []
    with closing(socket.socket()) as taken:  # bound, but not listening
        taken.bind(("127.0.0.1", 0))
        address = "127.0.0.1", taken.getsockname()[1]
        async with Cluster("redis+cluster://127.0.0.1:1", events=failed.append) as r:
            pool = r.fleet.nodes.at(address).pools.here()
            begin = time.monotonic()
            while time.monotonic() - begin < 0.5:
                with pytest.raises(ConnectionError):
                    await send_once(pool, pack(("PING",)), True, 10.0)
            took = time.monotonic() - begin
    attempts = sum(isinstance(event, ConnectFailed) for event in failed)
    assert 2 <= attempts <= 4 + took / 0.1
