"""What the server sees of clients: their connections, by the name that they set. And clients to compare with."""

from __future__ import annotations

import asyncio
from typing import Any

import redis.asyncio as theirs

import aioresp.redis
from aioresp import Client
from aioresp.replies.clients import ClientInfo


async def named(watcher: Client[Any], name: str) -> list[ClientInfo]:
    """Return the connections that have a name."""
    return [info for info in await watcher.client_list() if info.name == name]


async def settle(watcher: Client[Any], name: str, expected: int) -> None:
    """Wait until the server counts so many connections with a name."""
    async with asyncio.timeout(20):
        while len(await named(watcher, name)) != expected:
            await asyncio.sleep(0.005)


async def shares(client: Any) -> bool:
    """Return whether four commands at once travel on one connection, as they do over the layer alone."""
    return len(set(await asyncio.gather(*(client.client_id() for _ in range(4))))) == 1


def plain(url: str, **options: Any) -> Any:
    """Return a client of redis-py on connections of its own, whatever is installed."""
    pool = theirs.ConnectionPool.from_url(url, **options)
    aioresp.redis.exclude(pool)
    return theirs.Redis.from_pool(pool)
