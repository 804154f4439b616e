"""pottery: AIORedlock with one server."""

from __future__ import annotations

import asyncio
import time

from measured import Done, Job, locked, main
from pottery import AIORedlock
from redis.asyncio import Redis


async def lock(job: Job) -> Done:
    async with Redis.from_url(job["url"]) as redis:

        async def hold(key: str, seconds: float) -> float:
            async with AIORedlock(key=key, masters={redis}, auto_release_time=10):
                got = time.perf_counter()
                if seconds:
                    await asyncio.sleep(seconds)
            return got

        return await locked(hold, job)


main(lock=lock)
