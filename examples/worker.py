"""A queue of jobs: workers wait for them in blocking pops, each on a connection of its own, and end when told to."""

from __future__ import annotations

import asyncio
import json
import os

from aioresp import Client

URL = os.environ.get("AIORESP_URL", "redis://localhost")
JOBS, RESULTS = "example:jobs", "example:results"
WORKERS = 3


async def worker(r: Client[str]) -> int:
    """Work until the job is None, and return how many jobs that were."""
    done = 0
    while True:
        # A short wait in a loop: who wants to stop this worker finds it between two pops, with no job in its hands.
        popped = await r.blpop(JOBS, timeout=1)
        if popped is None:
            continue
        job = json.loads(popped[1])
        if job is None:
            return done
        await r.hset(RESULTS, str(job), job * job)
        done += 1


async def main() -> None:
    async with Client(URL) as r:
        await r.delete(JOBS, RESULTS)
        workers = [asyncio.create_task(worker(r)) for _ in range(WORKERS)]
        for number in range(100):
            await r.rpush(JOBS, json.dumps(number))  # ordinary commands go on while all workers wait
        await r.rpush(JOBS, *["null"] * WORKERS)

        print("jobs done:", sum(await asyncio.gather(*workers)))  # jobs done: 100
        print("the square of 12:", await r.hget(RESULTS, "12"))  # the square of 12: 144
        await r.delete(RESULTS)


if __name__ == "__main__":
    asyncio.run(main())
