"""A process that hits a limiter as fast as it can, and is one of several: see `clocks`.

It prints, for each hit that was allowed, when it was sent and answered, by the monotonic clock of the machine.
"""

from __future__ import annotations

import asyncio
import time

from aioresp import Client
from aioresp.recipes import Limiter

#: Hits under way at a time.
TASKS = 4

#: Seconds after a refused hit, far less than a place takes.
PAUSE = 0.0005


async def main(url: str, prefix: str, limit: int, per: float, burst: int, seconds: float) -> None:
    allowed: list[tuple[float, float]] = []
    async with Client(url) as client:
        limiter = Limiter(client, limit, per, burst=burst, prefix=prefix)
        end = time.monotonic() + seconds

        async def hit() -> None:
            while (sent := time.monotonic()) < end:
                if await limiter.hit("all"):
                    allowed.append((sent, time.monotonic()))
                else:
                    await asyncio.sleep(PAUSE)

        async with asyncio.TaskGroup() as group:
            for _ in range(TASKS):
                group.create_task(hit())
    for sent, answered in allowed:
        print(sent, answered)
