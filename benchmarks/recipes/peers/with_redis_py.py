"""redis-py: its asyncio client's Lock."""

from __future__ import annotations

import asyncio
import time

from measured import Done, Job, locked, main
from redis.asyncio import Redis


async def lock(job: Job) -> Done:
    async with Redis.from_url(job["url"]) as redis:

        async def hold(key: str, seconds: float) -> float:
            async with redis.lock(key, timeout=10):
                got = time.perf_counter()
                if seconds:
                    await asyncio.sleep(seconds)
            return got

        return await locked(hold, job)


main(lock=lock)
