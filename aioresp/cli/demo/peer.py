"""Lane of redis-py in the demo: its own best way to send 10,000 SETs from as many tasks.

Owns the use of `redis.asyncio`, which is imported when the lane runs. Never needed: without the package there is no
such lane.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from aioresp.cli.demo.keys import TTL, VALUE
from aioresp.cli.demo.tally import Tally
from aioresp.cli.target import Target

#: Connections, and callers that may use one at a time. Measured from 10 to 100, with this and with its
#: BlockingConnectionPool: this is the fastest. Its plain pool raises MaxConnectionsError without the semaphore.
CONNECTIONS = 20


#: Major version of redis-py that the extra `bench` asks for.
OLDEST = 6


def version(target: Target) -> str | None:
    """Return the version of redis-py, or None if it is missing or too old, or would not know the target's options."""
    if not target.url.startswith(("redis://", "rediss://", "unix://")) or "?" in target.url or target.options:
        return None
    try:
        found = importlib.metadata.version("redis")
    except importlib.metadata.PackageNotFoundError:
        return None
    return found if int(found.partition(".")[0]) >= OLDEST else None


def load() -> None:
    """Import redis-py, before the lane is measured."""
    importlib.import_module("redis.asyncio")


async def redis_py(target: Target, keys: Sequence[str], tally: Tally) -> None:
    """One client of redis-py with a pool of 20 connections, and a semaphore in front of it."""
    module: Any = importlib.import_module("redis.asyncio")
    turn = asyncio.Semaphore(CONNECTIONS)
    made = 0

    async def count(connection: Any) -> None:
        nonlocal made
        made += 1
        await connection.on_connect()

    tally.opened = lambda: made

    async def one(key: str) -> None:
        wanted = perf_counter()
        async with turn:
            await client.set(key, VALUE, ex=TTL)
        tally.latencies.append(perf_counter() - wanted)

    pool = module.ConnectionPool.from_url(target.url, max_connections=CONNECTIONS, redis_connect_func=count)
    async with module.Redis.from_pool(pool) as client, asyncio.TaskGroup() as group:
        for key in keys:
            group.create_task(one(key))
