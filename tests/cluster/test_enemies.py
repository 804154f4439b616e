"""Nodes and surroundings that mean no good: each costs what it must, and no more (C4 to C9, C17, C18)."""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest

from aioresp import ArgumentError, ClusterDownError, CommandTimeout, RedisError
from aioresp.cluster import Cluster
from aioresp.cluster.pace import MOST, WANTED, Pace
from aioresp.cluster.redirect import follow, send_once
from aioresp.cluster.router import TURN
from aioresp.errors import MovedError, response_error
from aioresp.testing import ClusterNode, ClusterServers, Proxy, server
from aioresp.testing.talk import ErrorReply
from tests.cluster.fakes import HOST, fakes
from tests.cluster.moving import moved, tapped
from tests.rest import at_rest, nothing_left

OK = "+OK\r\n"


def url_of(*nodes: Any) -> str:
    return "redis+cluster://" + ",".join(f"{HOST}:{node.port}" for node in nodes)


# --- Answers ----------------------------------------------------------------------------------------------------------


async def test_two_nodes_that_send_callers_to_each_other_are_asked_at_leisure(no_debug: None) -> None:
    async with nothing_left(), fakes(lambda words: None, lambda words: None) as (one, two):
        one.answer = lambda words: f"-MOVED 12182 {HOST}:{two.port}\r\n"
        two.answer = lambda words: f"-MOVED 12182 {HOST}:{one.port}\r\n"
        async with Cluster(url_of(one, two), timeout=1.0) as r:
            found = await asyncio.gather(*(r.get("foo") for _ in range(50)), return_exceptions=True)
            assert {type(each) for each in found} == {CommandTimeout}
            assert "MOVED 12182" in str(found[0])
            assert one.asked[b"GET"] + two.asked[b"GET"] <= 50 * 20
            assert one.asked[b"SHARDS"] + two.asked[b"SHARDS"] <= 2 * 15
            await at_rest(r)


async def test_two_nodes_that_ask_each_other_are_asked_at_leisure() -> None:
    async with fakes(lambda words: None, lambda words: None) as (one, two):
        one.answer = lambda words: OK if words == [b"ASKING"] else f"-ASK 12182 {HOST}:{two.port}\r\n"
        two.answer = lambda words: OK if words == [b"ASKING"] else f"-ASK 12182 {HOST}:{one.port}\r\n"
        async with Cluster(url_of(one, two), timeout=1.0) as r:
            with pytest.raises(CommandTimeout, match="ASK 12182"):
                await r.incr("foo")
            assert one.asked[b"INCRBY"] + two.asked[b"INCRBY"] <= 20


@pytest.mark.parametrize(
    "error", ["LOADING Redis is loading", "CLUSTERDOWN The cluster is down", "TRYAGAIN x", "BUSY x"]
)
async def test_a_node_that_is_not_ready_is_asked_again(error: str) -> None:
    ready = time.monotonic() + 0.5

    def answer(words: list[bytes]) -> str:
        return ":1\r\n" if time.monotonic() > ready else f"-{error}\r\n"

    async with fakes(answer) as (node,), Cluster(url_of(node), timeout=10) as r:
        assert await r.incr("foo") == 1
        assert node.asked[b"INCRBY"] <= 20


async def test_a_refusal_of_asking_is_the_answer_and_the_command_is_not_taken_for_run() -> None:
    async with fakes(lambda words: None, lambda words: None) as (one, two):
        one.answer = lambda words: f"-ASK 12182 {HOST}:{two.port}\r\n"
        two.answer = lambda words: (
            "-NOPERM no permission to run 'asking'\r\n"
            if words == [b"ASKING"]
            else f"-MOVED 12182 {HOST}:{one.port}\r\n"
        )
        async with Cluster(url_of(one, two), timeout=1.0) as r:
            with pytest.raises(RedisError, match="no permission"):
                await r.incr("foo")


# --- Nobody is there --------------------------------------------------------------------------------------------------


async def test_a_command_without_a_key_tries_few_nodes_in_a_row(
    no_debug: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt is at another one of many nodes, none of which is there."""
    tries = 0

    async def counted(*arguments: Any) -> Any:
        nonlocal tries
        tries += 1
        return await send_once(*arguments)

    async with fakes(*[lambda words: "$1\r\nx\r\n"] * 30) as nodes, Cluster(url_of(*nodes), timeout=1.0) as r:
        assert await r.echo("x") == "x"
        for node in nodes:
            node.stop()
        await asyncio.sleep(0.05)
        monkeypatch.setattr("aioresp.cluster.redirect.send_once", counted)
        with pytest.raises(ConnectionError):
            await r.echo("x")
        assert tries <= 60


async def test_commands_without_a_key_in_a_pipeline_try_another_node(no_debug: None) -> None:
    async with fakes(*[lambda words: "$1\r\nx\r\n"] * 3) as nodes, Cluster(url_of(*nodes), timeout=5.0) as r:
        assert await r.echo("x") == "x"
        for node in nodes[1:]:
            node.stop()
        await asyncio.sleep(0.05)
        for _ in range(10):
            async with r.pipeline() as p:
                said = [p.echo("x") for _ in range(3)]
            assert [await each for each in said] == ["x"] * 3


async def test_a_pipeline_waits_for_a_primary_that_is_healthy(no_debug: None) -> None:
    async with fakes(lambda words: "$1\r\nx\r\n") as (node,), Cluster(url_of(node), timeout=5.0) as r:
        node.health = "fail"
        assert await r.fleet.pools.here().renew() is None
        p = r.pipeline()
        said = p.echo("x")
        running = asyncio.ensure_future(p.execute())
        await asyncio.sleep(0.1)
        assert not running.done()
        node.health = "online"
        assert await running == ["x"]
        assert await said == "x"


@pytest.mark.parametrize("tasks", [2000, pytest.param(5000, marks=pytest.mark.soak)])
async def test_thousands_of_callers_wait_for_a_cluster_at_little_cost(no_debug: None, tasks: int) -> None:
    async with nothing_left(), fakes(lambda words: ":1\r\n") as (node,), Cluster(url_of(node), timeout=30) as r:
        assert await r.incr("foo") == 1
        node.stop()
        await asyncio.sleep(0.05)
        gc.collect()
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        calls = [asyncio.create_task(r.incr(f"k{number}")) for number in range(tasks)]
        await asyncio.sleep(0.3)
        used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (used - before) / tasks < 20_000
        busy = time.process_time()
        await asyncio.sleep(1.0)
        busy = time.process_time() - busy
        assert busy < 0.8
        await node.start()
        assert await asyncio.gather(*calls) == [1] * tasks
        assert r.fleet.pools.here()._waiting == 0


async def test_callers_of_a_node_that_is_not_ready_try_seldom_and_follow_the_first_that_succeeds(
    no_debug: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise thousands of them would take the time of callers of healthy nodes (C5)."""
    monkeypatch.setattr("aioresp.cluster.router.CROWD", 20)
    reply = "-CLUSTERDOWN The cluster is down\r\n"
    async with fakes(lambda words: reply) as (node,), Cluster(url_of(node), timeout=100) as r:
        calls: list[asyncio.Task[Any]] = [asyncio.create_task(r.incr(f"k{number}")) for number in range(1000)]
        async with r.pipeline() as p:
            queued = p.incr("k")
            calls.append(asyncio.create_task(p.execute()))
            await asyncio.sleep(1.5)
            asked = node.asked[b"INCRBY"]
            await asyncio.sleep(0.5)
            assert node.asked[b"INCRBY"] - asked < 100
            reply = ":1\r\n"
            async with asyncio.timeout(15):  # by themselves they would take a minute
                await asyncio.gather(*calls)
            assert await queued == 1


async def test_thousands_of_callers_do_not_wake_in_one_turn(no_debug: None) -> None:
    async with fakes(lambda words: OK) as (node,), Cluster(url_of(node)) as r:
        await r.ping()
        router = r.fleet.pools.here()
        waiting = [asyncio.create_task(router.wait(60)) for _ in range(10 * TURN)]
        await asyncio.sleep(0.01)
        router.wake()
        turns = 0
        while not all(task.done() for task in waiting):
            await asyncio.sleep(0)
            turns += 1
        assert 10 <= turns <= 20


async def test_a_call_without_a_time_limit_waits_for_a_cluster_that_comes_back() -> None:
    async with fakes(lambda words: ":1\r\n") as (node,), Cluster(url_of(node), timeout=None) as r:
        assert await r.incr("foo") == 1
        node.stop()
        await asyncio.sleep(0.05)
        call = asyncio.create_task(r.incr("foo"))
        await asyncio.sleep(0.5)
        assert not call.done()
        await node.start()
        async with asyncio.timeout(10):
            assert await call == 1


@pytest.mark.parametrize("timeout", [0.01, 0.1])
async def test_a_short_deadline_is_kept(fresh: ClusterServers, timeout: float) -> None:
    async with nothing_left(), fakes(lambda words: ":1\r\n") as (node,):
        node.stop()
        loop = asyncio.get_running_loop()
        for url in (url_of(node), fresh.url):
            async with Cluster(url, timeout=timeout) as r:
                begin = loop.time()
                found = await asyncio.gather(
                    *(r.get(f"k{n}") for n in range(20)), r.mget("a", "b"), r.ping(), return_exceptions=True
                )
                assert loop.time() - begin < timeout + 1.5
                assert {type(each) for each in found if isinstance(each, BaseException)} <= {
                    *(type(each) for each in found if isinstance(each, (ConnectionError, TimeoutError)))
                }
                await at_rest(r)


# --- Questions for the topology ---------------------------------------------------------------------------------------


async def test_a_redirect_that_tells_nothing_new_asks_for_nothing(fresh: ClusterServers, r: Cluster[str]) -> None:
    await r.set("a", "1")
    router = r.fleet.pools.here()
    assert await router.renew() is None
    assert not vars(router)["_refreshing"]
    slot = r.keyslot("a")
    late = response_error(f"MOVED {slot} {HOST}:{fresh.primary_of('a').port}")
    assert isinstance(late, MovedError)
    follow(router, late, slot)
    assert not vars(router)["_refreshing"]
    news = response_error(f"MOVED {slot} {HOST}:{fresh.replicas()[0].port}")
    assert isinstance(news, MovedError)
    follow(router, news, slot)
    assert vars(router)["_refreshing"]
    assert await r.get("a") == "1"


async def test_seeds_are_asked_before_many_nodes_that_may_all_be_out_of_reach(fresh: ClusterServers) -> None:
    login, port = fresh.nodes[0].credentials, fresh.nodes[0].port
    async with Cluster(f"redis+cluster://{login}localhost:{port}") as r:
        await r.ping()
        candidates, _ = r.fleet.pools.here().candidates(3)
        assert {*candidates[:3]} == {node.address for node in r.topology().primaries}  # they have connections
        assert candidates[3] == ("localhost", port)
        assert {*candidates[4:]} == {node.address for node in r.topology().replicas}


async def test_a_refresh_does_not_wait_for_the_others_that_are_wanted(fresh: ClusterServers, r: Cluster[str]) -> None:
    """A caller that waits for a node has the topology asked for again and again; `renew` ends all the same."""
    await r.ping()
    router = r.fleet.pools.here()
    end = router.doubt(False)
    try:
        async with asyncio.timeout(10):
            for _ in range(3):
                assert await router.renew() is None
    finally:
        end()


def test_questions_become_rare_while_nothing_helps() -> None:
    pace = Pace()
    pace.gap = MOST
    pace.want(100)
    assert pace.jittered(100, True) <= WANTED * 1.2
    assert 0.4 <= pace.jittered(120, True) <= 0.7
    assert pace.jittered(1100, True) >= MOST * 0.8
    assert pace.jittered(100, False) >= MOST * 0.8


# --- Nodes that do not belong -----------------------------------------------------------------------------------------


async def test_a_node_without_slots_is_not_the_cluster(fresh: ClusterServers) -> None:
    """A seed that was reset, or has not met the others yet, tells of itself alone, and is the first to answer."""
    login = fresh.nodes[0].credentials
    async with server(config={"cluster-enabled": "yes"}) as lonely, Proxy(HOST, fresh.nodes[0].port) as slow:
        async with Cluster(f"redis+cluster://{login}{HOST}:{lonely.port}", timeout=0.5) as r:
            with pytest.raises(ClusterDownError, match="knows of no node with slots"):
                await r.get("a")
        slow.delay = 0.2
        async with Cluster(f"redis+cluster://{login}{HOST}:{lonely.port},{HOST}:{slow.port}", timeout=10) as r:
            assert await r.set("a", "1")
            assert len(r.topology().primaries) == 3


async def test_a_seed_that_changes_sides_is_not_followed(no_debug: None) -> None:
    """The port of a dead cluster belongs to another one by now; then the first one is back."""
    one, two = (ClusterServers(primaries=1, replicas=0, config={"save": "3600 1"}) for _ in range(2))
    async with one, two, Proxy(HOST, one.nodes[0].port) as seed:
        url = f"redis+cluster://{one.nodes[0].credentials}{HOST}:{seed.port}"
        async with Cluster(url, timeout=1.0) as r:
            assert await r.set("a", "1")
            await asyncio.to_thread(one.nodes[0].save_and_end)
            seed.lead_to(HOST, two.nodes[0].port)
            seed.cut()
            with pytest.raises((CommandTimeout, ConnectionError)):
                await r.incr("a")
            assert "another cluster" in str(await r.fleet.pools.here().renew())
            await asyncio.to_thread(one.nodes[0].start, elsewhere=True)
            with pytest.raises((CommandTimeout, ConnectionError)):
                await r.incr("a")
            seed.lead_to(HOST, one.nodes[0].port)
            seed.cut()
            assert await r.with_options(timeout=10).incr("a") == 2
        async with Cluster(two.url) as other:
            assert await other.get("a") is None


async def test_a_view_that_is_replayed_changes_nothing(fresh: ClusterServers) -> None:
    """One node tells an old topology for ever, be it the only one that answers."""
    async with tapped(fresh) as (r, taps):
        await r.set("{replay}a", "1")
        old = fresh.primary_of("{replay}a")
        kept: dict[bytes, bytes] = {}
        question = b"".join(b"*2\r\n$7\r\nCLUSTER\r\n$%d\r\n%s\r\n" % (len(w), w) for w in (b"SHARDS", b"INFO"))
        slots = question.replace(b"$6\r\nSHARDS", b"$5\r\nSLOTS")
        reader, writer = await asyncio.open_connection(HOST, old.port)
        if old.password:
            writer.write(b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n" % (len(old.password), old.password.encode()))
            await reader.readline()
        writer.write(b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n")
        await asyncio.sleep(0.05)
        await reader.read(65536)
        for words in (question, slots):
            writer.write(words)
            await asyncio.sleep(0.05)
            kept[words] = await reader.read(1 << 20)
        writer.close()
        await asyncio.to_thread(fresh.failover, old)
        assert await r.incr("{replay}a") == 2
        await r.fleet.pools.here().renew()
        seen = r.topology()
        found = seen.shard_of(r.keyslot("{replay}a"))
        assert found is not None
        asked = 0

        def replay(data: bytes) -> bytes | None:
            nonlocal asked
            asked += data in kept
            return kept.get(data)

        for tap in taps.values():
            tap.answer = replay
        for _ in range(3):
            assert await r.fleet.pools.here().renew() is None
            now = r.topology().shard_of(r.keyslot("{replay}a"))
            assert now is not None
            assert now.primary == found.primary
        assert asked >= 3
        assert await r.incr("{replay}a") == 3
        await asyncio.to_thread(fresh.wait_until_ok)


# --- Hooks ------------------------------------------------------------------------------------------------------------


async def test_listeners_that_raise_do_no_harm(fresh: ClusterServers, caplog: pytest.LogCaptureFixture) -> None:
    def hear(event: object) -> None:
        raise LookupError("of the listener")

    async with Cluster(fresh.url, events=hear) as r:
        await r.set("{hook}a", "1")
        async with moved(fresh, "{hook}a"):
            assert await r.get("{hook}a") == "1"
    assert "of the listener" in caplog.text


async def test_providers_of_credentials_that_fail_are_asked_again(fresh: ClusterServers) -> None:
    fails = True

    def give() -> str:
        if fails:
            raise LookupError("secret")
        return fresh.nodes[0].password or ""

    url = "redis+cluster://" + ",".join(f"{HOST}:{node.port}" for node in fresh.nodes)
    async with nothing_left(), Cluster(url, credential_provider=give, timeout=0.5) as r:
        for _ in range(2):
            with pytest.raises(ConnectionError, match="LookupError") as caught:
                await r.get("a")
            assert "secret" not in str(caught.value)
        fails = False
        assert await r.set("a", "1")
        fails = True
        for pool in list(r.fleet.pools.here()._addresses):
            for connection in pool.resources:
                connection.close()
        with pytest.raises(ConnectionError, match="LookupError"):
            await r.get("a")
        fails = False
        assert await r.get("a") == "1"


async def test_a_map_of_addresses_that_fails_is_told(fresh: ClusterServers) -> None:
    def lead(address: tuple[str, int]) -> tuple[str, int]:
        raise LookupError("no such address")

    async with nothing_left(), Cluster(fresh.url, address_map=lead, timeout=0.5) as r:
        with pytest.raises(ArgumentError, match="address_map raised LookupError"):
            await r.get("a")


# --- Nodes that come and go -------------------------------------------------------------------------------------------


def reshard(cluster: ClusterServers, source: ClusterNode, target: ClusterNode, most: int) -> None:
    """Hand over so many slots, and tell no other node of it: the word spreads by itself."""
    slots = [slot for part in source.view()[source.id].slots for slot in part][:most]
    login = ["AUTH", target.password] if target.password else []
    for slot in slots:
        target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
        while keys := source.call("CLUSTER", "GETKEYSINSLOT", slot, 100):
            assert isinstance(keys, list)
            source.call("MIGRATE", HOST, target.port, "", 0, 5000, "REPLACE", *login, "KEYS", *map(str, keys))
        target.call("CLUSTER", "SETSLOT", slot, "NODE", target.id)
        with suppress(ErrorReply):  # without slots it becomes a replica, at once on Redis 6.2
            source.call("CLUSTER", "SETSLOT", slot, "NODE", target.id)


@pytest.mark.parametrize("most", [100, pytest.param(16384, marks=[pytest.mark.soak, pytest.mark.timeout(400)])])
async def test_slots_and_nodes_go_under_load(no_debug: None, most: int) -> None:
    """A new primary takes slots over; a replica is forgotten and reset, and at last the primary without slots, too."""
    async with ClusterServers(primaries=2, replicas=1, full_coverage=False) as cluster:
        first, second, replica = cluster.nodes
        async with Cluster(cluster.url, timeout=30) as r:
            names = [f"n{number}" for number in range(40)]
            counts = dict.fromkeys(names, 0)
            running = True

            async def count(name: str) -> None:
                while running:
                    assert await r.incr(name) > 0
                    counts[name] += 1
                    await asyncio.sleep(0.002)

            def forget(node: ClusterNode) -> None:
                members.remove(node)
                for other in members:
                    try:
                        other.call("CLUSTER", "FORGET", node.id)
                    except ErrorReply as error:  # another one has told it already, as servers do since Redis 7.2
                        if "Unknown node" not in str(error):
                            raise
                node.call("CLUSTER", "RESET")

            members = list(cluster.nodes)
            tasks = [asyncio.create_task(count(name)) for name in names]
            await asyncio.to_thread(reshard, cluster, second, first, most)
            await asyncio.to_thread(forget, replica)
            if most > 100:
                await asyncio.to_thread(forget, second)
            await asyncio.sleep(0.1)
            assert await r.fleet.pools.here().renew() is None
            await asyncio.sleep(0.1)
            assert await r.fleet.pools.here().renew() is None
            running = False
            await asyncio.gather(*tasks)
            assert [int(value or 0) for value in await r.mget(names)] == list(counts.values())
            expected = {first.port} if most > 100 else {first.port, second.port}
            assert {node.port for node in r.topology().nodes} == expected
            await asyncio.sleep(0.6)
            assert {node.settings.endpoint.port for node in r.fleet.nodes if node.stats().open} == expected
