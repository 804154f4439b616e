"""arq: a pool that enqueues, and a worker with `max_jobs`; all else by default."""

from __future__ import annotations

from typing import Any

from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker, func
from measured import Done, Finished, Job, enqueued, main, spread


async def enqueue(job: Job) -> Done:
    pool = await create_pool(RedisSettings.from_dsn(job["url"]))
    return await enqueued(lambda: pool.enqueue_job("noop"), job)


async def work(job: Job) -> Done:
    settings = RedisSettings.from_dsn(job["url"])
    pool = await create_pool(settings)
    await spread(lambda _: pool.enqueue_job("noop"), job["count"], 50)
    finished = Finished(job["count"])

    async def noop(_: dict[str, Any]) -> None:
        finished.one()

    worker = Worker([func(noop, name="noop")], redis_settings=settings, max_jobs=job["tasks"], handle_signals=False)
    return await finished.worked(worker.main())


main(enqueue=enqueue, work=work)
