"""SAQ: two hundred jobs, enqueued and applied, through two workers, while connections are killed."""

from __future__ import annotations

import asyncio
from collections import Counter

from saq import CronJob, Job, Queue, Status, Worker
from stage import kill_connections, until

done: Counter[int] = Counter()
ticks = 0


async def double(_: object, *, number: int) -> int:
    done[number] += 1
    await asyncio.sleep(0.001)
    return 2 * number


async def fail_once(context: dict[str, object], *, word: str) -> str:
    if context["job"].attempts == 1:
        raise ValueError(word)
    return word


async def sleep_long(_: object) -> None:
    await asyncio.sleep(60)


async def tick(_: object) -> None:
    global ticks
    ticks += 1


async def completed(job: Job) -> None:
    """Wait until a job has ended. Its `refresh(until_complete=...)` may miss news before it has subscribed."""
    async with asyncio.timeout(100):
        while not job.completed:
            await job.refresh()
            await asyncio.sleep(0.01)


async def main(url: str) -> None:
    queue = Queue.from_url(url)
    await queue.connect()
    workers = [
        Worker(
            queue,
            functions=[double, fail_once, sleep_long],
            cron_jobs=[CronJob(tick, cron="* * * * * */1")],
            concurrency=5,
            timers={"schedule": 1, "abort": 1, "sweep": 1000},
            dequeue_timeout=1,
        )
        for _ in range(2)
    ]
    running = [asyncio.create_task(worker.start()) for worker in workers]

    # The first sweep takes a job that has been taken and not begun yet for one that is stuck.
    async with asyncio.timeout(100):
        while not await queue.redis.exists("saq:default:sweep"):
            await asyncio.sleep(0.01)

    jobs = await asyncio.gather(*(queue.enqueue("double", number=number) for number in range(200)))
    assert len({job.key for job in jobs}) == 200
    for job in jobs:
        await completed(job)
    assert all(job.status == Status.COMPLETE for job in jobs), [job for job in jobs if job.status != Status.COMPLETE]
    assert [job.result for job in jobs] == [2 * number for number in range(200)]
    assert done == Counter(range(200)), f"each job runs once: {done - Counter(range(200))}"

    # The workers wait in BLMOVE now, and a subscription waits for the news of jobs.
    await kill_connections()
    await asyncio.sleep(2)

    assert await queue.apply("double", number=1000, timeout=100) == 2000
    assert await queue.map("double", [{"number": n} for n in range(2000, 2020)], timeout=100) == list(
        range(4000, 4040, 2)
    )
    assert await queue.apply("fail_once", word="again", retries=2, timeout=100) == "again"

    job = await queue.enqueue("sleep_long", timeout=0)
    await until(lambda: job.id in {task.id for worker in workers for task in worker.job_task_contexts}, "it runs")
    await job.abort("enough")
    await completed(job)
    assert job.status == Status.ABORTED
    assert job.error == "enough"

    # The same key again is refused while the job is there.
    later = await queue.enqueue("double", number=3000, key="one", scheduled=4_000_000_000)
    assert later is not None
    assert await queue.enqueue("double", number=3000, key="one") is None
    assert await queue.count("queued") == 0
    assert await queue.count("incomplete") >= 1
    info = await queue.info()
    assert info["name"] == "default"
    await until(lambda: ticks >= 2, "the schedule has begun its jobs")

    for worker in workers:
        await worker.stop()
    await asyncio.wait(running, timeout=100)
    assert all(task.done() for task in running)
    await queue.disconnect()
