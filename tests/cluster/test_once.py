"""Nothing runs twice by accident, and few connections and questions are enough (C3, C4, C11, C16, C17)."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter

import pytest

from aioresp import Client, CommandTimeout, ConnectionLost, Pipeline, WatchError
from aioresp.cluster import Cluster
from aioresp.cluster.nodes import SLOW
from aioresp.testing import ClusterServers, Proxy
from tests.cluster.moving import half_moved, moved, other_than, proxied
from tests.rest import until


class Counters:
    """Counters that tasks increase, with what each call said."""

    def __init__(self, r: Cluster[str], names: list[str]) -> None:
        self.names = names
        self.acknowledged: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.outcomes: set[str] = set()
        self._r = r

    async def run(self, count: int, tasks: int) -> None:
        """Increase each counter so many times."""
        left = iter(self.names * count)

        async def increase() -> None:
            for name in left:
                try:
                    await self._r.incr(name)
                except ConnectionLost as error:
                    self.unknown[name] += 1
                    self.outcomes.add(error.outcome)
                else:
                    self.acknowledged[name] += 1

        await asyncio.gather(*(increase() for _ in range(tasks)))

    async def check(self, r: Cluster[str]) -> None:
        """Check that what was acknowledged ran once, and what is unknown once or not at all."""
        assert self.outcomes == {"unknown"}  # what was not sent is sent again
        for name, value in zip(self.names, await r.mget(self.names), strict=True):
            least = self.acknowledged[name]
            assert least <= int(value or 0) <= least + self.unknown[name]


async def cut(proxies: dict[int, Proxy], until: asyncio.Event) -> None:
    """Cut a reply of each node again and again, or a handshake."""
    chance = random.Random(7)
    cuts = dict.fromkeys(proxies, 0)
    while not until.is_set():
        for port, proxy in proxies.items():
            if proxy.cuts == cuts[port]:
                proxy.cut_after(chance.randrange(800), rst=chance.random() < 0.5)
                cuts[port] += 1
        await asyncio.sleep(0.01)


@pytest.mark.turns(2)
@pytest.mark.parametrize("moving", [False, True])
async def test_no_call_whose_reply_is_cut_off_runs_twice(
    fresh: ClusterServers, r: Cluster[str], no_debug: None, moving: bool
) -> None:
    async with proxied(fresh, timeout=20) as (client, proxies):
        await client.ping()
        ended = asyncio.Event()
        counters = Counters(client, [f"cut{number}" for number in range(20)])
        cutting = asyncio.create_task(cut(proxies, ended))
        home, target = fresh.primary_of("cut0"), other_than(fresh, "cut0")

        async def move() -> None:
            while moving and not ended.is_set():
                await asyncio.to_thread(fresh.migrate, "cut0", target)
                await asyncio.to_thread(fresh.migrate, "cut0", home)

        migrating = asyncio.create_task(move())
        await counters.run(150, 20)
        ended.set()
        await asyncio.gather(cutting, migrating)
        assert sum(proxy.cuts for proxy in proxies.values()) > 5
        await counters.check(r)


@pytest.mark.turns(2)
@pytest.mark.parametrize("transaction", [False, True])
async def test_no_pipeline_whose_replies_are_cut_off_runs_twice(
    fresh: ClusterServers, r: Cluster[str], no_debug: None, transaction: bool
) -> None:
    """A transaction runs as a whole or not at all: its counters have one value."""
    async with proxied(fresh, timeout=20) as (client, proxies):
        await client.ping()
        ended = asyncio.Event()
        names = [f"{{cut}}{number}" if transaction else f"cut{number}" for number in range(30)]
        cutting = asyncio.create_task(cut(proxies, ended))
        acknowledged: Counter[str] = Counter()
        unknown: Counter[str] = Counter()
        for _ in range(150):
            p = client.pipeline(transaction=transaction)
            for name in names:
                p.incr(name)
            values: list[object]
            try:
                values = await p.execute(raise_on_error=False)
            except ConnectionLost as error:
                values = [error] * len(names)
            for name, value in zip(names, values, strict=True):
                if isinstance(value, ConnectionLost):
                    unknown[name] += 1
                else:
                    assert isinstance(value, int)
                    acknowledged[name] += 1
        ended.set()
        await cutting
        assert unknown.total() > 0
        found = [int(value or 0) for value in await r.mget(names)]
        for name, value in zip(names, found, strict=True):
            assert acknowledged[name] <= value <= acknowledged[name] + unknown[name]
        if transaction:
            assert len(set(found)) == 1


async def test_transfers_over_a_half_moved_slot_happen_once_or_not_at_all(
    fresh: ClusterServers, r: Cluster[str]
) -> None:
    """One account has left the node, and the other has not: no node may run a transfer before the move has ended."""
    accounts = [f"{{bank}}{number}" for number in range(4)]
    done = late = 0

    async def transfer(client: Client[str], one: str, other: str) -> None:
        nonlocal done, late
        try:
            async with client.pipeline(transaction=True) as p:
                p.decr(one)
                p.incr(other)
            done += 1
        except CommandTimeout:
            late += 1

    async def watch(client: Client[str], one: str, other: str) -> None:
        nonlocal done, late

        async def step(p: Pipeline[str]) -> None:
            value = int(await p.get(one) or 0)
            p.multi()
            p.set(one, value - 1)
            p.incr(other)

        try:
            await client.transaction(step, one, attempts=5)
            done += 1
        except (CommandTimeout, WatchError):
            late += 1

    async with half_moved(fresh, r, accounts) as migration:
        for account in accounts:
            await r.set(account, 0)
        here = migration.source.call("CLUSTER", "GETKEYSINSLOT", migration.slot, 10)
        assert isinstance(here, list)
        stays, gone = sorted(map(str, here)), sorted({*accounts} - {*map(str, here)})
        assert (len(stays), len(gone)) == (2, 2)
        short = r.with_options(timeout=0.3)
        await asyncio.gather(transfer(r, *stays), transfer(r, *gone), watch(r, *stays))  # each at one node
        assert (done, late) == (3, 0)
        await asyncio.gather(transfer(short, stays[0], gone[0]), watch(short, stays[0], gone[0]), watch(short, *gone))
        assert (done, late) == (3, 3)
        assert sum([int(value or 0) for value in await asyncio.gather(*map(r.get, accounts))]) == 0
        waiting = [asyncio.create_task(transfer(r, stays[0], gone[0])) for _ in range(5)]
        await asyncio.sleep(0.05)
        before = done
        await asyncio.to_thread(migration.end)
        await asyncio.gather(*waiting)
        assert done == before + 5
        assert sum([int(value or 0) for value in await r.mget(accounts)]) == 0


async def test_a_watched_key_of_a_half_moved_slot_counts_as_changed(fresh: ClusterServers, r: Cluster[str]) -> None:
    keys = ["{watched}a", "{watched}b"]
    await r.mset(dict.fromkeys(keys, "1"))
    home = fresh.primary_of(keys[0])
    async with r.pipeline() as p:
        await p.watch(keys[0])
        migration = fresh.begin_migration(keys[0], other_than(fresh, keys[0]))
        try:
            migration.move()
            p.multi()
            p.append(keys[0], "!")
            with pytest.raises(WatchError):
                await p.execute()
        finally:
            migration.end()
            fresh.migrate(keys[0], home)
    assert await r.mget(keys) == ["1", "1"]


async def test_a_thousand_redirects_at_once_are_one_refresh(fresh: ClusterServers, r: Cluster[str]) -> None:
    keys = [f"{{storm}}{number}" for number in range(1000)]
    await r.get(keys[0])
    await r.ping()  # no connection is made during the storm: a slow one would be a reason to ask
    async with moved(fresh, keys[0]):
        fresh.reset_stats()
        await asyncio.gather(*map(r.get, keys))
        await asyncio.sleep(0.3)
        ran = fresh.commandstats()
        if fresh.nodes[0].version >= (7,):  # 6.2 counts the kit's own CLUSTER NODES by the same name
            assert fresh.errorstats()["MOVED"] == 1000
            assert sum(ran.get(name, 0) for name in ("cluster|shards", "cluster|slots")) <= 3


async def test_five_hundred_tasks_have_one_connection_to_each_node(fresh: ClusterServers) -> None:
    names = [f"few{number}" for number in range(500)]
    url = f"redis+cluster://{fresh.nodes[0].credentials}127.0.0.1:{fresh.nodes[0].port}"
    primaries = fresh.primaries()
    before = {node: node.connections_received() for node in fresh.nodes}
    loop = asyncio.get_running_loop()
    begin = loop.time()
    async with Cluster(url) as r:
        assert await asyncio.gather(*map(r.get, names)) == [None] * 500
        slow = loop.time() - begin > SLOW  # then connections took long enough to ask other nodes for the topology
        await asyncio.gather(*(r.echo("x") for _ in range(500)))  # each at a random primary
        new = {node: node.connections_received() - before[node] for node in fresh.nodes}
        seed = fresh.nodes[0]
        assert {node: new[node] for node in primaries if node is not seed} == {
            node: 1 for node in primaries if node is not seed
        }
        assert new[seed] == 1 or slow
        assert sum(new.values()) == len({*primaries, seed}) or slow
        await until(lambda: r.stats().open == 3)


@pytest.mark.soak
@pytest.mark.timeout(180)
async def test_the_deadline_bounds_a_call_and_the_count_of_attempts_nothing(no_debug: None) -> None:
    async with ClusterServers(node_timeout=5.0, full_coverage=False) as cluster, Cluster(cluster.url) as r:
        await r.set("a", "1")
        victim = cluster.primary_of("a")
        await asyncio.to_thread(victim.kill)
        begin = time.monotonic()

        async def fail(timeout: float) -> None:
            with pytest.raises(ConnectionError):
                await r.with_options(timeout=timeout).incr("a")
            assert timeout <= time.monotonic() - begin < timeout + 0.5

        long = asyncio.create_task(r.with_options(timeout=20).incr("a"))
        await asyncio.gather(*map(fail, (0.01, 0.5, 2.0)))
        assert await long == 2
        assert time.monotonic() - begin > 4
