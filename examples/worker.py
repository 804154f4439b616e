"""A queue of jobs: typed arguments and results, a retry, a job that waits for its time, and a worker that is stopped.

A worker is usually a process of its own: `aioresp worker examples.worker:queue`.
"""

from __future__ import annotations

import asyncio
import logging
import os

from aioresp import Client
from aioresp.recipes import Queue, running

redis = Client(os.environ.get("AIORESP_URL", "redis://localhost"))
queue = Queue(redis, "example")


@queue.task(keep_result=30)
async def square(number: int) -> int:
    return number * number


@queue.task(retries=3, backoff=(0.05, 1))
async def unsteady() -> str:
    if running().attempt < 3:
        raise ConnectionError("a service that is away for a moment")
    return f"done at attempt {running().attempt}"


async def main() -> None:
    logging.basicConfig(level=logging.ERROR)  # at WARNING it tells of retries, and of servers that may forget jobs
    async with redis, queue.worker(concurrency=10, grace=5) as worker:
        working = asyncio.create_task(worker.run())

        jobs = [await square.enqueue(number) for number in range(100)]
        print("sum of the squares:", sum([await job.result(timeout=10) for job in jobs]))  # sum of the squares: 328350

        print(await (await unsteady.enqueue()).result(timeout=10))  # done at attempt 3
        later = await square.options(delay=0.2).enqueue(12)
        print((await later.info()).state, await later.result(timeout=10))  # delayed 144
        worker.stop()
        await working
        print(await queue.counts())  # Counts(waiting=0, delayed=0, running=0, dead=0)


if __name__ == "__main__":
    asyncio.run(main())
