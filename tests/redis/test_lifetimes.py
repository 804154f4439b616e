"""How clients begin and end: over several loops, in threads, in forked children, closed, and forgotten."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import redis.asyncio as theirs
from redis import exceptions

import aioresp.redis
from aioresp import Client
from aioresp.testing import Server
from tests.redis.conftest import Make
from tests.redis.seen import named, settle
from tests.rest import tasks_besides

# What a client of each kind does here is the same code: both are tried by the long run.
pytestmark = pytest.mark.turns(2)


@pytest.fixture
def name(prefix: str) -> str:
    """A name for connections."""
    return prefix.replace(" ", "_")


@pytest.fixture(params=["install", "class"])
def client(request: pytest.FixtureRequest, server: Server) -> Any:
    """A client that no loop has made, as at the top of a module."""
    if request.param == "install":
        aioresp.redis.install()
    kind: Any = theirs.Redis if request.param == "install" else aioresp.redis.Redis
    yield kind.from_url(server.url, decode_responses=True)
    aioresp.redis.uninstall()


# --- Loops, threads and processes ------------------------------------------------------------------------------------


async def all_ways(client: Any, key: str, n: int) -> None:
    """Use a client in all its ways."""
    await client.set(key, n)
    assert await asyncio.gather(*(client.get(key) for _ in range(10))) == [str(n)] * 10
    assert await client.pipeline().incr(key).get(key).execute() == [n + 1, str(n + 1)]
    async with client.pipeline() as p:
        await p.watch(key)
        p.multi()
        assert await p.set(key, n).execute() == [True]
    await client.rpush(f"{key}q", n)
    assert await client.blpop([f"{key}q"], 5) in ([f"{key}q", str(n)], (f"{key}q", str(n)))
    async with client.pubsub(ignore_subscribe_messages=True) as p:
        await p.subscribe(key)
        await client.publish(key, n)
        async with asyncio.timeout(20):
            while (found := await p.get_message(timeout=20)) is None:
                pass
        assert found["data"] == str(n)


def test_one_client_in_one_loop_after_the_other(client: Any, prefix: str) -> None:
    for n in range(4):
        asyncio.run(all_ways(client, prefix, n))
    asyncio.run(client.aclose())


def test_a_subscription_and_a_lease_of_a_loop_that_has_ended(client: Any, prefix: str) -> None:
    async def begin() -> tuple[Any, Any]:
        p = client.pubsub()
        await p.subscribe(prefix)
        t = client.pipeline()
        await t.watch(prefix)
        return p, t

    begun = [asyncio.run(begin()) for _ in range(2)]

    async def go_on() -> None:
        await all_ways(client, f"{prefix}k", 1)
        for p, t in begun:
            await p.aclose()
            try:
                await t.reset()
            except exceptions.RedisError:
                pass  # its connection has ended with its loop
        await all_ways(client, f"{prefix}k", 2)
        await client.aclose()

    asyncio.run(go_on())


def in_threads(*functions: Callable[[], object]) -> None:
    """Run functions at once, and raise the first error."""
    errors: list[BaseException] = []

    def run(function: Callable[[], object]) -> None:
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(each,)) for each in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if errors:
        raise errors[0]


def test_two_threads_with_loops_of_their_own(client: Any, prefix: str) -> None:
    async def work(key: str) -> None:
        for n in range(6):
            await all_ways(client, key, n)

    in_threads(*(lambda n=n: asyncio.run(work(f"{prefix}{n}")) for n in range(2)))
    asyncio.run(client.aclose())


def test_threads_do_not_meet_at_a_lock_of_one_loop(client: Any, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def release(lock: asyncio.Lock) -> None:
        time.sleep(0.001)  # another thread has its turn
        released(lock)

    async def work(key: str) -> None:
        for n in range(30):
            assert await client.pipeline().set(key, n).get(key).execute() == [True, str(n)]

    asyncio.run(work(prefix))
    released = asyncio.Lock.release
    monkeypatch.setattr(asyncio.Lock, "release", release)
    in_threads(*(lambda n=n: asyncio.run(work(f"{prefix}{n}")) for n in range(3)))
    asyncio.run(client.aclose())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_connections_of_its_own(client: Any, prefix: str) -> None:
    async def before() -> set[int]:
        await all_ways(client, prefix, 1)
        return {await client.client_id()}

    loop = asyncio.new_event_loop()
    mine = loop.run_until_complete(before())
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        try:
            os.close(reading)
            asyncio.set_event_loop(None)

            async def inside() -> None:
                number = await client.client_id()
                await all_ways(client, f"{prefix}child", 5)
                os.write(writing, str(number).encode())

            threads = threading.Thread(target=lambda: asyncio.run(inside()))
            threads.start()
            threads.join(30)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    assert said.isdigit()
    assert int(said) not in mine
    assert {loop.run_until_complete(client.client_id())} == mine, "the child has closed nothing of the parent"
    loop.run_until_complete(all_ways(client, prefix, 2))
    loop.run_until_complete(client.aclose())
    loop.close()


# --- Closing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["aclose", "pool", "client"])
async def test_nothing_is_left_at_the_server(make: Make, other: Client[str], prefix: str, name: str, how: str) -> None:
    await other.ping()
    before = tasks_besides()
    client = make(client_name=name, decode_responses=True)
    await all_ways(client, prefix, 1)
    async with client.pubsub() as p, client.pipeline() as t, client.monitor() as m:
        await p.subscribe(prefix)
        await t.watch(prefix)
        await m.next_command() if await client.ping() else None
        assert len(await named(other, name)) >= 3
        await client.connection_pool.disconnect() if how == "pool" else None
        # The last user closes what all share: the class has one user more, beside its pool.
        if how != "pool" or isinstance(client, aioresp.redis.Redis):
            await client.aclose()
        if how == "aclose":
            await client.connection_pool.disconnect()
        await settle(other, name, 0)
    async with asyncio.timeout(20):
        while tasks_besides() - before:
            await asyncio.sleep(0.01)


async def test_a_closed_client_can_be_used_again(make: Make, prefix: str) -> None:
    client = make(decode_responses=True)
    for n in range(3):
        await all_ways(client, prefix, n)
        await client.aclose()
    await client.aclose()


async def test_another_pool_to_the_same_server_goes_on(make: Make, other: Client[str], prefix: str, name: str) -> None:
    first, second = make(client_name=name), make(client_name=name)
    await asyncio.gather(first.ping(), second.ping())
    async with second.pubsub(ignore_subscribe_messages=True) as p:
        await p.subscribe(prefix)
        mine = {info.id for info in await named(other, name)}
        await first.aclose()
        assert mine <= {info.id for info in await named(other, name)}
        assert await second.ping()
        assert await first.publish(prefix, 1) == 1, "it can be used again"
        await first.aclose()
        assert mine <= {info.id for info in await named(other, name)}
        async with asyncio.timeout(20):
            while (found := await p.get_message(timeout=20)) is None:
                pass
        assert found["data"] == b"1"
    await second.aclose()
    await settle(other, name, 0)


@pytest.mark.parametrize("how", ["aclose", "pool"])
async def test_closing_ends_blocking_commands_beside_another_client(
    make: Make, other: Client[str], prefix: str, name: str, how: str
) -> None:
    """The shared client goes on, and must not take elements for those who have left."""
    client, beside = make(client_name=name), make(client_name=name)
    await asyncio.gather(client.ping(), beside.ping())
    goes_on = asyncio.create_task(beside.brpop(f"{prefix}2"))

    async def in_pipeline() -> None:
        await client.pipeline(transaction=False).blpop(prefix).execute()

    async def under_watch() -> None:
        async with client.pipeline() as p:
            await p.watch(prefix)
            await p.blpop(prefix)

    calls = (client.blpop(prefix), client.xread({f"{prefix}s": "$"}, block=0), in_pipeline(), under_watch())
    tasks = [asyncio.create_task(call) for call in calls]
    async with asyncio.timeout(20):
        while (await other.info("clients"))["blocked_clients"] < 5:
            await asyncio.sleep(0.01)
        await (client.aclose() if how == "aclose" else client.connection_pool.disconnect())
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in outcomes] == [exceptions.ConnectionError] * 3 + [exceptions.WatchError]
    await client.rpush(prefix, "kept")
    await client.rpush(f"{prefix}2", "taken")
    async with asyncio.timeout(20):
        while await client.lrange(prefix, 0, -1) != [b"kept"]:
            await asyncio.sleep(0.01)  # it was taken by a command that had ended here, and is put back
        assert list(await goes_on) == [f"{prefix}2".encode(), b"taken"]


@pytest.mark.parametrize("what", ["pipeline", "single"])
async def test_closing_after_a_pipeline_or_a_client_was_forgotten(
    make: Make, other: Client[str], prefix: str, name: str, what: str
) -> None:
    client = make(client_name=name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        if what == "pipeline":
            forgotten = client.pipeline()
            await forgotten.watch(prefix)
        else:
            forgotten = client.client()
            await forgotten.get(prefix)
        del forgotten
        gc.collect()
    await client.aclose()
    await settle(other, name, 0)


async def test_closing_while_the_first_commands_connect(make: Make, other: Client[str], prefix: str, name: str) -> None:
    for turns in range(20):
        client = make(client_name=name)
        calls = (client.get(prefix), client.pipeline().get(prefix).execute(), client.pubsub().subscribe(prefix))
        tasks = [asyncio.create_task(call) for call in calls]
        for _ in range(turns):
            await asyncio.sleep(0)
        await client.aclose()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert outcome in (None, [None]) or isinstance(outcome, exceptions.ConnectionError)
        await client.aclose()
    await settle(other, name, 0)


@pytest.mark.parametrize("cancelled", [False, True])
async def test_closing_while_a_monitor_begins(
    make: Make, other: Client[str], prefix: str, name: str, cancelled: bool
) -> None:
    async def listen(client: Any) -> None:
        async with client.monitor() as m:
            while True:
                await m.next_command()

    for turns in range(20):
        client = make(client_name=name)
        async with client.pipeline() as p:
            await p.watch(prefix)  # the monitor has to wait for a new connection
            task = asyncio.create_task(listen(client))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel() if cancelled else None
            await client.aclose()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await client.aclose()
    await settle(other, name, 0)


async def test_clients_that_are_forgotten_leave_nothing(
    make: Make, server: Server, other: Client[str], prefix: str, name: str, frozen: None
) -> None:
    kind = type(make(client_name=name))
    before = tasks_besides()

    async def use() -> None:
        client = kind.from_url(server.url, client_name=name, decode_responses=True)
        await client.set(prefix, 1)
        await client.pipeline().get(prefix).execute()
        lease, listener = client.pipeline(), client.pubsub()
        await lease.watch(prefix)
        await listener.subscribe(prefix)
        single = client.client()
        await single.initialize()
        await single.select(4)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        for _ in range(3):
            await use()
        async with asyncio.timeout(20):
            while await named(other, name) or tasks_besides() - before:
                gc.collect()
                await asyncio.sleep(0.01)
