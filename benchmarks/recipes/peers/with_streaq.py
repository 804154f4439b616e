"""streaq: a worker with `concurrency`; all else by default."""

from __future__ import annotations

from measured import Done, Finished, Job, enqueued, main, spread
from streaq import Worker


async def enqueue(job: Job) -> Done:
    worker = Worker(redis_url=job["url"])

    @worker.task()
    async def noop() -> None: ...

    async def one() -> None:
        await noop.enqueue()

    async with worker:
        return await enqueued(one, job)


async def work(job: Job) -> Done:
    finished = Finished(job["count"])
    worker = Worker(redis_url=job["url"], concurrency=job["tasks"], handle_signals=False)

    @worker.task()
    async def noop() -> None:
        finished.one()

    async def one(_: int) -> None:
        await noop.enqueue()

    async with worker:
        await spread(one, job["count"], 50)
    return await finished.worked(worker.run_async())


main(enqueue=enqueue, work=work)
