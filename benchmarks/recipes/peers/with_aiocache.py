"""aiocache: `cached`, or `cached_stampede` with a lease of 2 s."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from aiocache import Cache, cached, cached_stampede
from aiocache.serializers import JsonSerializer
from measured import Done, Job, hits, main, stampede

loads = 0


def _read(job: Job):  # type: ignore[no-untyped-def]
    at = urlsplit(job["url"])
    settings = {
        "ttl": 60,
        "cache": Cache.REDIS,
        "endpoint": at.hostname,
        "port": at.port,
        "password": at.password,
        "serializer": JsonSerializer(),
    }
    decorate = cached_stampede(lease=2, **settings) if job.get("variant") == "stampede" else cached(**settings)

    @decorate
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
