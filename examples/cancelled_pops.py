"""Workers that are stopped as jobs come in: redis-py alone loses jobs, and the same program on aioresp loses none.

A cancelled BRPOP may have a job on its way. redis-py alone then drops it; after `install()` the list gets it back.
"""

from __future__ import annotations

import asyncio
import os

import redis.asyncio

import aioresp.redis

URL = os.environ.get("AIORESP_URL", "redis://localhost")
JOBS, NAME = list(range(20)), "example:cancelled"


async def lost() -> int:
    """Start and stop twenty workers four times; return how many jobs neither a worker nor the list has."""
    done = 0

    async def work() -> None:
        nonlocal done
        while await r.brpop([NAME], timeout=1):
            done += 1

    async with redis.asyncio.from_url(URL) as r:
        with redis.Redis.from_url(URL) as producer:  # stands for another process
            for _ in range(4):
                workers = [asyncio.create_task(work()) for _ in JOBS]
                producer.lpush(NAME, *JOBS)
                while producer.llen(NAME):
                    await asyncio.sleep(0.1)  # the workers connect, take these jobs, and wait in BRPOP for more
                producer.lpush(NAME, *JOBS)
                for worker in workers:
                    worker.cancel()
                await asyncio.wait(workers)
        for _ in range(20):  # a put-back takes some round trips
            left = await r.llen(NAME)
        await r.delete(NAME)
        return 8 * len(JOBS) - done - left


if __name__ == "__main__":
    alone = asyncio.run(lost())
    aioresp.redis.install()
    print("jobs lost by redis-py alone, and on aioresp:", alone, under := asyncio.run(lost()))
    print(alone > 0, under)  # True 0
