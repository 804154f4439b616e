"""Reads from replicas of a cluster: which commands go there, and what happens when they cannot serve (R1 to R5)."""

from __future__ import annotations

import asyncio
import os

import pytest

from aioresp import Client, ConnectError
from aioresp.cluster import Cluster
from aioresp.reading import ReadFrom
from aioresp.testing import ClusterNode, ClusterServers, Server
from aioresp.testing.servers import quoted
from aioresp.testing.talk import ErrorReply
from tests.rest import until

NAMES = [f"read:{number}" for number in range(60)]


async def in_step(cluster: ClusterServers, r: Cluster[str]) -> None:
    """Set the keys, and wait until the replicas have them."""
    async with r.pipeline() as p:
        for name in NAMES:
            p.set(name, name)
    for node in await r.primaries():
        async with node.connection() as c:
            await c.wait(1, 1000)
    await asyncio.to_thread(cluster.wait_until_ok)


def gets(cluster: ClusterServers, replicas: bool) -> int:
    nodes = cluster.replicas() if replicas else cluster.primaries()
    return sum(node.commandstats().get("get", 0) for node in nodes)


def addresses(replica: ClusterNode) -> set[str]:
    """Return the addresses of the clients that may read from a replica."""
    lines = str(replica.call("CLIENT", "LIST")).splitlines()
    words = [[word.partition("=") for word in line.split()] for line in lines]
    found = [{name: value for name, _, value in each} for each in words]
    return {each["addr"] for each in found if "r" in each["flags"]}


async def test_reads_go_to_replicas_and_writes_do_not(fresh: ClusterServers) -> None:
    async with Cluster(fresh.url + "/0?read_from=replica") as r:
        await in_step(fresh, r)
        assert await asyncio.gather(*map(r.get, NAMES)) == NAMES
        assert (gets(fresh, replicas=True), gets(fresh, replicas=False)) == (60, 0)
        assert await r.mget(NAMES) == NAMES
        assert sum(node.commandstats().get("mget", 0) for node in fresh.primaries()) == 0
        assert fresh.errorstats().get("MOVED", 0) == 0
        view = r.with_options(read_from="primary")
        assert await view.get(NAMES[0]) == NAMES[0]
        assert gets(fresh, replicas=False) == 1
        async with r.pipeline(transaction=True) as p:
            value = p.get(NAMES[1])
        assert await value == NAMES[1]
        assert gets(fresh, replicas=False) == 2


async def test_a_slot_that_is_on_its_way_is_read_from_its_primary(fresh: ClusterServers, r: Cluster[str]) -> None:
    """A replica does not tell that a key has gone to another node already. R4: it tells once the slot has gone."""
    await in_step(fresh, r)
    key, view = NAMES[0], r.with_options(read_from="replica")
    home = fresh.primary_of(key)
    target = next(node for node in fresh.primaries() if node is not home)
    for _ in range(2):
        migration = await asyncio.to_thread(fresh.begin_migration, key, target)
        await asyncio.to_thread(migration.move)
        assert await r.get(key) == key  # by ASK
        async with view.pipeline() as p:
            values = [p.get(key), p.get(NAMES[1])]
        several = await view.mget(key, NAMES[1])
        assert [await view.get(key), await values[0], several[0]] == [key] * 3
        assert await values[1] == several[1] == NAMES[1]
        await asyncio.to_thread(migration.end)
        assert await view.get(key) == key
        assert await view.mget(key, NAMES[1]) == [key, NAMES[1]]
        home, target = target, home
    # A moment later, if a new topology came before the first MOVED.
    await until(lambda: not r.fleet.pools.here().on_its_way(r.keyslot(key)))


async def test_keys_that_are_on_their_way_are_waited_for(fresh: ClusterServers) -> None:
    """Of a slot that moves, replicas of Valkey 8.0 and newer tell ASK and TRYAGAIN, as their primary does."""
    if fresh.nodes[0].flavour != "valkey":
        pytest.skip("replicas of Redis do not tell of a move")
    tag = NAMES[0]
    names = [f"{{{tag}}}{number}" for number in range(10)]
    async with Cluster(fresh.url, read_from="replica") as r:
        for name in names:
            await r.set(name, name)
        await in_step(fresh, r)
        home = fresh.primary_of(tag)
        migration = fresh.begin_migration(tag, next(node for node in fresh.primaries() if node is not home))
        migration.move(5)
        await asyncio.sleep(0.1)  # the replica hears of it
        reads = [asyncio.create_task(read) for read in (r.mget(names), r.exists(*names))]
        await asyncio.wait(reads, timeout=0.2)
        await asyncio.to_thread(migration.end)
        assert await asyncio.gather(*reads) == [names, len(names)]


async def test_a_view_reads_from_replicas(fresh: ClusterServers, r: Cluster[str]) -> None:
    await in_step(fresh, r)
    view = r.with_options(read_from="replica")
    assert await asyncio.gather(*map(view.get, NAMES)) == NAMES
    assert (gets(fresh, replicas=True), gets(fresh, replicas=False)) == (60, 0)


async def test_a_pipeline_reads_from_replicas_where_it_only_reads(fresh: ClusterServers) -> None:
    """R1: the commands of a slot stay in their order, and a transaction is for the primary."""
    async with Cluster(fresh.url, read_from="replica") as r:
        await in_step(fresh, r)
        fresh.reset_stats()
        async with r.pipeline() as p:
            values = [p.get(name) for name in NAMES]
            several = p.mget(NAMES)
            pong = p.ping()
        assert [await value for value in values] == await several == NAMES
        assert await pong
        assert (gets(fresh, replicas=True), gets(fresh, replicas=False)) == (60, 0)
        assert sum(node.commandstats().get("mget", 0) for node in fresh.primaries()) == 0
        assert fresh.errorstats().get("MOVED", 0) == 0
        async with r.pipeline() as p:
            before = p.get(NAMES[0])
            length = p.append(NAMES[0], "!")
            after, other = p.get(NAMES[0]), p.get(NAMES[1])
        assert [await before, await length, await after] == [NAMES[0], len(NAMES[0]) + 1, NAMES[0] + "!"]
        assert await other == NAMES[1]
        assert (gets(fresh, replicas=True), gets(fresh, replicas=False)) == (61, 2)
        async with r.pipeline(transaction=True) as p:
            p.get(NAMES[1])
        async with r.with_options(read_from="primary").pipeline() as p:
            p.get(NAMES[1])
        assert (gets(fresh, replicas=True), gets(fresh, replicas=False)) == (61, 4)


async def test_scripts_and_sorts_that_only_read_go_to_replicas(fresh: ClusterServers) -> None:
    async with Cluster(fresh.url, read_from="replica") as r:
        await r.rpush("{list}1", "2", "1")
        await in_step(fresh, r)
        fresh.reset_stats()
        if fresh.nodes[0].version >= (7,):
            assert await r.sort_ro("{list}1") == ["1", "2"]
            assert await r.eval_ro("return redis.call('GET', KEYS[1])", 1, NAMES[0]) == NAMES[0]
            ran = [node.commandstats() for node in fresh.primaries()]
            assert not any("sort_ro" in each or "eval_ro" in each for each in ran)
            script = r.register_script("return redis.call('GET', KEYS[1])", readonly=True)
            assert await script([NAMES[0]]) == NAMES[0]
        assert await r.sort("{list}1") == ["1", "2"]
        assert await r.eval("return redis.call('GET', KEYS[1])", 1, NAMES[0]) == NAMES[0]
        assert sum(node.commandstats().get("sort", 0) for node in fresh.primaries()) == 1


async def test_a_lease_on_a_replica_reads_again_after_a_reset(fresh: ClusterServers, r: Cluster[str]) -> None:
    await in_step(fresh, r)
    for replica in await r.replicas():
        async with replica.connection() as c:
            await c.call("READWRITE")
    for name in NAMES:
        home = fresh.replicas_of(name)[0].port
        (replica,) = [each for each in await r.replicas() if each.node.settings.endpoint.port == home]
        assert await replica.get(name) == name


@pytest.mark.parametrize("read_from", ["replica", "prefer_replica", "nearest"])
async def test_dead_replicas_cost_no_error(fresh: ClusterServers, read_from: ReadFrom) -> None:
    """R3: each in turn is killed, comes back with nothing, and is in step again; all that time each value is right."""
    async with Cluster(fresh.url, read_from=read_from) as r:
        await in_step(fresh, r)
        going = True

        async def read() -> int:
            rounds = 0
            while going or not rounds:
                assert await asyncio.gather(*map(r.get, NAMES)) == NAMES
                async with r.pipeline() as p:
                    values = [p.get(name) for name in NAMES]
                assert [await value for value in values] == NAMES
                rounds += 1
                await asyncio.sleep(0.01)
            return rounds

        reading = asyncio.create_task(read())
        for victim in fresh.replicas() if read_from == "replica" else fresh.replicas()[:1]:
            await asyncio.to_thread(victim.kill)
            await asyncio.to_thread(victim.start)
            await asyncio.to_thread(fresh.wait_until_ok)
        going = False
        assert await reading > 0


async def test_a_replica_that_has_nothing_yet_is_not_read(fresh: ClusterServers) -> None:
    """It has just started, and cannot reach its primary: it would say that there are no keys."""
    victim = fresh.replicas_of(NAMES[0])[0]
    async with Cluster(fresh.url, read_from="replica") as r:
        await in_step(fresh, r)
        assert await r.get(NAMES[0]) == NAMES[0]
        victim.set_line("masterauth", "wrong")
        try:
            await asyncio.to_thread(victim.kill)
            await asyncio.to_thread(victim.start)
            assert victim.call("DBSIZE") == 0
            async with r.pipeline() as p:
                values = [p.get(name) for name in NAMES]
            assert [await value for value in values] == NAMES
            assert await asyncio.gather(*map(r.get, NAMES)) == NAMES
        finally:
            victim.set_line("masterauth", quoted(victim.password or ""))
            await asyncio.to_thread(victim.kill)
            await asyncio.to_thread(victim.start)
            await asyncio.to_thread(fresh.wait_until_ok)


async def test_a_server_without_a_cluster_in_the_place_of_a_replica_is_not_read(fresh: ClusterServers) -> None:
    victim = fresh.replicas_of(NAMES[0])[0]
    config = {"requirepass": quoted(victim.password)} if victim.password else {}
    async with Cluster(fresh.url, read_from="replica") as r:
        await in_step(fresh, r)
        assert await asyncio.gather(*map(r.get, NAMES)) == NAMES
        await asyncio.to_thread(victim.kill)
        try:
            async with Server(port=victim.port, config=config):
                for _ in range(20):
                    assert await asyncio.gather(*map(r.get, NAMES)) == NAMES
                    await asyncio.sleep(0.05)
        finally:
            await asyncio.to_thread(victim.start)
            await asyncio.to_thread(fresh.wait_until_ok)


async def test_a_replica_that_hangs_delays_reads_once(fresh: ClusterServers) -> None:
    async with Cluster(fresh.url, read_from="replica", timeout=1) as r:
        await in_step(fresh, r)
        asleep = fresh.replicas_of(NAMES[0])[0]
        begin = asyncio.get_running_loop().time()
        asleep.pause()
        try:
            assert await r.get(NAMES[0]) == NAMES[0]
            async with r.pipeline() as p:
                values = [p.get(name) for name in NAMES]
            assert [await value for value in values] == NAMES
            assert asyncio.get_running_loop().time() - begin < 1
        finally:
            asleep.resume()
            await asyncio.to_thread(fresh.wait_until_ok)


async def test_a_replica_that_loads_is_passed_over(fresh: ClusterServers) -> None:
    """LOADING, while it takes the keys that its primary has sent: no read waits for that."""
    replica = fresh.replicas_of(NAMES[0])[0]
    if replica.version < (7, 0):
        pytest.skip("needs a server of 7.0, which can be made to load slowly")
    slow = {"key-load-delay": "50000", "loading-process-events-interval-bytes": "1024"}
    async with Cluster(fresh.url, read_from="replica", timeout=20) as r:
        await in_step(fresh, r)
        for number in range(30):
            await r.set(f"{{{NAMES[0]}}}{number}", os.urandom(1000).hex())  # not compressed: it loads piece by piece
        primary = fresh.primary_of(NAMES[0])
        for name, value in slow.items():
            replica.call("CONFIG", "SET", name, value)
        try:
            assert await r.get(NAMES[0]) == NAMES[0]
            primary.call("DEBUG", "CHANGE-REPL-ID")  # it sends all keys again
            primary.call("CLIENT", "KILL", "TYPE", "replica")
            async with asyncio.timeout(20):
                while not fresh.errorstats().get("LOADING", 0):
                    assert await r.get(NAMES[0]) == NAMES[0]
                    async with r.pipeline() as p:
                        found = p.get(NAMES[0])
                    assert await found == NAMES[0]
        finally:
            for name, value in zip(slow, ("0", "2097152"), strict=True):
                replica.call("CONFIG", "SET", name, value)
            await asyncio.to_thread(fresh.wait_until_ok)


async def test_a_replica_that_sleeps_delays_few_reads_and_is_asked_again_soon(fresh: ClusterServers) -> None:
    """DEBUG SLEEP: its socket takes what comes, and nothing answers."""
    replica = fresh.replicas_of(NAMES[0])[0]
    async with Cluster(fresh.url, read_from="replica", timeout=0.6) as r:
        await in_step(fresh, r)
        assert await r.get(NAMES[0]) == NAMES[0]
        sleeping = asyncio.create_task(asyncio.to_thread(replica.call, "DEBUG", "SLEEP", "0.7"))
        await asyncio.sleep(0.05)
        slow = 0
        while not sleeping.done():
            begin = asyncio.get_running_loop().time()
            assert await asyncio.gather(*(r.get(NAMES[0]) for _ in range(20))) == [NAMES[0]] * 20
            slow += asyncio.get_running_loop().time() - begin > 0.25
            await asyncio.sleep(0.01)
        await sleeping
        assert slow <= 3
        replica.reset_stats()
        async with asyncio.timeout(3):
            while not replica.commandstats().get("get", 0):
                assert await r.get(NAMES[0]) == NAMES[0]


async def test_replicas_that_refuse_for_now_are_passed_over(fresh: ClusterServers) -> None:
    """MASTERDOWN: a replica that may not serve old data has lost its primary."""
    victim = fresh.primary_of(NAMES[0])
    replica = fresh.replicas_of(victim)[0]
    replica.call("CONFIG", "SET", "replica-serve-stale-data", "no")
    try:
        async with Cluster(fresh.url, read_from="replica", timeout=20) as r:
            await in_step(fresh, r)
            await asyncio.to_thread(victim.kill)
            try:
                async with r.pipeline() as p:
                    values = [p.get(name) for name in NAMES]
                assert [await value for value in values] == NAMES
                assert await asyncio.gather(*map(r.get, NAMES)) == NAMES
            finally:
                await asyncio.to_thread(fresh.wait_until_promoted, victim)
                await asyncio.to_thread(victim.start)
                await asyncio.to_thread(fresh.wait_until_ok)
    finally:
        replica.call("CONFIG", "SET", "replica-serve-stale-data", "yes")


async def test_a_replica_that_has_become_one_of_another_shard_sends_on(fresh: ClusterServers) -> None:
    """R4: MOVED by a replica leads to the primary, and to a refresh."""
    async with Cluster(fresh.url, read_from="replica") as r:
        await in_step(fresh, r)
        assert await r.get(NAMES[0]) == NAMES[0]
        home = fresh.primary_of(NAMES[0])
        replica = fresh.replicas_of(home)[0]
        other = next(node for node in fresh.primaries() if node is not home)
        replica.call("CLUSTER", "REPLICATE", other.id)
        try:
            assert await asyncio.gather(*map(r.get, NAMES)) == NAMES
        finally:
            replica.call("CLUSTER", "REPLICATE", home.id)
            await asyncio.to_thread(fresh.wait_until_ok)


async def test_a_replica_of_another_primary_is_connected_to_anew(fresh: ClusterServers) -> None:
    """Only a new connection asks whether it is in step. CLUSTER SLOTS of Redis 6.2 does not tell."""
    home = fresh.primary_of(NAMES[0])
    replica = fresh.replicas_of(home)[0]
    other = next(node for node in fresh.primaries() if node is not home)
    async with Cluster(fresh.url, read_from="replica") as r:
        await in_step(fresh, r)
        async with asyncio.timeout(20):
            while not (before := addresses(replica)):
                assert await asyncio.gather(*map(r.get, NAMES)) == NAMES
                await r.fleet.pools.here().renew()
        replica.call("CLUSTER", "REPLICATE", other.id)
        try:
            await asyncio.to_thread(fresh.wait_until_ok)
            async with asyncio.timeout(20):
                while before & addresses(replica):
                    await r.fleet.pools.here().renew()
                while not addresses(replica):
                    assert await asyncio.gather(*map(r.get, NAMES)) == NAMES
                    await r.fleet.pools.here().renew()
        finally:
            replica.call("CLUSTER", "REPLICATE", home.id)
            await asyncio.to_thread(fresh.wait_until_ok)


async def test_a_replica_that_was_reset_is_not_read_before_it_has_the_keys(fresh: ClusterServers) -> None:
    """It refuses reads until it is a replica again. Connections from before would tell that there is nothing."""
    home = fresh.primary_of(NAMES[0])
    replica = fresh.replicas_of(home)[0]
    async with Cluster(fresh.url, read_from="replica") as r:
        r.fleet.nodes.tells_shards = False
        await in_step(fresh, r)
        assert await asyncio.gather(*map(r.get, NAMES)) == NAMES
        replica.call("CONFIG", "SET", "masterauth", "wrong")
        try:
            replica.call("CLUSTER", "RESET", "SOFT")
            assert await asyncio.gather(*map(r.get, NAMES)) == NAMES  # CLUSTERDOWN
            replica.call("CLUSTER", "MEET", "127.0.0.1", home.port)
            async with asyncio.timeout(20):
                while True:
                    try:
                        replica.call("CLUSTER", "REPLICATE", home.id)
                        break
                    except ErrorReply:  # it has not met it yet
                        await asyncio.sleep(0.02)
            for _ in range(20):
                assert await asyncio.gather(*map(r.get, NAMES)) == NAMES
                await asyncio.sleep(0.05)
        finally:
            replica.call("CONFIG", "SET", "masterauth", replica.password or "")
            await asyncio.to_thread(fresh.wait_until_ok)


async def test_reads_outlive_a_failover(fresh: ClusterServers) -> None:
    async with Cluster(fresh.url, read_from="replica") as r:
        await in_step(fresh, r)
        errors: list[Exception] = []
        going = True

        async def read(name: str) -> None:
            while going:
                try:
                    assert await r.get(name) == name
                except Exception as error:
                    errors.append(error)
                await asyncio.sleep(0.01)

        tasks = [asyncio.create_task(read(name)) for name in NAMES[:20]]
        await asyncio.sleep(0.2)
        await asyncio.to_thread(fresh.failover, NAMES[0])
        await asyncio.to_thread(fresh.wait_until_ok)
        await asyncio.sleep(0.3)
        going = False
        await asyncio.gather(*tasks)
        assert errors == []


async def test_a_primary_that_is_back_and_has_not_heard_of_its_successor_is_not_connected_to(
    fresh: ClusterServers,
) -> None:
    """As soon as it has heard of it, it is a replica without keys: its connections would tell that there is nothing."""
    old = fresh.primary_of(NAMES[0])
    others = [node for node in fresh.nodes if node is not old]
    async with Cluster(fresh.url, read_from="replica") as r:
        await in_step(fresh, r)
        await asyncio.to_thread(old.kill)
        await asyncio.to_thread(fresh.wait_until_promoted, old)
        back = r.fleet.nodes.at(("127.0.0.1", old.port), readonly=True)
        old.set_line("masterauth", "wrong")  # it will not be in step
        try:
            for node in others:
                node.pause()
            await asyncio.to_thread(old.start)
            assert old.info("replication")["role"] == "master"
            with pytest.raises(ConnectError, match="takes itself for a primary"):
                await Client.over(back, r.terms).get(NAMES[0])
            for node in others:
                node.resume()
            async with asyncio.timeout(20):
                while old.info("replication")["role"] == "master":
                    await asyncio.sleep(0.02)
            with pytest.raises(ConnectError, match="has not got the keys"):
                await Client.over(back, r.terms).get(NAMES[0])
            assert await asyncio.gather(*map(r.get, NAMES)) == NAMES
        finally:
            for node in others:
                node.resume()
            old.set_line("masterauth", quoted(old.password or ""))
            await asyncio.to_thread(old.kill)
            await asyncio.to_thread(old.start)
            await asyncio.to_thread(fresh.wait_until_ok)


async def test_replicas_serve_where_the_nearest_server_is_a_primary_that_is_gone(fresh: ClusterServers) -> None:
    victim = fresh.primary_of(NAMES[0])
    replica = fresh.replicas_of(victim)[0]
    try:
        for node in fresh.nodes:
            node.call("CONFIG", "SET", "availability-zone", f"zone-{node in fresh.primaries()}")
    except ErrorReply:
        pytest.skip("the server has no availability zones")
    replica.call("CONFIG", "SET", "cluster-replica-no-failover", "yes")
    try:
        async with Cluster(fresh.url, read_from="nearest", availability_zone="zone-True", timeout=4) as r:
            await in_step(fresh, r)
            assert await asyncio.gather(*map(r.with_options(read_from="replica").get, NAMES)) == NAMES
            fresh.reset_stats()
            assert await asyncio.gather(*map(r.get, NAMES)) == NAMES
            assert gets(fresh, replicas=True) == 0
            await asyncio.to_thread(victim.kill)
            assert await r.get(NAMES[0]) == NAMES[0]
            async with r.pipeline() as p:
                values = [p.get(name) for name in NAMES]
            assert [await value for value in values] == NAMES == await r.mget(NAMES)
            assert gets(fresh, replicas=True) > 0
    finally:
        if not victim.running:
            await asyncio.to_thread(victim.start)
        replica.call("CONFIG", "SET", "cluster-replica-no-failover", "no")
        await asyncio.to_thread(fresh.wait_until_ok)
        fresh.call_all("CONFIG", "SET", "availability-zone", "")


@pytest.mark.parametrize("protocol", [2, 3])
async def test_the_nearest_are_in_the_own_zone(fresh: ClusterServers, protocol: int) -> None:
    """R6: the zone is told by CLUSTER SHARDS (Valkey 9.1), by HELLO (8.1), and by INFO to those without HELLO."""
    zones = {node: f"zone-{node in fresh.primaries()}" for node in fresh.nodes}
    try:
        for node, zone in zones.items():
            node.call("CONFIG", "SET", "availability-zone", zone)
    except ErrorReply:
        pytest.skip("the server has no availability zones")
    try:
        for own in set(zones.values()):
            async with Cluster(
                fresh.url, read_from="nearest", availability_zone=own, protocol=2 if protocol == 2 else 3
            ) as r:
                await in_step(fresh, r)
                for _ in range(3):
                    await asyncio.gather(*map(r.get, NAMES))
                fresh.reset_stats()
                await asyncio.gather(*map(r.get, NAMES))
                async with r.pipeline() as p:
                    for name in NAMES:
                        p.get(name)
                asked = {zones[node] for node in fresh.nodes if node.commandstats().get("get")}
                assert asked == {own}
    finally:
        fresh.call_all("CONFIG", "SET", "availability-zone", "")
