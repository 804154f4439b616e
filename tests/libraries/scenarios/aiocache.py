"""aiocache: values, counters, locks and cached functions of many tasks, some of them cancelled."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

from aiocache import Cache, cached, multi_cached
from aiocache.lock import OptimisticLock, OptimisticLockError, RedLock
from aiocache.serializers import JsonSerializer, PickleSerializer, StringSerializer
from stage import kill_connections, repeated

TASKS = 50


async def values(cache: Any) -> None:
    await cache.set("user:1", {"name": "Ada", "tags": ["a", "b"]}, ttl=60)
    assert await cache.get("user:1") == {"name": "Ada", "tags": ["a", "b"]}
    assert await cache.get("user:2", default="nobody") == "nobody"
    assert 0 < await cache.raw("ttl", "app:user:1") <= 60
    assert await cache.expire("user:1", 0) is True
    assert await cache.raw("ttl", "app:user:1") == -1
    await cache.multi_set([(f"n:{i}", i) for i in range(TASKS)], ttl=30.5)
    assert await cache.multi_get([f"n:{i}" for i in range(TASKS)]) == list(range(TASKS))
    assert 29_000 < await cache.raw("pttl", "app:n:7") <= 30_500
    await cache.add("once", 1)
    try:
        await cache.add("once", 2)
    except ValueError:
        pass
    else:
        raise AssertionError("added twice")
    try:
        await cache.increment("user:1")
    except TypeError:
        pass
    else:
        raise AssertionError("incremented a document")
    assert await cache.exists("once")
    assert await cache.delete("once") == 1
    assert not await cache.exists("once")


async def concurrent(cache: Any) -> None:
    async def work(i: int) -> None:
        for turn in range(4):
            await cache.set(f"own:{i}", [i, turn])
            await cache.increment("total")
            assert await cache.get(f"own:{i}") == [i, turn]

    await asyncio.gather(*(work(i) for i in range(TASKS)))
    assert await cache.get("total") == 4 * TASKS


async def cancelled(cache: Any) -> None:
    async def work(i: int) -> None:
        for _ in range(20):
            await cache.set(f"c:{i}", i)
            assert await cache.get(f"c:{i}") == i

    tasks = [asyncio.ensure_future(work(i)) for i in range(TASKS)]
    await asyncio.sleep(0)
    for victims in range(0, TASKS, 5):
        for task in tasks[victims : victims + 5]:
            task.cancel()
        await cache.increment("cancels")
        assert await cache.get("user:1") == {"name": "Ada", "tags": ["a", "b"]}
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(outcome is None or isinstance(outcome, asyncio.CancelledError) for outcome in outcomes), outcomes
    assert await cache.get("cancels") == TASKS // 5
    assert [await cache.get(f"c:{i}", default=i) for i in range(TASKS)] == list(range(TASKS))


async def locks(cache: Any) -> None:
    computed, computing = 0, asyncio.Event()

    async def dear() -> str:
        nonlocal computed
        async with RedLock(cache, "dear", lease=20):
            value: str | None = await cache.get("dear")
            if value is None:
                computed += 1
                computing.set()
                await asyncio.sleep(0.05)
                await cache.set("dear", value := "result")
            return value

    # aiocache lets those through that come after the lock is set, and before its owner has the reply.
    first = asyncio.create_task(dear())
    await computing.wait()
    assert await asyncio.gather(first, *(dear() for _ in range(TASKS))) == ["result"] * (TASKS + 1)
    assert computed == 1

    await cache.set("stock", 5)
    async with OptimisticLock(cache, "stock") as lock:
        await lock.cas(4)
    try:
        async with OptimisticLock(cache, "stock") as lock:
            await cache.set("stock", 100)
            await lock.cas(3)
    except OptimisticLockError:
        pass
    else:
        raise AssertionError("overwrote a changed value")
    assert await cache.get("stock") == 100


async def decorated(**server: Any) -> None:
    calls: list[int] = []

    @cached(ttl=60, cache=Cache.REDIS, serializer=PickleSerializer(), namespace="fn", **server)
    async def square(n: int) -> complex:
        calls.append(n)
        return complex(n * n, 1)

    assert await asyncio.gather(*(square(n) for n in range(TASKS))) == [complex(n * n, 1) for n in range(TASKS)]
    assert await asyncio.gather(*(square(n) for n in range(TASKS))) == [complex(n * n, 1) for n in range(TASKS)]
    assert sorted(calls) == list(range(TASKS))
    await square.cache.close()

    fetched: list[list[str]] = []

    @multi_cached("keys", cache=Cache.REDIS, serializer=JsonSerializer(), namespace="many", **server)
    async def lengths(keys: list[str]) -> dict[str, int]:
        fetched.append(keys)
        return {key: len(key) for key in keys}

    assert await lengths(keys=["a", "bb"]) == {"a": 1, "bb": 2}
    assert await lengths(keys=["a", "bb", "ccc"]) == {"a": 1, "bb": 2, "ccc": 3}
    assert fetched == [["a", "bb"], ["ccc"]]
    await lengths.cache.close()


async def main(url: str) -> None:
    parts = urlsplit(url)
    server = {"endpoint": parts.hostname, "port": parts.port, "password": parts.password}
    cache = Cache(Cache.REDIS, namespace="app", serializer=JsonSerializer(), **server)
    await values(cache)
    await concurrent(cache)
    await kill_connections()
    kept = await asyncio.gather(*(repeated(lambda i=i: cache.get(f"own:{i}")) for i in range(TASKS)))
    assert kept == [[i, 3] for i in range(TASKS)]
    await cancelled(cache)
    await locks(cache)
    await decorated(**server)
    other = Cache.from_url(f"redis://:{parts.password}@{parts.hostname}:{parts.port}/3")
    other.serializer = StringSerializer()
    await other.set("place", "database 3")
    assert await other.get("place") == "database 3"
    assert await cache.get("place") is None
    assert await other.raw("dbsize") == 1
    await cache.clear()
    assert await cache.get("user:1") is None
    await other.clear()
    await other.close()
    await cache.close()
