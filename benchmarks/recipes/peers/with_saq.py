"""SAQ: a queue and a worker with `concurrency`; all else by default."""

from __future__ import annotations

from typing import Any

from measured import Done, Finished, Job, enqueued, main, spread
from saq import Queue, Worker


async def enqueue(job: Job) -> Done:
    queue = Queue.from_url(job["url"])
    await queue.connect()
    return await enqueued(lambda: queue.enqueue("noop"), job)


async def work(job: Job) -> Done:
    queue = Queue.from_url(job["url"])
    await queue.connect()
    await spread(lambda _: queue.enqueue("noop"), job["count"], 50)
    finished = Finished(job["count"])

    async def noop(_: dict[str, Any]) -> None:
        finished.one()

    worker = Worker(queue, functions=[("noop", noop)], concurrency=job["tasks"])
    return await finished.worked(worker.start())


main(enqueue=enqueue, work=work)
