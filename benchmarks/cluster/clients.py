"""The clients of a cluster that are compared: each as its users would make it, without adding anything to a call.

Peers are imported when asked for; one that is not installed is left out.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from aioresp import Client, Cluster


class Bound(NamedTuple):
    """The methods that the measurements call: get(key), set(key, value), incr(key).

    `pipeline(keys)` sends a GET for each key in one pipeline, as the client's users do it, and returns the values.
    """

    get: Callable[[str], Awaitable[Any]]
    set: Callable[[str, str], Awaitable[Any]]
    incr: Callable[[str], Awaitable[Any]]
    pipeline: Callable[[Sequence[str]], Awaitable[list[Any]]]
    texts: bool = True  # False if the client always answers in bytes
    url: str = ""


@dataclass(frozen=True)
class Adapter:
    """A client: what it is called, where it comes from, and how it is opened for the URL of a cluster."""

    name: str
    distribution: str
    imports: str
    open: Callable[[str], AbstractAsyncContextManager[Bound]]

    def version(self) -> str | None:
        """Return the installed version, or None if the client cannot be used."""
        try:
            module = importlib.import_module(self.imports)
            return importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:  # run from the work tree
            return str(getattr(module, "__version__", "work tree"))
        except ImportError:
            return None


def seeds(url: str) -> tuple[list[tuple[str, int]], str | None]:
    """Return the addresses in the URL of a cluster, and its password."""
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    password = login.partition(":")[2] or None
    pairs = (address.rpartition(":") for address in hosts.split(","))
    return [(host, int(port)) for host, _, port in pairs], None if password is None else unquote(password)


def _queued(make: Callable[[], Any]) -> Callable[[Sequence[str]], Awaitable[list[Any]]]:
    async def pipeline(keys: Sequence[str]) -> list[Any]:
        queue = make()
        for key in keys:
            queue.get(key)
        values: list[Any] = await queue.execute()
        return values

    return pipeline


@asynccontextmanager
async def open_one(url: str) -> AsyncIterator[Bound]:
    """Open aioresp's client of one server, which the cluster is compared with."""
    async with Client(url) as client:
        yield Bound(client.get, client.set, client.incr, _queued(client.pipeline))


@asynccontextmanager
async def open_aioresp(url: str, **options: Any) -> AsyncIterator[Bound]:
    """Open aioresp's client of a cluster."""
    async with Cluster(url, **options) as client:
        yield Bound(client.get, client.set, client.incr, _queued(client.pipeline))


@asynccontextmanager
async def open_redis_py(url: str) -> AsyncIterator[Bound]:
    """Open redis-py's client. It keeps a connection for each call under way, and has no limit of them by default."""
    module = importlib.import_module("redis.asyncio.cluster")
    addresses, password = seeds(url)
    nodes = [module.ClusterNode(host, port) for host, port in addresses]
    client = module.RedisCluster(startup_nodes=nodes, password=password, decode_responses=True)
    async with client:
        yield Bound(client.get, client.set, client.incr, _queued(client.pipeline))


@asynccontextmanager
async def open_coredis(url: str) -> AsyncIterator[Bound]:
    """Open coredis's client, which shares its connections among the tasks by itself."""
    module = importlib.import_module("coredis")
    addresses, password = seeds(url)
    nodes = [{"host": host, "port": port} for host, port in addresses]
    client = module.RedisCluster(startup_nodes=nodes, password=password, decode_responses=True)

    async def pipeline(keys: Sequence[str]) -> list[Any]:
        async with client.pipeline(transaction=False) as queue:
            handles = [queue.get(key) for key in keys]
        return [await handle for handle in handles]

    async with client:
        yield Bound(client.get, client.set, client.incr, pipeline)


@asynccontextmanager
async def open_glide(url: str, timeout: int = 60_000) -> AsyncIterator[Bound]:
    """Open valkey-glide's client; its own limit of 250 ms for a call would fail calls while a shard is down."""
    module = importlib.import_module("glide")
    addresses, password = seeds(url)
    client = await module.GlideClusterClient.create(
        module.GlideClusterClientConfiguration(
            [module.NodeAddress(host, port) for host, port in addresses],
            credentials=None if password is None else module.ServerCredentials(password),
            request_timeout=timeout,
            inflight_requests_limit=100_000,
        )
    )

    async def pipeline(keys: Sequence[str]) -> list[Any]:
        queue = module.ClusterBatch(is_atomic=False)
        for key in keys:
            queue.get(key)
        values: list[Any] = await client.exec(queue, raise_on_error=True)
        return values

    yield Bound(client.get, client.set, client.incr, pipeline, texts=False)
    await client.close()


ONE = Adapter("one node", "aioresp", "aioresp", open_one)
PEERS = {
    adapter.name: adapter
    for adapter in (
        Adapter("redis-py", "redis", "redis.asyncio.cluster", open_redis_py),
        Adapter("coredis", "coredis", "coredis", open_coredis),
        Adapter("valkey-glide", "valkey-glide", "glide", open_glide),
    )
}
ADAPTERS = {"aioresp": Adapter("aioresp", "aioresp", "aioresp", open_aioresp), **PEERS}
