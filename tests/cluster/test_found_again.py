"""A cluster is found again whatever happens to its nodes, and is not taken for another one (C7, C8)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from aioresp import ClusterError, ConnectionLost, Lost
from aioresp.cluster import Cluster, Shard, Topology
from aioresp.cluster.nodes import retire
from aioresp.testing import ClusterServers
from tests.rest import until


class Gate:
    """A port that leads to another one, which may change."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def pump(source: asyncio.StreamReader, drain: asyncio.StreamWriter) -> None:
            try:
                while data := await source.read(65536):
                    drain.write(data)
            except ConnectionError:
                pass
            finally:
                drain.close()

        try:
            back, forth = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, forth), pump(back, writer))


@asynccontextmanager
async def gate(target: int) -> AsyncIterator[Gate]:
    made = Gate(target)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


async def test_a_cluster_that_restarts_elsewhere_is_found_by_its_seeds(no_debug: None) -> None:
    cluster = ClusterServers(replicas=0, node_timeout=1.0, config={"save": "3600 1"})
    await cluster.__aenter__()
    try:
        async with gate(cluster.nodes[0].port) as seed:
            url = f"redis+cluster://:{cluster.nodes[0].password}@127.0.0.1:{seed.port}"
            async with Cluster(url, timeout=20) as r:
                for number in range(30):
                    await r.set(f"k{number}", str(number))
                before = {node.address for node in r.topology().nodes}
                await asyncio.to_thread(cluster.restart, elsewhere=True)
                seed.target = cluster.nodes[0].port
                assert await r.mget(f"k{number}" for number in range(30)) == [str(number) for number in range(30)]
                assert before.isdisjoint(node.address for node in r.topology().nodes)
    finally:
        await cluster.__aexit__(None, None, None)


async def test_a_seed_of_another_cluster_is_refused(fresh: ClusterServers, r: Cluster[str]) -> None:
    await r.ping()
    nodes = r.fleet.nodes
    known = r.topology()
    foreign = tuple(
        Shard(shard.slots, shard.primary.replace(id=f"other {number}", port=1), ())
        for number, shard in enumerate(known.shards)
    )
    nodes.topology = Topology(known.epoch, foreign)
    error = await r.fleet.pools.here().renew()
    assert isinstance(error, ClusterError)
    assert "another cluster" in str(error)
    assert r.topology().shards == foreign


async def test_callers_of_a_node_that_was_left_look_for_another(fresh: ClusterServers, r: Cluster[str]) -> None:
    """The table may name its pool for a moment more. A call that took it again and again would stop the loop."""
    await r.rpush("list", *"abc")
    node = next(node for node in r.fleet.nodes if node.settings.endpoint.port == fresh.primary_of("list").port)
    async with asyncio.timeout(20):
        retire(node, None)
        assert await r.blpop(("list",), 10) == ("list", "a")
        retire(node, None)
        async with r.connection(key="list") as c:
            assert await c.lpop("list") == "b"
        retire(node, None)
        async with r.pipeline(transaction=True) as p:
            await p.watch("list")
            assert await p.lrange("list", 0, -1) == ["c"]
            p.multi()
            p.lpop("list")
        retire(node, None)
        assert await r.llen("list") == 0


async def test_who_waits_at_a_dead_node_hears_that_it_was_left(fresh: ClusterServers, r: Cluster[str]) -> None:
    """Not that the client was closed: the command may have run there. A reader of streams goes on at the next node."""
    await r.ping()
    node = next(node for node in r.fleet.nodes if node.settings.endpoint.port == fresh.primary_of("list").port)
    dead = next(each for each in r.topology().nodes if each.address[1] == node.settings.endpoint.port)
    async with asyncio.timeout(20), r.stream_reader("{list}:log", last_id="0", block=10_000) as s:
        popping, reading = asyncio.ensure_future(r.blpop(("list",), 10)), asyncio.ensure_future(anext(s))
        await until(lambda: node.stats().leased == 2)
        retire(node, dead.replace(healthy=False))
        with pytest.raises(ConnectionLost, match="not used any more") as caught:
            await popping
        assert caught.value.outcome == "unknown"
        await r.xadd("{list}:log", {"a": "1"})
        assert (await reading).fields == {"a": "1"}


async def test_what_a_dead_node_may_have_popped_is_reported_with_the_reason(fresh: ClusterServers) -> None:
    lost: list[Lost] = []
    async with Cluster(fresh.url, on_lost=lost.append) as r:
        await r.ping()
        frozen = fresh.primary_of("list")
        node = r.fleet.nodes.at(("127.0.0.1", frozen.port))
        dead = next(each for each in r.topology().nodes if each.address[1] == frozen.port)
        popping = asyncio.ensure_future(r.with_options(retry=None).blpop(("list",), 30))
        await until(lambda: node.stats().leased == 1 and frozen.info("clients")["blocked_clients"] == "1")
        frozen.pause()
        try:
            retire(node, dead.replace(healthy=False))
            with pytest.raises(ConnectionLost, match="serves no slots of the cluster any more"):
                await popping
            await until(lambda: lost)
        finally:
            frozen.resume()
        assert "serves no slots of the cluster any more" in str(lost[0].error)
    await asyncio.to_thread(fresh.wait_until_ok)


async def test_an_older_view_never_replaces_a_newer(fresh: ClusterServers, r: Cluster[str]) -> None:
    await r.ping()
    nodes = r.fleet.nodes
    newer = r.topology().replace(epoch=r.topology().epoch + 5)
    nodes.topology = newer
    assert await r.fleet.pools.here().renew() is None
    assert r.topology() is newer
    assert await r.set("a", "1")


@pytest.mark.parametrize("timeout", [0.2, 1.0])
async def test_calls_end_by_their_deadline_while_nobody_is_there(timeout: float) -> None:
    async with Cluster("redis+cluster://127.0.0.1:1", timeout=timeout) as r:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        with pytest.raises(ConnectionError):
            await r.get("a")
        assert loop.time() - begin < timeout + 2


async def test_a_caller_who_waits_hurries_a_refresh_that_rests(fresh: ClusterServers, r: Cluster[str]) -> None:
    """Redirects without a change make refreshes rare; a caller of a dead node must not wait for that."""
    await r.ping()
    router = r.fleet.pools.here()
    for _ in range(6):
        await router.renew()
    router.refresh()
    loop = asyncio.get_running_loop()
    begin = loop.time()
    asked = fresh.commandstats().get("cluster|shards", 0) + fresh.commandstats().get("cluster|slots", 0)
    await router.wait(0.5)
    assert loop.time() - begin < 3
    if fresh.nodes[0].version >= (7,):
        assert fresh.commandstats().get("cluster|shards", 0) + fresh.commandstats().get("cluster|slots", 0) > asked


@pytest.mark.parametrize("left", [True, False])
async def test_what_a_frozen_node_pops_when_it_wakes_may_be_there_still(fresh: ClusterServers, left: bool) -> None:
    """A cluster that has replaced it has never heard of that pop: it is not said to be certainly gone."""
    rules = ("on", ">secret", "~*", "+@all", "-rpush", "-eval")  # nothing can be put back
    fresh.call_all("ACL", "SETUSER", "popper", *rules)
    lost: list[Lost] = []
    frozen = fresh.primary_of("list")
    frozen.call("RPUSH", "list", "x")
    try:
        async with Cluster(fresh.url, username="popper", password="secret", on_lost=lost.append) as r:
            await r.ping()
            node = r.fleet.nodes.at(("127.0.0.1", frozen.port))
            dead = next(each for each in r.topology().nodes if each.address[1] == frozen.port)
            assert await r.llen("list") == 1
            frozen.pause()
            try:
                popping = asyncio.ensure_future(r.brpop(("list",), 30))
                await until(lambda: node.stats().leased == 1)
                popping.cancel()
                await asyncio.wait((popping,))
                if left:
                    retire(node, dead.replace(healthy=False))
            finally:
                frozen.resume()
            await until(lambda: lost)
            (report,) = lost
            assert (report.elements, report.outcome) == ((b"x",), "unknown" if left else "lost")
    finally:
        fresh.call_all("ACL", "DELUSER", "popper")


@pytest.mark.parametrize("left", [True, False])
async def test_what_a_transaction_pops_on_a_node_that_is_left_may_be_there_still(
    fresh: ClusterServers, left: bool
) -> None:
    lost: list[Lost] = []
    frozen = fresh.primary_of("list")
    frozen.call("RPUSH", "list", "x")
    async with Cluster(fresh.url, on_lost=lost.append) as r:
        node = r.fleet.nodes.at(("127.0.0.1", frozen.port))
        assert await r.llen("list") == 1
        now = next(each for each in r.topology().nodes if each.address[1] == frozen.port)
        frozen.pause()
        try:
            async with r.pipeline(transaction=True) as p:
                p.brpop(("list",), 1)
                popping = asyncio.ensure_future(p.execute())
                await until(lambda: node.stats().in_flight)
                popping.cancel()
                await asyncio.wait((popping,))
            if left:
                retire(node, now)  # in good order: its replies arrive
        finally:
            frozen.resume()
        await until(lambda: lost)
    (report,) = lost
    assert (report.elements, report.outcome) == ((b"x",), "unknown" if left else "lost")


async def test_a_silent_node_has_the_topology_asked_for_although_an_idle_connection_is_asked_first(
    fresh: ClusterServers,
) -> None:
    """No connection is opened to it meanwhile, whose failure would tell: calls under way wait for its successor."""
    async with Cluster(fresh.url, concurrency=1, limit=5) as r:
        await asyncio.gather(*(r.get("list") for _ in range(5)))
        frozen = fresh.primary_of("list")
        pool = r.fleet.nodes.at(("127.0.0.1", frozen.port)).pools.here()
        router = r.fleet.pools.here()
        await until(lambda: router._refreshing is None)
        made = pool.stats().made
        assert pool.stats().open > 1
        frozen.pause()
        try:
            getting = asyncio.ensure_future(r.get("list"))
            await until(lambda: pool.doubts)
            assert (router._waiting, pool.stats().made) == (1, made)
        finally:
            frozen.resume()
        assert await getting is None
        await until(lambda: not pool.doubts)
        assert router._waiting == 0
    await asyncio.to_thread(fresh.wait_until_ok)
