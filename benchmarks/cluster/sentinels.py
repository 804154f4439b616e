"""The clients of a Sentinel set that are compared."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from aioresp import Sentinel

#: Appends a value to a list.
Push = Callable[[str, str], Awaitable[Any]]


@asynccontextmanager
async def _aioresp(job: dict[str, Any]) -> AsyncIterator[Push]:
    passwords = {"password": job["password"], "sentinel_password": job["sentinel_password"]}
    async with Sentinel(job["addresses"], **passwords).master_for(job["name"]) as client:
        yield client.rpush


def _pairs(job: dict[str, Any]) -> list[tuple[str, int]]:
    found = (address.rpartition(":") for address in job["addresses"])
    return [(host, int(port)) for host, _, port in found]


@asynccontextmanager
async def _redis_py(job: dict[str, Any]) -> AsyncIterator[Push]:
    module = importlib.import_module("redis.asyncio.sentinel")
    own = {"password": job["sentinel_password"]}
    sentinel = module.Sentinel(_pairs(job), sentinel_kwargs=own, password=job["password"], decode_responses=True)
    client = sentinel.master_for(job["name"])
    yield client.rpush
    await client.aclose()


@asynccontextmanager
async def _coredis(job: dict[str, Any]) -> AsyncIterator[Push]:
    module = importlib.import_module("coredis.sentinel")
    own = {"password": job["sentinel_password"]}
    sentinel = module.Sentinel(_pairs(job), sentinel_kwargs=own, password=job["password"], decode_responses=True)

    async with sentinel, sentinel.primary_for(job["name"]) as client:

        async def push(key: str, value: str) -> Any:
            return await client.rpush(key, [value])

        yield push


#: Functions that open a client; valkey-glide knows no Sentinel.
OPEN: dict[str, Callable[[dict[str, Any]], AbstractAsyncContextManager[Push]]] = {
    "aioresp": _aioresp,
    "redis-py": _redis_py,
    "coredis": _coredis,
}
