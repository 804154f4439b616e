"""Blocking commands outlive moves and failovers of their slot (C12), scripts, and leases near a key."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from aioresp import ConnectionLost, MovedError
from aioresp.cluster import Cluster
from aioresp.cluster.nodes import retire
from aioresp.contexts.background import Background
from aioresp.replies.streams import Entry, GroupEntry
from aioresp.testing import ClusterNode, ClusterServers
from aioresp.wire.packing import pack
from tests.rest import until


def other_than(cluster: ClusterServers, place: str) -> ClusterNode:
    return next(node for node in cluster.primaries() if node is not cluster.primary_of(place))


async def test_a_pop_waits_at_the_node_of_its_key(fresh: ClusterServers, r: Cluster[str]) -> None:
    popping = [asyncio.create_task(r.blpop([f"queue:{number}"], timeout=60)) for number in range(10)]
    await asyncio.sleep(0.1)
    for number in range(10):
        await r.rpush(f"queue:{number}", str(number))
    assert await asyncio.gather(*popping) == [(f"queue:{number}", str(number)) for number in range(10)]


async def test_a_pop_moves_on_with_its_slot(fresh: ClusterServers, r: Cluster[str]) -> None:
    home, target = fresh.primary_of("{pop}q"), other_than(fresh, "{pop}q")
    popping = asyncio.create_task(r.blpop(["{pop}q"], timeout=60))
    await asyncio.sleep(0.1)
    await asyncio.to_thread(fresh.migrate, "{pop}q", target)
    try:
        await asyncio.sleep(0.2)
        assert not popping.done()
        await r.rpush("{pop}q", "x")
        assert await popping == ("{pop}q", "x")
    finally:
        fresh.migrate("{pop}q", home)


Call = Callable[[Cluster[str]], Awaitable[object]]

#: Calls that wait, those that end them, and their results.
WAITING: dict[str, tuple[Call, Call, object]] = {
    "BLPOP": (lambda r: r.blpop(["{pop}a", "{pop}b"], 60), lambda r: r.rpush("{pop}b", "x"), ("{pop}b", "x")),
    "BRPOP": (lambda r: r.brpop(["{pop}c"]), lambda r: r.rpush("{pop}c", "x"), ("{pop}c", "x")),
    "BLMOVE": (lambda r: r.blmove("{pop}d", "{pop}e", 60), lambda r: r.rpush("{pop}d", "x"), "x"),
    "BZPOPMIN": (lambda r: r.bzpopmin(["{pop}f"], 60), lambda r: r.zadd("{pop}f", {"x": 1.5}), ("{pop}f", "x", 1.5)),
    "BLMPOP": (
        lambda r: r.blmpop(60, 2, "{pop}g", "{pop}h", direction="LEFT"),
        lambda r: r.rpush("{pop}g", "x"),
        ("{pop}g", ["x"]),
    ),
    "XREAD": (
        lambda r: r.xread({"{pop}s": "0"}, block=60_000),
        lambda r: r.xadd("{pop}s", {"a": "1"}, id="1-1"),
        {"{pop}s": [Entry("1-1", {"a": "1"})]},
    ),
    "XREADGROUP": (
        lambda r: r.xreadgroup("g", "me", {"{pop}t": ">"}, block=60_000),
        lambda r: r.xadd("{pop}t", {"a": "1"}, id="1-1"),
        {"{pop}t": [GroupEntry("1-1", {"a": "1"}, None, None)]},
    ),
}


async def test_each_blocking_command_goes_on_after_moves_and_failovers(fresh: ClusterServers, r: Cluster[str]) -> None:
    home = fresh.primary_of("{pop}")
    names = [name for name in WAITING if name != "BLMPOP" or home.version >= (7,)]
    try:
        for target in (other_than(fresh, "{pop}"), None, home):
            await r.xgroup_create("{pop}t", "g", mkstream=True)
            calls = {name: asyncio.ensure_future(WAITING[name][0](r)) for name in names}
            await wait_for(fresh, "{pop}", len(names))
            if target is None:
                await asyncio.to_thread(fresh.failover, "{pop}")
            else:
                await asyncio.to_thread(fresh.migrate, "{pop}", target)
            await wait_for(fresh, "{pop}", len(names))
            assert not any(call.done() for call in calls.values())
            for name in names:
                await WAITING[name][1](r)
            assert {name: await call for name, call in calls.items()} == {name: WAITING[name][2] for name in names}
            await r.delete(*(f"{{pop}}{letter}" for letter in "abcdefghst"))
    finally:
        await asyncio.to_thread(fresh.wait_until_ok)


async def wait_for(cluster: ClusterServers, place: str, count: int) -> None:
    """Wait until so many clients are blocked at the node of a place."""
    async with asyncio.timeout(10):
        while int(cluster.primary_of(place).info("clients")["blocked_clients"]) != count:
            await asyncio.sleep(0.02)


async def test_a_time_limit_goes_on_at_the_next_node(fresh: ClusterServers, r: Cluster[str]) -> None:
    home = fresh.primary_of("{pop}q")
    clock = asyncio.get_running_loop().time
    try:
        for target in (other_than(fresh, "{pop}q"), home):
            begin = clock()
            popping = asyncio.ensure_future(r.blpop(["{pop}q"], timeout=2))
            reading = asyncio.ensure_future(r.xread({"{pop}s": "0"}, block=2000))
            await asyncio.sleep(1.3)
            await asyncio.to_thread(fresh.migrate, "{pop}q", target)
            assert await popping is None
            assert await reading == {}
            assert 1.9 < clock() - begin < 3.2  # and not another 2 s from then on
    finally:
        if fresh.primary_of("{pop}q") is not home:
            fresh.migrate("{pop}q", home)


async def test_a_pop_is_asked_for_at_the_target_of_a_move(fresh: ClusterServers, r: Cluster[str]) -> None:
    home = fresh.primary_of("{pop}q")
    migration = fresh.begin_migration("{pop}q", other_than(fresh, "{pop}q"))
    try:
        popping = asyncio.create_task(r.blpop(["{pop}q"], timeout=60))
        await asyncio.sleep(0.2)
        assert not popping.done()
        await r.rpush("{pop}q", "x")
        assert await popping == ("{pop}q", "x")
    finally:
        migration.end()
        fresh.migrate("{pop}q", home)


@pytest.mark.parametrize("refusal", ["MOVED", "ASK"])
async def test_a_node_that_holds_a_pop_back_survives_its_end_though_the_slot_has_gone(
    fresh: ClusterServers, r: Cluster[str], refusal: str
) -> None:
    """It refuses the guard before CLIENT UNBLOCK, which would crash it (Redis 6.2 to 8.0)."""
    home, target = fresh.primary_of("{pop}q"), other_than(fresh, "{pop}q")
    await r.llen("{pop}q")
    process = home.pid
    home.call("CLIENT", "PAUSE", 10_000, "WRITE")
    try:
        popping = asyncio.create_task(r.blpop(["{pop}q"], timeout=60))
        await asyncio.sleep(0.1)
        migration = await asyncio.to_thread(fresh.begin_migration, "{pop}q", target)
        if refusal == "MOVED":
            await asyncio.to_thread(migration.end)
        popping.cancel()
        await asyncio.sleep(0.2)
        assert home.running
        assert home.pid == process
        home.call("CLIENT", "UNPAUSE")
        await asyncio.wait((popping,))
        assert popping.cancelled()
        await until(lambda: r.stats().in_flight == r.stats().leased == 0)
        assert home.errorstats()[refusal] >= 1
        migration.end()
    finally:
        if home.running:
            home.call("CLIENT", "UNPAUSE")
        else:
            home.start()
            fresh.wait_until_ok()
        fresh.migrate("{pop}q", home)


async def test_a_pop_outlives_a_failover(fresh: ClusterServers, r: Cluster[str]) -> None:
    popping = asyncio.create_task(r.blpop(["{pop}q"], timeout=60))
    await asyncio.sleep(0.1)
    await asyncio.to_thread(fresh.failover, "{pop}q")
    await asyncio.to_thread(fresh.wait_until_ok)
    assert not popping.done()
    await r.rpush("{pop}q", "x")
    assert await popping == ("{pop}q", "x")


async def test_calls_on_connections_of_their_own_go_on_after_their_node_was_left(
    fresh: ClusterServers, r: Cluster[str]
) -> None:
    """A pool that was left refuses at once: whoever asked it again and again would hold up the whole event loop."""
    await r.ping()
    node = r.fleet.nodes.at(("127.0.0.1", fresh.primary_of("{pop}q").port))
    retire(node, None)
    assert await r.get("{pop}x") is None
    retire(node, None)
    assert await r.blpop(["{pop}q"], timeout=0.1) is None
    retire(node, None)
    async with r.connection(key="{pop}q") as c:
        assert await c.rpush("{pop}q", "x") == 1
    retire(node, None)
    async with r.pipeline() as p:
        await p.watch("{pop}q")
        p.multi()
        p.lpop("{pop}q")
        assert await p.execute() == ["x"]


async def test_a_cancelled_pop_gives_its_element_back(fresh: ClusterServers, r: Cluster[str]) -> None:
    for _ in range(20):
        popping = asyncio.create_task(r.blpop(["{pop}q"], timeout=60))
        await asyncio.sleep(0.01)
        pushing = asyncio.create_task(r.rpush("{pop}q", "x"))
        await asyncio.sleep(0)
        popping.cancel()
        await pushing
        await asyncio.wait((popping,))
        assert popping.cancelled()
        async with asyncio.timeout(5):
            while await r.llen("{pop}q") != 1:
                await asyncio.sleep(0.01)
        await r.delete("{pop}q")


async def test_what_is_put_back_at_a_node_that_is_replaced_goes_to_its_successor(
    fresh: ClusterServers, r: Cluster[str]
) -> None:
    """The slot has moved after the pop, so the successor has heard of the pop, as far as its node had."""
    home, target = fresh.primary_of("{pop}q"), other_than(fresh, "{pop}q")
    await r.ping()
    router = r.fleet.pools.here()
    background = Background(router.pool_at(("127.0.0.1", home.port)), asyncio.get_running_loop(), set())
    push = pack(("RPUSH", "{pop}q", "x"))
    await asyncio.to_thread(fresh.migrate, "{pop}q", target)
    try:
        with pytest.raises(MovedError) as moved:
            await background.send(push)
        assert background.leave(moved.value)
        left = router.pool_at(("127.0.0.1", target.port))
        await asyncio.to_thread(fresh.failover, target)
        async with asyncio.timeout(20):
            while not left.retired:
                await router.renew()
        with pytest.raises(ConnectionLost, match="serves no slots") as lost:
            await background.send(push)
        assert lost.value.outcome == "not sent"
        assert background.leave(lost.value)
        assert await background.send(push) == 1
        assert await r.lrange("{pop}q", 0, -1) == ["x"]
    finally:
        await asyncio.to_thread(fresh.migrate, "{pop}q", home)


async def test_no_element_is_lost_while_pops_are_cancelled_and_their_slot_moves(fresh: ClusterServers) -> None:
    lost: list[object] = []
    async with Cluster(fresh.url, on_lost=lost.append) as r:
        home, target = fresh.primary_of("{pop}q"), other_than(fresh, "{pop}q")
        moving = True
        pushed, got = 0, 0

        async def move() -> None:
            nonlocal moving
            try:
                for owner in (target, home) * 3:
                    await asyncio.to_thread(fresh.migrate, "{pop}q", owner)
                await asyncio.to_thread(fresh.failover, "{pop}q")
            finally:
                moving = False

        async def pop() -> None:
            nonlocal pushed, got
            while moving:
                popping = [asyncio.create_task(r.blpop(["{pop}q"], timeout=5)) for _ in range(5)]
                await asyncio.sleep(0.002)
                pushes = [asyncio.create_task(r.rpush("{pop}q", "x")) for _ in range(5)]
                pushed += 5
                for _ in range(pushed // 5 % 7):
                    await asyncio.sleep(0)
                for task in popping[:4]:
                    task.cancel()
                await asyncio.gather(*pushes)
                got += sum(isinstance(each, tuple) for each in await asyncio.gather(*popping, return_exceptions=True))

        await asyncio.gather(move(), pop())
        async with asyncio.timeout(15):
            while got + await r.llen("{pop}q") + len(lost) < pushed:
                await asyncio.sleep(0.05)
        assert lost == []
        assert got + await r.llen("{pop}q") == pushed


async def test_scripts_run_where_their_keys_are(fresh: ClusterServers, r: Cluster[str]) -> None:
    script = r.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    assert await asyncio.gather(*(script([f"s{number}"], [number]) for number in range(30))) == list(range(30))
    async with r.pipeline() as p:
        handles = [script([f"s{number}"], [1], client=p) for number in range(30)]
    assert [await handle for handle in handles] == [number + 1 for number in range(30)]


async def test_a_lease_is_near_its_key(fresh: ClusterServers, r: Cluster[str]) -> None:
    for key in ("user:{1}", "user:{2}", "user:{3}", "user:{7}"):
        async with r.connection(key=key) as c:
            await c.set(key, "1")
            assert await c.wait(0, 10) >= 0
            assert await c.call("WATCH", key) == "OK"
    async with r.connection() as c:
        assert await c.ping()


@pytest.mark.parametrize("protocol", [2, 3])
async def test_both_protocols(fresh: ClusterServers, protocol: int) -> None:
    async with Cluster(fresh.url, protocol=2 if protocol == 2 else 3) as r:
        await r.set("a", "1")
        assert await r.mget("a", "b") == ["1", None]
        assert await r.dbsize() == 1
        assert len(await r.replicas()) == 3
