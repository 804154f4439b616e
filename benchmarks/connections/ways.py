"""The ways to use connections, for aioresp and each peer, each client as its users use it and at its best.

A way opens its clients itself, sends SETs from so many tasks until a moment, and returns how many it sent. A task ends
what it has begun. No more than `AT_A_TIME` clients are open at a time. That many keep the machine busy. With more, the
last ones would begin long before the moment and end long after it.
"""

from __future__ import annotations

import asyncio
import importlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple
from urllib.parse import urlsplit

AT_A_TIME = 20
JOB = 20
POOL = 10

VALUE = "v" * 32

#: Sends one SET.
Send = Callable[[str], Awaitable[Any]]

#: Opens a client.
Open = Callable[[], AbstractAsyncContextManager[Send]]


class Place(NamedTuple):
    """Where the server is."""

    url: str
    ca: str | None
    """Path of the CA's certificate, for TLS."""


@dataclass
class Count:
    """SETs that are done."""

    until: float
    done: int = 0


async def a_task(send: Send, key: str, count: Count) -> None:
    while perf_counter() < count.until:
        await send(key)
        count.done += 1


async def one_client(open_client: Open, tasks: int, until: float, turns: int | None) -> int:
    """One client for all tasks, with a semaphore of `turns` where its pool would raise instead of waiting."""
    count = Count(until)
    turn = asyncio.Semaphore(turns or 1)
    async with open_client() as plain:

        async def in_turn(key: str) -> None:
            async with turn:
                await plain(key)

        send = plain if turns is None else in_turn
        async with asyncio.TaskGroup() as group:
            for number in range(tasks):
                group.create_task(a_task(send, f"bench:{number}", count))
    return count.done


async def many_clients(open_client: Open, tasks: int, until: float, commands: int) -> int:
    """A client for each `commands` SETs of a task."""
    count = Count(until)
    turn = asyncio.Semaphore(AT_A_TIME)

    async def one(key: str) -> None:
        while perf_counter() < until:
            async with turn:
                if perf_counter() >= until:
                    return
                async with open_client() as send:
                    for _ in range(commands):
                        await send(key)
                        count.done += 1

    async with asyncio.TaskGroup() as group:
        for number in range(tasks):
            group.create_task(one(f"bench:{number}"))
    return count.done


Way = Callable[[int, float], Awaitable[int]]


def _ways(shared: Open | None, classic: Open | None, fresh: Open, turns: int | None) -> dict[str, Way]:
    ways: dict[str, Way] = {}
    if shared is not None:
        ways["shared"] = partial(_one, shared, None)
    if classic is not None:
        ways["classic"] = partial(_one, classic, turns)
    ways["job"] = partial(_many, fresh, JOB)
    ways["fresh"] = partial(_many, fresh, 1)
    return ways


async def _one(open_client: Open, turns: int | None, tasks: int, until: float) -> int:
    return await one_client(open_client, tasks, until, turns)


async def _many(open_client: Open, commands: int, tasks: int, until: float) -> int:
    return await many_clients(open_client, tasks, until, commands)


def aioresp(place: Place) -> dict[str, Way]:
    module = importlib.import_module("aioresp")
    options = {} if place.ca is None else {"ssl_ca_certs": place.ca}

    @asynccontextmanager
    async def open_client(**own: Any) -> AsyncIterator[Send]:
        async with module.Client(place.url, **options, **own) as client:
            yield lambda key: client.set(key, VALUE)

    classic = partial(open_client, limit=POOL, concurrency=1, timeout=None)
    return _ways(open_client, classic, open_client, None)


def _redis_py(module_name: str, class_name: str, place: Place) -> dict[str, Way]:
    module = importlib.import_module(module_name)
    options = {} if place.ca is None else {"ssl_ca_certs": place.ca}

    @asynccontextmanager
    async def open_client(most: int) -> AsyncIterator[Send]:
        pool = module.ConnectionPool.from_url(place.url, max_connections=most, **options)
        async with getattr(module, class_name).from_pool(pool) as client:
            yield lambda key: client.set(key, VALUE)

    return _ways(None, partial(open_client, POOL), partial(open_client, 1), POOL)


def coredis(place: Place) -> dict[str, Way]:
    module = importlib.import_module("coredis")
    options: dict[str, Any] = {} if place.ca is None else {"ssl_context": ssl.create_default_context(cafile=place.ca)}
    address = urlsplit(place.url)
    if address.scheme == "unix":
        options["unix_socket_path"] = address.path
    else:
        options |= {"host": address.hostname, "port": address.port}
    if place.ca is not None:
        options["ssl"] = True

    @asynccontextmanager
    async def open_client(**own: Any) -> AsyncIterator[Send]:
        async with module.Redis(**options, **own) as client:
            yield lambda key: client.set(key, VALUE)

    return _ways(open_client, None, partial(open_client, max_connections=1), None)


def glide(place: Place) -> dict[str, Way]:
    module = importlib.import_module("glide")
    address = urlsplit(place.url)
    if address.scheme == "unix":
        return {}
    advanced = None
    if place.ca is not None:
        with open(place.ca, "rb") as file:
            tls = module.TlsAdvancedConfiguration(root_pem_cacerts=file.read())
        advanced = module.AdvancedGlideClientConfiguration(tls_config=tls)

    @asynccontextmanager
    async def open_client() -> AsyncIterator[Send]:
        client = await module.GlideClient.create(
            module.GlideClientConfiguration(
                [module.NodeAddress(address.hostname, address.port)],
                use_tls=place.ca is not None,
                request_timeout=60_000,  # ms; with the default of 250 some of 10,000 tasks fail
                inflight_requests_limit=100_000,  # the default of 1,000 refuses the others of 10,000 tasks
                advanced_config=advanced,
            )
        )
        try:
            yield lambda key: client.set(key, VALUE)
        finally:
            await client.close()

    return _ways(open_client, None, open_client, None)


#: By the name of a client: what makes its ways, and its distribution.
CLIENTS: dict[str, tuple[Callable[[Place], dict[str, Way]], str]] = {
    "aioresp": (aioresp, "aioresp"),
    "redis-py": (partial(_redis_py, "redis.asyncio", "Redis"), "redis"),
    "valkey-py": (partial(_redis_py, "valkey.asyncio", "Valkey"), "valkey"),
    "coredis": (coredis, "coredis"),
    "valkey-glide": (glide, "valkey-glide"),
}

#: Ways by their names, from the fewest connections to the most.
WAYS = {
    "shared": "shared pool",
    "classic": f"classic pool of {POOL}",
    "job": f"a client for each job of {JOB}",
    "fresh": "a connection for each command",
}
