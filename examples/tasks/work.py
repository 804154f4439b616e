"""Worker of the lab: pops tasks from the list, with BRPOP. `python -m examples.tasks.work NAME`."""

from __future__ import annotations

import asyncio
import sys

from examples.shared.member import client

redis = client()


async def work(name: str) -> None:
    async with redis:
        while popped := await redis.brpop("lab:tasks"):
            task = popped[1]  # from here on, nobody else knows of it: if this process is killed, it is lost
            print(f"begins {task}", flush=True)
            await asyncio.sleep(0.4)
            await redis.hset("lab:done", task, name)
            print(f"ends   {task}", flush=True)


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1]))
