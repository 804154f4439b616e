"""Calls in anyio's cancel scopes and task groups, which cancel each await until they are left: nothing is lost."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
import trio

import aioresp
from aioresp import Client
from aioresp.testing import Proxy, Server
from tests.contexts.blocking import LISTS, POPS, Since, errors, is_blocked, since
from tests.rest import at_rest, in_step, tasks_besides
from tests.test_cancellation import Operation, in_turns, lease

__all__ = ["errors", "since"]  # fixtures

TURNS = 14
JOBS = 300


async def fill(direct: Client[Any], key: str, command: str) -> object:
    """Put elements there, and return how to find them unchanged."""
    if command in LISTS:
        await direct.rpush(key, "a", "b", "c")
    else:
        await direct.zadd(key, {"a": 0.1, "b": 1 / 3, "c": 5})
    return await found(direct, key, command)


async def found(direct: Client[Any], key: str, command: str) -> object:
    if command in LISTS:
        return await direct.lrange(key, 0, -1)
    return await direct.zrange(key, 0, -1, withscores=True)


async def wait_turns(turns: int) -> None:
    """Let the others have some turns of the loop, every other time with a little time between them."""
    for _ in range(turns // 2):
        await asyncio.sleep(0)
    if turns % 2:
        await asyncio.sleep(turns / 1500)


def untouched() -> None:
    """Check that asyncio believes nobody to cancel this task: no cancellation was swallowed, none was made up."""
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


# --- Cancelled at many points -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("operation", "warm", "concurrency"), in_turns(1))
@pytest.mark.usefixtures("no_debug")
async def test_a_task_group_is_cancelled_after_any_number_of_turns(
    server: Server, prefix: str, operation: Operation, warm: bool, concurrency: int
) -> None:
    before = tasks_besides()
    async with Proxy(server.host, server.port) as proxy:
        proxy.delay = 0.002
        ended: list[str] = []

        async def run(r: Client[str]) -> None:
            try:
                await operation(r, prefix)
                ended.append("finished")
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise

        for turns in range(TURNS):
            async with Client(proxy.url, limit=3, concurrency=concurrency, timeout=5) as r:
                if warm:
                    await r.ping()
                async with anyio.create_task_group() as group:
                    group.start_soon(run, r)
                    await wait_turns(turns)
                    group.cancel_scope.cancel()
                untouched()
                await at_rest(r)
                async with r:  # it may have been cancelled while it was closed
                    await in_step(r)
                    await at_rest(r)
                    assert r.stats().open <= 4  # one of them for subscriptions
                    a, b = await r.mget(f"{prefix}a", f"{prefix}b")
                    assert a == b, "half a transaction"
        assert "cancelled" in ended, "it was never cancelled in time"
    assert tasks_besides() <= before


@pytest.mark.parametrize("command", POPS)
async def test_what_a_pop_took_for_a_cancelled_scope_is_put_back(
    server: Server, prefix: str, since: Since, command: str, errors: Callable[[], list[str]]
) -> None:
    wait, version = POPS[command]
    since(*version)
    key = f"{prefix}k"
    async with Proxy(server.host, server.port) as proxy, Client(server.url) as direct, Client(proxy.url) as r:
        async with r.connection() as c:
            await asyncio.gather(r.ping(), c.ping())  # so that two connections are open
        before = await fill(direct, key, command)
        proxy.delay = 0.05

        async def pop() -> None:
            await wait(r, key)

        async with anyio.create_task_group() as group:
            group.start_soon(pop)
            with anyio.fail_after(10):
                while await found(direct, key, command) == before:
                    await asyncio.sleep(0.002)
            group.cancel_scope.cancel()  # the reply is on its way
        untouched()
        await at_rest(r)
        assert await found(direct, key, command) == before
        assert r.stats().made == r.stats().open == 2
        await in_step(r)
    assert errors() == []


@pytest.mark.parametrize("concurrency", [1, 1000])
@pytest.mark.usefixtures("no_debug")
async def test_workers_whose_scopes_end_at_random_lose_no_job(
    server: Server, prefix: str, concurrency: int, errors: Callable[[], list[str]]
) -> None:
    chance = random.Random(concurrency)
    key = f"{prefix}jobs"
    taken: list[str] = []
    given_up = 0
    patience = 0.01

    async def worker(r: Client[str]) -> None:
        nonlocal given_up, patience
        while True:
            popped = None
            with anyio.move_on_after(10), anyio.move_on_after(chance.uniform(0, patience)):
                popped = await r.blpop(key)
            if popped is None:
                given_up += 1
                patience *= 1.02  # on a busy machine none would ever come to an element
            else:
                taken.append(popped[1])
                patience /= 1.08

    async with Proxy(server.host, server.port) as proxy, Client(server.url) as direct:
        proxy.delay = (0.0, 0.003)
        async with Client(proxy.url, limit=20, concurrency=concurrency) as r:
            async with anyio.create_task_group() as group:
                for _ in range(10):
                    group.start_soon(worker, r)
                for n in range(JOBS):
                    await direct.rpush(key, str(n))
                with anyio.fail_after(60):
                    while len(taken) < JOBS * 3 // 4:
                        await asyncio.sleep(0.005)
                group.cancel_scope.cancel()
            await at_rest(r)
            rest = await direct.lrange(key, 0, -1)
            assert sorted(map(int, [*taken, *rest])) == list(range(JOBS))
            assert given_up > 10
            assert r.stats().made == r.stats().open <= 20
            await in_step(r)
    assert errors() == []


# --- Scopes that end, within each other, and shields ------------------------------------------------------------------


async def test_move_on_after_and_fail_after_end_a_call_as_they_say(server: Server, prefix: str) -> None:
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url, timeout=60) as r:
        await r.ping()
        proxy.stall()
        with anyio.move_on_after(0.05) as scope:
            await r.get(f"{prefix}k")
        assert scope.cancelled_caught
        with pytest.raises(TimeoutError) as caught, anyio.fail_after(0.05):
            await r.get(f"{prefix}k")
        assert not isinstance(caught.value, aioresp.RedisError), "the scope's limit was taken for the client's"
        untouched()
        proxy.resume()
        await in_step(r)
        with anyio.fail_after(60), pytest.raises(aioresp.CommandTimeout):
            proxy.stall()
            await r.with_options(timeout=0.05).get(f"{prefix}k")  # and the client's own is no scope's
        proxy.heal()
        await in_step(r)
        assert r.stats().made == 1


async def test_only_the_scope_whose_time_is_over_is_left(server: Server, prefix: str) -> None:
    async with Client(server.url) as r:
        with anyio.move_on_after(60) as outer:
            with anyio.move_on_after(0.02) as inner:
                await r.blpop(f"{prefix}q")
            assert inner.cancelled_caught
            await in_step(r)  # the outer one goes on
        assert not outer.cancelled_caught

        inner = anyio.move_on_after(60)
        with anyio.move_on_after(0.02) as outer:
            with inner:
                await r.blpop(f"{prefix}q")
            raise AssertionError("the outer scope was not left")
        assert outer.cancelled_caught
        assert not inner.cancelled_caught
        untouched()
        await at_rest(r)
        await in_step(r)
        assert r.stats().made == r.stats().open


async def test_a_shield_lets_calls_come_to_their_end_in_a_cancelled_scope(server: Server, prefix: str) -> None:
    async with Client(server.url) as r:
        steps: list[object] = []

        async def work() -> None:
            try:
                await r.blpop(f"{prefix}q")
            finally:
                with pytest.raises(asyncio.CancelledError):
                    await r.blpop(f"{prefix}q")  # the scope is cancelled still: this is, too
                with anyio.CancelScope(shield=True):
                    steps.append(await r.incr(f"{prefix}n"))
                    steps.append(await lease(r, prefix))
                    await r.rpush(f"{prefix}later", "job")
                    steps.append(await r.blpop(f"{prefix}later"))

        async with anyio.create_task_group() as group:
            group.start_soon(work)
            await is_blocked(r)
            group.cancel_scope.cancel()
        assert steps == [1, True, (f"{prefix}later", "job")]
        await at_rest(r)
        await in_step(r)
        assert r.stats().made == r.stats().open


async def test_calls_in_a_scope_that_was_cancelled_before(server: Server, prefix: str) -> None:
    calls: list[Callable[[Client[str]], Awaitable[object]]] = [
        lambda r: r.get(f"{prefix}k"),
        lambda r: r.blpop(f"{prefix}q"),
        lambda r: r.mget(f"{prefix}a", f"{prefix}b"),
        lambda r: lease(r, prefix),
    ]
    async with Proxy(server.host, server.port) as proxy, Client(proxy.url) as r:
        await r.ping()
        proxy.delay = 0.02  # no reply comes before the scope gets to cancel
        for call in calls:
            with anyio.CancelScope() as scope:
                scope.cancel()
                await call(r)
            assert scope.cancelled_caught
            untouched()
            await at_rest(r)
            await in_step(r)
        assert r.stats().made == r.stats().open <= 2


async def test_a_call_that_fails_cancels_its_group_and_no_other_call(server: Server, prefix: str) -> None:
    async with Client(server.url) as r:
        await r.set(f"{prefix}k", "v")
        outside = asyncio.create_task(r.blpop(f"{prefix}outside"))
        await is_blocked(r)
        with pytest.RaisesGroup(aioresp.WrongTypeError):
            async with anyio.create_task_group() as group:
                for _ in range(5):
                    group.start_soon(r.blpop, f"{prefix}q")
                await is_blocked(r, 6)
                group.start_soon(r.lpush, f"{prefix}k", "x")
        await at_rest_but(r, 1)
        await r.rpush(f"{prefix}outside", "job")
        assert await outside == (f"{prefix}outside", "job")
        await at_rest(r)
        await in_step(r)
        assert r.stats().made == r.stats().open


async def at_rest_but(r: Client[str], leased: int) -> None:
    with anyio.fail_after(5):
        while r.stats().leased > leased:
            await asyncio.sleep(0.005)


# --- Blocks that are left in a cancelled scope: each await in their ends is cancelled as well -------------------------


async def test_a_lease_is_restored(server: Server, prefix: str) -> None:
    async with Client(server.url, limit=1) as r:
        for turns in range(TURNS):
            with anyio.move_on_after(60) as scope:
                async with r.connection() as c:
                    await c.select(1)
                    await c.call("MULTI")
                    asyncio.get_running_loop().call_soon(scope.cancel)
                    await wait_turns(turns)
                    await c.blpop(f"{prefix}q")
            await at_rest(r)
            await r.set(f"{prefix}k", str(turns))
            assert await r.get(f"{prefix}k") == str(turns)  # no MULTI, and database 0
            async with r.connection() as c:
                assert "db=0" in await c.call("CLIENT", "INFO")
        assert r.stats().open == 1


@pytest.mark.parametrize("turns", range(4))
async def test_a_client_that_is_left_is_closed(server: Server, prefix: str, turns: int) -> None:
    before = tasks_besides()
    r = Client(server.url)
    with anyio.CancelScope() as scope:
        async with r, r.subscribe(f"{prefix}channel"), anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(r.blpop, f"{prefix}q")
            await is_blocked(r, 3)
            scope.cancel()
            await wait_turns(turns)
            await asyncio.sleep(60)
    assert scope.cancelled_caught
    untouched()
    with anyio.fail_after(5):
        while r.stats().open:
            await asyncio.sleep(0.005)
    with pytest.raises(aioresp.ClientClosed):
        await r.ping()
    assert tasks_besides() <= before
    async with Client(server.url) as direct:
        with anyio.fail_after(5):  # the server notices the ends of connections a moment later
            while (await direct.info("clients"))["blocked_clients"]:
                await asyncio.sleep(0.005)


# --- Not asyncio ------------------------------------------------------------------------------------------------------


async def read(r: Client[str]) -> None:
    async with r.stream_reader("s") as s:
        await anext(s)


CALLS: dict[str, Callable[[Client[str]], Awaitable[object]]] = {
    "command": lambda r: r.get("k"),
    "pop": lambda r: r.blpop("k"),
    "pop with a limit": lambda r: r.blpop("k", 1),
    "lease": lambda r: lease(r, ""),
    "pipeline": lambda r: full(r).execute(),
    "script": lambda r: r.register_script("return 1")(),
    "subscription": lambda r: r.subscribe("c").__aenter__(),
    "monitor": lambda r: r.monitor().__aenter__(),
    "transaction": lambda r: r.transaction(lambda p: p.multi(), "k"),
    "stream reader": read,
    "end": lambda r: r.aclose(),
}


def full(r: Client[str]) -> Any:
    pipeline = r.pipeline()
    pipeline.ping()
    return pipeline


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_the_first_call_on_trio_says_what_to_run(server: Server, call: Callable[[Client[str]], Awaitable[Any]]) -> None:
    r = Client(server.url)

    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"asyncio only, and this is trio: anyio's asyncio backend works"):
            await call(r)

    trio.run(main)
    anyio.run(main, backend="trio")

    async def work() -> None:
        async with r:
            await r.ping()

    anyio.run(work, backend="asyncio")  # and nothing stays of it


def test_without_a_loop_nothing_is_said_of_trio(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for there in (True, False):
        if not there:
            monkeypatch.delitem(sys.modules, "trio")
        call = Client(server.url).get("k").__await__()
        with pytest.raises(RuntimeError, match="no running event loop"):
            next(iter(call))
