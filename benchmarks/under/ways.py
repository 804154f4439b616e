"""The ways compared: redis-py by itself, with `install()`, redis-py's class from `aioresp.redis`, and `aioresp.Client`.

The first two run the same program, in which one line differs. Its pool is the one that suits redis-py best.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.clients import Ask, Bound, iterating, queued, subscribing

#: Seconds that a BRPOP waits: less than redis-py's `socket_timeout`, which would cut it off.
WAIT = 4


def _bound(client: Any, listening: Any) -> Bound:
    """Return how a program on redis-py's names calls a client."""
    pipelines = queued(lambda: client.pipeline(False))
    pop = partial(client.brpop, timeout=WAIT)
    return Bound(client.get, client.set, client.mget, client.hgetall, pipelines, subscribing(listening), pop=pop)


def _pool(module: Any, ask: Ask, **options: Any) -> Any:
    """Return redis-py's fastest pool by processor time: a connection for each task.

    With 500 tasks, blocking pools of 50, 100 and 500 connections take 7, 10 and 15 per cent more for each GET. (By the
    clock they are faster, as the server has fewer sockets.)
    """
    most = max(100, ask.tasks)
    return module.ConnectionPool.from_url(ask.url, max_connections=most, decode_responses=ask.decode, **options)


@asynccontextmanager
async def redis_py(ask: Ask, protocol: int | None) -> AsyncIterator[Bound]:
    module = importlib.import_module("redis.asyncio")
    async with module.Redis.from_pool(_pool(module, ask, protocol=protocol)) as client:
        yield _bound(client, client)


@asynccontextmanager
async def installed(ask: Ask, protocol: int | None) -> AsyncIterator[Bound]:
    importlib.import_module("aioresp.redis").install()
    async with redis_py(ask, protocol) as bound:
        yield bound


@asynccontextmanager
async def redis_class(ask: Ask, protocol: int | None) -> AsyncIterator[Bound]:
    module = importlib.import_module("aioresp.redis")
    async with module.from_url(ask.url, decode_responses=ask.decode, protocol=protocol) as client:
        yield _bound(client, client)


@asynccontextmanager
async def native(ask: Ask, protocol: int | None) -> AsyncIterator[Bound]:
    module = importlib.import_module("aioresp")
    options = {} if protocol is None else {"protocol": protocol}
    async with module.Client(ask.url, decode_responses=ask.decode, **options) as client:
        pop = partial(client.brpop, timeout=WAIT)
        yield Bound(
            client.get, client.set, client.mget, client.hgetall, queued(client.pipeline), iterating(client), pop=pop
        )


@dataclass(frozen=True)
class Way:
    """One way, and the words for it."""

    name: str
    title: str
    open_: Callable[[Ask, int | None], AbstractAsyncContextManager[Bound]]
    base: str = ""
    """Name of the way that this one is compared with: redis-py by itself, with the same protocol."""
    protocol: int | None = None
    """RESP version, or None for the default of redis-py or aioresp."""


_ALL = (
    Way("redis-py", "redis-py", redis_py),
    Way("install", "`install()`", installed, "redis-py"),
    Way("class", "`aioresp.redis.Redis`", redis_class, "redis-py"),
    Way("client", "`aioresp.Client`", native, "redis-py"),
    Way("redis-py-2", "redis-py, RESP2", redis_py, protocol=2),
    Way("install-2", "`install()`, RESP2", installed, "redis-py-2", 2),
    Way("class-2", "`aioresp.redis.Redis`, RESP2", redis_class, "redis-py-2", 2),
)
WAYS = {way.name: way for way in _ALL}
