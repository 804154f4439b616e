"""RQ: its worker without forks; it knows no tasks of asyncio, so one job runs at a time."""

from __future__ import annotations

import logging

from measured import Clock, Done, Job, main
from redis import Redis
from rq import Queue, SimpleWorker


def noop() -> None: ...


def enqueue(job: Job) -> Done:
    queue = Queue(connection=Redis.from_url(job["url"]))
    queue.enqueue("with_rq.noop")
    with Clock() as clock:
        for _ in range(job["count"]):
            queue.enqueue("with_rq.noop")
    return clock.told(job["count"])


def work(job: Job) -> Done:
    connection = Redis.from_url(job["url"])
    queue = Queue(connection=connection)
    for _ in range(job["count"]):
        queue.enqueue("with_rq.noop")
    worker = SimpleWorker([queue], connection=connection)
    with Clock() as clock:
        worker.work(burst=True, logging_level=logging.ERROR)
    return clock.told(job["count"])


if __name__ == "__main__":
    main(enqueue=enqueue, work=work)
