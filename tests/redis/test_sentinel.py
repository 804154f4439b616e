"""Clients of redis-py's Sentinel: they share connections beneath, and follow a failover."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis.asyncio as theirs
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import RedisError

import aioresp.redis
from aioresp.testing import SentinelServers

pytestmark = pytest.mark.ci  # the servers take three seconds, and each failover one more


@pytest.fixture(scope="module")
def servers() -> Iterator[SentinelServers]:
    with SentinelServers() as s:
        yield s


@pytest.fixture(params=["install", "class"])
async def master(
    request: pytest.FixtureRequest, servers: SentinelServers, installed: None
) -> AsyncIterator[theirs.Redis]:
    """redis-py's client of the primary."""
    addresses: list[Any] = [tuple(address.rsplit(":", 1)) for address in servers.addresses]
    make: Any = Sentinel  # without types for its arguments
    sentinel = make(addresses, sentinel_kwargs={"password": servers.sentinel_password}, password=servers.password)
    kind: type[theirs.Redis] = theirs.Redis if request.param == "install" else aioresp.redis.Redis
    client: Any = sentinel.master_for("mymaster", redis_class=kind, decode_responses=True)
    yield client
    await client.aclose()
    for each in sentinel.sentinels:
        await each.aclose()


async def persistently(call: Any) -> Any:
    """Return what `call()` does, as soon as it raises none of redis-py's errors."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await call()
            except RedisError:
                await asyncio.sleep(0.05)


async def test_many_tasks_share_connections(master: theirs.Redis, servers: SentinelServers) -> None:
    before = servers.primary().connections_received()
    for _ in range(3):
        await asyncio.gather(*(master.incr("n") for _ in range(100)))
    assert await master.get("n") == "300"
    await master.delete("n")
    assert servers.primary().connections_received() - before < 10


async def test_commands_and_subscribers_follow_a_failover(master: theirs.Redis, servers: SentinelServers) -> None:
    subscriber: Any = master.pubsub(ignore_subscribe_messages=True)
    await subscriber.subscribe("news")
    await master.set("k", "before")
    await asyncio.to_thread(servers.failover)
    await persistently(lambda: master.set("k", "after"))
    assert (await master.role())[0] == "master"

    async def hear() -> str:
        await master.publish("news", "after")
        message = await subscriber.get_message(timeout=0.2)
        if message is None:
            raise RedisError("nothing came yet")
        return str(message["data"])

    assert await persistently(hear) == "after"
    await subscriber.aclose()


async def test_a_primary_that_is_gone(master: theirs.Redis, servers: SentinelServers) -> None:
    subscriber: Any = master.pubsub(ignore_subscribe_messages=True)
    await subscriber.subscribe("news")
    old = servers.primary()
    old.kill()
    await persistently(lambda: master.set("k", "after"))

    async def hear() -> Any:
        await master.publish("news", "after")
        if (message := await subscriber.get_message(timeout=0.2)) is None:
            raise RedisError("nothing came yet")
        return message

    assert (await persistently(hear))["data"] == "after"
    await subscriber.aclose()
    await asyncio.to_thread(servers.restore)
