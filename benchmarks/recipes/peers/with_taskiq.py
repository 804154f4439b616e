"""taskiq with taskiq-redis: the stream broker and its result backend, as its documentation recommends."""

from __future__ import annotations

from measured import Done, Finished, Job, enqueued, main, spread
from taskiq.api import run_receiver_task
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker


def _broker(job: Job, worker: bool = False) -> RedisStreamBroker:
    broker = RedisStreamBroker(url=job["url"])
    broker.is_worker_process = worker
    return broker.with_result_backend(RedisAsyncResultBackend(redis_url=job["url"], result_ex_time=600))


async def enqueue(job: Job) -> Done:
    broker = _broker(job)

    @broker.task(task_name="noop")
    async def noop() -> None: ...

    await broker.startup()
    return await enqueued(noop.kiq, job)


async def work(job: Job) -> Done:
    finished = Finished(job["count"])
    sender, broker = _broker(job), _broker(job, True)

    @broker.task(task_name="noop")
    async def noop() -> None:
        finished.one()

    @sender.task(task_name="noop")
    async def sent() -> None: ...

    await sender.startup()
    await spread(lambda _: sent.kiq(), job["count"], 50)
    return await finished.worked(run_receiver_task(broker, max_async_tasks=job["tasks"], run_startup=True))


main(enqueue=enqueue, work=work)
