"""Client of the lab, on the queue: the same tasks. `python -m examples.tasks.queue_submit NAME [TASKS]`."""

from __future__ import annotations

import asyncio
import sys

from examples.tasks.queue_work import perform, redis


async def submit(name: str, count: int = 5) -> None:
    async with redis:
        for number in range(1, count + 1):
            await perform.enqueue(f"{name}-{number}")  # once, even if the connection is lost just then
            print(f"submits {name}-{number}", flush=True)
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    asyncio.run(submit(sys.argv[1], *map(int, sys.argv[2:])))
