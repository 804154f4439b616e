"""Worker of the lab, on the queue. `python -m examples.tasks.queue_work NAME`, or one that SIGTERM stops in good order:
`aioresp worker examples.tasks.queue_work:queue`.
"""

from __future__ import annotations

import asyncio
import sys

from aioresp.recipes import Queue
from examples.shared.member import client

redis = client()
queue = Queue(redis, "lab")


@queue.task(lease=1, keep_result=0)
async def perform(task: str) -> None:
    print(f"begins {task}", flush=True)
    await asyncio.sleep(0.4)
    await redis.hset("lab:done", task, sys.argv[-1])
    print(f"ends   {task}", flush=True)


async def work() -> None:
    async with redis, queue.worker(concurrency=1) as worker:
        await worker.run()  # if this process is killed, its task starts again elsewhere when its lease has ended


if __name__ == "__main__":
    asyncio.run(work())
