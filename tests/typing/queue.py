"""The types of the queue. Checked by mypy and pyright, never run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from aioresp import Client, Cluster
from aioresp.recipes import Counts, Job, JobInfo, Queue, Running, Task, Worker, running

redis = Client()
queue = Queue(redis, "pictures")
Queue(Client(decode_responses=False), "bytes")
Queue(Cluster("redis://localhost"), "cluster")


@queue.task
async def plain(path: str) -> None: ...


@queue.task(retries=5, timeout=timedelta(seconds=30), lease=15, backoff=(1, 300), keep_result=600, priority=0)
async def thumbnail(path: str, size: int = 100, *, colours: bool = True) -> int:
    assert_type(running(), Running)
    return size


async def calls() -> None:
    assert_type(await thumbnail("a.png", size=3), int)
    job = await thumbnail.enqueue("a.png", size=64, colours=False)
    assert_type(job, Job[int])
    assert_type(job.id, str)
    assert_type(await job.result(timeout=10), int)
    assert_type(await job.result(), int)
    assert_type(await job.cancel(), bool)
    assert_type(await job.info(), JobInfo)
    assert_type(await thumbnail.options(delay=60, unique="a.png").enqueue("a.png"), Job[int])
    assert_type(await thumbnail.options(at=datetime.now(UTC), on_duplicate="replace").enqueue("a"), Job[int])
    assert_type(await plain.enqueue("a"), Job[None])
    assert_type(queue.job("id"), Job[Any])
    assert_type(await queue.counts(), Counts)
    assert_type([dead async for dead in queue.dead()], list[JobInfo])
    assert_type(await queue.revive("id"), bool)
    assert_type(await queue.purge("dead"), int)
    async with queue.worker(concurrency=50, grace=20) as worker:
        assert_type(worker, Worker)
        assert_type(await worker.run(), None)
    tasks: list[Task[..., Any]] = [plain, thumbnail]
    assert tasks
