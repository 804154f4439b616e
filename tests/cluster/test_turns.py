"""Calls that are cancelled, lose their connection, or lose their loop, wherever they are: nothing is left (C18)."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
import traceback
import warnings
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from aioresp import ClientClosed, ClusterError, ConnectionLost, RedisError
from aioresp.cluster import Cluster, Shard, Topology
from aioresp.cluster.router import UNSERVED
from aioresp.testing import ClusterServers
from tests.cluster.moving import half_moved, proxies, through
from tests.rest import at_rest, descriptors, in_step, nothing_left, until

KEYS = [f"{{turn}}{number}" for number in range(8)]

Operation = Callable[[Cluster[str]], Awaitable[object]]


def forget_slot(r: Cluster[str], key: str = KEYS[0]) -> None:
    """Let the table lead to a wrong node, which answers with MOVED."""
    router = r.fleet.pools.here()
    slot = r.keyslot(key)
    if router.topology is not None:
        router.pools[slot] = next(pool for pool in router.pools if pool is not router.pools[slot])


async def ask(r: Cluster[str]) -> object:
    return await asyncio.gather(*map(r.get, KEYS))


async def move(r: Cluster[str]) -> object:
    forget_slot(r)
    return await r.get(KEYS[0])


async def wait_for_the_end(r: Cluster[str]) -> object:
    return await r.rename(KEYS[0], "{turn}new")  # TRYAGAIN, or ASK to and fro, as one key is here and one is not


async def pipeline(r: Cluster[str]) -> object:
    forget_slot(r)
    async with r.pipeline() as p:
        for key in (*KEYS, "a", "b", "c"):
            p.getex(key)
    return None


async def transaction(r: Cluster[str]) -> object:
    forget_slot(r)
    async with r.pipeline(transaction=True) as p:
        p.get("{turn}absent")
        p.get("{turn}absent")
    return None


async def watching(r: Cluster[str]) -> object:
    forget_slot(r, "{watch}")
    async with r.pipeline() as p:
        await p.watch("{watch}")
        p.multi()
        p.get("{watch}")
        await p.execute()
    return None


async def lease(r: Cluster[str]) -> object:
    async with r.connection(key="other") as c:
        return await c.ping()


async def block(r: Cluster[str]) -> object:
    return await r.blpop(["{turn}empty"], 1)


async def everywhere(r: Cluster[str]) -> object:
    return await r.dbsize(), await r.mget("a", "b", "c"), await r.delete("a", "b", "c")


async def renew(r: Cluster[str]) -> object:
    return await r.ping(), await r.fleet.pools.here().renew()


OPERATIONS: list[Operation] = [
    *(ask, move, wait_for_the_end, pipeline, transaction, watching, lease, block, everywhere, renew)
]

TURNS = (0, 1, 2, 4, 5, 7, 10)

#: Each operation cold or warm, the other one in a long run.
CASES = [
    pytest.param(operation, warm, marks=() if (number + warm) % 2 else pytest.mark.soak)
    for number, operation in enumerate(OPERATIONS)
    for warm in (True, False)
]


async def check(r: Cluster[str]) -> None:
    """Check that nothing is under way, and that each node's replies reach who asked."""
    await at_rest(r)
    router = r.fleet.pools.here()
    assert (router._waiting, len(router._sleepers)) == (0, 0)
    await in_step(r)
    assert await asyncio.gather(*map(r.get, KEYS)) == KEYS


async def after(turns: int) -> None:
    """Let the loop turn so many times, or let a little time pass."""
    for _ in range(turns // 2):
        await asyncio.sleep(0)
    if turns % 2:
        await asyncio.sleep(turns / 1000)


@pytest.mark.turns(2)
@pytest.mark.parametrize(("operation", "warm"), CASES)
async def test_a_call_may_be_cancelled_or_lose_its_connections_at_any_turn(
    fresh: ClusterServers, r: Cluster[str], no_debug: None, operation: Operation, warm: bool
) -> None:
    await r.ping()  # each node has its connection
    async with nothing_left(), proxies(fresh) as relays, half_moved(fresh, r, KEYS):
        for relay in relays.values():
            relay.delay = 0.001
        unfinished = 0
        for turns in TURNS:
            async with through(fresh, relays, timeout=2) as client:
                if warm:
                    await client.ping()
                task = asyncio.ensure_future(operation(client))
                await after(turns)
                unfinished += not task.done()
                if turns % 3:
                    task.cancel()
                else:
                    for relay in relays.values():
                        relay.cut(rst=bool(turns % 2))
                    if operation is wait_for_the_end:
                        task.cancel()
                (result,) = await asyncio.gather(task, return_exceptions=True)
                if isinstance(result, Exception):
                    assert isinstance(result, RedisError)
                    assert not isinstance(result, (ClientClosed, ClusterError))
                await check(client)
        assert unfinished > 2
    await r.ping()


@pytest.mark.parametrize(
    "operation",
    [
        *(ask, pipeline, everywhere, renew),
        *(pytest.param(operation, marks=pytest.mark.soak) for operation in (move, wait_for_the_end, transaction)),
        *(pytest.param(operation, marks=pytest.mark.soak) for operation in (watching, lease)),
    ],
)
def test_a_loop_may_end_at_any_turn(
    fresh: ClusterServers, operation: Operation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The loop is closed without ceremony; the client goes on in the next one."""
    complaints: list[str] = []

    def hear(unraisable: Any) -> None:
        said = "".join(traceback.format_exception(unraisable.exc_value))
        if "/aioresp/cluster/" in said and "create_connection" not in said:  # asyncio itself complains of those
            complaints.append(said)

    monkeypatch.setattr(sys, "unraisablehook", hear)
    r = Cluster(fresh.url, timeout=2)
    open_before = descriptors()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        for turns in TURNS:
            loop = asyncio.new_event_loop()

            async def begin(turns: int = turns) -> asyncio.Future[object]:
                if turns % 4:
                    await r.ping()
                task = asyncio.ensure_future(operation(r))
                await after(turns)
                return task

            task = loop.run_until_complete(begin())
            loop.set_exception_handler(lambda loop, context: None)  # which hears of the task
            loop.close()
            del loop, task, begin
            gc.collect()
    asyncio.run(use_and_close(r))
    gc.collect()
    assert not complaints, "\n".join(complaints)
    assert descriptors() <= open_before
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def use_and_close(r: Cluster[str]) -> None:
    async with r:
        assert await r.set("a", "1")
        await in_step(r)


# --- The end of the client --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [30.0, None])
async def test_callers_under_way_end_with_the_client(
    fresh: ClusterServers, no_debug: None, timeout: float | None
) -> None:
    """Callers of a node that hangs, callers of a slot that no node serves, and those who wait for the end of a move."""
    async with nothing_left(), proxies(fresh) as relays:
        client = through(fresh, relays, timeout=timeout)
        async with client:
            await client.ping()
            router = client.fleet.pools.here()
            router.pools[client.keyslot("nobody")] = UNSERVED
            for relay in relays.values():
                relay.stall()
                relay.refuse()
            calls: list[Awaitable[object]] = [client.get(f"k{number}") for number in range(50)]
            calls += [client.incr("nobody"), client.blpop(["nobody"], 60), client.ping(), client.mget("a", "b", "c")]
            tasks = [asyncio.ensure_future(call) for call in calls]
            p = client.pipeline()
            p.incr("nobody")
            p.incr("somebody")
            tasks.append(asyncio.ensure_future(p.execute(raise_on_error=False)))
            t = client.pipeline(transaction=True)
            t.incr("nobody")
            tasks.append(asyncio.ensure_future(t.execute()))
            await asyncio.sleep(0.3)
            for relay in relays.values():
                relay.cut()
            await asyncio.sleep(0.1)
            tasks.append(asyncio.ensure_future(client.get("late")))
            await asyncio.sleep(0.05)
            begin = asyncio.get_running_loop().time()
            await client.aclose()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            assert asyncio.get_running_loop().time() - begin < 5
        values = [value for each in found for value in (each if isinstance(each, list) else [each])]
        assert {type(value) for value in values} <= {ClientClosed, ConnectionLost}
        assert ClientClosed in {type(value) for value in values}


async def test_a_client_may_be_closed_in_the_middle_of_a_refresh(fresh: ClusterServers) -> None:
    async with nothing_left():
        for turns in range(30):
            async with Cluster(fresh.url) as client:
                if turns % 2:
                    await client.ping()
                waiting = asyncio.ensure_future(client.fleet.pools.here().renew())
                await after(turns)
            (error,) = await asyncio.gather(waiting, return_exceptions=True)
            assert error is None or isinstance(error, RedisError)


async def test_callers_in_line_at_a_node_that_is_left_go_to_the_next(fresh: ClusterServers) -> None:
    """Pops and leases wait for a connection of their own, which another lease has, while a replica takes over."""
    async with Cluster(fresh.url, limit=2, timeout=20) as r:
        names = [f"{{line}}{number}" for number in range(3)]

        async def lease() -> bool:
            async with r.connection(key=names[0]) as c:
                return await c.ping()

        async with r.connection(key=names[0]) as held:
            popping = [asyncio.create_task(r.blpop([name], timeout=60)) for name in names]
            leasing = [asyncio.create_task(lease()) for _ in range(3)]
            await until(lambda: r.stats().waiting == 6)  # for a moment, a look at the nodes may wait, too
            old = await asyncio.to_thread(fresh.primary_of, names[0])
            await asyncio.to_thread(fresh.failover, old)
            await r.fleet.pools.here().renew()
            for name in names:
                await r.rpush(name, "x")
            assert await asyncio.gather(*popping) == [(name, "x") for name in names]
            assert await asyncio.gather(*leasing) == [True] * 3
            assert await held.ping()
        await asyncio.to_thread(fresh.wait_until_ok)


# --- Loops, threads and forks -----------------------------------------------------------------------------------------


def test_two_loops_share_a_client_through_a_failover(fresh: ClusterServers) -> None:
    """The loop that has not looked for a while is led on by what the other one has found."""
    r = Cluster(fresh.url)
    results: list[object] = []
    step = threading.Barrier(2, timeout=30)
    old = fresh.primary_of("{two}a")

    async def use(busy: bool) -> None:
        async with r:
            await r.set("{two}a", "1")
            await asyncio.to_thread(step.wait)
            if busy:
                await asyncio.to_thread(fresh.failover, old)
                await asyncio.to_thread(old.pause)
                try:
                    while (shard := r.topology().shard_of(r.keyslot("{two}a"))) and shard.primary.port == old.port:
                        await r.fleet.pools.here().renew()
                    await r.incr("{two}a")
                finally:
                    await asyncio.to_thread(step.wait)
            else:
                await asyncio.to_thread(step.wait)
                results.append(await r.incr("{two}a"))
                async with r.pipeline(transaction=True) as p:
                    result = p.incr("{two}a")
                results.append(await result)
            await asyncio.to_thread(step.wait)

    threads = [threading.Thread(target=asyncio.run, args=(use(busy),)) for busy in (True, False)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        old.resume()
        fresh.wait_until_ok()
    assert results == [3, 4]
    assert r.stats().open == 0


async def test_a_node_that_one_loop_has_forgotten_is_closed_to_none(fresh: ClusterServers, r: Cluster[str]) -> None:
    """Nodes leave the cluster by the words of one loop, while another loop has them in its table."""
    await r.set("a", "1")
    known = r.topology()
    gone = Topology(known.epoch, tuple(Shard(shard.slots, known.primaries[0], ()) for shard in known.shards))
    ready, adopted = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    found: list[object] = []

    async def use() -> None:
        async with r:
            r.fleet.pools.here()  # its table has all nodes, and none has a connection in this loop
            loop.call_soon_threadsafe(ready.set)
            await asyncio.to_thread(adopted.wait, 30)
            found.extend(await asyncio.gather(*(r.set(f"k{number}", "1") for number in range(30))))

    thread = threading.Thread(target=asyncio.run, args=(use(),))
    thread.start()
    await ready.wait()
    for _ in range(3):
        r.fleet.nodes.adopt(gone)
    gc.collect()
    r.fleet.nodes.topology = known
    adopted.set()
    await asyncio.to_thread(thread.join)
    assert found == [True] * 30
    assert await asyncio.gather(*(r.get(f"k{number}") for number in range(30))) == ["1"] * 30


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
async def test_a_forked_child_has_connections_of_its_own(fresh: ClusterServers, r: Cluster[str]) -> None:
    await asyncio.gather(*(r.incr(f"fork{number}") for number in range(30)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
        child = os.fork()
    if not child:
        status = 1
        try:
            asyncio.events._set_running_loop(None)

            async def use() -> None:
                async with asyncio.timeout(20), r:
                    await asyncio.gather(*(r.incr(f"fork{number}") for number in range(30)))
                    assert r.stats().open == 3

            signal.set_wakeup_fd(-1)
            asyncio.run(use())
            status = 0
        finally:
            os._exit(status)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert await asyncio.gather(*(r.incr(f"fork{number}") for number in range(30))) == [3] * 30


# --- The census -------------------------------------------------------------------------------------------------------


async def test_errors_and_their_calls_go_without_the_garbage_collector(
    fresh: ClusterServers, r: Cluster[str], no_debug: None
) -> None:
    """Neither a redirect, nor a refusal, nor a deadline leaves a cycle."""
    await r.ping()
    async with half_moved(fresh, r, KEYS):
        late = r.with_options(timeout=0.03)

        async def fail(call: Awaitable[object]) -> weakref.ref[RedisError] | None:
            try:
                await call
            except RedisError as error:
                return weakref.ref(error)
            return None

        async def piped(transaction: bool) -> None:
            async with late.pipeline(transaction=transaction) as p:
                p.rename(KEYS[0], "{turn}new")

        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "late": lambda: late.rename(KEYS[0], "{turn}new"),
            "piped": lambda: piped(False),
            "transaction": lambda: piped(True),
            "wrong": lambda: r.lpush(KEYS[0], "x"),
            "asked": lambda: r.lpush(KEYS[-1], "x"),
            "across": lambda: r.rename("a", "b"),
            "renewed": renewed(r),
        }
        for name, call in calls.items():
            gc.collect()
            gc.disable()
            try:
                error = await fail(call())
                for _ in range(5):
                    await asyncio.sleep(0)
                assert error is None or error() is None, f"{name}: {[type(x) for x in gc.get_referrers(error())]}"
                assert gc.collect() < 50, name
            finally:
                gc.enable()


def renewed(r: Cluster[str]) -> Callable[[], Awaitable[object]]:
    async def renew() -> None:
        await r.fleet.pools.here().renew()
        forget_slot(r)
        await r.get(KEYS[0])

    return renew
