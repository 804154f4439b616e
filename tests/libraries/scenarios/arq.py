"""arq: two hundred jobs through two workers, with retries, an abort and a deferred job."""

from __future__ import annotations

import asyncio
from collections import Counter

from arq import Retry, create_pool
from arq.connections import RedisSettings
from arq.jobs import JobStatus
from arq.worker import Worker, async_check_health
from stage import kill_connections, until

done: Counter[int] = Counter()
long_began = asyncio.Event()


async def double(_: object, number: int) -> int:
    done[number] += 1
    await asyncio.sleep(0.001)
    return 2 * number


async def twice(context: dict[str, int]) -> int:
    if context["job_try"] == 1:
        raise Retry(defer=0.1)
    return context["job_try"]


async def broken(_: object) -> None:
    raise ValueError("broken")


async def sleep_long(_: object) -> None:
    long_began.set()
    await asyncio.sleep(60)


async def main(url: str) -> None:
    settings = RedisSettings.from_dsn(url)
    pool = await create_pool(settings)
    workers = [
        Worker(
            [double, twice, broken, sleep_long],
            redis_settings=settings,
            handle_signals=False,
            poll_delay=0.05,
            max_jobs=20,
            allow_abort_jobs=True,
            health_check_interval=1,
        )
        for _ in range(2)
    ]
    running = [asyncio.create_task(worker.async_run()) for worker in workers]

    jobs = []
    # Each has a connection under WATCH while it is enqueued.
    for begin in range(0, 200, 20):
        jobs += await asyncio.gather(*(pool.enqueue_job("double", number) for number in range(begin, begin + 20)))
    await until(lambda: done.total() >= 200, "all have run")  # two hundred that poll would take the processor
    results = [await job.result(timeout=100, poll_delay=0.05) for job in jobs]
    assert results == [2 * number for number in range(200)]
    assert done == Counter(range(200)), "each job runs once"

    # One job for each id, until its result is gone.
    first = await pool.enqueue_job("double", 500, _job_id="unique", _defer_by=0.2)
    assert first is not None
    assert await pool.enqueue_job("double", 501, _job_id="unique") is None
    assert await first.status() == JobStatus.deferred
    assert [job.args for job in await pool.queued_jobs()] == [(500,)]
    assert await first.result(timeout=100, poll_delay=0.05) == 1000
    assert await first.status() == JobStatus.complete

    again = await pool.enqueue_job("twice")
    assert await again.result(timeout=100, poll_delay=0.05) == 2
    bad = await pool.enqueue_job("broken")
    [error] = await asyncio.gather(bad.result(timeout=100, poll_delay=0.05), return_exceptions=True)
    assert isinstance(error, ValueError)
    assert str(error) == "broken"

    long = await pool.enqueue_job("sleep_long")
    await until(long_began.is_set, "the long job has begun")
    assert await long.abort(timeout=100, poll_delay=0.05)
    assert await async_check_health(settings) == 0

    for worker in workers:
        await worker.close()
    await asyncio.gather(*running, return_exceptions=True)

    # With nothing under way, each connection is found dead, and a new one carries on.
    await kill_connections()
    late = Worker([double], redis_settings=settings, handle_signals=False, burst=True, poll_delay=0.05)
    for number in range(600, 620):
        await pool.enqueue_job("double", number)
    assert await late.run_check() == 20
    await late.close()
    assert len(await pool.all_job_results()) >= 220
    await pool.aclose()
