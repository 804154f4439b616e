"""Client of the lab: pushes tasks on one list, with LPUSH. `python -m examples.tasks.submit NAME [TASKS]`."""

from __future__ import annotations

import asyncio
import sys

from examples.shared.member import client

redis = client()


async def submit(name: str, count: int = 5) -> None:
    async with redis:
        for number in range(1, count + 1):
            await redis.lpush("lab:tasks", f"{name}-{number}")
            print(f"submits {name}-{number}", flush=True)
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    asyncio.run(submit(sys.argv[1], *map(int, sys.argv[2:])))
