"""Many tasks on one client: few connections, and what is cancelled takes nothing with it."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
import redis.asyncio as theirs

import aioresp.redis
from aioresp import Client
from aioresp.testing import Proxy, Server
from tests.redis.conftest import Make
from tests.redis.seen import named, settle
from tests.rest import until

pytestmark = pytest.mark.usefixtures("no_debug")

#: Connections of one client at the server, at most, for commands that do not block.
HANDFUL = 8


async def test_500_tasks_share_a_handful_of_connections(make: Make, other: Client[str], prefix: str) -> None:
    client = make(client_name=prefix.replace(" ", "_"), max_connections=10, decode_responses=True)

    async def work(n: int) -> None:
        key = f"{prefix}{n}"
        await client.set(key, n)
        assert await client.get(key) == str(n)
        if n < 50:
            async with client.pipeline(transaction=n % 2 == 0) as p:
                assert await p.incr(key).get(key).execute() == [n + 1, str(n + 1)]

    await asyncio.gather(*map(work, range(500)))
    assert 1 <= len(await named(other, prefix.replace(" ", "_"))) <= HANDFUL


@pytest.mark.turns(2)
@pytest.mark.parametrize("kind", ["install", "class"])
async def test_a_blocking_pool_lets_500_in(server: Server, kind: str, prefix: str) -> None:
    if kind == "install":
        aioresp.redis.install()
    patient: dict[str, Any] = {"socket_connect_timeout": 60, "socket_timeout": 60}  # for a busy machine
    try:
        pool = theirs.BlockingConnectionPool.from_url(server.url, max_connections=4, timeout=0.001, **patient)
        make: Any = theirs.Redis if kind == "install" else aioresp.redis.Redis
        async with make.from_pool(pool) as client:
            counts = await asyncio.gather(*(client.incr(f"{prefix}k") for _ in range(500)))
            assert sorted(counts) == list(range(1, 501))
            # Blocking commands and pipelines go by way of the pool, which would let four in.
            pops = [asyncio.ensure_future(client.blpop([f"{prefix}q"], 20)) for _ in range(12)]
            await asyncio.gather(*(client.pipeline().incr(f"{prefix}k").execute() for _ in range(100)))
            assert await client.rpush(f"{prefix}q", *range(12)) == 12
            assert {int(popped[1]) for popped in await asyncio.gather(*pops)} == set(range(12))
    finally:
        aioresp.redis.uninstall()


async def test_a_connection_for_each_blocking_command_and_no_longer(
    make: Make, other: Client[str], prefix: str
) -> None:
    client = make(max_connections=2)
    tasks = [asyncio.ensure_future(client.blpop([f"{prefix}q"], 20)) for _ in range(20)]

    async def blocked() -> int:
        return int((await other.info("clients"))["blocked_clients"])

    async with asyncio.timeout(20):
        while await blocked() < 20:
            await asyncio.sleep(0.005)
    assert await client.ping(), "others go on"
    await client.rpush(f"{prefix}q", *range(20))
    await asyncio.gather(*tasks)


# --- Cancellation ----------------------------------------------------------------------------------------------------


async def crossed_replies(client: Any, prefix: str, rounds: int, tasks: int, seed: int) -> int:
    """Read keys from many tasks that are cancelled at random, and return how many replies came to the end."""
    chance = random.Random(seed)
    keys = [f"{prefix}{n}" for n in range(tasks)]
    await client.mset({key: key for key in keys})
    got = 0

    async def read(key: str, kind: int) -> None:
        nonlocal got
        for _ in range(5):
            if kind == 0:
                reply: Any = await client.get(key)
            elif kind == 1:
                reply = (await client.pipeline(transaction=True).get(key).strlen(key).execute())[0]
            elif kind == 2:
                reply = (await client.pipeline(transaction=False).get(key).strlen(key).execute())[0]
            else:
                async with client.pipeline() as p:
                    await p.watch(key)
                    reply = await p.get(key)
                    p.multi()
                    assert (await p.strlen(key).get(key).execute())[1] == reply
            assert reply == key
            got += 1

    for _ in range(rounds):
        running = [asyncio.ensure_future(read(key, n % 4)) for n, key in enumerate(keys)]
        for task in chance.sample(running, tasks // 2):
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            task.cancel()
        for outcome in await asyncio.gather(*running, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome
        assert await asyncio.gather(*map(client.get, keys)) == keys
    return got


async def test_cancelled_reads_cross_no_reply(server: Server, make: Make, prefix: str) -> None:
    async with Proxy(server.host, server.port, delay=(0.0, 0.003), split=(1, 200)) as proxy:
        client = make(proxy.url, decode_responses=True)
        assert await crossed_replies(client, prefix, 2, 24, 1) > 24
        await client.aclose()


@pytest.mark.ci
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.soak)])
async def test_many_cancelled_reads_cross_no_reply(server: Server, make: Make, prefix: str, seed: int) -> None:
    async with Proxy(server.host, server.port, delay=(0.0, 0.003), split=(1, 200)) as proxy:
        client = make(proxy.url, decode_responses=True)
        assert await crossed_replies(client, prefix, 12, 60, seed) > 500
        await client.aclose()


async def test_one_connection_of_redis_py_reads_no_reply_of_a_cancelled_call(make: Make, prefix: str) -> None:
    client = make(decode_responses=True, single_connection_client=True)
    async with client:
        await client.mset({f"{prefix}{n}": n for n in range(20)})
        for n in range(20):
            task = asyncio.ensure_future(client.get(f"{prefix}{n}"))
            for _ in range(n % 5):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert await client.get(f"{prefix}{19 - n}") == str(19 - n)


@pytest.mark.parametrize("protocol", [2, 3])
async def test_a_pipeline_reads_no_reply_of_one_that_has_failed(make: Make, prefix: str, protocol: int) -> None:
    """Under RESP3 redis-py itself reads them, as its pool does not look."""

    def fail(*_: object, **__: object) -> None:
        raise ValueError("from a callback")

    client = make(protocol=protocol)
    await client.mset({f"{prefix}mine": "mine", f"{prefix}other": "other"})
    client.set_response_callback("STRLEN", fail)
    with pytest.raises(ValueError, match="from a callback"):
        await client.pipeline(transaction=False).strlen(prefix).get(f"{prefix}other").get(f"{prefix}other").execute()
    for _ in range(2):
        assert await client.pipeline(transaction=False).get(f"{prefix}mine").execute() == [b"mine"]
        assert await client.get(f"{prefix}mine") == b"mine"


async def lost_elements(client: Any, other: Client[str], queue: str, count: int, seed: int) -> list[int]:
    """Pop from tasks that are cancelled at random while another one pushes, and return what nobody got."""
    chance = random.Random(seed)
    got: list[int] = []
    running: set[asyncio.Task[None]] = set()

    async def pop() -> None:
        popped: Any = await client.brpop([queue], 20)
        got.append(int(popped[1]))

    pushed = 0
    while pushed < count or await other.llen(queue):
        while len(running) < 8:
            task = asyncio.ensure_future(pop())
            running.add(task)
            task.add_done_callback(running.discard)
        if pushed < count:
            await other.lpush(queue, pushed)
            pushed += 1
        for task in chance.sample(sorted(running, key=id), min(3, len(running))):
            task.cancel()
        await asyncio.sleep(chance.choice((0, 0, 0.001)))
    for task in list(running):
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    # What a cancelled pop has taken is put back a moment later.
    async with asyncio.timeout(20):
        while len(got) < count:
            left: Any = await client.rpop(queue)
            if left is None:
                try:
                    await asyncio.wait_for(until(lambda: len(got) >= count), 0.05)
                except TimeoutError:
                    if not await other.llen(queue) and (await other.info("clients"))["blocked_clients"] == 0:
                        await asyncio.sleep(0.2)
                        if not await other.llen(queue):
                            break
            else:
                got.append(int(left))
    assert len(got) == len(set(got)), "nothing comes twice"
    return sorted(set(range(count)) - set(got))


async def test_cancelled_pops_lose_no_element(make: Make, other: Client[str], prefix: str) -> None:
    assert await lost_elements(make(), other, f"{prefix}q", 60, 1) == []


@pytest.mark.ci
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.soak)])
async def test_many_cancelled_pops_lose_no_element(make: Make, other: Client[str], prefix: str, seed: int) -> None:
    assert await lost_elements(make(), other, f"{prefix}q", 800, seed) == []


async def test_closing_waits_for_nothing(make: Make, other: Client[str], prefix: str) -> None:
    name = prefix.replace(" ", "_")
    client = make(client_name=name)
    await asyncio.gather(*(client.get(prefix) for _ in range(100)))
    await client.aclose()
    await settle(other, name, 0)
