"""No command twice, whatever redis-py's retry says; and one deadline for a call."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
import redis.asyncio as theirs
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff, ExponentialBackoff

from aioresp import Client
from aioresp.testing import Proxy, Server
from tests.redis.conftest import Make
from tests.rest import until

Count = Callable[[Any, str], Awaitable[Any]]


async def alone(client: Any, key: str) -> int:
    return int(await client.incr(key))


async def in_a_pipeline(client: Any, key: str) -> int:
    return int((await client.pipeline(transaction=False).get(key).incr(key).execute())[1])


async def in_a_transaction(client: Any, key: str) -> int:
    return int((await client.pipeline(transaction=True).get(key).incr(key).execute())[1])


async def under_watch(client: Any, key: str) -> int:
    async with client.pipeline() as p:
        await p.watch(f"{key}:other")
        p.multi()
        return int((await p.incr(key).execute())[0])


async def in_a_script(client: Any, key: str) -> int:
    return int(await client.eval("return redis.call('INCR', KEYS[1])", 1, key))


async def on_one_connection(client: Any, key: str) -> int:
    async with client.client() as single:
        return int(await single.incr(key))


COUNTS: list[Count] = [alone, in_a_pipeline, in_a_transaction, under_watch, in_a_script, on_one_connection]


def eager() -> Retry:
    """Return the policy that is in most examples: it sends anything again."""
    return Retry(ExponentialBackoff(cap=0.01, base=0.001), 5)


async def cut_before_the_reply(
    proxy: Proxy, client: Any, other: Client[str], count: Count, key: str
) -> asyncio.Task[Any]:
    """Let a call reach the server, and cut its connection before the reply."""
    proxy.stall("down")
    task = asyncio.ensure_future(count(client, key))
    async with asyncio.timeout(20):
        while await other.get(key) is None and not task.done():
            await asyncio.sleep(0.002)
    proxy.cut()
    proxy.resume()
    return task


# Under WATCH the reply to WATCH would be stalled, so the random form below has it.
@pytest.mark.parametrize("count", [alone, in_a_pipeline, in_a_transaction, in_a_script], ids=lambda each: each.__name__)
async def test_a_lost_reply_is_an_error_and_not_sent_again(
    make: Make, proxy: Proxy, other: Client[str], prefix: str, count: Count
) -> None:
    client = make(proxy.url, retry=eager(), retry_on_error=[exceptions.ConnectionError])
    await client.ping()
    task = await cut_before_the_reply(proxy, client, other, count, prefix)
    with pytest.raises(exceptions.ConnectionError):
        await task
    assert await other.get(prefix) == "1"
    assert await count(client, prefix) == 2, "the next call goes on by itself"


async def test_redis_py_alone_sends_it_again(proxy: Proxy, other: Client[str], prefix: str) -> None:
    """The check above can fail."""
    async with theirs.Redis.from_url(proxy.url, retry=eager()) as client:
        await client.ping()
        assert await (await cut_before_the_reply(proxy, client, other, alone, prefix)) == 2


async def test_a_read_is_sent_again_beneath(make: Make, proxy: Proxy, other: Client[str], prefix: str) -> None:
    client = make(proxy.url, retry=eager(), decode_responses=True)
    await client.set(prefix, "value")
    proxy.stall("down")
    task = asyncio.ensure_future(client.get(prefix))
    await asyncio.sleep(0.02)
    proxy.cut()
    proxy.resume()
    assert await task == "value"


async def counted(proxy: Proxy, client: Any, key: str, calls: int, seed: int) -> tuple[list[int], int]:
    """Count in all ways from some tasks while connections are cut; return what was acknowledged, and the errors."""
    chance = random.Random(seed)
    acknowledged: list[int] = []
    errors = 0

    async def work(number: int) -> None:
        nonlocal errors
        for n in range(calls):
            try:
                acknowledged.append(await COUNTS[(number + n) % len(COUNTS)](client, key))
            except (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.WatchError):
                errors += 1
            await asyncio.sleep(0)

    async def breaking() -> None:
        # As many cuts as there is progress: more of them, and the client pauses before it connects again.
        while True:
            cuts, done = proxy.cuts, len(acknowledged) + errors
            proxy.cut_after(chance.randrange(1, 150))
            while proxy.cuts == cuts or len(acknowledged) + errors <= done + 20:
                await asyncio.sleep(0.005)

    breaker = asyncio.ensure_future(breaking())
    await asyncio.gather(*map(work, range(12)))
    breaker.cancel()
    proxy.heal()
    return acknowledged, errors


async def check_counts(make: Make, proxy: Proxy, other: Client[str], key: str, calls: int, seed: int) -> None:
    client = make(proxy.url, retry=eager())
    acknowledged, errors = await counted(proxy, client, key, calls, seed)
    assert errors, "the proxy has cut nothing"
    assert len(acknowledged) == len(set(acknowledged)), "one count was acknowledged twice"
    await asyncio.sleep(0.02)  # what the server still reads
    counter = int(await other.get(key) or 0)
    assert len(acknowledged) <= counter <= len(acknowledged) + errors
    await client.aclose()


async def test_counts_under_cuts(make: Make, proxy: Proxy, other: Client[str], prefix: str) -> None:
    await check_counts(make, proxy, other, prefix, 8, 1)


@pytest.mark.ci
@pytest.mark.parametrize("seed", range(3))
async def test_many_counts_under_cuts(
    make: Make, proxy: Proxy, other: Client[str], prefix: str, seed: int, no_debug: None
) -> None:
    await check_counts(make, proxy, other, prefix, 60, seed)


# --- Deadlines -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [alone, in_a_pipeline, in_a_transaction, on_one_connection], ids=lambda e: e.__name__)
async def test_a_frozen_server_ends_in_one_timeout(
    make: Make, proxy: Proxy, other: Client[str], prefix: str, count: Count
) -> None:
    client = make(
        proxy.url, socket_timeout=0.15, retry=Retry(ConstantBackoff(0), 60), retry_on_error=[exceptions.TimeoutError]
    )
    await count(client, prefix)
    proxy.stall("down")
    start = time.monotonic()
    with pytest.raises(exceptions.TimeoutError):
        await count(client, prefix)
    assert 0.14 < time.monotonic() - start < 60 * 0.15
    proxy.cut()
    proxy.heal()
    assert int(await other.get(prefix) or 0) <= 2, "once before, and once, or not at all, after"
    assert await count(client, prefix)


async def test_a_blocking_pop_has_its_own_time(make: Make, prefix: str) -> None:
    client = make(socket_timeout=0.1, decode_responses=True)
    started = time.monotonic()
    assert await client.blpop([f"{prefix}q"], 0.4) is None
    assert time.monotonic() - started > 0.38
    pop = asyncio.ensure_future(client.brpop([f"{prefix}q"], 0))
    block = asyncio.ensure_future(client.xread({f"{prefix}s": "$"}, block=20_000))
    move = asyncio.ensure_future(client.bzpopmin([f"{prefix}z"], 20))
    await asyncio.sleep(0.3)
    await client.rpush(f"{prefix}q", "x")
    await client.xadd(f"{prefix}s", {"a": "b"})
    await client.zadd(f"{prefix}z", {"m": 1})
    assert list(await pop) == [f"{prefix}q", "x"]
    assert await block
    assert list(await move)[:2] == [f"{prefix}z", "m"]


async def test_a_pop_that_the_server_does_not_end_in_its_time(make: Make, proxy: Proxy, prefix: str) -> None:
    client = make(proxy.url)
    await client.ping()
    proxy.stall("down")
    with pytest.raises(exceptions.TimeoutError):
        await client.blpop([f"{prefix}q"], 0.1)
    proxy.resume()
    assert await client.ping()


async def test_a_server_that_does_not_answer_the_connect(make: Make, proxy: Proxy) -> None:
    proxy.half_open()
    client = make(proxy.url, socket_connect_timeout=0.1, socket_timeout=0.2, retry=Retry(ConstantBackoff(0), 60))
    start = time.monotonic()
    with pytest.raises((exceptions.TimeoutError, exceptions.ConnectionError)):
        await client.get("k")
    assert time.monotonic() - start < 6
    proxy.heal()
    assert await client.ping()


async def test_no_server_is_redis_pys_connection_error(make: Make) -> None:
    client = make("redis://127.0.0.1:1", retry=eager())
    said = r"Error 111 connecting to 127\.0\.0\.1:1"
    outcomes = await asyncio.gather(
        client.get("k"), client.pipeline().get("k").execute(), client.pubsub().subscribe("k"), return_exceptions=True
    )
    for outcome in outcomes:
        with pytest.raises(exceptions.ConnectionError, match=said):
            raise cast(Exception, outcome)


async def test_a_deadline_of_the_caller_is_the_callers(make: Make, proxy: Proxy) -> None:
    client = make(proxy.url, socket_timeout=None)
    await client.ping()
    proxy.stall("down")
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.05):
            await client.get("k")
    assert not isinstance(caught.value, exceptions.RedisError)
    proxy.resume()
    assert await client.ping()


async def test_a_restarted_server(make: Make, server: Server, prefix: str) -> None:
    async with Proxy(server.host, server.port) as proxy:
        client = make(proxy.url)
        await client.set(prefix, 1)
        proxy.refuse()
        proxy.cut()
        with pytest.raises(exceptions.ConnectionError):
            await client.incr(prefix)
        proxy.accept()
        assert await client.incr(prefix) == 2
        await until(lambda: proxy.open >= 1)
