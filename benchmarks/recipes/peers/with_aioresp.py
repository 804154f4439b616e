"""aioresp: its recipes on one client, all by default."""

from __future__ import annotations

import asyncio
import time

from measured import Done, Finished, Job, enqueued, hits, limited, locked, main, spread, stampede

from aioresp import Client, recipes


async def enqueue(job: Job) -> Done:
    async with Client(job["url"]) as redis:
        queue = recipes.Queue(redis, "jobs")

        @queue.task
        async def noop() -> None: ...

        return await enqueued(noop.enqueue, job)


async def work(job: Job) -> Done:
    async with Client(job["url"]) as redis:
        queue, finished = recipes.Queue(redis, "jobs"), Finished(job["count"])

        @queue.task
        async def noop() -> None:
            finished.one()

        await spread(lambda _: noop.enqueue(), job["count"], 50)
        async with queue.worker(concurrency=job["tasks"]) as worker:
            return await finished.worked(worker.run())


async def lock(job: Job) -> Done:
    async with Client(job["url"]) as redis:

        async def hold(key: str, seconds: float) -> float:
            async with recipes.Lock(redis, key, ttl=10):
                got = time.perf_counter()
                if seconds:
                    await asyncio.sleep(seconds)
            return got

        return await locked(hold, job)


async def limit(job: Job) -> Done:
    async with Client(job["url"]) as redis:
        limiter = recipes.Limiter(redis, job["limit"], per=60)

        async def hit(key: str) -> bool:
            return (await limiter.hit(key)).allowed

        return await limited(hit, job)


loads = 0


async def _cached(what: str, job: Job) -> Done:
    async with Client(job["url"]) as redis:
        cache = recipes.Cache(redis, prefix="cache:", ttl=60)

        @cache
        async def read(number: int) -> str:
            global loads
            loads += 1
            await asyncio.sleep(job["load"])
            return "v" * 100

        return await (stampede(read, lambda: loads, job) if what == "cold" else hits(read, job))


async def cold(job: Job) -> Done:
    return await _cached("cold", job)


async def warm(job: Job) -> Done:
    return await _cached("warm", job)


main(enqueue=enqueue, work=work, lock=lock, limit=limit, cold=cold, warm=warm)
