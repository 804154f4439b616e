"""fastapi-cache2: its decorator on a function, with its backend for Redis."""

from __future__ import annotations

import asyncio

from fastapi_cache import FastAPICache
from fastapi_cache.backends.redis import RedisBackend
from fastapi_cache.decorator import cache
from measured import Done, Job, hits, main, stampede
from redis.asyncio import Redis

loads = 0


def _read(job: Job):  # type: ignore[no-untyped-def]
    FastAPICache.init(RedisBackend(Redis.from_url(job["url"])), prefix="cache")

    @cache(expire=60)
    async def read(number: int) -> str:
        global loads
        loads += 1
        await asyncio.sleep(job["load"])
        return "v" * 100

    return read


async def cold(job: Job) -> Done:
    return await stampede(_read(job), lambda: loads, job)


async def warm(job: Job) -> Done:
    return await hits(_read(job), job)


main(cold=cold, warm=warm)
