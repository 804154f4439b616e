"""The clients compared, each configured for its best figures and giving the scenarios its own bound methods.

An adapter adds nothing to a call. Peers are imported when asked for; one that is not installed is left out.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from . import floor as bare


class Ask(NamedTuple):
    """What a scenario needs of a client."""

    url: str
    decode: bool  # text values; else bytes, and values of 1 MiB
    tasks: int
    floor_protocol: int


#: Takes so many messages and returns the data of the last one.
Take = Callable[[int], Awaitable[Any]]


class Bound(NamedTuple):
    """The methods that the scenarios call: get(key), set(key, value), mget(keys), hgetall(key).

    `pipeline(key, n)` sends GET n times in one pipeline, as the client's users do it, and returns the values.
    `subscribe(channel)` is a context that yields how messages are taken; within, the server has confirmed.
    """

    get: Callable[..., Awaitable[Any]]
    set: Callable[..., Awaitable[Any]]
    mget: Callable[..., Awaitable[Any]]
    hgetall: Callable[..., Awaitable[Any]]
    pipeline: Callable[[str, int], Awaitable[list[Any]]]
    subscribe: Callable[[str], AbstractAsyncContextManager[Take]]
    coroutines: bool = True  # whether the methods return coroutines, which `create_task` takes
    texts: bool = True  # False if the client always answers in bytes
    url: str = ""  # of the server, for who publishes
    pop: Callable[[str], Awaitable[Any]] | None = None  # BRPOP, where a benchmark measures it


@asynccontextmanager
async def open_floor(ask: Ask) -> AsyncIterator[Bound]:
    connection = await bare.connect(ask.url, ask.decode, ask.floor_protocol)
    send = connection.send
    set_ = send if ask.decode else connection.send_big

    @asynccontextmanager
    async def subscribe(channel: str) -> AsyncIterator[Take]:
        async with bare.subscribe(ask.url, ask.decode, channel) as subscriber:
            yield subscriber.take

    yield Bound(
        lambda key: send("GET", key),
        lambda key, value: set_("SET", key, value),
        connection.mget,
        connection.hgetall,
        connection.pipeline,
        subscribe,
        coroutines=False,
    )
    connection.transport.close()


@asynccontextmanager
async def open_aioresp(ask: Ask) -> AsyncIterator[Bound]:
    module = importlib.import_module("aioresp")
    async with module.Client.from_url(ask.url, decode_responses=ask.decode) as client:
        yield Bound(client.get, client.set, client.mget, client.hgetall, queued(client.pipeline), iterating(client))


def iterating(client: Any) -> Callable[[str], AbstractAsyncContextManager[Take]]:
    """Return how users of aioresp subscribe: by an iterator."""

    @asynccontextmanager
    async def subscribe(channel: str) -> AsyncIterator[Take]:
        async with client.subscribe(channel) as subscription:

            async def take(n: int) -> Any:
                async for message in subscription:
                    n -= 1
                    if not n:
                        return message.data
                raise AssertionError("it has ended")

            yield take

    return subscribe


def queued(make: Callable[[], Any]) -> Callable[[str, int], Awaitable[list[Any]]]:
    """Return how users of redis-py and aioresp send many commands in one."""

    async def pipeline(key: str, n: int) -> list[Any]:
        queue = make()
        for _ in range(n):
            queue.get(key)
        values: list[Any] = await queue.execute()
        return values

    return pipeline


def _pool(module: Any, ask: Ask, **options: Any) -> Any:
    """Return the connection pool that suits the task count best, for redis-py and its fork valkey-py.

    Measured: up to about a hundred tasks the plain pool with a connection for each is fastest; above, it is a
    BlockingConnectionPool of 50 to 100 (1,000 connections are slower, and the plain pool's default raises
    "Too many connections"). `socket_read_size` is raised for 1 MiB values, where it gives a third more. Time
    limits stay as they come, in every client: without its `socket_timeout` redis-py has no deadline and is a
    third faster.
    """
    options["decode_responses"] = ask.decode
    if not ask.decode:
        options["socket_read_size"] = 1 << 18
    if ask.tasks <= 100:
        return module.ConnectionPool.from_url(ask.url, max_connections=100, **options)
    return module.BlockingConnectionPool.from_url(ask.url, max_connections=100, timeout=None, **options)


def _as_redis_py(client: Any, listening: Any) -> Bound:
    """Return how users of redis-py and its fork call it."""
    pipelines = queued(lambda: client.pipeline(False))
    return Bound(client.get, client.set, client.mget, client.hgetall, pipelines, subscribing(listening))


@asynccontextmanager
async def open_redis_py(ask: Ask) -> AsyncIterator[Bound]:
    module = importlib.import_module("redis.asyncio")
    # RESP2: as fast as RESP3 everywhere else, and at HGETALL 1.6 times as fast.
    listeners = module.ConnectionPool.from_url(ask.url, max_connections=2000, decode_responses=ask.decode)
    async with (
        module.Redis.from_pool(_pool(module, ask, protocol=2)) as client,
        module.Redis.from_pool(listeners) as listening,
    ):
        yield _as_redis_py(client, listening)


def subscribing(client: Any) -> Callable[[str], AbstractAsyncContextManager[Take]]:
    """Return how users of redis-py and its fork subscribe; each PubSub object takes a connection of the pool."""

    @asynccontextmanager
    async def subscribe(channel: str) -> AsyncIterator[Take]:
        async with client.pubsub() as subscription:
            await subscription.subscribe(channel)
            await subscription.get_message(timeout=10)  # the confirmation

            async def take(n: int) -> Any:
                async for message in subscription.listen():
                    n -= 1
                    if not n:
                        return message["data"]
                raise AssertionError("it has ended")

            yield take

    return subscribe


@asynccontextmanager
async def open_valkey_py(ask: Ask) -> AsyncIterator[Bound]:
    module = importlib.import_module("valkey.asyncio")
    listeners = module.ConnectionPool.from_url(ask.url, max_connections=2000, decode_responses=ask.decode)
    async with (
        module.Valkey.from_pool(_pool(module, ask)) as client,
        module.Valkey.from_pool(listeners) as listening,
    ):
        yield _as_redis_py(client, listening)


@asynccontextmanager
async def open_coredis(ask: Ask) -> AsyncIterator[Bound]:
    module = importlib.import_module("coredis")
    # It shares its connections among the tasks by itself; between 10 and 100 of them there is no difference.
    open_client = partial(module.Redis.from_url, ask.url, decode_responses=ask.decode)
    # Each subscription keeps a connection.
    async with open_client(max_connections=50) as client, open_client(max_connections=2000) as listening:

        async def pipeline(key: str, n: int) -> list[Any]:
            async with client.pipeline(transaction=False) as queue:
                handles = [queue.get(key) for _ in range(n)]
            return [await handle for handle in handles]

        @asynccontextmanager
        async def subscribe(channel: str) -> AsyncIterator[Take]:
            async with listening.pubsub(
                channels=[channel], ignore_subscribe_messages=True, subscription_timeout=30
            ) as subscription:

                async def take(n: int) -> Any:
                    async for message in subscription:
                        n -= 1
                        if not n:
                            return message["data"]
                    raise AssertionError("it has ended")

                yield take

        yield Bound(client.get, client.set, client.mget, client.hgetall, pipeline, subscribe, coroutines=False)


@asynccontextmanager
async def open_glide(ask: Ask) -> AsyncIterator[Bound]:
    module = importlib.import_module("glide")
    address = urlsplit(ask.url)
    credentials = None
    if address.password:
        username = unquote(address.username) if address.username else None
        credentials = module.ServerCredentials(unquote(address.password), username)
    client = await module.GlideClient.create(
        module.GlideClientConfiguration(
            [module.NodeAddress(address.hostname, address.port or 6379)],
            credentials=credentials,
            database_id=int(address.path.strip("/") or 0),
            request_timeout=60_000,  # ms; with the default of 250 some of 10,000 tasks fail
            inflight_requests_limit=100_000,  # the default of 1,000 refuses the others of 10,000 tasks
        )
    )

    async def pipeline(key: str, n: int) -> list[Any]:
        queue = module.Batch(is_atomic=False)
        for _ in range(n):
            queue.get(key)
        values: list[Any] = await client.exec(queue, raise_on_error=True)
        return values

    @asynccontextmanager
    async def subscribe(channel: str) -> AsyncIterator[Take]:
        # A client has one queue for all that it is subscribed to: a second subscription would need a second client.
        await client.subscribe({channel}, 10_000)

        async def take(n: int) -> Any:
            for _ in range(n):
                message = await client.get_pubsub_message()
            return message.message

        yield take
        await client.unsubscribe({channel}, 10_000)

    yield Bound(client.get, client.set, client.mget, client.hgetall, pipeline, subscribe, texts=False)
    await client.close()


@dataclass(frozen=True)
class Adapter:
    name: str
    distribution: str
    imports: str
    open: Callable[[Ask], AbstractAsyncContextManager[Bound]]

    def version(self) -> str | None:
        """Return the installed version, or None if the client cannot be used."""
        try:
            importlib.import_module(self.imports.split(", ")[-1])
        except ImportError:
            return None
        try:
            return importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:  # run from the work tree
            return str(getattr(importlib.import_module(self.distribution), "__version__", "work tree"))


ADAPTERS = {
    adapter.name: adapter
    for adapter in (
        Adapter("floor", "hiredis", "asyncio, hiredis", open_floor),
        Adapter("aioresp", "aioresp", "aioresp", open_aioresp),
        Adapter("redis-py", "redis", "redis.asyncio", open_redis_py),
        Adapter("valkey-py", "valkey", "valkey.asyncio", open_valkey_py),
        Adapter("coredis", "coredis", "coredis", open_coredis),
        Adapter("valkey-glide", "valkey-glide", "glide", open_glide),
    )
}
PEERS = ("redis-py", "valkey-py", "coredis", "valkey-glide")
